"""What tells an upstream who asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.config.model import Forwarded
from shadowproxy.dataplane.forwarded import VIA_LIMIT, ForwardedFields, is_looping, networks, plain_address
from shadowproxy.dataplane.request_head import RequestHeads

if TYPE_CHECKING:
    from shadowproxy.dataplane.request_lines import RequestHead

TRUSTED = networks(("10.0.0.0/8", "fd00::/8"))
SAID = ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1", "Via: 1.0 cdn")


def _head(*lines: str, version: str = "1.1") -> RequestHead:
    wire = "\r\n".join([f"GET / HTTP/{version}", "Host: shop.example", *lines, "", ""]).encode()
    return RequestHeads(frozenset(), count_limit=20, line_limit=100).read(wire)[3]


def _lines(peer: str, head: RequestHead, mode: Forwarded = Forwarded.X_FORWARDED, scheme: bytes = b"http") -> list[str]:
    wire = ForwardedFields(peer, scheme, TRUSTED, mode).lines(head)
    assert wire.endswith(b"\r\n")
    return wire.decode().split("\r\n")[:-1]


@pytest.mark.parametrize(
    ("peer", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:c000:201", "::ffff:c000:201"),
        ("", ""),
    ],
)
def test_addresses_are_written_as_people_write_them(peer: str, plain: str) -> None:
    """Without zone, and as IPv4 where a dual-stack socket shows one."""
    assert plain_address(peer) == plain


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            Forwarded.X_FORWARDED,
            ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: shop.example", "Via: 1.1 shadowproxy"],
        ),
        (Forwarded.RFC7239, ['Forwarded: for=192.0.2.1;host="shop.example";proto=http', "Via: 1.1 shadowproxy"]),
        (
            Forwarded.BOTH,
            [
                "X-Forwarded-For: 192.0.2.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: shop.example",
                'Forwarded: for=192.0.2.1;host="shop.example";proto=http',
                "Via: 1.1 shadowproxy",
            ],
        ),
        (Forwarded.OFF, ["Via: 1.1 shadowproxy"]),
    ],
)
def test_a_stranger_s_claims_are_replaced_by_ours(mode: Forwarded, expected: list[str]) -> None:
    """A private address is no reason to trust; only Via goes on, which claims nothing about who asked."""
    assert _lines("192.0.2.1", _head(), mode) == expected
    assert _lines("192.0.2.1", _head(*SAID), mode) == [*expected[:-1], "Via: 1.0 cdn, 1.1 shadowproxy"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            Forwarded.X_FORWARDED,
            [
                "X-Forwarded-For: 1.1.1.1, 10.0.0.1",
                "X-Forwarded-Host: shop.example",
                "X-Forwarded-Proto: https",
                "X-Real-Ip: 1.1.1.1",
                "Forwarded: for=1.1.1.1",
            ],
        ),
        (
            Forwarded.RFC7239,
            [
                "X-Forwarded-For: 1.1.1.1",
                "X-Forwarded-Proto: https",
                "X-Real-Ip: 1.1.1.1",
                'Forwarded: for=1.1.1.1, for=10.0.0.1;host="shop.example";proto=http',
            ],
        ),
    ],
)
def test_a_trusted_proxy_s_claims_are_kept_and_added_to(mode: Forwarded, expected: list[str]) -> None:
    """What it said stays, ours comes behind."""
    assert _lines("10.0.0.1", _head(*SAID), mode) == [*expected, "Via: 1.0 cdn, 1.1 shadowproxy"]


def test_ipv6_and_versions_are_written_as_their_grammar_wants() -> None:
    """Brackets and quotes in Forwarded; Via names the protocol that was received."""
    assert (
        _lines("2001:db8::1", _head(), Forwarded.RFC7239, b"https")[0] == 'Forwarded: for="[2001:db8::1]";host="shop.example";proto=https'
    )
    assert _lines("192.0.2.1", _head(version="1.0"), Forwarded.OFF) == ["Via: 1.0 shadowproxy"]


def test_lines_follow_the_request_and_not_the_one_before() -> None:
    """The block that is kept for a connection is for one Host."""
    fields = ForwardedFields("192.0.2.1", b"http", (), Forwarded.X_FORWARDED)
    first = fields.lines(_head())
    assert fields.lines(_head()) is first
    other = _head()
    other.authority = b"other.example"
    assert b"X-Forwarded-Host: other.example" in fields.lines(other)
    assert b"Via: 1.1 a, 1.1 shadowproxy" in fields.lines(_head("Via: 1.1 a"))
    assert fields.lines(_head()) == first


@pytest.mark.parametrize(("times", "is_refused"), [(0, False), (VIA_LIMIT - 1, False), (VIA_LIMIT, True)])
def test_a_request_may_not_go_round_for_ever(times: int, is_refused: bool) -> None:
    """Our name in Via, however it is spread over lines."""
    assert is_looping(_head(*["Via: 1.1 shadowproxy"] * times, "Via: 1.1 other")) is is_refused
    assert is_looping(_head("Via: " + ", ".join(["1.1 shadowproxy"] * times + ["1.1 x"]))) is is_refused
