"""Path patterns: /orders/{id}/items, and /** at the end for any number of segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REST: Final = "**"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern: literal segments as text, names of any-one segments as `names` by index."""

    text: str
    segments: tuple[str | None, ...]
    names: tuple[tuple[int, str], ...]
    has_rest: bool

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The named segments of a path that fits; None for one that does not. A named segment is never empty."""
        count = len(self.segments)
        if len(segments) < count or (len(segments) > count and not self.has_rest):
            return None
        for wanted, given in zip(self.segments, segments, strict=False):
            if wanted != given and (wanted is not None or not given):
                return None
        return {name: segments[index] for index, name in self.names}


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern that the config has accepted, or a path of an OpenAPI document."""
    parts = text[1:].split("/") if len(text) > 1 else []
    has_rest = bool(parts) and parts[-1] == REST
    if has_rest:
        parts.pop()
    names = tuple((index, part[1:-1]) for index, part in enumerate(parts) if _is_named(part))
    return Pattern(text, tuple(None if _is_named(part) else part for part in parts), names, has_rest)


def _is_named(part: str) -> bool:
    return part.startswith("{") and part.endswith("}")
