"""A secret that is sent through a running proxy is afterwards found nowhere: not in the state, a log, the API, the page, the metrics, or a command.

Every byte that an instance leaves behind is searched for every spelling of every secret.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli import main
from shadowproxy.cli.export import EXPORTS
from shadowproxy.cli.report import FORMATS
from shadowproxy.control.admin.openapi import ENDPOINTS
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import head
from tests.kit.process import eventually
from tests.redaction.captures import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.origin import Turn

REQUESTS = 4


class Secrets:
    """Random secrets, one for each place, so that a leak says where it came from."""

    PLACES = (
        "bearer", "basic user", "basic password", "cookie", "api key", "configured header", "query", "oauth code", "url in a query", "referer", "json", "json number",
        "configured field", "form", "multipart", "card", "email", "set-cookie", "json answer", "html answer", "gzip answer", "binary answer", "location",
    )  # fmt: skip

    def __init__(self) -> None:
        self.of = {place: secrets.token_urlsafe(18) for place in self.PLACES}
        self.of["json number"] = f"9{secrets.randbelow(10**14):014d}"
        self.of["card"] = "4929" + "".join(str(secrets.randbelow(10)) for _ in range(11))
        digits = [int(digit) for digit in self.of["card"] + "0"]
        total = sum(digits[-1::-2]) + sum(2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
        self.of["card"] += str(-total % 10)
        self.of["email"] = f"u{secrets.token_hex(6)}@{secrets.token_hex(6)}.test"

    def send(self, client: Client) -> None:
        """One request of each kind, with secrets in every place."""
        of = self.of
        basic = base64.b64encode(f"{of['basic user']}:{of['basic password']}".encode()).decode()
        common = (
            ("cookie", f"sid={of['cookie']}"), ("X-API-KEY", of["api key"]), ("X-Acme", of["configured header"]), ("Referer", f"https://h/?access_token={of['referer']}"),
            ("Accept-Encoding", "gzip"),
        )  # fmt: skip
        target = f"/x?token={of['query']}&code={of['oauth code']}&next=%2Fy%3Fpassword%3D{of['url in a query']}"
        document = json.dumps(
            {
                "password": of["json"],
                "pin": int(of["json number"]),
                "loyalty": {"n": of["configured field"]},
                "note": of["card"],
                "by": of["email"],
            }
        ).encode()
        form = f"a=1&client_secret={of['form']}".encode()
        parts = f'--B\r\nContent-Disposition: form-data; name="password"\r\n\r\n{of["multipart"]}\r\n--B--\r\n'.encode()
        bodies = (("application/json", document), ("application/x-www-form-urlencoded", form), ("multipart/form-data; boundary=B", parts))
        for kind, body in bodies:
            client.request("POST", target, ("Authorization", f"Bearer {of['bearer']}"), *common, ("Content-Type", kind), body=body)
        client.request("GET", target, ("authorization", f"Basic {basic}"), *common)

    def answer(self, turn: Turn) -> None:
        """Repeat everything in a body of one kind after the other, plainly and encoded, with secrets of the answer's own."""
        body = turn.read_body()
        of = self.of
        said = dict(turn.request.fields) | {"body": body.decode("latin-1"), "target": turn.request.target}
        kinds: list[tuple[bytes, list[tuple[str, str]]]] = [
            (
                json.dumps({**said, "refresh_token": of["json answer"], "email": of["email"]}).encode(),
                [("Content-Type", "application/json")],
            ),
            (f"<pre>{said}</pre><input name=csrf_token value={of['html answer']}>".encode("latin-1"), [("Content-Type", "text/html")]),
            (
                gzip.compress(json.dumps({"id_token": of["gzip answer"], **said}).encode()),
                [("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
            ),
            (
                b"\0\1" + of["binary answer"].encode() + base64.b64encode(json.dumps(said).encode()),
                [("Content-Type", "application/octet-stream")],
            ),
        ]
        content, fields = kinds[len(turn.origin.requests) % len(kinds)]
        fields += [
            ("Set-Cookie", f"s={of['set-cookie']}; Path=/"),
            ("Location", f"/cb#id_token={of['location']}"),
            ("X-Echo", said.get("Authorization", "-")),
        ]
        status = 200 if turn.origin.name == "live" else 500
        turn.send(head(status, [*fields, ("Content-Length", str(len(content)))]) + content)


@pytest.fixture
def origins() -> Iterator[tuple[Origin, Origin]]:
    """Live and shadow."""
    both = Origin("live"), Origin("shadow")
    yield both
    for origin in both:
        origin.stop()


def config(live: Origin, shadow: Origin, directory: Path) -> dict[str, Any]:
    """Everything is mirrored, credentials too, and everything is captured and logged."""
    mirror = {"to": "shadow", "methods": ["GET", "POST"], "credentials": "keep", "capture": {"per_second": 1000}}
    return {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}, "shadow": {"endpoints": [shadow.url]}},
        "routes": [{"name": "all", "live": "live", "mirror": [mirror]}],
        "redaction": {"headers": ["X-Acme"], "fields": ["loyalty"]},
        "access_log": {"path": str(directory / "access.jsonl")},
        "limits": {"drain_timeout": "5s"},
    }


def answers(proxy: SupervisedProxy) -> dict[str, bytes]:
    """What the admin API, the page and the metrics say: every GET that there is, each exemplar whole, header fields included."""
    paths = [endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET" and "{" not in endpoint.path]
    paths += ["/page/app.js", "/page/style.css", "/api/v1/compare?buckets=1"]
    ids = [one["id"] for one in proxy.api("GET", "/api/v1/exemplars?limit=1000").json()["exemplars"]]
    paths += [f"/api/v1/exemplars/{name}" for name in ids]
    said = {}
    for path in paths:
        reply = proxy.api("GET", path)
        said[path] = repr(dict(reply.fields)).encode() + reply.body
    return said


def exemplars(proxy: SupervisedProxy) -> Iterator[Any]:
    """Each exemplar, whole."""
    for one in proxy.api("GET", "/api/v1/exemplars").json()["exemplars"]:
        reply = proxy.api("GET", f"/api/v1/exemplars/{one['id']}")
        if reply.status == 200:
            yield reply.json()


def files(directory: Path) -> dict[str, bytes]:
    """Every file that is there, but those that the test wrote."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in {"shadowproxy.yaml", "token"}
    }


def search(known: Secrets, where: dict[str, bytes]) -> list[str]:
    """Every place where a secret is, and which."""
    return [f"{place} in {name}" for name, kept in where.items() for place, secret in known.of.items() if leaks(secret, kept)]


@pytest.mark.slow
def test_secrets_are_found_nowhere(
    origins: tuple[Origin, Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it runs, and in what is left when it has ended; the pairs themselves are kept, with pseudonyms."""
    live, shadow = origins
    known = Secrets()
    live.answer = shadow.answer = known.answer
    with SupervisedProxy(config(live, shadow, tmp_path), tmp_path) as proxy:
        with Client(proxy.address("front")) as client:
            for _ in range(REQUESTS):
                known.send(client)
        total = 4 * REQUESTS
        arrived = b"".join(bytes(connection.raw) for origin in origins for connection in origin.connections)
        answered = {"json answer", "html answer", "gzip answer", "binary answer", "set-cookie", "location"}
        assert [place for place, secret in known.of.items() if place not in answered and not leaks(secret, arrived)] == []

        def compared() -> int:
            (mirror,) = proxy.api("GET", "/api/v1/compare").json()["mirrors"]
            return int(mirror["pairs"])

        eventually(lambda: compared() == total, "every pair is counted", patience_s=60)
        eventually(lambda: proxy.api("GET", "/api/v1/exemplars").json()["kept"] >= 3, "exemplars are kept", patience_s=60)
        eventually(lambda: len(files(tmp_path)["access.jsonl"].splitlines()) == total, "the access log is written", patience_s=60)
        eventually(
            lambda: b"exemplar." in files(tmp_path).get("state.db-wal", b"") + files(tmp_path)["state.db"],
            "exemplars are stored",
            patience_s=60,
        )
        kept = proxy.api("GET", "/api/v1/exemplars").json()["exemplars"]
        said = answers(proxy)
        commands = [
            ("status",), ("compare",), ("verdict",), ("verdict", "--output", "json"), ("diff", "list"), *(("diff", "show", one["id"]) for one in kept),
            *(("diff", "export", kept[0]["id"], "--as", form) for form in EXPORTS),
            *(("report", "--format", form) for form in FORMATS),
        ]  # fmt: skip
        monkeypatch.chdir(tmp_path)
        printed = {}
        for words in commands:
            main.main(words)
            ended = capsys.readouterr()
            printed[f"shadowproxy {' '.join(words)}"] = (ended.out + ended.err).encode()
        assert all(printed.values())
        assert search(known, said | printed | files(tmp_path)) == []
        # One may make room for another while it is asked for.
        whole: Any = eventually(lambda: next(iter(exemplars(proxy)), None), "an exemplar is shown")
        assert whole["request"]["target"].startswith("/x?token=")
        assert any(name.lower() == "cookie" and value.startswith("sid=") for name, value in whole["request"]["headers"])
        assert any(path.startswith("/api/v1/exemplars/") and b"cookie" in kept for path, kept in said.items())
    left = files(tmp_path)
    assert {"state.db", "stderr", "access.jsonl", "state.audit.jsonl", "state.redaction.key"} <= set(left)
    assert b"all/shadow" in left["state.db"] + left.get("state.db-wal", b"") or b"exemplar." in left["state.db"]
    assert search(known, left) == []


def test_the_search_finds_what_is_there() -> None:
    """In every spelling: a search that finds nothing anywhere would prove nothing."""
    known = Secrets()
    for secret in known.of.values():
        for spelt in (
            secret,
            base64.b64encode(b"x" + secret.encode()).decode(),
            secret.encode().hex(),
            "".join(f"%{byte:02X}" for byte in secret.encode()),
        ):
            assert search(known, {"here": f"before {spelt} behind".encode()})
