"""Rows as text for other programs: JSON lines, and CSV that is safe to open in a spreadsheet.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a line end would be a formula there (OWASP, CSV injection). It gets a `'`
before it, and so does a cell that begins with `'`: whoever takes one `'` off every cell that has one reads what was written.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
GUARD: Final = "'"

JSONL: Final = "jsonl"
CSV: Final = "csv"
TYPES: Final = {JSONL: "application/x-ndjson", CSV: "text/csv"}
"""Media types of the formats."""


def beginning(form: str, columns: Sequence[str]) -> str:
    """What stands before the first row: the names of the columns, in CSV."""
    return _line(columns) if form == CSV else ""


def written(form: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows in the format `form`, one of TYPES. Lines of CSV end with CR LF (RFC 4180), those of JSON with LF."""
    if form == CSV:
        return "".join(_line([cell(row[name]) for name in columns]) for row in rows)
    return "".join(json.dumps({name: row[name] for name in columns}, separators=(",", ":")) + "\n" for row in rows)


def cell(value: object) -> str:
    """A value as a cell says it. A number is no formula, a text that begins like one would be."""
    text = str(value)
    return GUARD + text if isinstance(value, str) and text.startswith((*FORMULA, GUARD)) else text


def uncell(text: str) -> str:
    """What a cell of text said."""
    return text.removeprefix(GUARD)


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()
