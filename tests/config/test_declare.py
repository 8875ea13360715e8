"""What the classes of the model are declared with."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass

from shadowproxy.config.declare import Percent, Seconds, Size, doc


def test_units_are_numbers() -> None:
    """A type tells people and the loader how a number is written; it costs nothing where it is used."""
    assert Seconds(1.5) + Percent(2.0) == 3.5
    assert Size(1024) == 1024


def test_a_field_has_its_sentence_and_its_limits() -> None:
    """Where the loader, the schema and the documentation look for them."""
    made = make_dataclass("Made", [("port", int, field(metadata=doc("A port.", minimum=1)))])
    assert dict(fields(made)[0].metadata) == {"doc": "A port.", "minimum": 1}
