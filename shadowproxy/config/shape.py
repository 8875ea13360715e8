"""What the classes of `model` look like, read once from their annotations.

The loader, the JSON Schema, the reference in the documentation and `to_plain` all walk these
shapes, so that a field is declared in one place: its annotation, its default and its `doc()`.

Field metadata that is known here, for `doc(text, **extra)`:

    minimum, maximum   inclusive bounds of a number
    nonempty           a string, list or mapping must not be empty
    pattern            regular expression that the whole string must match
    form               what `pattern` or `key_pattern` asks for, in words
    format             name of a check in `formats`
    max_bytes          most bytes of a string, as UTF-8
    keyword            a word that stands for a computed number (`auto`)
    shorthand          (of a mapping, or a list of them) the key that a bare string in its place stands for
    omitted            a warning for files that leave the field out
    key_pattern        regular expression that the keys of a mapping must match
    key_format         name of a check in `formats` for the keys, which letter case does not tell apart

On a list or mapping of strings or numbers, `pattern`, `format`, `minimum` and `maximum` hold for
each item. The field `name` of a class that sits in a mapping is its key there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from shadowproxy.config.declare import Json, Percent, Seconds, Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCALARS: Final[dict[Any, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    Seconds: "duration",
    Size: "size",
    Percent: "percent",
    Json: "json",
}

_FIELDS: Final[dict[tuple[type[Any], bool], tuple[Field, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of one value.

    `kind` is a value of SCALARS, or `enum`, `object`, `list` or `mapping`. `item` is the shape of
    what a list or mapping holds, `cls` the class of an enum or object.
    """

    kind: str
    is_optional: bool = False
    item: Shape | None = None
    cls: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a class: where it is called what, its shape, its default and its metadata."""

    name: str
    shape: Shape
    metadata: Mapping[str, Any]
    is_required: bool
    default: Any

    @property
    def doc(self) -> str:
        """The sentence that people read."""
        return str(self.metadata.get("doc", ""))


def fields_of(cls: type[Any], *, keyed: bool = False) -> tuple[Field, ...]:
    """Return the fields of a dataclass; without `name` when it is `keyed`, held in a mapping by name."""
    known = _FIELDS.get((cls, keyed))
    if known is None:
        known = _FIELDS[cls, keyed] = tuple(_read_fields(cls, keyed))
    return known


def _read_fields(cls: type[Any], keyed: bool) -> Iterator[Field]:
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if keyed and item.name == "name":
            continue
        is_required = item.default is MISSING and item.default_factory is MISSING
        default = None if is_required else item.default if item.default_factory is MISSING else item.default_factory()
        yield Field(item.name, shape_of(hints[item.name]), item.metadata, is_required, default)


def shape_of(annotation: Any) -> Shape:
    """Return the shape that an annotation of the model describes.

    Raises:
        TypeError: the model uses a type that no config file can hold.

    """
    if annotation in SCALARS:
        return Shape(SCALARS[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is UnionType and len(arguments) == 2 and arguments[1] is NoneType:
        return dataclasses.replace(shape_of(arguments[0]), is_optional=True)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Shape("list", item=shape_of(arguments[0]))
    if origin is dict and arguments[0] is str:
        return Shape("mapping", item=shape_of(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Shape("enum", cls=annotation)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return Shape("object", cls=annotation)
    raise TypeError(f"no config file can hold {annotation!r}")
