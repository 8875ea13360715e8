"""Config in, policy out: everything that can be worked out once is worked out here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from shadowproxy.config.arms import arm_of
from shadowproxy.config.declare import Percent
from shadowproxy.config.model import Config, Credentials, Mirror, Route
from shadowproxy.config.tenancy import CountsAs, Destination, Rewrite, Treatment
from shadowproxy.hashspace import salt_of
from shadowproxy.policy.mirrors import MirrorPolicy
from shadowproxy.policy.rewrite import RewritePolicy
from shadowproxy.policy.routes import Policy, RoutePolicy
from shadowproxy.policy.tags import Tags
from shadowproxy.policy.tenancy import LIVE, PARTITION, REFUSE, SINK, SINK_FLEET, UNRULED, DestinationPolicy, TenancyRules, TreatmentPolicy
from shadowproxy.policy.units import parse_unit

CREDENTIALS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""What a copy does not carry unless asked to (CVE-2026-41181: credentials leaked to a second service)."""


RESENT_IN_FLIGHT: Final = 4
"""Requests that live may be busy with for a second time, per worker: noise is learnt from few, and live is not ours to load."""


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds of a config duration."""
    return round(seconds * 1e9)


def compile_policy(config: Config, generation: int) -> Policy:
    """The decision table of `config`, which has been checked; `generation` counts reloads from 1."""
    routes = tuple(_route(config, route) for route in config.routes)
    wanted = {name for route in routes for name, _ in route.headers}
    touched: set[bytes] = set()
    for route in routes:
        for mirror in route.mirrors:
            for one in (mirror, mirror.arm):
                touched |= one.removed if one is not None else set()
            if mirror.host_mode != "preserve":
                touched.add(b"host")
            if mirror.unit and mirror.unit[0] == "header":
                wanted.add(mirror.unit[1])
            elif mirror.unit and mirror.unit[0] == "cookie":
                wanted.add(b"cookie")
    return Policy(
        generation=generation,
        routes=routes,
        wanted=frozenset(wanted),
        touched=frozenset(touched),
        asks_host=any(route.host or route.host_suffix for route in routes),
        tags=Tags(config.tenancy.dialects),
    )


def _route(config: Config, route: Route) -> RoutePolicy:
    match = route.match
    host = match.host.lower().encode()
    prefix = match.path.encode().rstrip(b"/")
    has_conditions = any((match.listener, host, prefix, match.exact, match.regex, match.methods, match.headers))
    return RoutePolicy(
        name=route.name,
        live=route.live,
        mirrors=tuple(_mirror(route, mirror, _arm(route, mirror)) for mirror in route.mirror),
        tests=_tests(config, route),
        listener=match.listener,
        host=b"" if host.startswith(b"*.") else host,
        host_suffix=host[1:] if host.startswith(b"*.") else b"",
        prefix=prefix,
        prefix_slash=prefix + b"/",
        exact=match.exact.encode(),
        regex=re.compile(match.regex.encode()) if match.regex else None,
        methods=frozenset(method.encode() for method in match.methods),
        headers=tuple((name.lower().encode(), value.encode("latin-1")) for name, value in match.headers.items()),
        is_catch_all=not has_conditions,
        rewrite=_rewrite(route.rewrite),
    )


def _rewrite(rewrite: Rewrite) -> RewritePolicy | None:
    if rewrite == Rewrite():
        return None
    mode, _, host = rewrite.host.partition(":")
    return RewritePolicy(
        strip_prefix=rewrite.strip_prefix.encode().rstrip(b"/"),
        path_prefix=rewrite.path_prefix.encode().rstrip(b"/"),
        host_mode=mode,
        host=host.encode(),
    )


def _tests(config: Config, route: Route) -> TenancyRules:
    tests = route.test_traffic
    reads = _destination(route, tests.reads, LIVE)
    writes = _destination(route, tests.writes, UNRULED)
    # What a sink keeps of a tenant's writes is what that tenant's reads must see first.
    keeps = writes.kind == SINK and reads.kind == LIVE and config.sinks[tests.writes.sink].keeps
    return TenancyRules(
        reads=reads,
        writes=writes,
        treatments=tuple(_treatment(treatment) for treatment in tests.treat),
        asks=writes.fleet if keeps else "",
    )


def _destination(route: Route, destination: Destination, unsaid: int) -> DestinationPolicy:
    if destination.sink:
        return DestinationPolicy(kind=SINK, fleet=SINK_FLEET + destination.sink, to=destination.sink)
    if destination.partition is not None:
        partition = destination.partition
        fleet = partition.fleet or route.live
        rewrite = RewritePolicy(
            path_prefix=partition.path_prefix.encode().rstrip(b"/"),
            host_mode="literal" if partition.host else "preserve",
            host=partition.host.encode(),
            headers={name.lower().encode(): value.encode("latin-1") for name, value in partition.headers.items()},
            query={name.encode(): value.encode() for name, value in partition.query.items()},
            is_partition=True,
        )
        return DestinationPolicy(kind=PARTITION, fleet=fleet, to=fleet, rewrites=(*_rewrites(route), rewrite))
    kind = {"live": LIVE, "refuse": REFUSE}.get(destination.rule, unsaid)
    return DestinationPolicy(kind=kind, fleet=route.live, to=route.live if kind == LIVE else "", rewrites=_rewrites(route))


def _rewrites(route: Route) -> tuple[RewritePolicy, ...]:
    """What the route itself changes: a partition is its service, asked differently."""
    rewrite = _rewrite(route.rewrite)
    return (rewrite,) if rewrite is not None else ()


def _treatment(treatment: Treatment) -> TreatmentPolicy:
    return TreatmentPolicy(
        is_write=treatment.counts_as is CountsAs.WRITE,
        prefix=treatment.path.encode().rstrip(b"/"),
        exact=treatment.exact.encode(),
        regex=re.compile(treatment.regex.encode()) if treatment.regex else None,
        methods=frozenset(method.encode() for method in treatment.methods),
        query=treatment.query.encode(),
        body=re.compile(treatment.body.encode()) if treatment.body else None,
    )


def _arm(route: Route, mirror: Mirror) -> MirrorPolicy | None:
    arm = arm_of(route, mirror)
    if arm is None:
        return None
    # What its mirror copies has been sampled already.
    compiled = _mirror(route, replace(arm, percent=Percent(100.0), holdout=Percent(0.0)), None)
    if mirror.control is not None:
        return compiled
    in_flight = min(arm.in_flight, RESENT_IN_FLIGHT)
    return replace(compiled, share=arm.percent / 100, is_apart=True, in_flight=in_flight)


def _mirror(route: Route, mirror: Mirror, arm: MirrorPolicy | None) -> MirrorPolicy:
    removed = {name.lower().encode() for name in (*mirror.headers.remove, *mirror.headers.set)}
    if mirror.credentials is Credentials.REMOVE:
        removed |= CREDENTIALS
    sampled = mirror.percent / 100
    host_mode, _, host_text = mirror.host.partition(":")
    return MirrorPolicy(
        key=f"{route.name}/{mirror.name}",
        name=mirror.name,
        fleet=mirror.to,
        methods=frozenset(method.encode() for method in mirror.methods),
        body_limit=mirror.body_limit,
        body_budget=mirror.body_budget,
        sampled=sampled,
        copied=sampled * (1 - mirror.holdout / 100),
        salt=salt_of(mirror.salt or route.name),
        unit=parse_unit(mirror.key),
        removed=frozenset(removed),
        added=b"".join(b"%b: %b\r\n" % (name.encode(), value.encode("latin-1")) for name, value in mirror.headers.set.items()),
        host_mode=host_mode,
        host_text=host_text.encode(),
        timeout_ns=nanoseconds(mirror.timeout),
        pair_timeout_ns=nanoseconds(mirror.pair_timeout),
        in_flight=mirror.in_flight,
        breaker_failures=mirror.breaker.failures,
        breaker_period_ns=nanoseconds(mirror.breaker.period),
        arm=arm,
        share=1.0,
        is_compared=arm is not None and mirror.control is not None,
        is_apart=False,
        is_scrubbed=mirror.scrub,
        resolution_ns=nanoseconds(mirror.judge.latency.resolution),
        slo_ns=tuple(nanoseconds(threshold) for threshold in mirror.judge.slo),
        captured=mirror.capture.per_second,
        capture_body=mirror.capture.body,
        capture_memory=mirror.capture.memory,
    )
