"""Replacements in a text, made in several passes of which none sees what another has replaced.

Text here is what bytes are when read as Latin-1: one character a byte, so that nothing
is lost that does not happen to be valid in some coding, and places are places in bytes.

A pass looks at the gaps between the replacements made so far. A gap can also be read
through its escapes (`resolved`): a secret that is percent-encoded in a URL inside a JSON string is
found in the third reading, and its place in the text as sent is known all the same.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

Back = Callable[[int, int], tuple[int, int]]
"""From a place in a reading to the place in the text as sent."""

EDITS_LIMIT: Final = 2000
"""Replacements in one text: some are usual, and each makes one more gap to look at."""

READINGS: Final = 3
"""How many layers of escapes are looked through."""

_ESCAPE: Final = re.compile(
    r"%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"'\\/bfnrt]|&#[0-9]{1,7};|&#[xX][0-9A-Fa-f]{1,6};|&(?:amp|lt|gt|quot|apos);"
)
_NAMED: Final = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Reading:
    """A text with escapes resolved, and where each of its characters came from.

    `starts[i]` is the place in the source of character i; there is one more, the source's end.
    """

    text: str
    starts: array[int]

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The place in the source of the characters from `start` to before `end`, whole escapes."""
        first = self.starts[start]
        last = self.starts[end]
        if end > start and last == self.starts[end - 1]:  # cut inside an escape of several bytes
            last = self.starts[bisect_right(self.starts, last)]
        return first, last


def resolved(text: str) -> Reading | None:
    """`text` with one layer of escapes resolved: percent, JSON, and HTML. None when it has none."""
    if "%" not in text and "\\" not in text and "&" not in text:
        return None
    pieces: list[str] = []
    starts = array("L")
    at = 0
    for found in _ESCAPE.finditer(text):
        meant = _meaning(found[0])
        start, end = found.span()
        pieces += (text[at:start], meant)
        starts.extend(range(at, start))
        starts.extend([start] * len(meant))
        at = end
    if not pieces:
        return None
    pieces.append(text[at:])
    starts.extend(range(at, len(text) + 1))
    return Reading("".join(pieces), starts)


def _meaning(escape: str) -> str:
    """The bytes that an escape stands for, as Latin-1."""
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[0] == "&":
        if escape in _NAMED:
            return _NAMED[escape]
        code = int(escape[3:-1], 16) if escape[2] in "xX" else int(escape[2:-1])
        return _bytes_of(code)
    if escape[1] == "u":
        return _bytes_of(int(escape.removeprefix("\\u"), 16))
    if escape[1] == "x":
        return chr(int(escape.removeprefix("\\x"), 16))
    return _SHORT.get(escape[1], escape[1])


def _bytes_of(code: int) -> str:
    return (chr(code) if code < 0x110000 else "?").encode("utf-8", "surrogatepass").decode("latin-1")


class Edits:
    """Replacements that do not overlap, in one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._spans: list[tuple[int, int, str]] = []
        self._readings: dict[tuple[int, int], list[tuple[str, Back]]] = {}

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def spans(self) -> tuple[tuple[int, int, str], ...]:
        """The replacements, in order: start, end, text."""
        return tuple(self._spans)

    def add(self, start: int, end: int, text: str) -> None:
        """Put `text` in the place from `start` to `end`; what is replaced already stays as it is.

        Raises:
            Unreadable: more than EDITS_LIMIT places are replaced.
        """
        if len(self._spans) >= EDITS_LIMIT:
            raise Unreadable(f"more than {EDITS_LIMIT} secrets in one text")
        if start >= end:
            return
        for at, (first, last) in enumerate(list(self._free(start, end))):
            # What stands for a whole goes where its first piece was.
            insort(self._spans, (first, last, text if at == 0 else ""))

    def gaps(self) -> list[tuple[int, int]]:
        """The places that no replacement touches, in order, none empty."""
        return list(self._free(0, len(self.text)))

    def readings(self, start: int, end: int) -> list[tuple[str, Back]]:
        """The gap from `start` to `end` in every reading, as `readings` has it; remembered for the next pass."""
        known = self._readings.get((start, end))
        if known is None:
            known = self._readings[start, end] = readings(self.text[start:end], start)
        return known

    def applied(self) -> str:
        """The text with every replacement made."""
        if not self._spans:
            return self.text
        pieces: list[str] = []
        at = 0
        for start, end, text in self._spans:
            pieces += (self.text[at:start], text)
            at = end
        pieces.append(self.text[at:])
        return "".join(pieces)

    def _free(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a place that no replacement touches."""
        index = bisect_right(self._spans, start, key=lambda span: span[1])
        at = start
        while index < len(self._spans) and self._spans[index][0] < end:
            first, last, _ = self._spans[index]
            if first > at:
                yield at, first
            at = max(at, last)
            index += 1
        if at < end:
            yield at, end


def readings(text: str, offset: int) -> list[tuple[str, Back]]:
    """`text` in every reading, the deepest first, and how each leads back to the place in the text as sent.

    Args:
        text: a gap.
        offset: where in the text as sent it starts.
    """
    found: list[tuple[str, Back]] = []
    layers: tuple[Reading, ...] = ()
    while True:
        found.append((text, partial(_place, offset, layers)))
        reading = resolved(text) if len(layers) < READINGS else None
        if reading is None:
            return found[::-1]
        layers = (*layers, reading)
        text = reading.text


def _place(offset: int, layers: tuple[Reading, ...], start: int, end: int) -> tuple[int, int]:
    for layer in reversed(layers):
        start, end = layer.source(start, end)
    return start + offset, end + offset
