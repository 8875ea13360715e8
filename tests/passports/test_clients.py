"""The clients in docs/passport-clients and another library make what we verify, and the other library verifies what we make."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier
from http_message_signatures.algorithms import HMAC_SHA256
from http_message_signatures.exceptions import InvalidSignature
from http_message_signatures.resolvers import MappingKeyResolver

from shadowproxy.passports import Reason, Request
from tests.passports.signing import BODY, KEY, PLAIN, TERMS, judged, minted, reason, with_fields

CLIENTS = Path(__file__).parents[2] / "docs" / "passport-clients"
NEEDS = {"passport.py": sys.executable, "passport.mjs": "node", "passport.sh": "sh"}

BODIES = {"none": b"", "text": BODY, "binary": bytes(range(256)) * 300, "newlines": b"\n\r\n\n"}
TARGETS = [
    ("http://Shop.Example:80/orders?x=1", b"shop.example", b"/orders?x=1"),
    ("http://shop.example:8080/a%2Fb//c?", b"shop.example:8080", b"/a%2Fb//c?"),
    ("https://shop.example:443", b"shop.example", b"/"),
    ("http://[::1]:9000/?a=b&a=%20?/", b"[::1]:9000", b"/?a=b&a=%20?/"),
    ("http://127.0.0.1?q", b"127.0.0.1", b"/?q"),
]


def lines_of(client: str, tmp_path: Path, *, method: str, url: str, body: bytes) -> list[tuple[str, str]]:
    """What a client adds to a request."""
    program = shutil.which(NEEDS[client])
    if program is None or (client == "passport.sh" and shutil.which("openssl") is None):
        pytest.skip(f"{client} is not tested: {NEEDS[client] if program is None else 'openssl'} is not installed")
    key, file = tmp_path / "key", tmp_path / "body"
    key.write_bytes(KEY + b"\n")
    file.write_bytes(body)
    arguments = [program, str(CLIENTS / client), method, url, "canary-7", "k1", str(key)]
    if client == "passport.sh" and body:
        arguments.append(str(file))
    with file.open("rb") as stdin:
        done = subprocess.run(arguments, stdin=stdin, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [(name, value) for name, _, value in (line.partition(": ") for line in done.stdout.splitlines())]


@pytest.mark.parametrize("client", NEEDS)
@pytest.mark.parametrize("body", BODIES)
def test_clients_make_passports(client: str, body: str, tmp_path: Path) -> None:
    """With every kind of body and of URL: it holds, covers all that it must, and is another each time."""
    nonces = set()
    for url, authority, target in TARGETS if body == "text" else TARGETS[:1]:
        scheme = url.partition(":")[0].encode()
        method = "POST" if body != "none" else "GET"
        request = Request(method.encode(), scheme, authority, target, ())
        signed = with_fields(request, *lines_of(client, tmp_path, method=method, url=url, body=BODIES[body]))
        passport = judged(signed, BODIES[body], now=time.time())
        assert passport.expires - passport.created == 60
        assert dict(signed.fields)[b"x-test-traffic"] == b"canary-7"
        assert reason(replace(signed, method=b"PUT"), BODIES[body], now=time.time()) is Reason.BAD_SIGNATURE
        nonces.add(passport.nonce)
    assert len(nonces) == (len(TARGETS) if body == "text" else 1)


@dataclass
class Message:
    """A request as the other library takes it."""

    method: str
    url: str
    headers: dict[str, str]


RESOLVER = MappingKeyResolver(public_keys={"k1": KEY}, private_keys={"k1": KEY})


@pytest.mark.parametrize(
    "names",
    [
        ("@method", "@authority", "@target-uri", "x-test-traffic", "content-digest"),
        ("content-digest", "x-test-traffic", "@query", "@path", "@scheme", "content-type", "@authority", "@method"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"label": "sig1"}, {"include_alg": False}])
def test_another_library_s_signature_holds(names: tuple[str, ...], settings: dict[str, Any]) -> None:
    """RFC 9421 by others: whichever components and order, label and optional parameters."""
    fields = {"Content-Type": "application/json", "X-Test-Traffic": "true"}
    message = Message("POST", "http://shop.example/orders?x=1", dict(fields))
    now = dt.datetime.now(tz=dt.UTC)
    HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=RESOLVER).sign(
        message,
        key_id="k1",
        created=now,
        expires=now + dt.timedelta(seconds=60),
        nonce="n-0002",
        tag="shadowproxy",
        covered_component_ids=names,
        body=BODY,
        **settings,
    )
    request = Request(b"POST", b"http", b"shop.example", b"/orders?x=1", ())
    signed = with_fields(request, *message.headers.items())
    assert judged(signed, now=now.timestamp()).components == names
    assert reason(replace(signed, target=b"/orders?x=2"), now=now.timestamp()) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("body", [b"", BODY])
def test_another_library_verifies_ours(body: bytes) -> None:
    """What we mint is RFC 9421 for others too, and what was changed is not."""
    now = int(time.time())
    signed = minted(PLAIN, body, created=now, expires=now + 60, also=("content-type",))
    headers = {name.decode(): value.decode() for name, value in signed.fields}
    verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=RESOLVER)
    message = Message("POST", "http://shop.example/orders?x=1", headers)
    (result,) = verifier.verify(message, max_age=dt.timedelta(seconds=TERMS.lifetime_s), expect_tag="shadowproxy")
    assert result.parameters["keyid"] == "k1"
    message.url = "http://shop.example/orders?x=2"
    with pytest.raises(InvalidSignature):
        verifier.verify(message, max_age=dt.timedelta(seconds=TERMS.lifetime_s), expect_tag="shadowproxy")
