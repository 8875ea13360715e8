"""Copies without secrets, end to end: what a shadow is sent, what is not sent to it, and what live and the verdict notice of it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy, process
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.origin import Turn

SECRETS = {
    "mail": "alice.liddell@wonderland.org",
    "password": "drink-me-47-times",
    "session": "c0ffee5e55104d1e",
    "token": "tok_9f8e7d6c5b4a39281706",
    "card": "4012888888881881",
    "basic": "alice:eat-me-please",
}

ORDER = {
    "email": SECRETS["mail"],
    "password": SECRETS["password"],
    "note": f"write to {SECRETS['mail']}",
    "card": SECRETS["card"],
    "sku": "hat-10",
}

FIELDS = (
    ("Cookie", f"session={SECRETS['session']}; theme=dark"),
    ("Authorization", "Basic " + base64.b64encode(SECRETS["basic"].encode()).decode()),
    ("X-Api-Key", SECRETS["token"]),
    ("X-Note", f"from {SECRETS['mail']}"),
    ("X-Beta", "1"),
)

JSON = ("Content-Type", "application/json")


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """Live and shadow."""
    made = {name: Origin(name) for name in ("live", "shadow")}
    for origin in made.values():
        origin.answer = ok(b"hello")
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin], **mirror: Any) -> dict[str, Any]:
    """Everything mirrored, credentials too, and scrubbed."""
    mirror = {"methods": ["GET", "POST", "PUT"], "credentials": "keep", "scrub": True, "judge": {"latency": {"resolution": "1s"}}, **mirror}
    return {
        "listen": [{"name": "front"}],
        "fleets": {name: {"endpoints": [origin.url]} for name, origin in origins.items()},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow", **mirror}]}],
        "limits": {"drain_timeout": "5s"},
    }


def mirrored(proxy: SupervisedProxy) -> Any:
    """The counts of the one mirror."""
    (found,) = proxy.api("GET", "/api/v1/compare").json()["mirrors"]
    assert found["is_conserved"]
    return found


def settled(proxy: SupervisedProxy, count: int) -> dict[str, int]:
    """The fates, once each of `count` requests has one."""
    eventually(lambda: sum(mirrored(proxy)["fates"].values()) == count, f"{count} fates", patience_s=60)
    fates: dict[str, int] = {fate: n for fate, n in mirrored(proxy)["fates"].items() if n}
    return fates


def scrubbers(proxy: SupervisedProxy) -> list[int]:
    """Process ids of the scrubbing processes."""
    return [
        child for worker in proxy.workers() for child in process.children(worker)
        if b"scrubprocess" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]  # fmt: skip


def warmed(proxy: SupervisedProxy) -> int:
    """Send requests until one was scrubbed and answered; how many it took."""
    with Client(proxy.address("front")) as client:
        for count in range(1, 200):
            client.get("/warm")
            if settled(proxy, count).get("paired"):
                return count
    raise AssertionError("never scrubbed")


def assert_clean(wire: bytes) -> None:
    """No secret is in these bytes, plain, in base64 or in capital letters."""
    lower = wire.lower()
    for secret in SECRETS.values():
        assert secret.lower().encode() not in lower, secret
        assert base64.b64encode(secret.encode()) not in wire, secret


def test_a_shadow_is_sent_pseudonyms_and_live_what_clients_sent(origins: dict[str, Origin], tmp_path: Path) -> None:
    """In the target, in fields, in JSON, chunked, compressed: none of the secrets, the same pseudonym for each everywhere, and all else as it was."""
    body = json.dumps(ORDER).encode()
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        before = warmed(proxy)
        with Client(proxy.address("front")) as client:
            target = f"/orders?page=2&token={SECRETS['token']}&who={SECRETS['mail'].replace('@', '%40')}"
            assert client.request("POST", target, *FIELDS, JSON, body=body).body == b"hello"
            assert client.request("PUT", "/zip", JSON, ("Content-Encoding", "gzip"), body=gzip.compress(body)).status == 200
            client.send(
                b"POST /chunked HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for piece in (body[:20], body[20:]):
                client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
            assert client.response("POST").status == 200
        assert settled(proxy, before + 3)["paired"] >= 4
        live, shadow = origins["live"].wait_for("/orders"), origins["shadow"].wait_for("/orders")
        assert (live.target, live.body) == (target, body)
        for name in ("/orders", "/zip", "/chunked"):
            seen = origins["shadow"].wait_for(name)
            sent = json.loads(seen.body)
            assert sent["sku"] == "hat-10"
            assert sent["email"].endswith(".example")
            assert sent["note"] == f"write to {sent['email']}"
            assert sent["card"].isdigit()
            assert seen.one("Content-Length") == str(len(seen.body))
            assert not seen.all("Transfer-Encoding")
            assert not seen.all("Content-Encoding")
        sent = json.loads(shadow.body)
        assert shadow.target.startswith("/orders?page=2&token=")
        assert shadow.one("X-Note") == f"from {sent['email']}"
        assert shadow.one("Cookie").startswith("session=")
        assert shadow.one("Authorization").startswith("Basic ")
        assert shadow.one("X-Beta") == "1"
        assert shadow.one("X-Shadow-Mirror").startswith("shadow;by=")
        assert shadow.one("traceparent")[3:35] == live.one("traceparent")[3:35]
        for connection in origins["shadow"].connections:
            assert_clean(bytes(connection.raw))


def test_what_cannot_be_looked_through_is_not_sent(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Binary, a coding that nobody knows, one that is broken, a bomb, too much: live gets it, the shadow never, and each is counted."""
    bomb = gzip.compress(bytes(3_000_000))
    bodies: list[tuple[bytes, tuple[tuple[str, str], ...]]] = [
        (b"\x00\x01\x02", ()),
        (b"{}", (("Content-Encoding", "rot13"),)),
        (b"{}", (("Content-Encoding", "gzip"),)),
        (bomb, (("Content-Encoding", "gzip"),)),
        (b"x" * 1_500_000, (("Content-Type", "text/plain"),)),
        (b'{"password" - drink', (JSON,)),
        (b'--B\r\nContent-Disposition: form-data; name="i"; filename="i.png"\r\n\r\n\x89PNG\x00\r\n--B--\r\n', (("Content-Type", "multipart/form-data; boundary=B"),)),
    ]  # fmt: skip
    with SupervisedProxy(config(origins, body_limit="8MiB", body_budget="8MiB"), tmp_path) as proxy:
        before = warmed(proxy)
        with Client(proxy.address("front")) as client:
            for body, fields in bodies:
                assert client.request("POST", "/bad", *fields, body=body).status == 200
        fates = settled(proxy, before + len(bodies))
        assert fates["shed_unscrubbable"] == len(bodies)
        assert len(origins["live"].seen("/bad")) == len(bodies)
        assert not origins["shadow"].seen("/bad")


def test_a_process_that_dies_costs_its_copies_and_comes_back(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Stopped, then killed: live is answered all the while, nothing unscrubbed is sent, every copy is counted, and a new process takes over."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        before = warmed(proxy)
        (scrubber,) = scrubbers(proxy)
        os.kill(scrubber, signal.SIGSTOP)
        with Client(proxy.address("front")) as client:
            for number in range(5):
                assert client.request("POST", f"/{number}", *FIELDS, JSON, body=json.dumps(ORDER).encode()).status == 200
            late = settled(proxy, before + 5)
            os.kill(scrubber, signal.SIGKILL)
            eventually(
                lambda: client.get("/alive").status == 200 and [one for one in scrubbers(proxy) if one != scrubber],
                "a new process",
                patience_s=60,
            )
            (follower,) = scrubbers(proxy)
            paired = mirrored(proxy)["fates"].get("paired", 0)
            eventually(lambda: client.get("/on") and mirrored(proxy)["fates"].get("paired", 0) > paired, "it scrubs", patience_s=60)
        assert late["shed_scrub"] >= 5
        assert follower != scrubber
        for connection in origins["shadow"].connections:
            assert_clean(bytes(connection.raw))
    eventually(lambda: not process.is_alive(follower), "it ended with its worker")


def test_a_worker_that_is_killed_leaves_no_process(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Its scrubber notices, and the next worker has one of its own."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        warmed(proxy)
        (scrubber,) = scrubbers(proxy)
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: not process.is_alive(scrubber), "it ended with its worker")
        eventually(lambda: scrubbers(proxy), "the next worker has one", patience_s=60)


def test_it_is_switched_on_and_off_by_a_reload(origins: dict[str, Origin], tmp_path: Path) -> None:
    """No process while nothing is scrubbed; the key is in no argument and no environment of it; other rules count from the reload on."""
    with SupervisedProxy(config(origins, scrub=False), tmp_path) as proxy:
        assert not scrubbers(proxy)
        with Client(proxy.address("front")) as client:
            client.request("POST", "/plain", JSON, body=json.dumps(ORDER).encode())
            assert json.loads(origins["shadow"].wait_for("/plain").body) == ORDER
            proxy.write(config(origins) | {"redaction": {"fields": ["sku"]}})
            proxy.hup()
            eventually(lambda: scrubbers(proxy), "a process", patience_s=60)
            (scrubber,) = scrubbers(proxy)
            key = (tmp_path / "state.db.redaction.key").read_text().strip() if (tmp_path / "state.db.redaction.key").exists() else ""
            key = key or next(tmp_path.glob("*redaction.key")).read_text().strip()
            for place in ("cmdline", "environ"):
                assert key.encode() not in Path(f"/proc/{scrubber}/{place}").read_bytes()
            eventually(lambda: client.get("/on") and mirrored(proxy)["fates"].get("paired", 0) > 1, "it scrubs", patience_s=60)
            client.request("POST", "/scrubbed", JSON, body=json.dumps(ORDER).encode())
            assert json.loads(origins["shadow"].wait_for("/scrubbed").body)["sku"] != "hat-10"
        proxy.write(config(origins, scrub=False))
        proxy.hup()
        eventually(lambda: not process.is_alive(scrubber), "it ended", patience_s=60)


def test_pseudonyms_that_come_back_are_no_difference(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Live and shadow repeat what they were sent; field by field they say the same, and the verdict is no regression."""
    for origin in origins.values():
        origin.answer = echoed
    with SupervisedProxy(config(origins, capture={"per_second": 1000}), tmp_path) as proxy:
        before = warmed(proxy)
        with Client(proxy.address("front")) as client:
            for number in range(60):
                body = json.dumps(ORDER | {"email": f"alice{number}@wonderland.org", "note": f"to alice{number}@wonderland.org"}).encode()
                assert client.request("POST", "/orders", JSON, body=body).body == body
        assert settled(proxy, before + 60)["paired"] >= 60
        eventually(lambda: bodies_compared(proxy) >= 20, "answers are compared", patience_s=60)
        assert verdict(proxy)["verdict"] in {"UNDECIDED", "SAFE"}
        assert verdict(proxy)["fields"] == []
        assert all(seen.body != origins["live"].seen("/orders")[0].body for seen in origins["shadow"].seen("/orders"))


def verdict(proxy: SupervisedProxy) -> Any:
    """The document of the one mirror."""
    (found,) = proxy.api("GET", "/api/v1/verdict").json()["verdicts"]
    return found


def bodies_compared(proxy: SupervisedProxy) -> float:
    """Captured pairs whose answers were compared."""
    name = 'shadowproxy_captures_total{result="compared"} '
    lines = proxy.api("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def echoed(turn: Turn) -> None:
    """The request's body as JSON."""
    ok(turn.read_body(), fields=[JSON])(turn)
