"""Merge patches, and lists as a tenant sees them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from shadowproxy.sinks import strict
from shadowproxy.sinks.overlay import Listing, merge_patch
from shadowproxy.sinks.shelf import Item
from tests.sinks.test_strict import documents


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    """Appendix A, all of it."""
    assert merge_patch(target, patch) == result


@given(documents, documents)
def test_a_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    """Merge patches are idempotent, and leave what they are applied to alone."""
    before = strict.dumps(target)
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert strict.dumps(target) == before


def item(key: str, value: Any, *, over_live: bool = False) -> Item:
    """An item; without a value the absence of one."""
    return Item("/orders", key, None if value is None else strict.dumps(value), over_live, 1, 0.0)


LISTING = Listing("id", "", "orders")
LIVE = [{"id": 1, "state": "open"}, {"id": 2, "state": "open"}]
OWN = [
    item("2", {"id": 2, "state": "shut"}, over_live=True),
    item("9", {"id": 9, "state": "open"}),
    item("8", {"id": 8, "state": "shut"}),
    item("1", None, over_live=True),
]


@pytest.mark.parametrize(
    ("document", "query", "merged"),
    [
        (LIVE, {}, [{"id": 2, "state": "shut"}, {"id": 9, "state": "open"}, {"id": 8, "state": "shut"}]),
        ({"items": LIVE, "next": None}, {}, {"items": [{"id": 2, "state": "shut"}, {"id": 9, "state": "open"}, {"id": 8, "state": "shut"}], "next": None}),
        ({"orders": LIVE, "items": [], "total": 40}, {"page": "2"}, {"orders": [{"id": 2, "state": "shut"}], "items": [], "total": 39}),
        ({"data": [], "count": 0, "total": True}, {"state": "open"}, {"data": [{"id": 9, "state": "open"}], "count": 1, "total": True}),
        ([], {"page": "1", "unknown": "x"}, [{"id": 9, "state": "open"}, {"id": 8, "state": "shut"}]),
        ([7, None, "x", {}], {"cursor": "abc"}, [7, None, "x", {}]),
    ],
)  # fmt: skip
def test_a_list_as_the_tenant_sees_it(document: Any, query: dict[str, str], merged: Any) -> None:
    """Changed items are replaced, deleted ones gone, created ones on the first page if they fit the query; totals follow."""
    assert LISTING.overlay(document, OWN, query) == merged


@pytest.mark.parametrize("document", [None, 5, "x", {}, {"items": 5}, {"rows": []}])
def test_what_is_no_list(document: Any) -> None:
    """It is said, not guessed."""
    with pytest.raises(ValueError, match="no list"):
        LISTING.overlay(document, OWN, {})


def test_the_member_that_is_named_is_the_only_one() -> None:
    """A list under another name than the config says is none."""
    named = Listing("id", "rows", "orders")
    assert named.overlay({"rows": [], "items": [1]}, [], {}) == {"rows": [], "items": [1]}
    with pytest.raises(ValueError, match="no list"):
        named.overlay({"items": []}, [], {})
