"""A token that turned up somewhere, as whatever searched for it tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.audit.honey import Found


class Find(NamedTuple):
    """A token of a probe, the `place` in the probe where it stood, `where` it turned up, and whether test traffic has no business there."""

    probe: int
    place: str
    where: str
    is_leak: bool


def finds(found: Iterable[Found], where: str, *, is_leak: bool) -> list[Find]:
    """Tokens that were found in one place, in order."""
    return [Find(one.probe, one.place, where, is_leak) for one in sorted(found)]
