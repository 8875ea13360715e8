"""Why a request goes where it goes: the decisions of a policy, asked one by one.

Nothing here decides. `explain` asks `Policy.find`, `MirrorPolicy.decide`, `unit_of` and `point`, the same
functions in the same order as the data plane, and says in words what they answered and what it was that
made them answer so. What depends on the moment (kill switch, breaker, overload, memory) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.hashspace import point
from shadowproxy.policy.mirrors import COPY, HOLDOUT, MARKED, METHOD, NOT_SAMPLED, SHED_RANGE, TOO_LARGE, UPGRADE
from shadowproxy.policy.routes import ANY_VALUE
from shadowproxy.policy.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.policy.mirrors import MirrorPolicy
    from shadowproxy.policy.routes import Policy, RoutePolicy
    from shadowproxy.policy.units import Unit

BY_CHANCE: Final = "by_chance"
"""The decision where each request is sampled by itself: only its probability is known."""

DECISIONS: Final[dict[int, str]] = {
    COPY: "copy",
    NOT_SAMPLED: "not_sampled",
    HOLDOUT: "holdout",
    METHOD: "method",
    TOO_LARGE: "too_large",
    MARKED: "marked",
    UPGRADE: "upgrade",
    SHED_RANGE: "shed_range",
}
"""What a mirror's decision is called: the fates' own names, as counters carry them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What classification learned of a request, as far as a policy looks at it.

    `headers` are values by lower-case name; `client` is the peer's address; `trace_id` 32 hex digits, b"" where the
    client sent no trace and one is begun; `length` the announced body, 0 for none and -1 for chunked;
    `body_bytes` how much body will really come.
    """

    listener: str
    host: bytes
    path: bytes
    method: bytes
    headers: Mapping[bytes, list[bytes]]
    client: bytes
    trace_id: bytes = b""
    length: int = 0
    body_bytes: int = 0
    is_upgrade: bool = False
    is_marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFinding:
    """One route, asked in its turn: `failed` is the first condition that does not hold, "" where the route takes the request."""

    name: str
    failed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorFinding:
    """One mirror's decision.

    `decision` is one of DECISIONS' names or BY_CHANCE; `share` the probability in [0, 1] that such a request is
    copied (0 or 1 where it is decided). `unit_from` says where the unit is looked for, "" where the mirror has none;
    `unit` is what was found there and `point` its place in the hash space, None where nothing was.
    """

    policy: MirrorPolicy
    decision: str
    reason: str
    share: float
    unit_from: str = ""
    unit: bytes | None = None
    point: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The routes that were asked, in order; the one that takes the request, if any does; and its mirrors' decisions."""

    asked: tuple[RouteFinding, ...]
    route: RoutePolicy | None
    mirrors: tuple[MirrorFinding, ...]


def explain(policy: Policy, facts: Facts) -> Explanation:
    """What `policy` decides for a request of which `facts` are known, and why."""
    taken = policy.find(facts.listener, facts.host, facts.path, facts.method, facts.headers)
    asked: list[RouteFinding] = []
    for route in policy.routes:
        asked.append(RouteFinding(name=route.name, failed="" if route is taken else failed_condition(route, facts)))
        if route is taken:
            break
    mirrors = tuple(explain_mirror(mirror, facts) for mirror in taken.mirrors) if taken is not None else ()
    return Explanation(asked=tuple(asked), route=taken, mirrors=mirrors)


def failed_condition(route: RoutePolicy, facts: Facts) -> str:
    """The first condition of `route` that does not hold, in words; "" where all hold. Asked in the order of `RoutePolicy.takes`."""
    path = facts.path
    if route.prefix and path != route.prefix and not path.startswith(route.prefix_slash):
        return f"path {_text(path)} is not {_text(route.prefix)} nor below {_text(route.prefix_slash)}"
    if route.methods and facts.method not in route.methods:
        return f"method {_text(facts.method)} is not one of {listed(route.methods)}"
    if route.host and facts.host != route.host:
        return f"host {_text(facts.host)} is not {_text(route.host)}"
    if route.host_suffix and not facts.host.endswith(route.host_suffix):
        return f"host {_text(facts.host)} does not end with {_text(route.host_suffix)}"
    if route.exact and path != route.exact:
        return f"path {_text(path)} is not exactly {_text(route.exact)}"
    if route.listener and facts.listener != route.listener:
        return f"listener {facts.listener} is not {route.listener}"
    if route.regex is not None and route.regex.fullmatch(path) is None:
        return f"path {_text(path)} does not match {_text(route.regex.pattern)}"
    for name, value in route.headers:
        lines = facts.headers.get(name, [])
        if not lines:
            return f"header {_text(name)} is missing"
        if value not in (ANY_VALUE, *lines):
            return f"header {_text(name)} is {' and '.join(map(_text, lines))}, not {_text(value)}"
    return ""


def explain_mirror(mirror: MirrorPolicy, facts: Facts) -> MirrorFinding:
    """What `mirror` does with a request that its route takes, and why."""
    unit_from, unit, place = _find_unit(mirror, facts)
    decided = mirror.decide(
        facts.method,
        facts.length,
        is_upgrade=facts.is_upgrade,
        is_marked=facts.is_marked,
        point=place if place is not None else 0.0,
        scale=1.0,
    )
    if place is None and decided in (COPY, HOLDOUT, NOT_SAMPLED):
        # The point is drawn anew for each request: what was asked with 0 is one of many answers.
        decision, reason, share = _chances(mirror, unit_from)
    else:
        decision, reason, share = DECISIONS[decided], _reason(mirror, decided, facts, place), 1.0 if decided == COPY else 0.0
    if decision in (DECISIONS[COPY], BY_CHANCE) and facts.body_bytes > mirror.body_limit:
        decision, share = DECISIONS[TOO_LARGE], 0.0
        reason = f"a chunked body of {facts.body_bytes} bytes is found to be over body_limit {mirror.body_limit} while it streams: the copy is given up"
    return MirrorFinding(policy=mirror, decision=decision, reason=reason, share=share, unit_from=unit_from, unit=unit, point=place)


def _find_unit(mirror: MirrorPolicy, facts: Facts) -> tuple[str, bytes | None, float | None]:
    """Where the unit is looked for, what is there, and its point."""
    if mirror.unit is None:
        return "", None, None
    found = unit_of(mirror.unit, facts.path, facts.headers, facts.client, facts.trace_id)
    if not found:
        return place_of(mirror.unit), None, None
    return place_of(mirror.unit), found, point(found, mirror.salt)


def place_of(unit: Unit) -> str:
    """Where a unit is looked for, in words."""
    kind, argument = unit
    if kind == "client":
        return "client address"
    if kind == "trace":
        return "trace id"
    return f"{'path segment' if kind == 'segment' else kind} {_text(argument)}"


def _chances(mirror: MirrorPolicy, unit_from: str) -> tuple[str, str, float]:
    """Decision, reason and share where no unit says which requests are sampled together."""
    if mirror.copied >= 1.0:
        return DECISIONS[COPY], "every request is mirrored", 1.0
    why = f"the request has no {unit_from}, so it is sampled by itself" if unit_from else "the mirror has no key: each request by itself"
    if mirror.copied <= 0.0:
        return DECISIONS[HOLDOUT if mirror.sampled > 0.0 else NOT_SAMPLED], "no request is mirrored", 0.0
    held = f", {percent(mirror.sampled - mirror.copied)} are held out" if mirror.copied < mirror.sampled else ""
    return BY_CHANCE, f"{why}; {percent(mirror.copied)} of such requests are copied{held}", mirror.copied


def _reason(mirror: MirrorPolicy, decided: int, facts: Facts, place: float | None) -> str:
    """Why the decision is what it is, with both numbers."""
    if decided == MARKED:
        return "the request is a copy already, and a trusted proxy says so"
    if decided == UPGRADE:
        return "upgrades go to live only"
    if decided == METHOD:
        return f"method {_text(facts.method)} is not one of {listed(mirror.methods)}"
    if decided == TOO_LARGE:
        return f"a body of {facts.length} bytes is over body_limit {mirror.body_limit}"
    at = f"the unit's point {place:.6f}" if place is not None else "any point"
    if decided == NOT_SAMPLED:
        return f"{at} is not below {mirror.sampled:.6f} (percent)"
    if decided == HOLDOUT:
        return f"{at} is in the hold-out range from {mirror.copied:.6f} to {mirror.sampled:.6f}"
    return f"{at} is below {mirror.copied:.6f}"


def percent(share: float) -> str:
    """A share in [0, 1] as people read it, to a thousandth of a percent at least: `12.5 %`."""
    return f"{share * 100:.6g} %"


def listed(words: frozenset[bytes]) -> str:
    """Words in the order of the alphabet, with commas."""
    return ", ".join(sorted(map(_text, words)))


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
