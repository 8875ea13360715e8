"""Faults of experiments, over real sockets: what clients see, and that what follows on their connections is as ever.

One worker, with a route and an experiment for every kind; only the user `hit` is in a slice.
"""

from __future__ import annotations

import json
import random
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme
import yaml

from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_text
from shadowproxy.dataplane import messages
from tests.kit import Origin, Truncated, World, answers, settings
from tests.kit.client import chunked_wire, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit import Client, Response

LEASE_NS: Final = 3600 * 10**9
HIT: Final = ("X-User", "hit")
BODY: Final = b'{"a":1,"text":"0123456789"}'
LONG: Final = b"x" * 400_000

INSTEAD: Final[dict[str, dict[str, Any]]] = {
    "abort": {"abort": {"status": 503}},
    "grpc": {"abort": {"grpc": 14, "body": "gone"}},
    "black_hole": {"black_hole": True},
    "throttle": {"throttle": {"rate": 0.001}},
}
WITHOUT: Final[dict[str, dict[str, Any]]] = {"reset": {"reset": True}, "half_close": {"half_close": True}, "hang": {"hang": "100ms"}}
LATE: Final[dict[str, dict[str, Any]]] = {
    "delay": {"delay": "30ms"},
    "first_byte": {"first_byte": "30ms"},
    "download": {"download": 2000},
    "dribble": {"dribble": {"size": 10, "every": "5ms"}},
    "upload": {"upload": 500},
    "headers": {"headers": {"set": {"X-Seen": "fault"}, "remove": ["X-Origin"]}},
}
DAMAGED: Final[dict[str, dict[str, Any]]] = {
    "corrupt": {"corrupt": {"share": 1}},
    "json": {"corrupt": {"json": [{"path": "$.a", "do": "drop"}]}},
}
ENDLESS: Final[dict[str, dict[str, Any]]] = {
    "truncate": {"truncate": 5},
    "held": {"hang": "10m"},
    "slow": {"download": 100},
    "late": {"delay": "60s"},
}
FLOWS: Final[dict[str, dict[str, Any]]] = {"up": {"upload": "4MiB"}, "down": {"download": "4MiB"}}
KINDS: Final = INSTEAD | WITHOUT | LATE | DAMAGED | ENDLESS | FLOWS


def _armed(kind: str, lease: int) -> dict[str, Any]:
    text = yaml.safe_dump({
        "name": kind, "owner": "tests", "hypothesis": {"fault": "f", "expect": "e", "impact": "i"},
        "inject": {"routes": [kind], "faults": [KINDS[kind]]},
        "slice": {"percent": 0.001, "key": "header:X-User", "pinned": ["hit"]},
        "duration": "1h", "guards": [{"metric": "error_rate", "above": 99}],
    })  # fmt: skip
    return {
        "id": f"{kind}-1", "epoch": 1, "lease": lease, "lease_ns": LEASE_NS, "percent": 0.001, "dry": False, "workers": 1, "deny": [],
        "experiment": experiment_to_plain(load_experiment_text(text)),
    }  # fmt: skip


def _routes() -> list[dict[str, Any]]:
    return [{"name": kind, "match": {"path": f"/{kind}"}, "live": "live"} for kind in KINDS]


def _arm(world: World) -> None:
    for lease in range(len(KINDS)):
        world.proxy.set_word(messages.LEASE_WORD + lease, time.monotonic_ns() + LEASE_NS)
    world.proxy.told["experiments"] = {"armed": [_armed(kind, lease) for lease, kind in enumerate(KINDS)]}
    world.apply(world.config)


@pytest.fixture(scope="module")
def lab() -> Iterator[World]:
    """The worker, armed."""
    config = settings(live={"connect_timeout": "200ms"})
    config["routes"] = _routes() + config["routes"]
    with World(config) as world:
        _arm(world)
        yield world


@pytest.fixture
def faulty(lab: World) -> Iterator[World]:
    """The same, clean."""
    lab.live.answer = answers.ok(BODY, fields=[("Content-Type", "application/json"), ("X-Origin", "live")])
    yield lab
    lab.forget()


def _request(shape: str, kind: str) -> tuple[bytes, str, str]:
    """A request of the user that is hit: bytes, method, version."""
    if shape == "post":
        return wire("POST", f"/{kind}", HIT, body=b"hello"), "POST", "1.1"
    if shape == "chunked":
        return chunked_wire("POST", f"/{kind}", HIT, pieces=[b"he", b"llo"]), "POST", "1.1"
    if shape == "head":
        return wire("HEAD", f"/{kind}", HIT), "HEAD", "1.1"
    if shape == "1.0":
        return f"GET /{kind} HTTP/1.0\r\nX-User: hit\r\n\r\n".encode(), "GET", "1.0"
    return wire("GET", f"/{kind}", HIT), "GET", "1.1"


SHAPES: Final = ("get", "post", "chunked", "head", "1.0")


def _others_are_well(client: Client, kind: str) -> None:
    """The next request on the connection is served, and one of another user is not hit."""
    other = client.get(f"/{kind}", ("X-User", "other"))
    assert (other.status, other.body, other.has("X-Shadowproxy-Fault")) == (200, BODY, False)


def _mark(answer: Response) -> str:
    return answer.one("X-Shadowproxy-Fault")


@pytest.mark.parametrize("kind", INSTEAD)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_made_up_answer(faulty: World, kind: str, shape: str) -> None:
    """In place of live's, which is not asked; the connection goes on."""
    asked, method, version = _request(shape, kind)
    with faulty.client() as client:
        if kind == "throttle":
            # The first is admitted, once in a thousand seconds.
            client.get("/throttle", HIT)
        before = len(faulty.live.seen(f"/{kind}"))
        client.send(asked)
        answer = client.response(method, version=version)
        assert answer.status == {"abort": 503, "grpc": 200, "black_hole": 504, "throttle": 429}[kind]
        assert _mark(answer) == f"{kind};{'abort' if kind == 'grpc' else kind}"
        if kind == "grpc":
            assert (answer.one("grpc-status"), answer.one("grpc-message"), answer.body) == ("14", "gone", b"")
        elif method != "HEAD":
            assert json.loads(answer.body)["code"] == f"injected_{kind}"
        assert len(faulty.live.seen(f"/{kind}")) == before
        # A chunked body is read after the head has been decided on: it was not waited for.
        if version == "1.0" or answer.all("Connection") == ["close"]:
            assert shape in {"chunked", "1.0"}
            client.expect_end()
        else:
            _others_are_well(client, kind)


@pytest.mark.parametrize("kind", WITHOUT)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_answer(faulty: World, kind: str, shape: str) -> None:
    """The connection ends without a byte, in the way that was asked for."""
    asked, _, _ = _request(shape, kind)
    with faulty.client() as client:
        client.send(asked)
        if kind == "reset":
            with pytest.raises(ConnectionResetError):
                client.receive()
        else:
            assert client.receive() == b""
    assert not faulty.live.seen(f"/{kind}")


@pytest.mark.parametrize("kind", LATE | DAMAGED)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "unsized"])
def test_a_distorted_answer(faulty: World, kind: str, shape: str, *, is_chunked: bool) -> None:
    """Well framed, marked, and of the length that it says; live has got the whole request; the connection goes on."""
    fields = [("Content-Type", "application/json"), ("X-Origin", "live")]
    if is_chunked:
        faulty.live.queue(
            answers.chunked([BODY[:9], BODY[9:]], fields=fields, trailers=[("X-Sum", "1")])
            if shape != "head"
            else answers.ok(BODY, fields=fields)
        )
    asked, method, version = _request(shape, kind)
    with faulty.client() as client:
        client.send(asked)
        answer = client.response(method, version=version)
        assert answer.status == 200
        is_bodiless = method == "HEAD"
        is_hit = (
            kind in {"delay", "first_byte", "headers"} or (kind == "upload" and method == "POST") or (kind != "upload" and not is_bodiless)
        )
        assert answer.all("X-Shadowproxy-Fault") == ([f"{kind};{'corrupt' if kind == 'json' else kind}"] if is_hit else [])
        if kind == "headers":
            assert (answer.all("X-Seen"), answer.all("X-Origin")) == (["fault"], [])
        if is_bodiless:
            assert answer.body == b""
        elif kind == "json":
            assert json.loads(answer.body) == {"text": "0123456789"}
        else:
            assert len(answer.body) == len(BODY)
            assert (answer.body == BODY) is (kind != "corrupt")
            assert kind != "corrupt" or all(one != other for one, other in zip(answer.body, BODY, strict=True))
        if is_chunked and version != "1.0" and not is_bodiless:
            assert answer.trailers == (("X-Sum", "1"),)
        if method == "POST":
            assert faulty.live.wait_for(f"/{kind}").body == b"hello"
        if version == "1.0":
            client.expect_end()
        else:
            _others_are_well(client, kind)


@pytest.mark.parametrize("shape", ["get", "post", "chunked", "1.0"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "unsized"])
@pytest.mark.parametrize("body", [BODY, LONG], ids=["short", "long"])
def test_a_truncated_answer(faulty: World, shape: str, body: bytes, *, is_chunked: bool) -> None:
    """No client takes it for whole; it gets no byte more than it should, and nothing behind it."""
    faulty.live.queue(answers.chunked([body]) if is_chunked else answers.ok(body))
    asked, method, version = _request(shape, "truncate")
    with faulty.client() as client:
        client.send(asked + (asked if version == "1.1" else b""))
        got: list[Response | bytes] = []
        with pytest.raises((Truncated, ConnectionResetError)):
            got.extend(client.stream(method, version=version))
        payload = b"".join(piece for piece in got if isinstance(piece, bytes))
        assert body.startswith(payload)
        assert len(payload) <= 5


@pytest.mark.parametrize("kind", [*INSTEAD, *LATE, *DAMAGED])
def test_pipelined_requests_are_answered_in_order(faulty: World, kind: str) -> None:
    """One that is hit between two that are not."""
    with faulty.client() as client:
        other = wire("GET", f"/{kind}", ("X-User", "other"))
        client.send(other + wire("POST", f"/{kind}", HIT, body=b"hello") + other)
        found = [client.response(method) for method in ("GET", "POST", "GET")]
        assert [answer.has("X-Shadowproxy-Fault") for answer in found] == [False, kind != "throttle" or found[1].status == 429, False]
        assert found[0].body == found[2].body == BODY


@pytest.mark.parametrize("kind", ["abort", "black_hole", "hang", "half_close", "late"])
def test_an_unread_body_is_never_a_request(faulty: World, kind: str) -> None:
    """A made-up answer comes before the body: what follows is discarded (CVE-2019-20372), also where it looks like a request."""
    smuggled = wire("GET", "/smuggled", ("X-User", "other"))
    with faulty.client() as client:
        client.send(f"POST /{kind} HTTP/1.1\r\nHost: h\r\nX-User: hit\r\nContent-Length: {len(smuggled) * 9}\r\n\r\n".encode())
        if kind == "abort":
            assert client.response("POST").one("Connection") == "close"
        client.send(smuggled + smuggled + smuggled)
        if kind == "late":
            assert client.is_quiet(0.05)
        else:
            assert client.remainder().count(b"HTTP/1.1 ") <= 1
    assert faulty.untouched("/smuggled")


def test_a_slow_client_of_a_slow_answer_gets_all_of_it(faulty: World) -> None:
    """What waits is in bounds on every side, and every byte arrives."""
    faulty.live.answer = answers.ok(LONG)
    with faulty.client(receive_buffer=4096) as client:
        client.send(wire("GET", "/first_byte", HIT))
        time.sleep(0.1)
        assert client.response().body == LONG


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
def test_a_long_body_at_a_rate_arrives_whole(faulty: World, kind: str, *, is_chunked: bool) -> None:
    """Far more than may wait anywhere, both ways: every byte, in order, and not before its time."""
    body = random.Random(4).randbytes(1_200_000)
    faulty.live.answer = answers.echo()
    asked = chunked_wire("POST", f"/{kind}", HIT, pieces=[body]) if is_chunked else wire("POST", f"/{kind}", HIT, body=body)
    with faulty.client() as client:
        begun = time.monotonic()
        client.send(asked)
        answer = client.response("POST")
        assert time.monotonic() - begun > 0.25
        assert answer.body == body
        assert _mark(answer) == f"{kind};{'upload' if kind == 'up' else 'download'}"
        assert client.request("POST", f"/{kind}", ("X-User", "other"), body=b"x").body == b"x"
    assert faulty.live.seen(f"/{kind}")[0].body == body


@pytest.mark.parametrize("kind", ["held", "slow", "late"])
def test_clients_that_leave_are_forgotten(faulty: World, kind: str) -> None:
    """Many, all of whom would have waited long: the worker serves others, and holds nothing of them."""
    for _ in range(20):
        client = faulty.client()
        client.send(wire("GET", f"/{kind}", HIT))
        if kind == "slow":
            assert client.receive().startswith(b"HTTP/1.1 200 ")
        client.abort()
    # With more than `active` of them left the fault would not happen any more.
    for _ in range(100):
        client = faulty.client()
        client.send(wire("GET", f"/{kind}", HIT))
        client.abort()
    with faulty.client() as client:
        _others_are_well(client, kind)


def test_the_end_of_the_lease_lets_everything_go() -> None:
    """Delayed, hanging, dribbling: all of it is answered at once and whole, though control says nothing any more."""
    config = settings()
    config["routes"] = _routes() + config["routes"]
    with World(config) as world:
        world.live.answer = answers.ok(BODY)
        _arm(world)
        waiting = {kind: world.client() for kind in ("held", "slow", "late")}
        for kind, client in waiting.items():
            client.send(wire("GET", f"/{kind}", HIT))
        assert all(client.is_quiet(0.05) for kind, client in waiting.items() if kind != "slow")
        for lease in range(len(KINDS)):
            world.proxy.set_word(messages.LEASE_WORD + lease, time.monotonic_ns())
        for client in waiting.values():
            assert client.response().body == BODY
        with world.client() as client:
            assert client.get("/abort", HIT).body == BODY


def test_faults_over_tls(tmp_path: Path) -> None:
    """On both sides of the proxy: what a client sees is the same, and no end of a connection is mistaken for that of an answer."""
    authority = trustme.CA()
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    live = Origin("live", tls=server)
    config = settings(listener={"tls": {"cert": cert, "key": key}}, live={"endpoints": [live.url], "tls": {"ca": ca}})
    config["routes"] = _routes() + config["routes"]
    with World(config, live=live) as world:
        _arm(world)
        live.answer = answers.ok(BODY, fields=[("Content-Type", "application/json"), ("X-Origin", "live")])
        for kind in KINDS:
            with world.client(tls=context) as client:
                client.send(wire("POST", f"/{kind}", HIT, body=b"hello"))
                if kind in WITHOUT:
                    assert client.remainder() == b""
                elif kind == "truncate":
                    with pytest.raises((Truncated, ConnectionResetError, ssl.SSLError)):
                        client.response("POST")
                elif kind not in ENDLESS and kind != "black_hole":
                    answer = client.response("POST")
                    assert answer.has("X-Shadowproxy-Fault") or kind == "throttle"
                    _others_are_well(client, kind)
