"""Text as SQL literals, which nothing in the text can end early."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def literal(text: str | None) -> str:
    r"""A string constant of PostgreSQL; NULL for None.

    With a backslash in the text it is of the E form, which means the same whatever standard_conforming_strings says
    (PostgreSQL documentation, section 4.1.2.2).

    Raises:
        ValueError: the text has a character that no PostgreSQL text can hold: NUL, or half of a surrogate pair.
    """
    if text is None:
        return "NULL"
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{text!r} cannot stand in SQL")
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def text_array(texts: Iterable[str] | None) -> str:
    """An array of text; NULL as one for None.

    Raises:
        ValueError: as `literal`.
    """
    return "NULL::text[]" if texts is None else f"ARRAY[{', '.join(literal(text) for text in texts)}]::text[]"
