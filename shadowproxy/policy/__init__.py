"""Pure decisions: routes, mirrors, units. No I/O, no clock, no randomness of its own."""

from __future__ import annotations

from shadowproxy.policy.compile import compile_policy, nanoseconds
from shadowproxy.policy.mirrors import COPY, MirrorPolicy
from shadowproxy.policy.routes import Policy, RoutePolicy, bare_host
from shadowproxy.policy.units import Unit, unit_of

__all__ = ["COPY", "MirrorPolicy", "Policy", "RoutePolicy", "Unit", "bare_host", "compile_policy", "nanoseconds", "unit_of"]
