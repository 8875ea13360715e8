"""Passports through a whole proxy: what is signed is a test, what is not is refused, and each works once."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.passports import Reason, Request, content_digest, mint
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.wire import Response

FIRST, SECOND = b"the first secret, of enough bytes ...", b"the second secret, of enough bytes .."
BODY = b'{"sku": 7}'


class Signer:
    """A client that signs its requests.

    Args:
        proxy: whom to send them to, on the listener `front`.
        keyid: which key to sign with.
        key: its secret.
    """

    def __init__(self, proxy: SupervisedProxy, keyid: str = "k1", key: bytes = FIRST) -> None:
        self._proxy = proxy
        self.keyid = keyid
        self.key = key

    def fields(self, method: str = "GET", target: str = "/read", body: bytes = b"", **changed: Any) -> list[tuple[str, str]]:
        """A passport for one request."""
        now = int(time.time())
        request = Request(method.encode(), b"http", b"shop.example", target.encode(), ())
        settings = {
            "nonce": base64.b64encode(os.urandom(12)).decode(),
            "created": now,
            "expires": now + 60,
            "tenant": "canary-7",
            **changed,
        }
        return mint(request, body, keyid=self.keyid, key=self.key, **settings)

    def send(self, method: str = "GET", target: str = "/read", body: bytes = b"", **changed: Any) -> Response:
        """Sign one request, and send it over a connection of its own."""
        return self.show(method, target, self.fields(method, target, body, **changed), body)

    def show(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes = b"") -> Response:
        """Send a request with the fields as given."""
        with Client(self._proxy.address("front")) as client:
            return client.request(method, target, *fields, body=body)


def settings(live: Origin, tmp_path: Path, keys: dict[str, bytes], **changed: Any) -> dict[str, Any]:
    """A listener that wants passports and one that believes everybody; tagged writes reach live, where they can be seen."""
    named = {}
    for name, secret in keys.items():
        file = tmp_path / f"{name}.key"
        file.write_bytes(secret + b"\n")
        file.chmod(0o600)
        named[name] = {"file": str(file)}
    return {
        "listen": [{"name": "front", "trust": "signed"}, {"name": "open"}],
        "workers": 2,
        "fleets": {"live": {"endpoints": [live.url]}},
        "routes": [{"name": "all", "live": "live", "test_traffic": {"writes": "live"}}],
        "limits": {"drain_timeout": "5s"},
        # No skew: passports count from the second after the start.
        "tenancy": {"passports": {"keys": named, "skew": 0, "lifetime": "60s"}},
        **changed,
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SupervisedProxy, Origin]]:
    """A proxy with two workers that has been up for a second, and its live service."""
    directory = tmp_path_factory.mktemp("passports")
    origin = Origin("live")
    try:
        with SupervisedProxy(settings(origin, directory, {"k1": FIRST}), directory) as running:
            eventually(lambda: Signer(running).send().status == 200, "passports count")
            yield running, origin
    finally:
        origin.stop()


@pytest.fixture
def proxy(shared: tuple[SupervisedProxy, Origin]) -> SupervisedProxy:
    """The shared proxy."""
    return shared[0]


@pytest.fixture
def live(shared: tuple[SupervisedProxy, Origin]) -> Origin:
    """Its live service, which remembers this test's requests only."""
    shared[1].forget()
    return shared[1]


def code(answer: Response) -> str:
    """The reason that a problem document gives."""
    return str(json.loads(answer.body)["code"])


def counted(proxy: SupervisedProxy) -> dict[str, int]:
    """Refused passports by reason, as the metrics have them."""
    found = {}
    for line in proxy.api("GET", "/metrics", token="").body.decode().splitlines():
        if line.startswith('shadowproxy_refusals_total{reason="passport_'):
            found[line.split('"')[1].removeprefix("passport_")] = int(float(line.split()[-1]))
    return found


def test_a_signed_request_is_a_test(proxy: SupervisedProxy, live: Origin) -> None:
    """Reads and writes reach where the rules send them, tagged, without the passport, and with what others have signed."""
    signer = Signer(proxy)
    assert signer.send().status == 200
    theirs = [("Signature-Input", 'other=("@method");created=1'), ("Signature", "other=:AAAA:")]
    assert signer.show("POST", "/write?x=1", [*theirs, *signer.fields("POST", "/write?x=1", BODY)], BODY).status == 200
    seen = live.wait_for("/write")
    fields = {name.lower(): value for name, value in seen.fields}
    assert seen.body == BODY
    assert fields["x-test-traffic"] == "canary-7"
    assert fields["content-digest"] == content_digest(BODY)
    assert (fields["signature-input"], fields["signature"]) == (theirs[0][1], theirs[1][1])
    read = {name.lower() for name, _ in live.wait_for("/read").fields}
    assert not read & {"signature", "signature-input"}


def test_untagged_requests_need_no_passport(proxy: SupervisedProxy, live: Origin) -> None:
    """Users are served as ever, and what they sign for others is none of our business."""
    theirs = [("Signature-Input", 'other=("@method");created=1;tag="shop"'), ("Signature", "other=:AAAA:")]
    for fields in ([], theirs):
        assert Signer(proxy).show("GET", "/read", fields).status == 200
        seen = {name.lower(): value for name, value in live.wait_for("/read").fields}
        assert "x-test-traffic" not in seen
        assert seen.get("signature-input") == dict(fields).get("Signature-Input")
        live.forget()


def test_a_passport_without_its_tag_is_no_user_s_request(proxy: SupervisedProxy, live: Origin) -> None:
    """Somebody on the way took the tag off: refused where passports are wanted, and elsewhere still a test."""
    fields = [(name, value) for name, value in Signer(proxy).fields("POST", "/write", BODY) if name != "X-Test-Traffic"]
    answer = Signer(proxy).show("POST", "/write", fields, BODY)
    assert (answer.status, code(answer)) == (403, "passport_component_absent")
    assert live.seen("/write") == []
    with Client(proxy.address("open")) as client:
        assert client.request("POST", "/write", *fields, body=BODY).status == 200
    assert dict(live.wait_for("/write").fields)["X-Test-Traffic"] == "true"


def test_a_tag_without_a_passport_is_refused(proxy: SupervisedProxy, live: Origin) -> None:
    """However the tag is written, and on this listener alone: 403, and nothing reaches live."""
    before = counted(proxy).get("missing", 0)
    for field in (("X-Test-Traffic", "true"), ("x_test_traffic", "canary-7"), ("baggage", "synthetic_request=true")):
        answer = Signer(proxy).show("GET", "/read", [field])
        assert (answer.status, code(answer)) == (403, "passport_missing")
    assert live.seen("/read") == []
    eventually(lambda: counted(proxy).get("missing", 0) >= before + 3, "the counter")
    with Client(proxy.address("open")) as client:
        assert client.get("/read", ("X-Test-Traffic", "true")).status == 200


@pytest.mark.parametrize(
    ("nominated", "expected"),
    [("Idempotency-Key", 403), ("content-digest", 403), ("signature", 403), ("X-Test-Traffic", 200), ("close", 200)],
)
def test_what_is_covered_cannot_be_nominated_away(nominated: str, expected: int, proxy: SupervisedProxy, live: Origin) -> None:
    """A Connection field that is added on the way does not take away what was signed; our tag it cannot touch."""
    request = Request(b"POST", b"http", b"shop.example", b"/write", [(b"idempotency-key", b"7")])
    now = int(time.time())
    fields = mint(request, BODY, keyid="k1", key=FIRST, nonce=f"c-{nominated}", created=now, expires=now + 60, also=["idempotency-key"])
    answer = Signer(proxy).show("POST", "/write", [("Idempotency-Key", "7"), *fields, ("Connection", nominated)], BODY)
    assert answer.status == expected
    assert len(live.seen("/write")) == (expected == 200)


def test_each_passport_works_once(proxy: SupervisedProxy, live: Origin) -> None:
    """Sent again, to whichever worker: 403. So is one that comes at the same time, and one with another body first."""
    signer = Signer(proxy)
    fields = signer.fields("POST", "/write", BODY)
    assert code(signer.show("POST", "/write", fields, BODY + b" ")) == "passport_digest_mismatch"
    assert signer.show("POST", "/write", fields, BODY).status == 200
    again = [signer.show("POST", "/write", fields, BODY) for _ in range(20)]
    assert {(answer.status, code(answer)) for answer in again} == {(403, "passport_replayed")}
    assert len(live.seen("/write")) == 1
    clients = [Client(proxy.address("front")) for _ in range(10)]
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in signer.fields("GET", "/once"))
        for client in clients:
            client.send(f"GET /once HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n".encode())
        assert sorted(client.response().status for client in clients) == [200] + [403] * 9
    finally:
        for client in clients:
            client.close()
    assert len(live.seen("/once")) == 1


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.EXPIRED, None),
        (Reason.NOT_YET_VALID, None),
        (Reason.LIFETIME_TOO_LONG, None),
        (Reason.UNKNOWN_KEY, "passport_bad_signature"),
        (Reason.BAD_SIGNATURE, None),
        (Reason.TAG_NOT_COVERED, None),
        (Reason.TWO_SIGNATURES, None),
        (Reason.DIGEST_MISSING, None),
        (Reason.DIGEST_MISMATCH, None),
    ],
)
def test_each_cause_has_its_own_answer_and_counter(reason: Reason, told: str | None, proxy: SupervisedProxy, live: Origin) -> None:
    """403 with the reason, counted by it; an unknown key is told as a bad signature, and counted as what it is."""
    before = counted(proxy).get(reason.value, 0)
    signer = Signer(proxy)
    now = int(time.time())
    fields, body = signer.fields("POST", "/write", BODY), BODY
    match reason:
        case Reason.EXPIRED:
            fields = signer.fields("POST", "/write", BODY, created=now - 60, expires=now - 10)
        case Reason.NOT_YET_VALID:
            fields = signer.fields("POST", "/write", BODY, created=now + 100, expires=now + 110)
        case Reason.LIFETIME_TOO_LONG:
            fields = signer.fields("POST", "/write", BODY, expires=now + 61)
        case Reason.UNKNOWN_KEY:
            fields = Signer(proxy, "k9").fields("POST", "/write", BODY)
        case Reason.BAD_SIGNATURE:
            fields = signer.fields("PUT", "/write", BODY)
        case Reason.TAG_NOT_COVERED:
            fields.append(("x_test_traffic", "canary-7"))
        case Reason.TWO_SIGNATURES:
            fields += [(name, value.replace("test=", "again=", 1)) for name, value in signer.fields("POST", "/write", BODY)[2:]]
        case Reason.DIGEST_MISSING:
            fields = signer.fields("POST", "/write", b"")
        case _:
            body = BODY + b" "
    answer = signer.show("POST", "/write", fields, body)
    assert (answer.status, code(answer)) == (403, told or f"passport_{reason}")
    assert "k9" not in answer.body.decode()
    assert live.seen("/write") == []
    eventually(lambda: counted(proxy).get(reason.value, 0) > before, "the counter")


def test_keys_are_rotated_by_reload(live: Origin, tmp_path: Path) -> None:
    """Both keys count while both are there; the removed one is dead at once, on connections that are open too."""
    old, new = {"k1": FIRST}, {"k2": SECOND}
    with SupervisedProxy(settings(live, tmp_path, old), tmp_path) as proxy:
        first, second = Signer(proxy), Signer(proxy, "k2", SECOND)
        eventually(lambda: first.send().status == 200, "passports count")
        assert second.send().status == 403
        with Client(proxy.address("front")) as client:
            assert client.get("/read", *first.fields()).status == 200
            proxy.write(settings(live, tmp_path, old | new))
            assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
            assert (first.send().status, second.send().status) == (200, 200)
            proxy.write(settings(live, tmp_path, new))
            assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
            assert (first.send().status, second.send().status) == (403, 200)
            assert client.get("/read", *first.fields()).status == 403


def test_a_new_secret_in_the_same_file_counts_after_a_reload(live: Origin, tmp_path: Path) -> None:
    """The config has not changed; the file has."""
    with SupervisedProxy(settings(live, tmp_path, {"k1": FIRST}), tmp_path) as proxy:
        eventually(lambda: Signer(proxy).send().status == 200, "passports count")
        settings(live, tmp_path, {"k1": SECOND})
        assert Signer(proxy).send().status == 200
        assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
        eventually(lambda: Signer(proxy, key=SECOND).send().status == 200, "the new secret counts")
        eventually(lambda: Signer(proxy).send().status == 403, "the old secret does not")


def test_what_one_worker_has_seen_survives_it(proxy: SupervisedProxy) -> None:
    """The memory is control's: SIGKILL of all workers makes nothing fresh again."""
    signer = Signer(proxy)
    fields = signer.fields()
    assert signer.show("GET", "/read", fields).status == 200
    victims = proxy.workers()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: proxy.is_ready() and len(proxy.workers()) == 2 and not set(victims) & set(proxy.workers()), "other workers")
    eventually(lambda: signer.send().status == 200, "they serve")
    assert code(signer.show("GET", "/read", fields)) == "passport_replayed"


def test_what_a_process_before_may_have_seen_is_refused(live: Origin, tmp_path: Path) -> None:
    """After a restart of control a passport from before it, used or not, is refused for what it is."""
    config = settings(live, tmp_path, {"k1": FIRST})
    with SupervisedProxy(config, tmp_path) as proxy:
        signer = Signer(proxy)
        eventually(lambda: signer.send().status == 200, "passports count")
        fields = signer.fields()
        assert signer.show("GET", "/read", fields).status == 200
    with SupervisedProxy(config, tmp_path) as proxy:
        answer = Signer(proxy).show("GET", "/read", fields)
        assert (answer.status, code(answer)) == (403, "passport_created_before_start")
        eventually(lambda: Signer(proxy).send().status == 200, "new ones count")


def test_secrets_stay_where_they_are(proxy: SupervisedProxy) -> None:
    """After good and bad passports no secret is in the state, the log, the API, or what ps and /proc show of any process."""
    for signer in (Signer(proxy), Signer(proxy, "k9"), Signer(proxy, "k1", SECOND)):
        signer.send()
    shown = [path.read_bytes() for path in proxy.directory.rglob("*") if path.is_file() and path.suffix != ".key"]
    shown += [proxy.api("GET", path).body for path in ("/api/v1/config", "/api/v1/status", "/api/v1/audit", "/metrics")]
    for pid in (proxy.pid, *proxy.workers()):
        shown += [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ")]
    for text in shown:
        assert FIRST not in text
        assert base64.b64encode(FIRST) not in text
