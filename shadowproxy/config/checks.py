"""What must hold between the parts of a config: each part is sound by itself when these run.

Nothing here touches the network or a file. A config that has been reported on may still hold
placeholders (an empty string where a name should be); those were complained about already, and
every check passes over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import HostPort, Unfit, host_denial, is_loopback, parse_endpoint, parse_host_port, reaches
from shadowproxy.config.arms import arms
from shadowproxy.config.checks_experiments import check_experiments
from shadowproxy.config.checks_sinks import check_sinks
from shadowproxy.config.checks_tenancy import check_tenancy
from shadowproxy.config.model import SCRUBBED_BODY_LIMIT, Credentials, FieldOrder, UpstreamTLS
from shadowproxy.config.reachability import check_reachability
from shadowproxy.config.report import child, closest, item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowproxy.config.addresses import Endpoint
    from shadowproxy.config.model import Config, Fleet, Mirror, Route
    from shadowproxy.config.report import Report

MOST_THRESHOLDS: Final = 8
"""SLO thresholds of one mirror: each is compared for every pair in the worker."""

MOST_MIRRORS: Final = 2000
"""Mirrors of one config: each, and its arm, needs a shared word in every worker, the old ones too during a reload."""

RESERVED_HEADERS: Final = frozenset(
    {
        "baggage",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "proxy-connection",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-test-traffic",
    },
)
"""Fields that frame a message, belong to one hop or carry our own marks: the proxy alone writes them."""

RESERVED_PREFIXES: Final = ("x-shadow-", "x-fault-", "x-forwarded-")

UNMIRRORED_METHODS: Final = frozenset({"CONNECT", "TRACE"})


def check(config: Config, report: Report) -> None:
    """Report everything about `config` that contradicts itself or is unsafe."""
    _check_names(config, report)
    ours = list(_our_addresses(config))
    _check_listeners(ours, report)
    _check_admin(config, report)
    for name, fleet in config.fleets.items():
        _check_fleet(fleet, child("fleets", name), ours, report)
    for index, route in enumerate(config.routes):
        _check_route(config, route, item("routes", index), report)
    check_tenancy(config, report)
    check_sinks(config, report)
    check_experiments(config, report)
    if not report.has_errors:
        _check_use(config, report)
        check_reachability(config.routes, report)


def _check_names(config: Config, report: Report) -> None:
    _check_unique(((listener.name, item("listen", index)) for index, listener in enumerate(config.listen)), "listener", report)
    _check_unique(((route.name, item("routes", index)) for index, route in enumerate(config.routes)), "route", report)
    for index, route in enumerate(config.routes):
        place = child(item("routes", index), "mirror")
        _check_unique(((mirror.name, item(place, number)) for number, mirror in enumerate(route.mirror)), "mirror of this route", report)
        taken = {mirror.name for mirror in route.mirror}
        for number, mirror in enumerate(route.mirror):
            for arm in (f"{mirror.name}.control", f"{mirror.name}.resend"):
                if arm in taken:
                    report.error(
                        child(item(place, number), "name"), f"{arm!r} is what an arm of this mirror is called, and is another mirror's name"
                    )
    mirrors = sum(len(route.mirror) for route in config.routes)
    if mirrors > MOST_MIRRORS:
        report.error("routes", f"{mirrors} mirrors in all, limit {MOST_MIRRORS}")


def _check_unique(named: Iterable[tuple[str, str]], kind: str, report: Report) -> None:
    taken: dict[str, str] = {}
    for name, path in named:
        if name and taken.setdefault(name, path) != path:
            report.error(child(path, "name"), f"another {kind} is called {name!r}, see {taken[name]}")


def _our_addresses(config: Config) -> Iterator[tuple[HostPort, str, str]]:
    """Yield where we listen, what that is called, and its path."""
    places = [
        (listener.address, f"listener {listener.name!r}", child(item("listen", i), "address")) for i, listener in enumerate(config.listen)
    ]
    for address, name, path in ((config.admin.address, "the admin API", "admin.address"), *places):
        try:
            yield parse_host_port(address), name, path
        except Unfit:
            continue  # reported when it was read


def _check_listeners(ours: list[tuple[HostPort, str, str]], report: Report) -> None:
    for index, (address, _, path) in enumerate(ours):
        for other, name, _ in ours[:index]:
            if reaches(address, other) or reaches(other, address):
                report.error(path, f"{address} is taken by {name} at {other}")
                break


def _check_admin(config: Config, report: Report) -> None:
    if config.admin.token_file or not config.admin.address:
        return
    host = parse_host_port(config.admin.address).host
    if not is_loopback(host):
        report.error("admin.address", f"{host} is not loopback: name a token_file, so that who may use the admin API is decided, not found")


def _check_fleet(fleet: Fleet, path: str, ours: list[tuple[HostPort, str, str]], report: Report) -> None:
    endpoints = list(_endpoints(fleet, path))
    seen: dict[tuple[str, int], str] = {}
    for endpoint, place in endpoints:
        where = endpoint.where
        denial = host_denial(where.host)
        if denial is not None:
            report.error(place, f"{where.host} cannot be an endpoint: {denial}")
        for address, name, _ in ours:
            if reaches(where, address):
                report.error(place, f"{where} is {name} of this proxy: requests would go round in circles")
                break
        first = seen.setdefault((where.host.lower(), where.port), place)
        if first != place:
            report.warning(place, f"the same endpoint as {first}: it gets twice the share")
    _check_upstream_tls(fleet, path, [endpoint.scheme for endpoint, _ in endpoints], report)


def _check_upstream_tls(fleet: Fleet, path: str, schemes: list[str], report: Report) -> None:
    tls, place = fleet.tls, child(path, "tls")
    if bool(tls.cert) != bool(tls.key):
        missing, given = ("key", "cert") if tls.cert else ("cert", "key")
        report.error(child(place, given), f"{given} needs {missing}: a client certificate is two files")
    if tls != UpstreamTLS() and schemes and "https" not in schemes:
        report.warning(place, "has no effect: no endpoint is https")
    elif not tls.verify and "https" in schemes:
        report.warning(child(place, "verify"), "certificates are not verified: anyone on the way can answer as this fleet")


def _endpoints(fleet: Fleet, path: str) -> Iterator[tuple[Endpoint, str]]:
    for index, url in enumerate(fleet.endpoints):
        if url:
            yield parse_endpoint(url), item(child(path, "endpoints"), index)


def _check_route(config: Config, route: Route, path: str, report: Report) -> None:
    _check_reference(route.live, config.fleets, "fleet", child(path, "live"), report)
    match, place = route.match, child(path, "match")
    if match.listener:
        _check_reference(match.listener, [listener.name for listener in config.listen], "listener", child(place, "listener"), report)
    given = [name for name in ("path", "exact", "regex") if getattr(match, name)]
    if len(given) > 1:
        report.error(child(place, given[1]), f"a route matches by one of path, exact and regex, not by {' and '.join(given)}")
    for index, mirror in enumerate(route.mirror):
        _check_mirror(config, route, mirror, item(child(path, "mirror"), index), report)


def _check_mirror(config: Config, route: Route, mirror: Mirror, path: str, report: Report) -> None:
    _check_reference(mirror.to, config.fleets, "fleet", child(path, "to"), report)
    shadow, live = config.fleets.get(mirror.to), config.fleets.get(route.live)
    if shadow is not None and live is not None:
        shared = set(shadow.endpoints) & set(live.endpoints) - {""}
        if shared:
            report.warning(child(path, "to"), f"live serves the copies as well, from {min(shared)}: they are load on it")
    if mirror.credentials is Credentials.KEEP and not mirror.scrub:
        _warn_of_credentials(shadow, child(path, "credentials"), report)
    for index, method in enumerate(mirror.methods):
        if method in UNMIRRORED_METHODS:
            report.error(item(child(path, "methods"), index), f"{method} cannot be mirrored")
    place = child(path, "headers")
    for name in mirror.headers.set:
        _check_unreserved(name, child(child(place, "set"), name), report, on_key=True)
    for index, name in enumerate(mirror.headers.remove):
        _check_unreserved(name, item(child(place, "remove"), index), report, on_key=False)
    if mirror.pair_timeout < mirror.timeout:
        report.warning(child(path, "pair_timeout"), f"shorter than timeout ({mirror.timeout:g} s): slow shadow answers are never compared")
    if mirror.scrub and mirror.body_limit > SCRUBBED_BODY_LIMIT:
        report.warning(child(path, "body_limit"), f"more than {SCRUBBED_BODY_LIMIT} bytes are not scrubbed, and so not sent")
    if mirror.holdout >= 100 and mirror.percent > 0:
        report.warning(child(path, "holdout"), "everything is held out: nothing is mirrored")
    _check_judge(config, route, mirror, path, report)
    if 0 < config.limits.tee_memory < mirror.body_budget:
        report.warning(child(path, "body_budget"), f"more than limits.tee_memory ({config.limits.tee_memory} bytes): it is never reached")


def _check_judge(config: Config, route: Route, mirror: Mirror, path: str, report: Report) -> None:
    if mirror.control is not None:
        place = child(child(path, "control"), "to")
        _check_reference(mirror.control.to, config.fleets, "fleet", place, report)
        if mirror.control.to and mirror.control.to == mirror.to:
            report.error(place, f"{mirror.to} is the shadow itself: a control arm runs the live build")
        elif mirror.control.to and mirror.control.to == route.live:
            report.warning(place, "live serves the copies as well: a control arm is better a fleet of its own")
    judge, place = mirror.judge, child(path, "judge")
    if len(judge.slo) > MOST_THRESHOLDS:
        report.error(child(place, "slo"), f"{len(judge.slo)} thresholds, limit {MOST_THRESHOLDS}")
    if len(set(judge.slo)) < len(judge.slo):
        report.error(child(place, "slo"), "a threshold stands here twice")
    for index, threshold in enumerate(judge.slo):
        if threshold >= mirror.timeout > 0:
            report.warning(item(child(place, "slo"), index), f"no copy may take longer than the mirror's timeout ({mirror.timeout:g} s)")
    for index, rule in enumerate(judge.fields):
        if (rule.order is FieldOrder.KEYED) != bool(rule.key):
            report.error(child(item(child(place, "fields"), index), "key"), "belongs to order: keyed, and that to it")
    for name, margins in (("errors", judge.errors), ("latency", judge.latency)):
        if margins.safe <= 0:
            report.error(child(child(place, name), "safe"), "must be over 0: no number of pairs shows a difference of nothing")
        elif margins.regression > margins.safe:
            report.error(child(child(place, name), "regression"), f"more than safe ({margins.safe:g}): a shadow between them would be both")


def _warn_of_credentials(shadow: Fleet | None, path: str, report: Report) -> None:
    report.warning(path, "the shadow gets the users' Authorization and Cookie, and can act as them")
    if shadow is None:
        return
    for endpoint, _ in _endpoints(shadow, ""):
        if endpoint.scheme == "http" and not is_loopback(endpoint.where.host):
            report.warning(path, f"and they travel unencrypted to http://{endpoint.where}")
            return


def _check_unreserved(name: str, path: str, report: Report, *, on_key: bool) -> None:
    # Servers that turn field names into variables read `_` and `.` as `-` (CVE-2026-29054 and its kin).
    plain = name.lower().replace("_", "-").replace(".", "-")
    if plain == "host":
        report.error(path, "the Host of a copy is set with the mirror's `host`", on_key=on_key)
    elif plain in RESERVED_HEADERS or plain.startswith(RESERVED_PREFIXES):
        report.error(path, f"{name} is written by the proxy itself", on_key=on_key)


def _check_reference(name: str, known: Iterable[str], kind: str, path: str, report: Report) -> None:
    names = [other for other in known if other]
    if name and name not in names:
        suggestion = closest(name, names)
        shown = ", ".join(sorted(filter(str.isprintable, names))[:10])
        hint = "" if suggestion or not shown else f"; there are: {shown}"
        report.error(path, f"no {kind} is called {name!r}{hint}", suggestion=suggestion)


def _check_use(config: Config, report: Report) -> None:
    used = {route.live for route in config.routes} | {mirror.to for route in config.routes for mirror in arms(route)}
    used |= {route.rollout.to for route in config.routes if route.rollout is not None}
    for route in config.routes:
        tests = route.test_traffic
        used |= {destination.partition.fleet for destination in (tests.reads, tests.writes) if destination.partition is not None}
    used |= {sink.resources.live for sink in config.sinks.values() if sink.resources is not None}
    for name in config.fleets:
        if name not in used:
            report.warning(child("fleets", name), "no route uses this fleet")
    if any(not route.match.listener for route in config.routes):
        return
    taken = {route.match.listener for route in config.routes}
    for index, listener in enumerate(config.listen):
        if listener.name not in taken:
            report.warning(item("listen", index), f"no route takes requests of listener {listener.name!r}: all are answered 404")
