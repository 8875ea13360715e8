"""Words of mirrors: small, stable, and never handed on while anybody still counts in them."""

from __future__ import annotations

import pytest

from shadowproxy.control.slots import CAPACITY, Slots
from shadowproxy.errors import ControlError


def test_words_are_stable_and_never_the_kill_switch() -> None:
    """A mirror keeps its word over reloads; word 0 belongs to the kill switch."""
    slots = Slots()
    first = slots.assign(["a/x", "b/x"], [])
    assert 0 not in first.values()
    assert slots.assign(["b/x", "c/x", "a/x"], ["w"]) == {**first, "c/x": 3}


def test_a_retired_word_is_not_reused_while_a_worker_that_knew_it_lives() -> None:
    """Only when the last worker that may count in a word has ended is it free."""
    slots = Slots()
    old = slots.assign(["a/x"], [])["a/x"]
    assert slots.assign(["b/x"], ["w1", "w2"])["b/x"] != old
    slots.release("w1")
    assert slots.assign(["b/x", "c/x"], ["w2"])["c/x"] != old
    slots.release("w2")
    assert slots.assign(["b/x", "c/x", "d/x"], [])["d/x"] == old


def test_a_mirror_that_returns_gets_its_word_back() -> None:
    """Counting goes on where it stopped."""
    slots = Slots()
    old = slots.assign(["a/x"], [])["a/x"]
    slots.assign([], ["w"])
    assert "a/x" in slots.known
    assert slots.assign(["a/x"], ["w"])["a/x"] == old


def test_more_mirrors_than_words_are_refused() -> None:
    """The limit is named, and nothing has changed."""
    slots = Slots()
    slots.assign([f"r/{number}" for number in range(CAPACITY)], [])
    with pytest.raises(ControlError, match=f"limit {CAPACITY}"):
        slots.assign([f"r/{number}" for number in range(CAPACITY + 1)], [])
    assert len(slots.known) == CAPACITY
