"""Paths as people read and write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies import paths
from shadowproxy.judge.bodies.paths import Pattern


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("price", "body.price"),
        ("first name", 'body["first name"]'),
        ("a.b", 'body["a.b"]'),
        ("17", "body{*}"),
        ("550e8400-e29b-41d4-a716-446655440000", "body{*}"),
        ("", 'body[""]'),
    ],
)
def test_members(name: str, path: str) -> None:
    """A word is joined by a dot, another name is quoted, an id is no field."""
    assert paths.member("body", name) == path


@given(st.lists(st.text(), max_size=5))
def test_steps_of_a_path_are_its_names(names: list[str]) -> None:
    """What was joined is taken apart again; an id becomes an entry, a long name is cut."""
    path = "body"
    for name in names:
        path = paths.member(path, name)
    assert len(paths.steps(path)) == len(names) + 1


@given(st.text(), st.text())
def test_no_pattern_raises(pattern: str, path: str) -> None:
    """Whatever people write."""
    Pattern(pattern).finds(path)


@pytest.mark.parametrize(
    ("pattern", "path", "is_found"),
    [
        ("body.**.updated_at", "body.updated_at", True),
        ("body.**.updated_at", "body.items[*].updated_at", True),
        ("body.**.updated_at", "body.updated_at.zone", False),
        ("body.cart.**", "body.cart.items[*]", True),
        ("body.cart.**", "body.cart", True),
        ("body.items[*].*_id", "body.items[*].order_id", True),
        ("body.items[*].*_id", "body.items[*].id", False),
        ("body.*", "body.a.b", False),
        ("header.x-*", "header.x-pod", True),
        ("status", "status", True),
        ('body["a.b"]', 'body["a.b"]', True),
        ("body.users{*}.name", "body.users{*}.name", True),
        ("**", "body.a[*]", True),
    ],
)
def test_patterns(pattern: str, path: str, is_found: bool) -> None:
    """`*` is part of one name, `**` any number of steps, and the whole path must be found."""
    assert Pattern(pattern).finds(path) is is_found


def test_a_pattern_of_many_wildcards_is_not_exponential() -> None:
    """One row of a table per step."""
    assert not Pattern(".".join(["**", "a"] * 40)).finds(".".join(["a"] * 200) + ".b")


def test_the_last_name_is_what_kind_of_thing_it_is() -> None:
    """Indices and entries say nothing of it."""
    assert paths.last_name("body.orders{*}.line_ids[*]") == "line_ids"
    assert paths.last_name("[*]") == ""


def test_a_path_is_bounded() -> None:
    """However deep the document."""
    path = "body"
    for _ in range(1000):
        path = paths.element(paths.member(path, "a" * 60))
    assert len(path) <= paths.LENGTH_LIMIT + 100
