"""How the evidence of one mirror went, in a bounded number of points, and how fast it comes."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Point = tuple[float, int, float, float, str]
"""Seconds since 1970, pairs, combined log e-value of a regression, least log e-value of SAFE, verdict."""

POINTS: Final = 240
"""Most points kept: one a pixel or two of a page's curve."""

FIRST_SPACING_S: Final = 1.0
"""Seconds between the first points; doubles each time that POINTS are reached."""

WINDOW_S: Final = 30.0
"""Seconds over which a rate is averaged."""


class History:
    """A curve that is thinned as it grows: at any time points are about evenly spaced."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._spacing = FIRST_SPACING_S
        self._next = 0.0

    def __repr__(self) -> str:
        return f"<History {len(self._points)} points, {self._spacing:g} s apart>"

    def note(self, point: Point, now: float) -> None:
        """Keep `point` if it is time for one. `now` is monotonic seconds."""
        if now < self._next:
            return
        self._points.append(point)
        if len(self._points) >= POINTS:
            del self._points[1::2]
            self._spacing *= 2.0
        self._next = now + self._spacing

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"spacing": self._spacing, "points": [list(point) for point in self._points]}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> History:
        """The history that `to_plain` wrote.

        Raises:
            ValueError: it is none; or LookupError, or TypeError.
        """
        history = cls()
        history._spacing = max(FIRST_SPACING_S, float(plain["spacing"]))
        for at, pairs, log_e, log_e_safe, verdict in plain["points"][:POINTS]:
            history._points.append((float(at), int(pairs), float(log_e), float(log_e_safe), str(verdict)))
        return history

    def points(self, last: Point | None = None) -> tuple[Point, ...]:
        """All points in order, with `last` at the end."""
        return (*self._points, last) if last is not None else tuple(self._points)


class Rate:
    """Events per second, averaged over the last WINDOW_S or over all time since the start if that is less."""

    def __init__(self, now: float) -> None:
        self._started = self._counted = now
        self._mass = 0.0

    def __repr__(self) -> str:
        return f"<Rate {self.at(self._counted):.3g}/s>"

    def add(self, events: int, now: float) -> None:
        """Count `events` that happened until `now`, in monotonic seconds."""
        self._mass = self._mass * exp(-(now - self._counted) / WINDOW_S) + events
        self._counted = now

    def at(self, now: float) -> float:
        """The rate as of `now`; 0 until time has passed."""
        elapsed = now - self._started
        if elapsed <= 0.0:
            return 0.0
        seen = self._mass * exp(-(now - self._counted) / WINDOW_S)
        return seen / (WINDOW_S * (1.0 - exp(-elapsed / WINDOW_S)))
