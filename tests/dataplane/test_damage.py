"""JSON with something wrong in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiment import Damage
from shadowproxy.dataplane.damage import JSON_LIMIT, damaged, is_damageable
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.policy.faults import DamagePlan, json_path

DOCUMENT = {"items": [{"price": 1.5, "tags": ["a", "b"]}, {"price": 2}], "ok": True, "none": None, "name": "x"}


def _damage(value: Any, *damages: tuple[str, str]) -> Any:
    body = damaged(json.dumps(value).encode(), tuple(DamagePlan(json_path(path), Damage(do)) for path, do in damages))
    return None if body is None else json.loads(body)


@pytest.mark.parametrize(
    ("path", "do", "where", "becomes"),
    [
        ("$.items[*].price", "null", lambda it: [one["price"] for one in it["items"]], [None, None]),
        ("$.items[*].price", "retype", lambda it: [one["price"] for one in it["items"]], ["1.5", "2"]),
        ("$.items[1]", "drop", lambda it: len(it["items"]), 1),
        ("$.items[*]", "drop", lambda it: it["items"], []),
        ("$.items[0].tags", "retype", lambda it: it["items"][0]["tags"], {}),
        ("$.items[0]", "retype", lambda it: it["items"][0], []),
        ("$.ok", "retype", lambda it: it["ok"], "true"),
        ("$.none", "retype", lambda it: it["none"], 0),
        ("$.name", "retype", lambda it: it["name"], 0),
        ("$.name", "drop", lambda it: "name" in it, False),
    ],
)
def test_a_member_is_dropped_nulled_or_retyped(path: str, do: str, where: Any, becomes: Any) -> None:
    """And nothing else changes."""
    other = _damage(DOCUMENT, (path, do))
    assert where(other) == becomes
    untouched = {name for name in DOCUMENT if not path.startswith(f"$.{name}")}
    assert all(other[name] == DOCUMENT[name] for name in untouched)


def test_damage_adds_up() -> None:
    """Each in turn, on what the one before has left."""
    assert _damage([1, 2, 3], ("$[0]", "drop"), ("$[0]", "null")) == [None, 3]


@pytest.mark.parametrize("path", ["$.missing", "$.items[7]", "$.name.deeper", "$[0]", "$.items.price", "$.ok[*]"])
def test_nothing_at_the_path_is_no_damage(path: str) -> None:
    """The body is then left as it was."""
    assert _damage(DOCUMENT, (path, "null")) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1, "b": 1e999}', b"[" * 200_000, b"9" * 5000, b'{"a": 1} x']
)
def test_what_is_no_json_is_left_alone(body: bytes) -> None:
    """Also what could not be written again with the same meaning, and what is nested without end."""
    assert damaged(body, (DamagePlan(("a",), Damage.NULL),)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), JSON)
def test_what_is_not_damaged_keeps_its_meaning(rest: dict[str, Any], value: Any) -> None:
    """Whatever else is in the document, characters of every kind included."""
    other = _damage({**rest, "victim": value}, ("$.victim", "null"))
    assert other == {**rest, "victim": None}


@given(JSON)
def test_another_type_is_another_type(value: Any) -> None:
    """As JSON has them: numbers are one type."""

    def kind(of: Any) -> str:
        return "number" if isinstance(of, (int, float)) and not isinstance(of, bool) else type(of).__name__

    other = _damage({"victim": value}, ("$.victim", "retype"))
    assert kind(other["victim"]) != kind(value)


@pytest.mark.parametrize(
    ("fields", "can"),
    [
        (b"Content-Type: application/json\r\nContent-Length: 2", True),
        (b"Content-Type: application/problem+JSON; charset=utf-8\r\nTransfer-Encoding: chunked", True),
        (b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2", False),
        (b"Content-Type: application/json\r\nContent-Encoding: identity\r\nContent-Length: 2", True),
        (b"Content-Type: text/html\r\nContent-Length: 2", False),
        (b"Content-Length: 2", False),
        (b"Content-Type: application/json\r\nContent-Length: %d" % JSON_LIMIT, True),
        (b"Content-Type: application/json\r\nContent-Length: %d" % (JSON_LIMIT + 1), False),
    ],
)
def test_only_plain_json_of_bounded_length_is_held(*, fields: bytes, can: bool) -> None:
    """Anything else passes as it comes."""
    head = ResponseHeads().read(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n", b"GET")
    assert is_damageable(head) is can
