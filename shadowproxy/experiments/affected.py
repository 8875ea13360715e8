"""Who is affected: what a unit was a part of, worked out from the hash space and from what is on record.

The rules of this file:

* a unit never appears here, only its digest under the salt of what it may be a part of (`hashspace.digest`);
* *where* a unit is follows from its digest and the shares over time, by the same ranges that the policy decides with
  (`policy.slices`, `policy.splits`, `policy.mirrors`), at any time, whether it ever sent a request or not;
* *what happened* to it is only what workers reported: `Hits`. To be in a slice is not to be hit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Final

from shadowproxy.hashspace import point_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(StrEnum):
    """What a unit can be a part of."""

    EXPERIMENT = "experiment"
    ROLLOUT = "rollout"
    MIRROR = "mirror"


class Place(StrEnum):
    """Where a unit is at one step.

    Of an experiment FAULT, CONTROL or OUTSIDE; of a rollout CANARY or STABLE; of a mirror COPIED, HOLDOUT or OUTSIDE. APART is a unit
    that is listed to be left alone; UNKNOWN where each request is drawn by itself, so that no unit has a place.
    """

    FAULT = "fault"
    CONTROL = "control"
    CANARY = "canary"
    STABLE = "stable"
    COPIED = "copied"
    HOLDOUT = "holdout"
    OUTSIDE = "outside"
    APART = "apart"
    UNKNOWN = "unknown"


TOUCHED: Final = frozenset({Place.FAULT, Place.CANARY, Place.COPIED})
"""Places where something can differ from what everybody else gets."""


@dataclass(frozen=True, slots=True)
class Step:
    """From `time` (unix seconds) on the share is `percent` of the units.

    `is_paused`: the slices stay what they are, but no fault is injected. `is_over`: nothing is going on any more.
    """

    time: float
    percent: float
    is_paused: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Hits:
    """What was done to one unit: how often, and when first and last (unix seconds, as control heard of it)."""

    count: int
    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One experiment's run, rollout or mirror as a share of the hash space over time.

    Args:
        kind: what it is.
        id: of the run or the rollout, "route/mirror" of a mirror.
        name: of the experiment or route.
        key: where units are found; empty when each request is drawn by itself.
        salt: of the hash space.
        steps: in the order of time.
        offset: percent where an experiment's slice begins.
        span: percent of an experiment's whole slice, so how far its control slice is away.
        holdout: percent of a mirror's units that are left unmirrored after all.
        listed: digests of units that are in it whatever their point (an experiment's `pinned`, a rollout's `first`).
        apart: digests of units that are never in it (`deny`).
        later: digests of units that a rollout takes last, at 100 % (`pinned`).
        tenants: digests of the test tenants that it is confined to; empty for all.
        state: `running`, or how it ended; empty of a mirror that is gone.
        to: the fleet that a rollout or mirror leads to.
        effect: what a fault does to an answer, as a participle.
        conditions: what else must hold of a request, as sentences' parts.
        dropped: units with the fault that are not on record for want of room.
    """

    kind: Kind
    id: str
    name: str
    key: str
    salt: bytes
    steps: tuple[Step, ...]
    offset: float = 0.0
    span: float = 0.0
    holdout: float = 0.0
    listed: frozenset[int] = field(default_factory=frozenset)
    apart: frozenset[int] = field(default_factory=frozenset)
    later: frozenset[int] = field(default_factory=frozenset)
    tenants: frozenset[int] = field(default_factory=frozenset)
    state: str = ""
    to: str = ""
    effect: str = ""
    conditions: tuple[str, ...] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Period:
    """A time during which a unit had one place: from `since` until `until` (unix seconds; inf while it lasts)."""

    place: Place
    since: float
    until: float
    percent: float
    is_paused: bool = False


def place_at(share: Share, digest: int, step: Step) -> Place | None:
    """Where the unit is at a step; None while nothing is going on.

    Args:
        share: what it may be a part of.
        digest: of the unit under `share.salt`.
        step: one of the share's.
    """
    if step.is_over or (step.percent <= 0 and not share.listed):
        return None
    if not share.key:
        return Place.UNKNOWN
    decide = {Kind.EXPERIMENT: _of_experiment, Kind.ROLLOUT: _of_rollout, Kind.MIRROR: _of_mirror}[share.kind]
    return decide(share, digest, step.percent)


def periods(share: Share, digest: int, since: float = -inf) -> list[Period]:
    """Where the unit was after `since`, in the order of time; neighbours that differ in the percentage alone are one."""
    found: list[Period] = []
    ends = [*(step.time for step in share.steps[1:]), inf]
    for step, until in zip(share.steps, ends, strict=True):
        place = place_at(share, digest, step)
        if place is None or until <= since or until <= step.time:
            continue
        last = found[-1] if found else None
        if last is not None and last.until == step.time and last.place is place and last.is_paused == step.is_paused:
            found[-1] = Period(place, last.since, until, step.percent, step.is_paused)
        else:
            found.append(Period(place, step.time, until, step.percent, step.is_paused))
    return found


def is_over(share: Share) -> bool:
    """Whether nothing of it is going on any more."""
    return not share.steps or share.steps[-1].is_over


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps in the order of time, those that change nothing left out."""
    ordered = sorted(steps, key=lambda step: step.time)
    kept = ordered[:1]
    kept += [after for before, after in pairwise(ordered) if replace(before, time=after.time) != after]
    return tuple(kept)


def plain(share: Share, digest: int, hits: Hits | None, *, since: float) -> Mapping[str, object]:
    """What the admin API says of one share and one unit; times in unix seconds, null where they are open.

    `place` is where the unit is now, null when nothing is going on; `was` is every place that it had since `since`.
    """
    found = periods(share, digest, since)
    is_now = bool(found) and found[-1].until == inf
    return {
        "kind": str(share.kind),
        "id": share.id,
        "name": share.name,
        "key": share.key,
        "to": share.to,
        "state": share.state,
        "place": str(found[-1].place) if is_now else None,
        "is_paused": is_now and found[-1].is_paused,
        "was": [
            {
                "place": str(one.place),
                "since": one.since,
                "until": None if one.until == inf else one.until,
                "percent": one.percent,
                "is_paused": one.is_paused,
            }
            for one in found
        ],
        "hits": None if hits is None else {"count": hits.count, "first": hits.first, "last": hits.last},
        "is_tenant": digest in share.tenants,
        "effect": share.effect,
        "conditions": list(share.conditions),
        "unrecorded": share.dropped,
    }


def _of_experiment(share: Share, digest: int, percent: float) -> Place:
    """As `policy.slices.SlicePolicy.arm`."""
    if digest in share.apart:
        return Place.APART
    if digest in share.listed:
        return Place.FAULT
    point = point_at(digest)
    width = min(percent, share.span) / 100
    start = share.offset / 100
    control = start + share.span / 100
    if start <= point < start + width:
        return Place.FAULT
    return Place.CONTROL if control <= point < control + width else Place.OUTSIDE


def _of_rollout(share: Share, digest: int, percent: float) -> Place:
    """As `policy.splits.SplitPolicy.place`: which version serves the unit."""
    if digest in share.apart:
        return Place.APART
    if digest in share.listed:
        return Place.CANARY
    if digest in share.later and percent < 100:
        return Place.APART
    return Place.CANARY if percent >= 100 or point_at(digest) < percent / 100 else Place.STABLE


def _of_mirror(share: Share, digest: int, percent: float) -> Place:
    """As `policy.mirrors.MirrorPolicy.decide` does when no overload leaves units out."""
    point = point_at(digest)
    sampled = percent / 100
    if point >= sampled:
        return Place.OUTSIDE
    return Place.HOLDOUT if point >= sampled * (1 - share.holdout / 100) else Place.COPIED
