"""Config in, policy out: everything that can be worked out once is worked out here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from shadowproxy.config.arms import arm_of
from shadowproxy.config.declare import Percent
from shadowproxy.config.model import Config, Credentials, Mirror, Route
from shadowproxy.hashspace import salt_of
from shadowproxy.policy.mirrors import MirrorPolicy
from shadowproxy.policy.routes import Policy, RoutePolicy
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
    routes = tuple(_route(route) for route in config.routes)
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
    )


def _route(route: Route) -> RoutePolicy:
    match = route.match
    host = match.host.lower().encode()
    prefix = match.path.encode().rstrip(b"/")
    has_conditions = any((match.listener, host, prefix, match.exact, match.regex, match.methods, match.headers))
    return RoutePolicy(
        name=route.name,
        live=route.live,
        mirrors=tuple(_mirror(route, mirror, _arm(route, mirror)) for mirror in route.mirror),
        refuses_tagged_writes=True,
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
        resolution_ns=nanoseconds(mirror.judge.latency.resolution),
        slo_ns=tuple(nanoseconds(threshold) for threshold in mirror.judge.slo),
        captured=mirror.capture.per_second,
        capture_body=mirror.capture.body,
        capture_memory=mirror.capture.memory,
    )
