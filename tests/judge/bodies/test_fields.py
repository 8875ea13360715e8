"""JSON compared field by field."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies.difference import Bounds, Difference, Differences, Excuse, Kind
from shadowproxy.judge.bodies.documents import NotANumber, Unreadable, read_json
from shadowproxy.judge.bodies.fields import Walk
from shadowproxy.judge.bodies.rules import Order, Rule, Rules, Treatment

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(NotANumber)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["id", "name", "a", "b", "17", "x y"]), inner, max_size=5),
    max_leaves=20,
)


def found(live: Any, shadow: Any, *rules: Rule, bounds: Bounds | None = None) -> list[Difference]:
    """The differences between two values."""
    differences = Differences(bounds)
    Walk(differences, Rules(rules)).compare("body", live, shadow)
    return list(differences)


def said(live: Any, shadow: Any, *rules: Rule) -> list[tuple[str, str]]:
    """The places and kinds of the differences."""
    return [(difference.path, difference.kind.value) for difference in found(live, shadow, *rules)]


@given(JSON)
def test_a_value_is_equal_to_itself(value: Any) -> None:
    """Whatever it is, NaN included."""
    assert not found(value, value)


@given(JSON, JSON)
def test_sides_can_change_places(live: Any, shadow: Any) -> None:
    """The same places differ, and directions turn round: that is what the evidence without a control rests on."""
    there, back = (
        found(live, shadow, bounds=Bounds(places=10_000, per_place=10_000)),
        found(shadow, live, bounds=Bounds(places=10_000, per_place=10_000)),
    )
    swapped = {Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING}
    turned = sorted((one.path, swapped.get(one.kind, one.kind), -one.direction, one.excuse) for one in back)
    assert sorted((one.path, one.kind, one.direction, one.excuse) for one in there) == turned


@pytest.mark.parametrize(
    ("live", "shadow", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("body.a", "type")]),
        ({"a": 1}, {"a": "1"}, [("body.a", "type")]),
        ({"a": None}, {}, [("body.a", "null")]),
        ({}, {"a": None}, [("body.a", "null")]),
        ({"a": 1}, {}, [("body.a", "missing")]),
        ({}, {"a": 1}, [("body.a", "extra")]),
        ({"a": None}, {"a": 1}, [("body.a", "type")]),
        ({"a": 12345678901234567890}, {"a": 12345678901234567891}, [("body.a", "value")]),
        ({"a": 100}, {"a": 10000}, [("body.a", "magnitude")]),
        ({"a": 1}, {"a": -1}, [("body.a", "magnitude")]),
        ({"a": "7"}, {"a": "seven"}, [("body.a", "format")]),
        ({"a": "10.50"}, {"a": "1050"}, [("body.a", "magnitude")]),
        ({"a": "x"}, {"a": ""}, [("body.a", "format")]),
        ({"a": "2026-01-01T00:00:00Z"}, {"a": "2026-01-01T01:00:00Z"}, [("body.a", "magnitude")]),
        ({"a": False}, {"a": True}, [("body.a", "value")]),
        ([1, 2, 3], [3, 1, 2], [("body", "order")]),
        ([1, 2, 3], [1, 3], [("body", "length")]),
        ([1, 2, 3], [1, 9, 3], [("body[*]", "value")]),
        ([[1], [2]], [[2], [1]], [("body", "order")]),
        ([{"id": 1, "v": 1}, {"id": 2, "v": 2}], [{"id": 2, "v": 2}, {"id": 1, "v": 3}], [("body[*].v", "value"), ("body", "order")]),
        ([{"id": 1, "v": 1}, {"id": 2, "v": 2}], [{"id": 2, "v": 2}], [("body", "length"), ("body[*]", "missing")]),
        ({"17": {"n": 1}}, {"17": {"n": 2}}, [("body{*}.n", "value")]),
        ([], {}, [("body", "type")]),
    ],
)
def test_kinds(live: Any, shadow: Any, expected: list[tuple[str, str]]) -> None:
    """Each kind of difference at its place."""
    live, shadow = (read_json(json.dumps(value)) for value in (live, shadow))
    assert said(live, shadow) == expected


@pytest.mark.parametrize(
    ("live", "shadow", "excuse", "ids"),
    [
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:02Z"}, Excuse.CLOCK, ()),
        ({"at": 1_790_000_000}, {"at": 1_790_000_002}, Excuse.CLOCK, ()),
        ({"took_ms": 1}, {"took_ms": 900}, Excuse.CLOCK, ()),
        ({"order_id": 17}, {"order_id": 9}, Excuse.GENERATED, (("17", "9"),)),
        ({"self": "/orders/17"}, {"self": "/orders/9"}, Excuse.GENERATED, (("17", "9"),)),
        ({"x": "at 2026-01-01T00:00:00Z"}, {"x": "at 2026-01-01T00:00:02Z"}, Excuse.CLOCK, ()),
        ({"n": 17}, {"n": 9}, Excuse.NONE, ()),
    ],
)
def test_the_look_of_a_value_is_noted(live: Any, shadow: Any, excuse: Excuse, ids: tuple[tuple[str, str], ...]) -> None:
    """Noted and not judged: that is for the evidence."""
    (difference,) = found(live, shadow)
    assert (difference.excuse, difference.ids) == (excuse, ids)


@pytest.mark.parametrize(
    ("rule", "live", "shadow", "expected"),
    [
        (Rule(path="body.a", treat=Treatment.IGNORE), {"a": 1}, {}, []),
        (Rule(path="body.a.**", treat=Treatment.IGNORE), {"a": {"b": 1}}, {"a": {"b": 2}}, []),
        (Rule(path="body.a", absolute=0.5), {"a": 1}, {"a": Decimal("1.4")}, []),
        (Rule(path="body.a", relative=0.1), {"a": "100.0"}, {"a": "109.0"}, []),
        (Rule(path="body.a", relative=0.1), {"a": 100}, {"a": 120}, [("body.a", "value")]),
        (Rule(path="body", order=Order.UNORDERED), [1, 2], [2, 1], []),
        (Rule(path="body", order=Order.ORDERED), [1, 2], [2, 1], [("body[*]", "value"), ("body[*]", "value")]),
        (Rule(path="body", order=Order.KEYED, key="k"), [{"k": 1, "v": 1}, {"k": 2, "v": 2}], [{"k": 2, "v": 2}, {"k": 1, "v": 1}], []),
        (
            Rule(path="body.at", treat=Treatment.EQUAL),
            {"at": "2026-01-01T00:00:00Z"},
            {"at": "2026-01-01T00:00:01Z"},
            [("body.at", "value")],
        ),
    ],
)
def test_rules_hold(rule: Rule, live: Any, shadow: Any, expected: list[tuple[str, str]]) -> None:
    """What people pinned is compared as they said."""
    assert said(live, shadow, rule) == expected


def test_a_rule_takes_the_excuse_away() -> None:
    """`equal` means equal, timestamps included."""
    (difference,) = found({"at": 1_790_000_000}, {"at": 1_790_000_001}, Rule(path="body.at", treat=Treatment.EQUAL))
    assert difference.excuse is Excuse.NONE


def test_names_given_twice_are_a_difference() -> None:
    """Two readers may read different values."""
    assert said(read_json('{"a": 1, "a": 2}'), read_json('{"a": 2}')) == [("body", "repeated")]


def test_rounding_of_doubles_is_none() -> None:
    """And a tenth is not a rounding."""
    assert not said(Decimal("0.30000000000000004"), Decimal("0.3"))
    assert said(Decimal("0.30001"), Decimal("0.3")) == [("body", "value")]


@pytest.mark.parametrize("text", ["[" * 900 + "]" * 900, '{"a":' * 400 + "1" + "}" * 400])
def test_depth_is_bounded(text: str) -> None:
    """What is deeper is compared whole, and equal is still equal."""
    value, other = read_json(text), read_json(text.replace("1", "2").replace("[]", "[0]"))
    assert not isinstance(value, Unreadable)
    assert not said(value, read_json(text))
    assert len(said(value, other)) == 1


def test_work_is_bounded() -> None:
    """A large pair costs no more than its bound of nodes allows."""
    live = {"rows": [{"id": index, "v": [index] * 10} for index in range(20_000)]}
    shadow = {"rows": [{"id": index, "v": [index + 1] * 10} for index in range(20_000)]}
    differences = Differences()
    walk = Walk(differences, Rules())
    started = time.process_time()
    walk.compare("body", live, shadow)
    assert walk.is_exhausted
    assert len(differences) <= 64 * 8
    assert time.process_time() - started < 10


def test_a_large_array_is_compared_by_index_rather_than_not_at_all() -> None:
    """What it would cost to align it is left for the comparison itself."""
    rows = [[index] for index in range(9000)]
    assert said(rows, [[index + 1] for index in range(9000)]) == [("body[*][*]", "value")] * 8


def test_equal_values_are_counted_where_they_are_watched() -> None:
    """Ids that agree speak against two worlds."""
    walk = Walk(Differences(), Rules(), frozenset({"body.id"}))
    value = {"id": 5, "n": 1}
    walk.compare("body", value, value)
    assert walk.agreed == {"body.id": 1}
