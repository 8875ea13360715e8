"""Paths of experiment files find what they name, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments.jsonpath import ABSENT, JsonPath, parse

SHOP: dict[str, Any] = {"items": [{"price": 1}, {"price": None}, {}], "a-b": {"0": "zero"}, "rows": [[1, 2], [], 3]}

STEPS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True), st.integers(0, 99), st.none())
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$", [SHOP]),
        ("$.items[0].price", [1]),
        ("$.items[*].price", [1, None, ABSENT]),
        ("$.items[3]", [ABSENT]),
        ("$.items.price", [ABSENT]),
        ("$.a-b.0", ["zero"]),
        ("$.a-b[0]", [ABSENT]),
        ("$.rows[*][*]", [1, 2, ABSENT]),
        ("$.rows[1][*]", []),
        ("$.nothing[*].at.all", [ABSENT]),
    ],
)
def test_a_path_finds_what_it_names(text: str, found: list[Any]) -> None:
    """Members by name, elements by index or all of them; what is missing is told from null."""
    path = parse(text)
    assert path.find(SHOP) == found
    assert str(path) == text


@pytest.mark.parametrize(
    "text", ["", "a", "$a", "$.", "$..a", "$[]", "$[-1]", "$[*", "$.a b", "$.a[1:2]", '$["a"]', "$[?(@.a)]", "$.é", "$[1234567890]"]
)
def test_anything_else_is_refused(text: str) -> None:
    """What looks like JSONPath and is not of this grammar is an error, and never a path that finds nothing."""
    with pytest.raises(ValueError, match=r"path begins|expected"):
        parse(text)


@given(st.lists(STEPS, max_size=6))
def test_a_path_is_written_as_it_is_read(steps: list[str | int | None]) -> None:
    """What is parsed and what is written are each other's inverse."""
    path = JsonPath(tuple(steps))
    assert parse(str(path)) == path


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 2), st.none()), max_size=5), DOCUMENTS)
def test_finding_ends_within_the_document(steps: list[str | int | None], document: Any) -> None:
    """Any path of any document finds at most as many places as the document has values."""

    def size(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(size, inner))

    assert len(JsonPath(tuple(steps)).find(document)) <= size(document)
