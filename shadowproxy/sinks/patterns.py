"""Path patterns: /orders/{id}/items, and /** at the end for any number of segments; in OpenAPI documents also /files/{name}.{type}."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

REST: Final = "**"

_NAME: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern.

    Segments are text that must be equal, None for any text, or a regular expression; `names` has the names of each segment's
    groups, by index.
    """

    text: str
    segments: tuple[str | re.Pattern[str] | None, ...]
    names: tuple[tuple[int, tuple[str, ...]], ...]
    has_rest: bool

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The named parts of a path that fits; None for one that does not. A named part is never empty."""
        count = len(self.segments)
        if len(segments) < count or (len(segments) > count and not self.has_rest):
            return None
        for wanted, given in zip(self.segments, segments, strict=False):
            if wanted != given and not _fits(wanted, given):
                return None
        captured: dict[str, str] = {}
        for index, names in self.names:
            wanted = self.segments[index]
            found = wanted.fullmatch(segments[index]) if isinstance(wanted, re.Pattern) else None
            captured.update(zip(names, found.groups() if found else (segments[index],), strict=True))
        return captured


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern that the config has accepted, or a path of an OpenAPI document."""
    parts = text[1:].split("/") if len(text) > 1 else []
    has_rest = bool(parts) and parts[-1] == REST
    if has_rest:
        parts.pop()
    names = tuple((index, tuple(found)) for index, part in enumerate(parts) if (found := _NAME.findall(part)))
    return Pattern(text, tuple(_segment(part) for part in parts), names, has_rest)


def _fits(wanted: str | re.Pattern[str] | None, given: str) -> bool:
    if isinstance(wanted, re.Pattern):
        return wanted.fullmatch(given) is not None
    return wanted is None and bool(given)


def _segment(part: str) -> str | re.Pattern[str] | None:
    if _NAME.fullmatch(part):
        return None
    if not _NAME.search(part):
        return unquote(part)
    pieces = _NAME.split(part)  # text, name, text, name, ..., text
    return re.compile("(.+?)".join(re.escape(unquote(piece)) for piece in pieces[::2]), re.DOTALL)
