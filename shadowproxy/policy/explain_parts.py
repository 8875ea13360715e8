"""In which slice of an experiment, and on which side of a rollout, a request is, and why: `explain` for what is beside the config.

As in explain.py nothing here decides: `SlicePolicy.takes` and `arm`, and `SplitPolicy.place`, are asked as the data plane asks them, and what
they answered is said in words. What depends on the moment (limits of a run, how often a unit was hit, leases) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shadowproxy.hashspace import point_at
from shadowproxy.policy.explain import BY_CHANCE, Facts, listed, percent, place_of
from shadowproxy.policy.routes import ANY_VALUE
from shadowproxy.policy.slices import ARMS
from shadowproxy.policy.splits import CONTROL, PLACES, SERVED_NEW, STABLE
from shadowproxy.policy.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowproxy.config.experiment import Inject
    from shadowproxy.policy.slices import SlicePolicy
    from shadowproxy.policy.splits import SplitPolicy
    from shadowproxy.policy.units import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFinding:
    """Where a request is, of an experiment or a rollout.

    `place` is one of `slices.ARMS` or `splits.PLACES`, or BY_CHANCE. `share` is the probability in [0, 1] that it gets the fault, or the new
    version, as far as its place says (0 or 1 where that is decided). `unit_from` says where the unit is looked for, "" where each request is
    its own; `unit` is what was found there and `point` its place in the hash space, None where nothing was.
    """

    place: str
    reason: str
    share: float
    unit_from: str = ""
    unit: bytes | None = None
    point: float | None = None


def explain_slice(policy: SlicePolicy, facts: Facts, tenant: bytes) -> PartFinding:
    """Which slice of an experiment the request is in; `tenant` is empty where it is no test."""
    unit_from, unit, place = _find(policy.unit, facts, policy.digest_of)
    if not policy.takes(facts.headers, tenant):
        return PartFinding(
            place="outside", reason=_not_taken(policy, facts, tenant), share=0.0, unit_from=unit_from, unit=unit, point=place
        )
    if _is_drawn(policy.unit, facts):
        share = policy.end - policy.start
        return PartFinding(
            place=BY_CHANCE, reason=f"each request by itself: {percent(share)} get the fault", share=share, unit_from=unit_from
        )
    arm = ARMS[policy.arm(unit, place or 0.0)]
    reason = _slice_reason(policy, unit, place, unit_from)
    return PartFinding(place=arm, reason=reason, share=float(arm == "fault"), unit_from=unit_from, unit=unit, point=place)


def explain_split(policy: SplitPolicy, facts: Facts) -> PartFinding:
    """On which side of a route's rollout the request is."""
    unit_from, unit, point = _find(policy.unit, facts, policy.digest_of)
    if _is_drawn(policy.unit, facts):
        share = policy.share
        reason = f"each request by itself: {percent(share)} get the new version"
        return PartFinding(place=BY_CHANCE, reason=reason, share=share, unit_from=unit_from)
    place = policy.place(unit, point or 0.0)
    if unit is None:
        reason = f"the request has no {unit_from}: it stays with the old version until all have the new one"
    elif unit in policy.denied:
        reason = f"{_text(unit)!r} is on a deny list: it stays with the old version"
    elif unit in policy.first:
        reason = f"{_text(unit)!r} is in the first ring"
    elif unit in policy.pinned:
        reason = f"{_text(unit)!r} is pinned to the old version until all have the new one"
    else:
        reason = f"the unit's point {point:.6f} is {_split_range(place, policy.share)}"
    return PartFinding(place=PLACES[place], reason=reason, share=float(place in SERVED_NEW), unit_from=unit_from, unit=unit, point=point)


def first_share(policies: Iterable[SplitPolicy], facts: Facts) -> float | None:
    """The share, from 0 to 1, of the first of these steps at which the new version answers the request; None where none does, or chance decides."""
    for policy in policies:
        found = explain_split(policy, facts)
        if found.place != BY_CHANCE and found.share:
            return policy.share
    return None


def unconcerned(inject: Inject, route: str, fleet: str, facts: Facts) -> str:
    """Why the fault does not concern a request that is in the slice; empty where it does. Asked in the order of the data plane."""
    if route not in inject.routes:
        return f"nothing is broken on route {route}, which is only watched"
    if inject.fleet and fleet != inject.fleet:
        return f"fleet {fleet} is not {inject.fleet}"
    if inject.methods and facts.method.decode("latin-1") not in inject.methods:
        return f"method {_text(facts.method)} is not one of {', '.join(inject.methods)}"
    prefix = inject.path.encode().rstrip(b"/")
    if prefix and facts.path != prefix and not facts.path.startswith(prefix + b"/"):
        return f"path {_text(facts.path)} is not {_text(prefix)} nor below it"
    if facts.is_upgrade:
        return "upgrades are left alone"
    return ""


def _find(unit: Unit | None, facts: Facts, digest_of: Callable[[bytes], int]) -> tuple[str, bytes | None, float | None]:
    """Where the unit is looked for, what is there, and its point."""
    if unit is None:
        return "", None, None
    found = unit_of(unit, facts.path, facts.headers, facts.client, facts.trace_id) or None
    return place_of(unit), found, None if found is None else point_at(digest_of(found))


def _is_drawn(unit: Unit | None, facts: Facts) -> bool:
    """Whether chance decides: the request is its own unit, or the trace that it would begin is."""
    return unit is None or (unit[0] == "trace" and not facts.trace_id)


def _not_taken(policy: SlicePolicy, facts: Facts, tenant: bytes) -> str:
    """The first condition of `SlicePolicy.takes` that does not hold."""
    if policy.is_tagged_only and not tenant:
        return "only tests are drawn from, and this is none"
    if policy.tenants and tenant not in policy.tenants:
        return f"{f'tenant {_text(tenant)}' if tenant else 'no tenant'} is not one of {listed(policy.tenants)}"
    if tenant in policy.denied:
        return f"tenant {_text(tenant)} is on a deny list"
    for name, value in policy.headers:
        lines = facts.headers.get(name)
        if not lines:
            return f"header {_text(name)} is missing"
        if value != ANY_VALUE and value not in lines:
            return f"header {_text(name)} is {' and '.join(map(_text, lines))}, not {_text(value)}"
    raise AssertionError("it is taken")


def _slice_reason(policy: SlicePolicy, unit: bytes | None, point: float | None, unit_from: str) -> str:
    if unit is None or point is None:
        return f"the request has no {unit_from}: chance would put a user in both slices"
    if unit in policy.denied:
        return f"{_text(unit)!r} is on a deny list"
    if unit in policy.pinned:
        return f"{_text(unit)!r} is pinned to the fault slice"
    ranges = f"fault from {policy.start:.6f} to {policy.end:.6f}, control from {policy.control_start:.6f} to {policy.control_end:.6f}"
    return f"the unit's point is {point:.6f}; {ranges}"


def _split_range(place: int, share: float) -> str:
    half = min(share, 1.0 - share)
    if place in SERVED_NEW:
        return f"below {share:.6f}"
    return f"from {1.0 - half:.6f} on" if place == CONTROL else f"between {share:.6f} and {1.0 - half:.6f}" if place == STABLE else ""


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
