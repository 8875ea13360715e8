"""What the classes of the model are declared with: units as types, and a sentence for every field."""

from __future__ import annotations

from typing import Any, Final, NewType

Seconds = NewType("Seconds", float)
"""A duration; written `150ms`, `5s`, `2m`, `1h` or a bare number of seconds."""

Size = NewType("Size", int)
"""A number of bytes; written `64KiB`, `1MiB`, `2GiB`, `10kB` (1000) or a bare number."""

Percent = NewType("Percent", float)
"""A share from 0 to 100, to a thousandth."""

Json = NewType("Json", object)
"""Any value that JSON can say, nothing included."""


class _NotGiven:
    """The type of NOT_GIVEN."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = Json(_NotGiven())
"""The default of a field whose null means something: plain data leaves the field out."""


def doc(text: str, **extra: Any) -> dict[str, Any]:
    """Field metadata: one sentence for people, plus limits for the loader.

    What the limits are is listed at the top of `config.shape`.
    """
    return {"doc": text, **extra}
