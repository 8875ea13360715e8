"""Which builds a fleet answers with, as its answers name themselves.

During a rolling deployment old and new builds answer side by side, so what counts is the *set*: a build joins it when
it is first seen, and leaves it when it has not been seen for a while although others have. Each change of the set
changes what is compared. What a fleet says of itself is untrusted: names are cut and their number is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.arms import arms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shadowproxy.config.model import Config

LEGS: Final = ("live", "shadow")
"""The answers of a captured pair; of an arm's pair the second is the arm's."""

HEADER: Final = "header:"

NAME_LIMIT: Final = 128
"""Characters of a build's name that are kept."""

BUILDS: Final = 8
"""Builds of one fleet at a time; beyond it, new names are ignored until one has left."""

SIGHTINGS: Final = 50
"""Answers of other builds, at least, before one that is seen no more has left."""

SILENCE_S: Final = 30.0
"""Seconds, at least, before one that is seen no more has left."""


class Revisions:
    """The builds of one fleet that answer now."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._sightings = 0

    def __repr__(self) -> str:
        return f"<Revisions {', '.join(self.names)}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The builds, in alphabetical order."""
        return tuple(sorted(self._seen))

    def see(self, name: str, now: float) -> bool:
        """An answer named its build.

        Args:
            name: as the answer has it.
            now: monotonic seconds.

        Returns:
            Whether the set has changed from one that was known: the very first sighting changes nothing.
        """
        name = name[:NAME_LIMIT]
        if name not in self._seen and len(self._seen) >= BUILDS:
            self._forget(now)
            if len(self._seen) >= BUILDS:
                return False
        before = set(self._seen)
        self._sightings += 1
        self._seen[name] = (self._sightings, now)
        self._forget(now)
        return bool(before) and before != set(self._seen)

    def resume(self, names: Sequence[str], now: float) -> None:
        """Begin with the builds that an earlier process saw, as if each had just been seen. `now` is monotonic seconds."""
        for name in names[:BUILDS]:
            self._seen.setdefault(name[:NAME_LIMIT], (self._sightings, now))

    def _forget(self, now: float) -> None:
        gone = [
            name for name, (sighting, seen) in self._seen.items() if self._sightings - sighting >= SIGHTINGS and now - seen >= SILENCE_S
        ]
        for name in gone:
            del self._seen[name]


class Builds:
    """Where the answers of captured pairs name their builds, by the config (`fleets.NAME.revision`)."""

    def __init__(self, config: Config) -> None:
        self._places: dict[str, list[tuple[str, str, str]]] = {}
        for route in config.routes:
            for mirror in arms(route):
                fleets = [(leg, config.fleets[name]) for leg, name in zip(LEGS, (route.live, mirror.to), strict=True)]
                places = [(leg, fleet.name, fleet.revision.removeprefix(HEADER).lower()) for leg, fleet in fleets if fleet.revision]
                if places:
                    self._places[f"{route.name}/{mirror.name}"] = places

    def __repr__(self) -> str:
        return f"<Builds of {', '.join(self._places)}>"

    def seen(self, pair: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Fleet and build of each answer of a captured pair (dataplane.messages) that names one."""
        for leg, fleet, header in self._places.get(str(pair.get("mirror")), ()):
            for name, value in (pair.get(leg) or {}).get("headers", ()):
                if name.lower() == header and value:
                    yield fleet, value
