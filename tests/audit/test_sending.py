"""Probes on the wire: what a real server gets, and what is made of every answer."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from shadowproxy.audit.plan import Probe, Wishes, make
from shadowproxy.audit.sending import OUT_OF_TIME, Answer, Key, Sender, Target, target_of
from shadowproxy.errors import AuditFailed
from shadowproxy.passports import Request, Terms, verify
from tests.audit.samples import HONEY, ORDERS, config, plan
from tests.kit import Origin, answers
from tests.kit.network import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBLEM = [("Server", "shadowproxy"), ("Content-Type", "application/problem+json")]
SECRET = b"a passport key has at least thirty-two bytes"


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A server that records what it gets."""
    running = Origin("listener")
    yield running
    running.stop()


def sender(port: int, **changed: Any) -> Sender:
    """Sends to a port as if it were the listener `front`."""
    told: dict[str, Any] = {"context": ssl.create_default_context(), "key": None, "timeout_s": 5.0, **changed}
    return Sender({"front": Target("http", HOST, port)}, **told)


def port_of(origin: Origin) -> int:
    """Where it listens."""
    return int(origin.authority.rpartition(":")[2])


def first(method: str = "POST") -> Probe:
    """The first probe of a method to /orders."""
    return plan(methods=(method,), authorities={"front": "shop.example"}).probes[0]


def test_a_probe_is_sent_as_planned(origin: Origin) -> None:
    """Host, fields, body and its length; nothing else but that the connection ends."""
    probe = first()
    assert sender(port_of(origin)).send(probe) == Answer(200)
    seen = origin.wait_for("/orders")
    assert (seen.method, seen.target, seen.body) == ("POST", probe.target, probe.body)
    assert sorted(seen.fields) == sorted(
        [("Host", "shop.example"), *probe.headers, ("Content-Length", str(len(probe.body))), ("Connection", "close")]
    )


def test_a_get_has_no_body(origin: Origin) -> None:
    """And no length of one."""
    probe = first("GET")
    sender(port_of(origin)).send(probe)
    assert not origin.wait_for("/orders").has("Content-Length")


def test_a_signed_probe_is_believed(origin: Origin) -> None:
    """The passport covers what was sent, by the rules that a worker verifies it by; each has a nonce of its own."""
    signed = config(
        ORDERS,
        listen=[{"name": "front", "address": "127.0.0.1:8080", "trust": "signed"}],
        tenancy={"passports": {"keys": {"k1": {"file": "/nowhere"}}}},
    )
    probe = make(signed, HONEY, Wishes(has_key=True, methods=("POST",), tenant="nightly")).probes[0]
    nonces = []
    for count in (1, 2):
        sender(port_of(origin), key=Key("k1", SECRET)).send(probe)
        seen = origin.wait_for("/orders", count)
        fields = [(name.lower().encode(), value.encode()) for name, value in seen.fields]
        request = Request(seen.method.encode(), b"http", seen.one("Host").encode(), seen.target.encode(), fields)
        passport = verify(request, seen.body, tagged_by={b"x-test-traffic"}, terms=Terms({"k1": SECRET}, 300, 5), now=time.time())
        assert seen.one("X-Test-Traffic") == "nightly"
        nonces.append(passport.nonce)
    assert len(set(nonces)) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answers.ok(b"{}", status=201), Answer(201)),
        (answers.ok(b'{"code": "no_route"}', status=404, fields=PROBLEM), Answer(404, "no_route")),
        (answers.ok(b'{"code": "x"}', status=400, fields=[*PROBLEM, ("X-Shadow-Sink", "mock")]), Answer(400, "", "mock")),
        (answers.ok(b"not json", status=403, fields=PROBLEM), Answer(403, "refused")),
        (answers.ok(b"[]", status=403, fields=PROBLEM), Answer(403, "refused")),
        (answers.ok(b'{"code": "theirs"}', status=403, fields=PROBLEM[1:]), Answer(403)),
        (answers.raw_then_close(b"nonsense\r\n\r\n"), None),
        (answers.reset(), None),
        (answers.close(), None),
    ],
)
def test_answers(origin: Origin, answer: Any, expected: Answer | None) -> None:
    """The proxy's own refusals by their code, sinks by their name, everything else by its status; what is no answer by its reason."""
    origin.answer = answer
    got = sender(port_of(origin)).send(first())
    if expected is None:
        assert got.status == 0
        assert got.error
    else:
        assert got == expected


def test_a_proxy_that_has_just_started_is_asked_again(origin: Origin) -> None:
    """For some seconds it cannot believe any passport; that is waited for, within bounds."""
    early = answers.ok(b'{"code": "passport_created_before_start"}', status=403, fields=PROBLEM)
    origin.queue(early, early)
    sent = plan(methods=("GET",))
    assert [answer for _, answer in sender(port_of(origin)).all(sent, time.monotonic() + 20)] == [Answer(200)]
    origin.answer = early
    assert [answer.code for _, answer in sender(port_of(origin)).all(sent, time.monotonic() + 0.3)] == ["passport_created_before_start"]


def test_nothing_is_waited_for_without_end(origin: Origin) -> None:
    """Neither an answer that does not come nor one that does not end, however much of it there is."""
    origin.answer = answers.hang()
    assert sender(port_of(origin), timeout_s=0.2).send(first()) == Answer(error="no answer in time")
    origin.answer = answers.endless(fields=PROBLEM)
    assert sender(port_of(origin), timeout_s=5).send(first("GET")).code == "refused"


def test_nobody_there() -> None:
    """A refused connection is an answer too."""
    assert sender(free_port()).send(first()).error == "connection refused"


def test_after_the_deadline_nothing_is_sent(origin: Origin) -> None:
    """The rest is told as not sent."""
    sent = plan()
    told = dict(sender(port_of(origin)).all(sent, time.monotonic() - 1))
    assert {answer.error for answer in told.values()} == {OUT_OF_TIME}
    assert len(told) == len(sent.probes)
    assert not origin.open_connections


def test_tls_listeners_are_verified() -> None:
    """By the authorities that are given, and by nobody else's."""
    authority = trustme.CA()
    served, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(HOST).configure_cert(served)
    authority.configure_trust(ours)
    origin = Origin("tls", tls=served)
    try:
        told = sender(port_of(origin), context=ours)
        told = replace(told, targets={"front": Target("https", HOST, port_of(origin))})
        assert told.send(first()).status == 200
        assert "certificate" in replace(told, context=ssl.create_default_context()).send(first()).error.lower()
    finally:
        origin.stop()


@pytest.mark.parametrize(
    ("url", "authority"),
    [("http://a", "a"), ("https://a:443/x", "a"), ("http://a:8080", "a:8080"), ("http://[::1]:90", "[::1]:90"), ("https://a:80", "a:80")],
)
def test_targets(url: str, authority: str) -> None:
    """As requests name them: without the port that goes without saying."""
    assert target_of(url).authority == authority


@pytest.mark.parametrize("url", ["", "a:80", "ftp://a", "http://", "http://a:x", "http://[::1", "http://a:99999"])
def test_what_is_no_target(url: str) -> None:
    """Refused in a sentence."""
    with pytest.raises(AuditFailed, match="no http or https URL"):
        target_of(url)
