"""What must hold between the parts of a config that are about experiments and rollouts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shadowproxy.config.report import child, closest, item

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.config.experiments import Blockout, Rollout
    from shadowproxy.config.model import Config, Fleet, Route
    from shadowproxy.config.report import Report

BLOCKOUT_KINDS: Final = ("rrule", "ical", "holidays", "freeze_file")
"""A blockout is exactly one of these."""

LARGEST_FIRST_STEP: Final = 10.0
"""Percent: a rollout that begins above it shows a bad version to many before anything is known."""

SENT_ANYWAY: Final = frozenset(
    {
        "accept", "accept-charset", "accept-encoding", "accept-language", "access-control-request-headers", "access-control-request-method", "alt-used", "authorization", "cache-control",
        "connection", "content-encoding", "content-language", "content-length", "content-type", "cookie", "date", "device-memory", "dnt", "downlink", "dpr", "early-data", "ect", "expect",
        "forwarded", "from", "host", "http2-settings", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "last-event-id", "max-forwards",
        "origin", "ping-from", "ping-to", "pragma", "priority", "proxy-authorization", "proxy-connection", "purpose", "range", "referer", "rtt", "save-data", "service-worker", "te", "trailer",
        "transfer-encoding", "upgrade", "upgrade-insecure-requests", "user-agent", "via", "viewport-width", "width", "baggage", "b3", "traceparent", "tracestate", "x-client-data",
        "x-csrf-token", "x-http-method-override", "x-purpose", "x-real-ip", "x-request-id", "x-requested-with", "x-test-traffic", "x-xsrf-token",
    }
)  # fmt: skip
"""Fields that browsers, clients and proxies send by themselves; some of them any web page can have a browser send."""

SENT_PREFIXES: Final = ("sec-", "proxy-", "cf-", "x-forwarded-", "x-amz", "x-b3-", "x-envoy-", "x-shadow-", "x-fault-")

WHOLE: Final = 100.0
"""Percent of the units where a rollout ends."""

SHORTEST_CODEWORD: Final = 16
"""Characters of a codeword below which someone may guess it."""


def check_experiments(config: Config, report: Report) -> None:
    """Report what contradicts itself or is unsafe about experiments, rollouts and labels of endpoints."""
    _check_limits(config, report)
    _check_kill_header(config.experiments.kill_header, report)
    for index, blockout in enumerate(config.experiments.blockouts):
        _check_blockout(blockout, item("experiments.blockouts", index), report)
    for index, route in enumerate(config.routes):
        if route.rollout is not None:
            _check_rollout(config, route, route.rollout, child(item("routes", index), "rollout"), report)
    for name, fleet in config.fleets.items():
        _check_labels(fleet, child(child("fleets", name), "labels"), report)
    _check_zones(config, report)


def _check_limits(config: Config, report: Report) -> None:
    experiments = config.experiments
    if experiments.max_percent > 50:
        report.warning("experiments.max_percent", "a slice has at most 50 percent: its control slice needs as much")
    if experiments.remember < experiments.max_duration:
        report.warning("experiments.remember", f"shorter than max_duration ({experiments.max_duration:g} s): who was affected is forgotten")
    for index, unit in enumerate(experiments.deny):
        if not unit.strip():
            report.error(item("experiments.deny", index), "names no unit")


def _check_kill_header(text: str, report: Report) -> None:
    name, _, value = text.partition(":")
    plain = name.lower()
    if plain and (plain in SENT_ANYWAY or plain.startswith(SENT_PREFIXES)):
        report.error("experiments.kill_header", f"{name} is sent by browsers, clients or proxies: choose a field that nobody else uses")
    elif plain and len(value.strip()) < SHORTEST_CODEWORD:
        report.warning(
            "experiments.kill_header", f"anyone who guesses the value stops all experiments: {SHORTEST_CODEWORD} characters or more"
        )


def _check_blockout(blockout: Blockout, path: str, report: Report) -> None:
    given = [name for name in BLOCKOUT_KINDS if getattr(blockout, name)]
    if not given and not _is_reported(path, report):
        report.error(path, f"holds never: give one of {', '.join(BLOCKOUT_KINDS)}")
    elif len(given) > 1:
        report.error(child(path, given[1]), f"one of {', '.join(BLOCKOUT_KINDS)}, not {' and '.join(given)}")


def _check_rollout(config: Config, route: Route, rollout: Rollout, path: str, report: Report) -> None:
    if rollout.to and rollout.to not in config.fleets:
        report.error(child(path, "to"), f"no fleet is called {rollout.to!r}", suggestion=closest(rollout.to, list(config.fleets)))
    elif rollout.to and rollout.to == route.live:
        report.error(child(path, "to"), f"{rollout.to} is the live fleet itself: a rollout leads to another")
    elif rollout.to and route.live in config.fleets:
        shared = set(config.fleets[rollout.to].endpoints) & set(config.fleets[route.live].endpoints) - {""}
        if shared:
            report.warning(child(path, "to"), f"live serves from {min(shared)} as well: what is rolled out there is live already")
    _check_steps(rollout, child(path, "steps"), report)
    if rollout.patience < rollout.bake:
        report.error(child(path, "patience"), f"shorter than bake ({rollout.bake:g} s): every step would be rolled back")
    if rollout.margin <= 0:
        report.error(child(path, "margin"), "must be over 0: no number of requests shows a difference of nothing")
    _check_rings(config, rollout, path, report)


def _check_steps(rollout: Rollout, path: str, report: Report) -> None:
    steps = rollout.steps
    if not steps:
        return  # reported when it was read
    if steps[0] <= 0 or any(after <= before for before, after in pairwise(steps)):
        report.error(path, "must rise from above 0")
    elif steps[-1] != WHOLE:
        report.error(path, f"the last is {steps[-1]:g}: a rollout ends at 100")
    elif steps[0] > LARGEST_FIRST_STEP:
        report.warning(path, f"begins with {steps[0]:g} % of the units, before anything is known of the new version")


def _check_rings(config: Config, rollout: Rollout, path: str, report: Report) -> None:
    for name in ("pinned", "first"):
        if getattr(rollout, name) and not rollout.key:
            report.error(child(path, name), "needs a key: what units are")
    both = set(rollout.pinned) & set(rollout.first)
    if both:
        report.error(child(path, "first"), f"{min(both)!r} is pinned to live as well")
    denied = set(config.experiments.deny) & set(rollout.first)
    if denied:
        report.warning(child(path, "first"), f"{min(denied)!r} is in experiments.deny, which wins")
    if not rollout.key:
        report.warning(path, "no key: each request is drawn by itself, and a user meets both versions in turn")
        if config.experiments.deny:
            report.warning(path, "no key: nobody knows whose request it is, so experiments.deny spares nobody here")


def _check_labels(fleet: Fleet, path: str, report: Report) -> None:
    taken: dict[str, str] = {}
    for index, label in enumerate(fleet.labels):
        place = item(path, index)
        if label.endpoint and label.endpoint not in fleet.endpoints:
            hint = closest(label.endpoint, fleet.endpoints)
            report.error(child(place, "endpoint"), f"{label.endpoint} is no endpoint of this fleet", suggestion=hint)
        first = taken.setdefault(label.endpoint, place)
        if label.endpoint and first != place:
            report.error(child(place, "endpoint"), f"has its labels already, see {first}")
        if not (label.cell or label.zone or label.region or _is_reported(place, report)):
            report.error(place, "says nothing: give cell, zone or region")
    bare = [endpoint for endpoint in fleet.endpoints if endpoint and endpoint not in taken]
    if fleet.labels and bare:
        report.warning(path, f"{bare[0]} has none: no experiment that is confined to a cell reaches it, and no evacuation moves it")


def _check_zones(config: Config, report: Report) -> None:
    """Report zones that lie in two regions: to evacuate one would be to evacuate a part of the other."""
    regions: dict[str, str] = {}
    for path, zone, region in _zones(config):
        first = regions.setdefault(zone, region)
        if first != region:
            report.warning(path, f"zone {zone} is in region {region} here, and in {first} elsewhere")


def _zones(config: Config) -> Iterable[tuple[str, str, str]]:
    for name, fleet in config.fleets.items():
        for index, label in enumerate(fleet.labels):
            if label.zone and label.region:
                yield item(child(child("fleets", name), "labels"), index), label.zone, label.region


def _is_reported(path: str, report: Report) -> bool:
    """Whether something in `path` was complained about already, so that what stands there now is a placeholder."""
    return any(problem.path.startswith(f"{path}.") for problem in report.problems)
