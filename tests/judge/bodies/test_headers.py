"""Header fields compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies import headers
from shadowproxy.judge.bodies.difference import Differences
from shadowproxy.judge.bodies.rules import Rule, Rules, Treatment

Field = tuple[str, str]


def said(live: list[Field], shadow: list[Field], *rules: Rule) -> list[tuple[str, str]]:
    """The places and kinds of the differences."""
    found = Differences()
    headers.compare(found, Rules(rules), tuple(live), tuple(shadow))
    return [(difference.path, difference.kind.value) for difference in found]


@pytest.mark.parametrize(
    ("live", "shadow", "expected"),
    [
        ([("Vary", "Accept, Origin")], [("vary", "origin"), ("vary", "accept")], []),
        ([("Vary", "Accept")], [("Vary", "Accept, Origin")], [("header.vary", "extra")]),
        ([("Cache-Control", "public, max-age=60")], [("Cache-Control", "max-age=60")], [("header.cache-control", "missing")]),
        ([("Date", "a"), ("Connection", "close"), ("Age", "1"), ("Content-Length", "5")], [("Date", "b")], []),
        ([("Content-Type", "application/json; charset=utf-8")], [("content-type", 'application/json;charset="UTF-8"')], []),
        ([("Content-Type", "application/json")], [("Content-Type", "text/html")], [("header.content-type", "type")]),
        ([("X-Version", "7")], [("X-Version", "8")], [("header.x-version", "value")]),
        ([("X-Version", "7")], [], [("header.x-version", "missing")]),
        ([("Set-Cookie", "sid=a; Secure; HttpOnly")], [("Set-Cookie", "sid=b; httponly; secure")], []),
        ([("Set-Cookie", "sid=a; Secure")], [("Set-Cookie", "sid=a")], [("header.set-cookie.sid", "value")]),
        ([("Set-Cookie", "sid=a"), ("Set-Cookie", "t=1; Expires=Mon")], [("Set-Cookie", "sid=a")], [("header.set-cookie.t", "missing")]),
        ([("X-A", "1"), ("X-A", "2")], [("X-A", "1")], [("header.x-a", "length")]),
        ([("Link", '<a>; title="x, y", <b>')], [("Link", '<b>, <a>; title="x, y"')], []),
        ([("A", "1"), ("B", "2")], [("B", "2"), ("A", "1")], []),
    ],
)
def test_fields(live: list[Field], shadow: list[Field], expected: list[tuple[str, str]]) -> None:
    """Sets as sets, cookies by name, noise left out."""
    assert said(live, shadow) == expected


def test_rules_bring_a_field_back_or_leave_it_out() -> None:
    """In the same words as for bodies."""
    assert said([("Age", "1")], [("Age", "2")], Rule(path="header.age", treat=Treatment.EQUAL)) == [("header.age", "value")]
    assert not said([("X-Pod", "1")], [("X-Pod", "2")], Rule(path="header.x-*", treat=Treatment.IGNORE))


@given(st.lists(st.tuples(st.sampled_from(["vary", "set-cookie", "link", "x-a", "content-type", "etag"]), st.text())))
def test_no_fields_raise(fields: list[Field]) -> None:
    """And fields do not differ from themselves."""
    assert not said(fields, fields)
    said(fields, fields[1:])
