"""Heads that differ from what the client sent, for one request only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.tagging import rewritten, with_lines, with_tag
from shadowproxy.policy.rewrite import RewritePolicy

if TYPE_CHECKING:
    from shadowproxy.dataplane.request_lines import RequestHead

WIRE = (
    b"POST /a HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\nbaggage: a=1, synthetic_request=0\r\nX_Test_Traffic: false\r\nContent-Length: 3\r\n"
    b"Expect: 100-continue\r\nTE: trailers\r\nConnection: TE\r\nX-Forwarded-Host: other\r\nVia: 1.1 b\r\nX-Shadow-Mirror: m\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
)


def head() -> RequestHead:
    """What WIRE says."""
    return RequestHeads(frozenset({b"x-a"}), frozenset({b"x-a", b"host"}), count_limit=200, line_limit=16384).read(WIRE)[3]


def said(one: RequestHead) -> dict[str, object]:
    """Everything but the lines."""
    apart = {"lines", "common", "copies", "touched", "tenant"}
    # Not by its slots: the compiled class has none.
    return {name: getattr(one, name) for name in dir(one) if not name.startswith("_") and name not in apart}


def test_other_lines_change_nothing_else() -> None:
    """Every fact of the head but its lines stays, and the head that others share is not touched."""
    before = head()
    lines = list(before.lines)
    other = with_lines(before, [line for line in lines if not line.startswith(b"X-A")])
    assert said(other) == said(before)
    assert other.copies is not before.copies
    assert other.common == b"".join(line + b"\r\n" for line in other.lines)
    assert [name for name, _ in other.touched] == [b"host"]
    assert before.lines == lines


def test_another_host_is_the_authority() -> None:
    """Also for copies, which may get a Host of their own."""
    other = with_lines(head(), [b"Host: test.example"])
    assert other.authority == b"test.example"
    assert other.touched == [(b"host", b"Host: test.example")]


def test_a_tag_takes_the_place_of_what_was_said() -> None:
    """Header and baggage in our spelling, once each, in place of lines that said no; other people's baggage stays."""
    other = with_tag(head(), b"canary-7")
    assert other.tenant == b"canary-7"
    assert other.lines[-2:] == [b"X-Test-Traffic: canary-7", b"baggage: synthetic_request=true,test_tenant=canary-7,a=1"]
    assert sum(b"raffic" in line or b"aggage" in line for line in other.lines) == 2
    assert said(other) == said(head())


def test_a_rule_s_changes() -> None:
    """Lines, and what proxies before us said of the host."""
    policy = RewritePolicy(host_mode="literal", host=b"{tenant}.test", headers={b"x-a": b"2"}, is_partition=True)
    other = rewritten(head(), policy, b"canary-7", b"e:1")
    assert (other.authority, other.forwarded) == (b"canary-7.test", [])
    assert b"x-a: 2" in other.lines
    assert b"X-A: 1" not in other.lines
