"""Mappings of ids."""

from __future__ import annotations

from shadowproxy.judge.bodies.identities import Identities, Sighting

UUID = "550e8400-e29b-41d4-a716-4466554400"


def test_a_mapping_is_confirmed_by_repetition() -> None:
    """The first sighting proves nothing."""
    ids = Identities()
    assert ids.see("body.id", [("17", "9")]) is Sighting.NEW
    assert ids.see("body.id", [("17", "9")]) is Sighting.CONSISTENT


def test_a_name_for_two_things_contradicts() -> None:
    """In either direction."""
    ids = Identities()
    ids.see("body.id", [("17", "9")])
    assert ids.see("body.id", [("17", "8")]) is Sighting.CONTRADICTING
    assert ids.see("body.id", [("18", "8")]) is Sighting.CONTRADICTING


def test_numbers_are_names_within_their_path_only() -> None:
    """The order 17 is not the customer 17; a UUID is the same thing everywhere."""
    ids = Identities()
    ids.see("body.order_id", [("17", "9")])
    assert ids.see("body.customer_id", [("17", "4")]) is Sighting.NEW
    ids.see("body.order", [(UUID + "00", UUID + "01")])
    assert ids.see("body.items[*].order", [(UUID + "00", UUID + "01")]) is Sighting.CONSISTENT


def test_one_contradiction_among_several_ids_counts() -> None:
    """A URL of two ids."""
    ids = Identities()
    ids.see("body.url", [("1", "2"), ("3", "4")])
    assert ids.see("body.url", [("1", "2"), ("3", "5")]) is Sighting.CONTRADICTING
    assert ids.see("body.url", [("1", "2"), ("7", "8")]) is Sighting.CONSISTENT


def test_memory_is_bounded() -> None:
    """What was forgotten is new again, and no contradiction."""
    ids = Identities(limit=100)
    for index in range(1000):
        ids.see("body.id", [(str(index), str(-index))])
    assert len(ids) == 100
    assert ids.see("body.id", [("0", "0")]) is Sighting.NEW
