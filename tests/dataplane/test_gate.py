"""What a listener asks of requests that are tests, or that may be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from shadowproxy.config import load_text
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.gate import Gate, gate_of, without_passport
from shadowproxy.dataplane.messages import TRACES_BYTES
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.traces import Traces
from shadowproxy.errors import BadRequest, PassportRefused
from shadowproxy.passports import Request, Terms, mint
from tests.dataplane.room import Room

if TYPE_CHECKING:
    from shadowproxy.dataplane.accept import ClientConnection
    from shadowproxy.dataplane.request_lines import RequestHead

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"traceparent: 00-" + TRACE + b"-00f067aa0ba902b7-01"
KEY = b"k" * 32


def head(*lines: bytes, method: bytes = b"GET") -> RequestHead:
    """The head of a request with these lines."""
    heads = RequestHeads(frozenset(), count_limit=200, line_limit=16384)
    return heads.read(b"\r\n".join([method + b" /a?b=1 HTTP/1.1", b"Host: h", *lines, b"", b""]))[3]


def gate(listener: str, **terms: Any) -> Gate:
    """The gate of a listener with these settings."""
    config = load_text(f"""
listen: [{{name: l, address: "127.0.0.1:8080", {listener}}}]
tenancy: {{passports: {{keys: {{k1: {{file: f}}}}}}}}
fleets: {{live: {{endpoints: ["http://127.0.0.1:9001"]}}}}
routes: [{{live: live}}]
""").config
    made = gate_of(config.listen[0], Terms(keys={"k1": KEY}, lifetime_s=300, skew_s=5, since=0.0, **terms))
    assert made is not None
    return made


def exchange(request: RequestHead, address: str = "192.0.2.1") -> Exchange:
    """A request from an address."""
    side = Room().client(address)
    return Exchange(cast("ClientConnection", side.connection), (b"GET", b"/a?b=1", b"/a", request), time.monotonic_ns(), b"")


def test_a_listener_that_asks_nothing_has_no_gate() -> None:
    """So that its untagged requests pay for none of this."""
    room = Room()
    assert room.worker.gates == {}
    assert room.client().connection.gate is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("listener", "lines", "expected"),
    [
        ("egress: {}", [], None),
        ("egress: {}", [b"X-Test-Traffic: a"], ("tag", b"a")),
        ("egress: {}", [b"X-Shadow-Mirror: m;by=1"], ("mark", b"shadow")),
        ("egress: {}", [b"x_shadow.mirror:"], ("mark", b"shadow")),
        ("egress: {}", [b"X-Test-Traffic: a", b"X-Shadow-Mirror: m"], ("tag", b"a")),
        ("egress: {}", [PARENT], ("trace", b"known")),
        ("egress: {}", [PARENT.replace(b"4bf9", b"4bf8")], None),
        ("egress: {}", [PARENT, PARENT], None),
        ("egress: {}", [PARENT, b"X-Test-Traffic: false"], ("trace", b"known")),
        ("egress: {calls: all}", [], ("listener", b"shadow")),
        ("egress: {calls: all}", [b"X-Test-Traffic: a"], ("tag", b"a")),
        ("trust: signed", [PARENT], None),
        ("trust: signed", [b"X-Shadow-Mirror: m"], None),
        ("trust: signed", [b"X-Test-Traffic: a"], ("tag", b"a")),
    ],
)
def test_why_a_call_counts_as_a_test(listener: str, lines: list[bytes], expected: object) -> None:
    """By its tag before all; at egress listeners also by a mirror's mark, by the listener, or by its trace."""
    traces = Traces(memoryview(bytearray(TRACES_BYTES)))
    traces.add(TRACE, b"known")
    assert gate(listener).origin(head(*lines), traces) == expected


@pytest.mark.parametrize(
    ("address", "is_trusted"), [("10.1.2.3", True), ("192.0.2.1", False), ("2001:db8::1", True), ("::ffff:10.1.2.3", True), ("", False)]
)
def test_ranges(address: str, is_trusted: bool) -> None:
    """A tag counts by the peer's own address; one that is not known is not trusted."""
    made = gate('trust: {mode: cidrs, cidrs: ["10.0.0.0/8", "2001:db8::/32"]}')
    asked = exchange(head(b"X-Test-Traffic: a", b"X-Forwarded-For: 10.0.0.1"), address)
    if is_trusted:
        assert made.admit(asked) is None
    else:
        with pytest.raises(BadRequest) as refused:
            made.admit(asked)
        assert (refused.value.status, refused.value.code) == (403, "tag_not_trusted")


def passport(*also: tuple[bytes, bytes]) -> list[bytes]:
    """Lines of a good passport for `head`."""
    now = int(time.time())
    request = Request(b"GET", b"http", b"h", b"/a?b=1", also)
    fields = mint(request, b"", keyid="k1", key=KEY, nonce="n", created=now, expires=now + 60, also=[name.decode() for name, _ in also])
    return [f"{name}: {value}".encode() for name, value in fields]


def test_a_passport_must_cover_every_field_that_tags() -> None:
    """Good as it is, refused with another tag beside it that it does not cover, good with one that it does."""
    made = gate("trust: signed")
    assert made.admit(exchange(head(*passport()))) is not None
    for more in (b"x_test_traffic: true", b"baggage: synthetic_request=true"):
        with pytest.raises(PassportRefused):
            made.admit(exchange(head(*passport(), more)))
    covered = (b"baggage", b"synthetic_request=true,a=1")
    assert made.admit(exchange(head(*passport(covered), b": ".join(covered)))) is not None
    with pytest.raises(PassportRefused):
        made.admit(exchange(head(b"X-Test-Traffic: true")))


def test_our_signature_goes_no_further_and_others_do() -> None:
    """The key that it was made with is between the client and us."""
    asked = head(*passport(), b'Signature-Input: sig1=("@method");created=1', b"Signature: sig1=:AAAA:")
    lines = without_passport(asked).lines
    assert [line for line in lines if line.startswith(b"Signature")] == [
        b'Signature-Input: sig1=("@method");created=1', b"Signature: sig1=:AAAA:",
    ]  # fmt: skip
    assert not [line for line in without_passport(head(*passport())).lines if line.startswith(b"Signature")]


@pytest.mark.parametrize(
    ("listener", "lines", "name"),
    [
        ("egress: {service: cart}", [b"User-Agent: x"], "cart"),
        ("egress: {}", [b"User-Agent: cart/1.2 (linux)"], "cart"),
        ("egress: {}", [b"user-agent:  cart service"], "cart"),
        ("egress: {caller: X-Service}", [b"User-Agent: x", b"X-Service: cart"], "cart"),
        ("egress: {}", [b"User-Agent: /"], "192.0.2.1"),
        ("egress: {}", [b"User-Agent: " + b"x" * 99], "x" * 64),
        ("egress: {}", [], "192.0.2.1"),
    ],
)
def test_who_made_a_call(listener: str, lines: list[bytes], name: str) -> None:
    """As the config has it, as the service calls itself, or where it called from."""
    assert gate(listener).caller(head(*lines), b"192.0.2.1") == name
