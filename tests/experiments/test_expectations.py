"""An answer is what is expected, is not, or nobody can say: never a wrong one of the three."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from typing import Any

import brotli  # type: ignore[import-untyped]  # the wheel has no stubs
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiment import Expectation
from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.experiments.expectations import DECODED_BYTES, SEARCH_S, TOO_SLOW, Expectations, Predicate, is_same

TOP = {"source": "top_sellers", "items": [{"id": 1}, {"id": 2}]}


def expect(**settings: Any) -> Expectation:
    """The expectation that a file with these settings has."""
    plain = {
        "name": "e", "owner": "o", "hypothesis": {"fault": "f", "expect": "e", "impact": "i"}, "slice": {"percent": 1}, "duration": "1m",
        "inject": {"routes": ["r"], "faults": [{"abort": {"status": 503}}]}, "guards": [{"metric": "error_rate", "above": 5}],
        "expect": [{"route": "r", **settings}],
    }  # fmt: skip
    return experiment_from_plain(plain).expect[0]


def sample(body: Any = b"", status: int = 200, *, cut: bool = False, route: str = "r", **fields: str) -> dict[str, Any]:
    """A sample as a worker reports it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [[name.replace("_", "-"), value] for name, value in fields.items()]
    return {"route": route, "status": status, "headers": headers, "body": base64.b64encode(content).decode(), "cut": cut}


@pytest.mark.parametrize(
    ("settings", "answer", "holds"),
    [
        ({}, sample(status=404), True),
        ({}, sample(status=500), False),
        ({}, sample(status=0), False),
        ({"status": [503]}, sample(status=503), True),
        ({"status": [200, 206]}, sample(status=204), False),
        ({"contains": "top"}, sample(b"our top sellers"), True),
        ({"contains": "top"}, sample(b"an error"), False),
        ({"contains": "café"}, sample("café".encode("latin-1"), Content_Type="text/html; charset=ISO-8859-1"), True),
        ({"contains": "café"}, sample("café".encode(), Content_Type="text/html"), True),
        ({"contains": "top"}, sample(b"top", Content_Type="text/plain; charset=punycode"), None),
        ({"regex": "^(?!.*error)"}, sample(b"all is well"), True),
        ({"regex": "^(?!.*error)"}, sample(b"an error"), False),
        ({"json": "$.source"}, sample(TOP), True),
        ({"json": "$.sauce"}, sample(TOP), False),
        ({"json": "$.source"}, sample({"source": None}), False),
        ({"json": "$.source", "equals": "top_sellers"}, sample(TOP), True),
        ({"json": "$.source", "equals": "personal"}, sample(TOP), False),
        ({"json": "$.items[*].id"}, sample(TOP), True),
        ({"json": "$.items[*].id"}, sample({"items": [{"id": 1}, {}]}), False),
        ({"json": "$.items[*].id"}, sample({"items": []}), False),
        ({"json": "$.n", "equals": 1}, sample({"n": 1.0}), True),
        ({"json": "$.n", "equals": None}, sample({"n": None}), True),
        ({"json": "$.n", "equals": None}, sample({"n": 0}), False),
        ({"json": "$.n", "equals": None}, sample({"m": None}), False),
        ({"json": "$.n"}, sample({"n": None}), False),
        ({"json": "$.n", "equals": 1}, sample({"n": True}), False),
        ({"json": "$.n", "equals": True}, sample({"n": 1}), False),
        ({"json": "$.source"}, sample(b"<html>"), False),
        ({"json": "$.source"}, sample(b'{"source": NaN}'), False),
        ({"json": "$"}, sample(b'"\xff"'), False),
        ({"json": "$.source"}, sample(b""), False),
        ({"json": "$.source"}, sample(b"[" * 60000), None),
        ({"json": "$.source", "contains": "personal"}, sample(TOP), False),
        ({"json": "$.source"}, sample(status=304), None),
        ({"json": "$.source"}, sample(status=500), False),
    ],
)
def test_an_answer_is_judged_by_all_that_is_asked(settings: dict[str, Any], answer: dict[str, Any], holds: bool | None) -> None:
    """Status, text, pattern and path: one that is wrong is enough."""
    assert Predicate(expect(**settings)).holds(answer) is holds


@pytest.mark.parametrize(
    ("settings", "body", "holds"),
    [
        ({"contains": "top"}, b'{"source": "top_se', True),
        ({"contains": "bottom"}, b'{"source": "top_se', None),
        ({"regex": "top"}, b'{"source": "top_se', True),
        ({"regex": "top_se$"}, b'{"source": "top_se', None),
        ({"json": "$.source"}, b'{"source": "top_se', None),
        ({}, b"any", True),
    ],
)
def test_what_was_cut_off_is_not_held_against_the_answer(settings: dict[str, Any], body: bytes, holds: bool | None) -> None:
    """Of a body that is longer than its sample only what was seen counts."""
    assert Predicate(expect(**settings)).holds(sample(body, cut=True)) is holds


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress), ("zstd", zstandard.compress),
        ("gzip, br", lambda body: brotli.compress(gzip.compress(body))), ("identity", bytes),
    ],
)  # fmt: skip
def test_content_codings_are_undone(coding: str, coded: Any) -> None:
    """What browsers accept is looked into as well; broken ones and those that we do not know are nobody's fault."""
    predicate = Predicate(expect(json="$.source", equals="top_sellers"))
    assert predicate.holds(sample(coded(json.dumps(TOP).encode()), Content_Encoding=coding)) is True
    if coding != "identity":
        assert predicate.holds(sample(b"no such coding", Content_Encoding=coding)) is None
    assert predicate.holds(sample(TOP, Content_Encoding="snappy")) is None


@pytest.mark.parametrize(("coding", "coded"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstandard.compress)])
def test_a_bomb_is_not_unpacked(coding: str, coded: Any) -> None:
    """A small body that decodes to a huge one costs no memory and is no answer."""
    bomb = coded(b"a" * (DECODED_BYTES * 32))
    assert Predicate(expect(contains="b")).holds(sample(bomb, Content_Encoding=coding)) is None


def test_a_catastrophic_pattern_is_given_up() -> None:
    """A search that would take years ends soon, is unknown, and is not tried for ever."""
    predicate = Predicate(expect(regex="(a|aa)+$"))
    started = time.process_time()
    for _ in range(TOO_SLOW * 4):
        assert predicate.holds(sample(b"a" * 80 + b"b")) is None
    assert predicate.given_up == TOO_SLOW
    assert time.process_time() - started < SEARCH_S * TOO_SLOW * 20, "it was tried again and again"
    assert "took longer than 0.05 s for 5 answers" in predicate.problem


def test_answers_are_counted_per_expectation() -> None:
    """Each expectation counts the answers of its route; what nobody can say is apart, and so is what is malformed."""
    expectations = Expectations([expect(json="$.source"), expect(status=[200]), expect(route="other")])
    expectations.add([sample(TOP), sample(b"x"), sample(b"{", cut=True), sample(TOP, route="third"), {"route": "r"}])
    expectations.add([sample(status=500, route="other"), {"route": "r", "status": "no", "headers": 5}])
    assert expectations.counts() == {"0": [1, 2], "1": [3, 3], "2": [0, 1]}
    assert expectations.unknown() == {"0": 3, "1": 2, "2": 0}
    assert expectations.problems() == {}
    assert len(expectations) == 3


def test_a_pattern_that_is_none_is_named() -> None:
    """Which expectation is wrong, and why."""
    with pytest.raises(ValueError, match=r"expect\[1\]: not a regular expression"):
        Expectations([expect(), Expectation(route="r", regex="(")])
    with pytest.raises(ValueError, match=r"expect\[0\]: a path begins with"):
        Expectations([Expectation(route="r", json="a.b")])


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=2)), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)), max_leaves=8))  # fmt: skip
def test_a_value_is_itself_and_nothing_else(value: Any) -> None:
    """Equality of JSON: reflexive through a text, and broken by one more element around it."""
    assert is_same(value, json.loads(json.dumps(value)))
    assert not is_same(value, [value])


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "br", "zstd", "deflate"]), st.integers(100, 599), st.booleans())
def test_no_answer_raises(body: bytes, coding: str, status: int, cut: bool) -> None:
    """Whatever a service sends, an expectation says True, False or None."""
    predicate = Predicate(expect(contains="a", regex="a.*b", json="$.a[*]"))
    assert predicate.holds(sample(body, status, cut=cut, Content_Encoding=coding)) in {True, False, None}
