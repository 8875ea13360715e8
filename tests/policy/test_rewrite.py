"""What is changed about a request for the fleet that gets it, and what is not."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shadowproxy.policy.rewrite import RewritePolicy, escapes, name_of, parameters, segments
from tests.data import doubtful_requests
from tests.strategies import targets

LINES = [b"Host: shop.example", b"X_Tenant: live", b"A:  b\t"]


@pytest.mark.parametrize(
    ("policy", "target", "expected"),
    [
        (RewritePolicy(), b"/a?b", b"/a?b"),
        (RewritePolicy(strip_prefix=b"/pay"), b"/pay/a?b", b"/a?b"),
        (RewritePolicy(strip_prefix=b"/pay"), b"/pay", b"/"),
        (RewritePolicy(strip_prefix=b"/pay"), b"/pay?x=/pay/", b"/?x=/pay/"),
        (RewritePolicy(strip_prefix=b"/pay"), b"/payments", b"/payments"),
        (RewritePolicy(strip_prefix=b"/pay", path_prefix=b"/v1"), b"/pay/a", b"/v1/a"),
        (RewritePolicy(path_prefix=b"/t/{tenant}"), b"/a", b"/t/canary-7/a"),
        (RewritePolicy(path_prefix=b"/t/{tenant}"), b"*", b"*"),
        (RewritePolicy(query={b"mode": b"test-{tenant}"}), b"/a", b"/a?mode=test-canary-7"),
        (RewritePolicy(query={b"mode": b"test"}), b"/a?", b"/a?mode=test"),
        (RewritePolicy(query={b"mode": b"test"}), b"/a?x=1&&y", b"/a?x=1&&y&mode=test"),
        (RewritePolicy(query={b"mode": b"test"}), b"/a?x=1;MODE=live;y=2&mode[0]=3&m%6Fde", b"/a?x=1;y=2&mode=test"),
    ],
)
def test_targets(policy: RewritePolicy, target: bytes, expected: bytes) -> None:
    """Prefixes go and come by whole segments; parameters that are set are set once."""
    assert policy.target(target, b"canary-7") == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RewritePolicy(), LINES),
        (RewritePolicy(host_mode="endpoint"), [b"Host: e:1", *LINES[1:]]),
        (RewritePolicy(host_mode="literal", host=b"{tenant}.test"), [b"Host: canary-7.test", *LINES[1:]]),
        (RewritePolicy(headers={b"x-tenant": b"test-{tenant}"}), [LINES[0], LINES[2], b"x-tenant: test-canary-7"]),
    ],
)
def test_lines(policy: RewritePolicy, expected: list[bytes]) -> None:
    """A field that is set takes the place of every spelling of it; the others stay, byte for byte."""
    assert policy.lines(LINES, b"canary-7", b"e:1") == expected


def test_a_partition_that_is_a_host_has_no_other_name() -> None:
    """What servers take for the Host goes, the fields of proxies before us included; elsewhere it stays."""
    said = [(b"x-forwarded-host", b"shop.example"), (b"x-forwarded-for", b"192.0.2.1"), (b"forwarded", b"host=shop.example")]
    lines = [b"Host: a", b"x_original_host: a", b"B: c"]
    partition = RewritePolicy(host_mode="literal", host=b"test.example", is_partition=True)
    assert partition.lines(lines, b"t", b"e") == [b"Host: test.example", b"B: c"]
    assert partition.forwarded(said) == [said[1]]
    other = RewritePolicy(host_mode="literal", host=b"test.example")
    assert other.lines(lines, b"t", b"e") == [b"Host: test.example", *lines[1:]]
    assert other.forwarded(said) == said


@given(targets(), st.lists(st.binary(max_size=20), max_size=4))
def test_what_no_rule_names_is_not_touched(target: str, lines: list[bytes]) -> None:
    """An empty policy changes nothing, a prefix nothing behind it, a parameter nothing of the others, a field nothing of the others (P5)."""
    raw = target.encode("latin-1")
    assert RewritePolicy().target(raw, b"t") == raw
    assert RewritePolicy(path_prefix=b"/p").target(raw, b"t") == b"/p" + raw
    assert RewritePolicy(strip_prefix=b"/p").target(b"/p" + raw, b"t") == raw
    assert RewritePolicy().lines(lines, b"t", b"e") == lines
    set_one = RewritePolicy(query={b"zzz": b"1"}, headers={b"zzz": b"1"})
    path, mark, query = raw.partition(b"?")
    assert set_one.target(raw, b"t") == (path + b"?" + query + b"&zzz=1" if mark and query else path + b"?zzz=1")
    assert set_one.lines(lines, b"t", b"e") == [*lines, b"zzz: 1"]


@given(st.text(alphabet="modeMODE%6Fo[]+;&=1a.", max_size=30))
def test_a_parameter_that_is_set_is_there_once(query: str) -> None:
    """Whatever the client wrote, every reader finds our value and no other."""
    target = RewritePolicy(query={b"mode": b"test"}).target(b"/?" + query.encode(), b"t")
    assert [value for name, value in parameters(target.partition(b"?")[2]) if name == b"mode"] == [b"test"]


def test_names_of_parameters() -> None:
    """Decoded, without an index, in lower case, with `_`, `.` and blanks as `-`."""
    assert [name_of(pair) for pair in (b"a=1", b"A%5Bx%5D=1", b"+a_b.c+d=", b"a%00b=1", b"=1", b"%")] == [
        b"a",
        b"a",
        b"a-b-c-d",
        b"a",
        b"",
        b"%",
    ]


@pytest.mark.parametrize("doubtful", doubtful_requests.LEAVING_A_PATH, ids=lambda doubtful: f"{doubtful[1]} {doubtful[2]}")
def test_what_leaves_a_path(doubtful: doubtful_requests.Doubtful) -> None:
    """Dots in any encoding, and fields that name another path."""
    _, target, lines, _ = doubtful
    policy = RewritePolicy(path_prefix=b"/t", is_partition=True)
    assert not policy.keeps(target.encode(), [line.encode() for line in lines])
    assert RewritePolicy(path_prefix=b"/t").keeps(target.encode(), [line.encode() for line in lines])


@pytest.mark.parametrize("doubtful", doubtful_requests.STAYING_IN_A_PATH, ids=lambda doubtful: doubtful[1])
def test_what_stays_in_a_path(doubtful: doubtful_requests.Doubtful) -> None:
    """Ordinary paths, encoded or not, and dots that are no steps."""
    assert RewritePolicy(path_prefix=b"/t", is_partition=True).keeps(doubtful[1].encode(), [])


def test_a_target_without_a_path_stays_in_no_path() -> None:
    """`OPTIONS *` cannot be given a prefix or a parameter."""
    assert not RewritePolicy(path_prefix=b"/t", is_partition=True).keeps(b"*", [])
    assert not RewritePolicy(query={b"a": b"b"}, is_partition=True).keeps(b"*", [])
    assert RewritePolicy(host_mode="literal", host=b"h", is_partition=True).keeps(b"*", [])


@given(st.text(alphabet="./\\%25eEfFcC;a ", max_size=24))
def test_what_is_said_to_stay_resolves_inside(path: str) -> None:
    """No number of decodings makes a step up of a path that is said to have none."""
    raw = b"/" + path.encode()
    assume(not escapes(raw))
    for _ in range(6):
        raw = unquote_to_bytes(raw)
        assert b".." not in raw.replace(b"\\", b"/").split(b"/")


def test_segments() -> None:
    """Decoded to the end, without parameters; None where it has no end, or is not UTF-8."""
    assert segments(b"/a/b") == ["", "a", "b"]
    assert segments(b"/%61%2fb;x=1\\c/%EF%BC%8E/") == ["", "a", "b", "c", ".", ""]
    assert segments(b"/%ff") is None
    assert segments(b"/%2525252525") is None
    assert segments(b"/%0a") is None
