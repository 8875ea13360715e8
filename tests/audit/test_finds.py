"""Finds: the tokens of one place, told in order."""

from __future__ import annotations

from shadowproxy.audit.finds import Find, finds
from tests.audit.samples import HONEY


def test_finds_are_in_order() -> None:
    """Whatever order they were found in, so that an audit reads alike twice."""
    text = HONEY.token(2, "b") + HONEY.token(1, "q") + HONEY.token(1, "b")
    assert finds(HONEY.find(text), "here", is_leak=True) == [
        Find(1, "b", "here", True),
        Find(1, "q", "here", True),
        Find(2, "b", "here", True),
    ]
