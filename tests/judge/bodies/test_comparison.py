"""Whole answers compared."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies.comparison import Answer, compare
from shadowproxy.judge.bodies.rules import Rule, Rules, Treatment

JSON = ("Content-Type", "application/json")
ANSWERS = st.builds(
    Answer,
    st.sampled_from(["200", "404", "timeout"]),
    st.lists(
        st.sampled_from(
            [
                JSON,
                ("Content-Type", "text/html"),
                ("Content-Encoding", "gzip"),
                ("Content-Encoding", "br"),
                ("Content-Type", "text/x; charset=u7"),
                ("A", "b"),
            ]
        )
    ).map(tuple),
    st.binary(max_size=60) | st.sampled_from([b'{"a": 1}', b'{"a": 2}', b"<p>1</p>", b"[1]"]),
    st.booleans(),
)


def said(live: Answer, shadow: Answer, *rules: Rule) -> tuple[list[tuple[str, str]], str]:
    """The places and kinds of the differences, and the problem."""
    compared = compare(live, shadow, rules=Rules(rules))
    return [(difference.path, difference.kind.value) for difference in compared.differences], compared.problem


@given(ANSWERS, ANSWERS)
def test_no_answers_raise(live: Answer, shadow: Answer) -> None:
    """Any bytes under any type and coding; and an answer does not differ from itself."""
    compare(live, shadow, watched=frozenset({"body.a"}))
    assert not compare(live, live).differences


def test_the_same_document_in_two_codings_is_the_same() -> None:
    """Only the coding differs, and that is said of the header: bodies come without."""
    body = json.dumps({"a": list(range(50))}).encode()
    live, shadow = (Answer("200", (JSON, ("Content-Encoding", coding)), body) for coding in ("gzip", "br"))
    assert said(live, shadow) == ([("header.content-encoding", "value")], "")


def test_another_status_is_the_finding() -> None:
    """An error page is not compared with an order."""
    differences, problem = said(Answer("200", (JSON,), b"{}"), Answer("404", (("Content-Type", "text/html"),), b"<p>"))
    assert differences == [("status", "value")]
    assert "status" in problem
    assert said(Answer("200"), Answer("404"), Rule(path="status", treat=Treatment.IGNORE))[0] == []


def test_an_answer_that_did_not_come_is_not_compared() -> None:
    """How a leg failed is what the error tests are about."""
    compared = compare(Answer("200"), Answer("timeout"))
    assert not compared.is_comparable
    assert not compared.is_equal


@pytest.mark.parametrize(
    ("live", "shadow", "expected"),
    [
        (Answer("200", (JSON,), b'{"a": 1}'), Answer("200", (JSON,), b'{"a": '), [("body", "unreadable")]),
        (Answer("200", (JSON,), b"{"), Answer("200", (JSON,), b"{}}"), [("body", "digest")]),
        (Answer("200", (JSON,), b'{"a": 1}'), Answer("200", (JSON,)), [("body", "missing")]),
        (
            Answer("200", (("Content-Type", "image/png"),), b"1"),
            Answer("200", (("Content-Type", "image/png"),), b"2"),
            [("body", "digest")],
        ),
        (Answer("200", (JSON,), b'{"a": 1, "b', True), Answer("200", (JSON,), b'{"a": 1, "c', True), [("body", "digest")]),
        (Answer("200", (JSON,), b'{"a": 1, "b', True), Answer("200", (JSON,), b'{"a": 1, "bb', True), []),
        (Answer("200", (JSON,), b'{"a": 1, "b', True), Answer("200", (JSON,), b'{"a": 1}'), [("body", "digest")]),
        (Answer("200", digest="x", missing="not text"), Answer("200", digest="y", missing="not text"), [("body", "digest")]),
        (Answer("200", digest="x", missing="not text"), Answer("200", digest="x", missing="not text"), []),
        (Answer("200", digest="x", missing="not text"), Answer("200", body=b"1"), [("body", "unreadable")]),
    ],
)
def test_what_cannot_be_read_is_compared_by_its_bytes(live: Answer, shadow: Answer, expected: list[tuple[str, str]]) -> None:
    """And says why, unless it is of a type that is never read."""
    assert said(live, shadow)[0] == expected
    assert said(shadow, live)[0] == [(path, {"missing": "extra"}.get(kind, kind)) for path, kind in expected]


def test_a_body_that_nobody_cares_for() -> None:
    """One rule leaves all of it out."""
    assert said(Answer("200", (JSON,), b"1"), Answer("200", (JSON,), b"2"), Rule(path="body", treat=Treatment.IGNORE)) == ([], "")
