"""Fault domains: what an experiment or a rollout touches, and why two of them may not run side by side.

Two experiments in one cell, on one dependency or on one route explain nothing: neither knows whose fault it saw. Two
slices of one salt must not meet at all, control slices included, or a unit would be one's fault and the other's control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.config.experiment import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowproxy.config.experiment import Experiment, Slice
    from shadowproxy.config.experiments import EndpointLabels
    from shadowproxy.config.model import Config

LEVELS: Final = (Level.CANARY, Level.CLUSTER, Level.ZONE, Level.REGION)
"""From the least to the greatest reach: L1 to L4."""

GRAIN: Final = 1000
"""Ranges of the hash space are configured to a thousandth of a percent."""

SPACE: Final = 100 * GRAIN


@dataclass(frozen=True, slots=True)
class Span:
    """A range [low, high) of the hash space of a salt, in thousandths of a percent."""

    salt: str
    low: int
    high: int

    def meets(self, other: Span) -> bool:
        """Whether a unit can be in both."""
        return (
            self.salt == other.salt and self.low < other.high and other.low < self.high and self.low < self.high and other.low < other.high
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultDomain:
    """What something touches.

    Attributes:
        name: what refusals call it, such as "experiment slow-search".
        routes: names of routes whose requests it changes.
        fleets: fleets that those requests go to, or would.
        dependencies: what it says other services share with it.
        cells: cells of the endpoints it touches; with `is_confined` it reaches no others.
        zones: zones that it takes whole; empty below level zone.
        regions: regions that it takes whole; empty below level region.
        touched_zones: zones of the endpoints it touches.
        touched_regions: regions of the endpoints it touches.
        is_confined: whether it keeps to `cells`.
        span: fault slice and control slice together, None where there is no slice.

    """

    name: str
    routes: frozenset[str] = frozenset()
    fleets: frozenset[str] = frozenset()
    dependencies: frozenset[str] = frozenset()
    cells: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    touched_zones: frozenset[str] = frozenset()
    touched_regions: frozenset[str] = frozenset()
    is_confined: bool = False
    span: Span | None = None


def span_of(part: Slice, name: str) -> Span:
    """Return the range of a slice and its control slice; `name` is the experiment's, for a slice without a salt."""
    low = round(part.offset * GRAIN)
    return Span(part.salt or name, low, low + 2 * round(part.percent * GRAIN))


def domain_of(experiment: Experiment, config: Config) -> FaultDomain:
    """Return what `experiment` touches under `config`. Names that the config has not are left out: they are refused elsewhere."""
    fleets = fleets_of(experiment, config)
    level = LEVELS.index(experiment.domain.level)
    touched = list(_touched(experiment, config, fleets))
    zones, regions = _named(label.zone for label in touched), _named(label.region for label in touched)
    return FaultDomain(
        name=f"experiment {experiment.name}",
        routes=frozenset(experiment.inject.routes),
        fleets=fleets,
        dependencies=frozenset(experiment.domain.dependencies),
        cells=_named(label.cell for label in touched),
        zones=zones if level >= LEVELS.index(Level.ZONE) else frozenset(),
        regions=regions if level >= LEVELS.index(Level.REGION) else frozenset(),
        touched_zones=zones,
        touched_regions=regions,
        is_confined=bool(experiment.domain.cells or experiment.inject.endpoint),
        span=span_of(experiment.slice, experiment.name),
    )


def domain_of_rollout(route: str, config: Config) -> FaultDomain:
    """Return what the rollout of a route touches: the route, and the fleet that its traffic moves to."""
    found = next((known for known in config.routes if known.name == route), None)
    fleets = {found.rollout.to} if found is not None and found.rollout is not None else set()
    return FaultDomain(name=f"rollout of {route}", routes=frozenset({route}), fleets=frozenset(fleets))


def fleets_of(experiment: Experiment, config: Config) -> frozenset[str]:
    """Return the fleets that requests with the fault go to, or would: of `inject.routes`, or `inject.fleet` alone."""
    if experiment.inject.fleet:
        return frozenset({experiment.inject.fleet})
    found: set[str] = set()
    for route in config.routes:
        if route.name in experiment.inject.routes:
            found.add(route.live)
    return frozenset(found)


def labels_of(config: Config, fleets: Iterable[str]) -> Iterator[EndpointLabels]:
    """Yield the labels of all endpoints of `fleets`; those without labels have none to yield."""
    for name in sorted(set(fleets)):
        if name in config.fleets:
            yield from config.fleets[name].labels


def conflicts(one: FaultDomain, other: FaultDomain) -> list[str]:
    """Return why the two may not run side by side, a sentence each about `other`; none when they may.

    It is symmetric: whoever comes second is told the same.
    """
    found = [*_shared("route", one.routes & other.routes), *_shared("cell", one.cells & other.cells)]
    # Two that keep to different cells of a fleet do not meet in it.
    are_apart = one.is_confined and other.is_confined and one.cells and other.cells and not one.cells & other.cells
    if not are_apart:
        found += _shared("fleet", one.fleets & other.fleets)
    mine, theirs = one.dependencies | one.fleets, other.dependencies | other.fleets
    shared = (one.dependencies & theirs) | (mine & other.dependencies)
    found += _shared("dependency", shared)
    found += _shared("zone", (one.zones & other.touched_zones) | (one.touched_zones & other.zones))
    found += _shared("region", (one.regions & other.touched_regions) | (one.touched_regions & other.regions))
    return [f"{other.name} has the same {what}" for what in found]


def overlap(one: FaultDomain, other: FaultDomain) -> str:
    """Return a sentence if a unit could be in the slices of both, control slices included, otherwise an empty string."""
    if one.span is None or other.span is None or not one.span.meets(other.span):
        return ""
    return (
        f"{other.name} has the same salt {one.span.salt!r}, and {_range(other.span)} of its hash space, control slice included; "
        f"this one would have {_range(one.span)}"
    )


def confined_to(experiment: Experiment, config: Config) -> frozenset[str] | None:
    """The endpoints that faults of `experiment` may hit; None for all of its fleets.

    With `domain.cells` these are the endpoints with one of those labels: an endpoint that loses its label is hit no longer.
    """
    if experiment.inject.endpoint:
        return frozenset({experiment.inject.endpoint})
    if not experiment.domain.cells:
        return None
    return frozenset(label.endpoint for label in _touched(experiment, config, sorted(fleets_of(experiment, config))))


def other_cells(experiment: Experiment, config: Config) -> dict[tuple[str, str], str]:
    """The cell of each endpoint of a live fleet, by (fleet, URL), that is in none of the cells to which `experiment` keeps its faults.

    An endpoint that has no cell counts by its zone. Empty for an experiment that is confined to nothing.
    """
    if confined_to(experiment, config) is None:
        return {}
    live = sorted({route.live for route in config.routes})
    # A fault on a fleet that no route is live on, a new version's say, has a cell, too.
    own = {place_of(label) for label in _touched(experiment, config, fleets_of(experiment, config))}
    named = set(experiment.domain.cells)
    found = {}
    for fleet in live:
        for label in labels_of(config, (fleet,)):
            place = place_of(label)
            if place and place not in own and not {label.cell, label.zone} & named:
                found[fleet, label.endpoint] = place
    return found


def place_of(label: EndpointLabels) -> str:
    """The cell of an endpoint, or its zone where it has none."""
    return label.cell or label.zone


def _touched(experiment: Experiment, config: Config, fleets: Iterable[str]) -> Iterator[EndpointLabels]:
    cells, endpoint = set(experiment.domain.cells), experiment.inject.endpoint
    for label in labels_of(config, fleets):
        if endpoint and label.endpoint != endpoint:
            continue
        if not cells or {label.cell, label.zone} & cells:
            yield label


def _named(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if value)


def _shared(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind} {name}" for name in sorted(names)]


def _range(span: Span) -> str:
    return f"{span.low / GRAIN:g} to {span.high / GRAIN:g} %"
