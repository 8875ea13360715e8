"""What the model's classes look like to everything that walks them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from shadowproxy.config.declare import Seconds, Size
from shadowproxy.config.model import Balance, Fleet
from shadowproxy.config.shape import Shape, fields_of, shape_of


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [
        (str, Shape("string")),
        (Seconds, Shape("duration")),
        (Size, Shape("size")),
        (Balance, Shape("enum", cls=Balance)),
        (tuple[str, ...], Shape("list", item=Shape("string"))),
        (dict[str, int], Shape("mapping", item=Shape("integer"))),
        (Fleet | None, Shape("object", is_optional=True, cls=Fleet)),
    ],
)
def test_shapes(annotation: Any, shape: Shape) -> None:
    """Each type that the model uses has a shape."""
    assert shape_of(annotation) == shape


@pytest.mark.parametrize("annotation", [set[str], str | int, bytes, tuple[str, int], dict[int, str], list[str]])
def test_types_that_no_file_can_hold(annotation: Any) -> None:
    """A model with a type that cannot be read is an error when it is first looked at, not a field that is skipped."""
    with pytest.raises(TypeError, match="no config file can hold"):
        shape_of(annotation)


def test_fields() -> None:
    """A field knows its default, or that it has none."""

    @dataclass
    class Sample:
        name: str
        size: int = 3
        many: tuple[str, ...] = field(default=(), metadata={"doc": "Many."})

    name, size, many = fields_of(Sample)
    assert (name.is_required, name.default) == (True, None)
    assert (size.is_required, size.default) == (False, 3)
    assert many.doc == "Many."
    assert [found.name for found in fields_of(Sample, keyed=True)] == ["size", "many"]
