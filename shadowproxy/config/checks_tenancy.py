"""What must hold between the parts of a config that are about test traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.config.report import child, closest, item
from shadowproxy.config.tenancy import CountsAs, Destination, TrustMode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.config.model import Config, Listener, Route
    from shadowproxy.config.report import Report
    from shadowproxy.config.tenancy import Partition

UNSETTABLE: Final = frozenset(
    {
        "baggage", "connection", "content-length", "expect", "host", "keep-alive", "max-forwards", "te", "traceparent", "tracestate", "trailer",
        "transfer-encoding", "upgrade", "via", "x-test-traffic",
    }
)  # fmt: skip
"""Fields that no partition sets: they frame a request, belong to a hop, are the tag itself, or have an option of their own (host)."""

MOST_SINKS: Final = 200
"""Sinks of one config: each has a socket of its own."""


def check_tenancy(config: Config, report: Report) -> None:
    """Report what contradicts itself or is unsafe about test traffic."""
    if len(config.sinks) > MOST_SINKS:
        report.error("sinks", f"{len(config.sinks)} sinks, limit {MOST_SINKS}")
    for index, listener in enumerate(config.listen):
        _check_trust(config, listener, item("listen", index), report)
    for index, route in enumerate(config.routes):
        place = child(item("routes", index), "test_traffic")
        _check_destination(config, route, route.test_traffic.reads, child(place, "reads"), report)
        _check_destination(config, route, route.test_traffic.writes, child(place, "writes"), report)
        _check_treatments(route, place, report)
        if route.test_traffic.writes.rule == "live":
            report.warning(child(place, "writes"), "test traffic writes to live")
    if config.tenancy.memory < config.tenancy.body_limit:
        report.warning("tenancy.memory", f"less than body_limit ({config.tenancy.body_limit} bytes): no worker can hold such a body")
    for name in sorted(set(config.sinks) - set(_used_sinks(config.routes))):
        report.warning(child("sinks", name), "no route uses this sink")


def _used_sinks(routes: Iterable[Route]) -> Iterable[str]:
    for route in routes:
        yield route.test_traffic.reads.sink
        yield route.test_traffic.writes.sink


def _check_trust(config: Config, listener: Listener, path: str, report: Report) -> None:
    trust, place = listener.trust, child(path, "trust")
    if bool(trust.cidrs) != (trust.mode is TrustMode.CIDRS):
        report.error(child(place, "cidrs"), "belongs to mode: cidrs, and that to it")
    if trust.mode is TrustMode.SIGNED and not config.tenancy.passports.keys:
        report.error(place, "signed needs a key in tenancy.passports.keys: without one every tagged request is refused")
    if listener.egress is not None and trust.mode is TrustMode.SIGNED:
        report.warning(place, "services cannot sign their outgoing calls with the caller's passport: use cidrs on an egress listener")


def _check_destination(config: Config, route: Route, destination: Destination, path: str, report: Report) -> None:
    given = [name for name in ("rule", "sink", "partition") if getattr(destination, name)]
    if len(given) > 1:
        report.error(child(path, given[1]), f"one of rule, sink and partition, not {' and '.join(given)}")
    if destination.sink and destination.sink not in config.sinks:
        suggestion = closest(destination.sink, list(config.sinks))
        report.error(child(path, "sink"), f"no sink is called {destination.sink!r}", suggestion=suggestion)
    if destination.partition is not None:
        _check_partition(config, route, destination.partition, child(path, "partition"), report)


def _check_partition(config: Config, route: Route, partition: Partition, path: str, report: Report) -> None:
    if partition.fleet and partition.fleet not in config.fleets:
        suggestion = closest(partition.fleet, list(config.fleets))
        report.error(child(path, "fleet"), f"no fleet is called {partition.fleet!r}", suggestion=suggestion)
    if not (partition.headers or partition.path_prefix or partition.host or partition.query):
        if not partition.fleet:
            report.error(path, "names nothing that tells it from live: a fleet, headers, path_prefix, host or query")
        elif _endpoints(config, partition.fleet) & _endpoints(config, route.live):
            report.error(
                child(path, "fleet"),
                "has endpoints of the route's live fleet: what tells it from live? headers, path_prefix, host or query",
            )
    for name in partition.headers:
        if name.lower().replace("_", "-").replace(".", "-") in UNSETTABLE:
            report.error(child(child(path, "headers"), name), f"{name} is written by the proxy itself", on_key=True)
    place = child(path, "path_prefix")
    if partition.path_prefix and (not partition.path_prefix.strip("/") or {"?", "#"} & set(partition.path_prefix)):
        report.error(place, "must be a path with a name in it, without query and fragment")
    elif any(segment in {".", ".."} for segment in partition.path_prefix.split("/")):
        report.error(place, "leads elsewhere: it has a segment . or ..")
    for name in ("path_prefix", "host"):
        _check_braces(getattr(partition, name), child(path, name), report)
    for name, values in (("headers", partition.headers), ("query", partition.query)):
        for key, value in values.items():
            _check_braces(value, child(child(path, name), key), report)


def _endpoints(config: Config, fleet: str) -> set[str]:
    return set(config.fleets[fleet].endpoints) if fleet in config.fleets else set()


def _check_braces(text: str, path: str, report: Report) -> None:
    rest = text.replace("{tenant}", "")
    if "{" in rest or "}" in rest:
        report.error(path, "only {tenant} can stand in braces", suggestion="{tenant}")


def _check_treatments(route: Route, path: str, report: Report) -> None:
    for index, treatment in enumerate(route.test_traffic.treat):
        place = item(child(path, "treat"), index)
        given = [name for name in ("path", "exact", "regex") if getattr(treatment, name)]
        if len(given) > 1:
            report.error(child(place, given[1]), f"by one of path, exact and regex, not by {' and '.join(given)}")
        is_bare = not (given or treatment.methods or treatment.query or treatment.body)
        if is_bare and treatment.counts_as is CountsAs.READ:
            report.error(place, "would take every write for a read: say by path, method, query or body which ones it means")
