"""A mirror's decision: the order of its reasons, and shares that nest."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane import outcome
from shadowproxy.hashspace import point
from shadowproxy.policy import COPY, MirrorPolicy
from shadowproxy.policy import mirrors as module

MIRROR = MirrorPolicy(
    key="all/shadow", name="shadow", fleet="shadow", methods=frozenset({b"GET", b"POST"}), body_limit=1000, body_budget=1, sampled=0.5,
    copied=0.4, salt=b"all", unit=None, removed=frozenset(), added=b"", host_mode="preserve", host_text=b"", timeout_ns=1, pair_timeout_ns=1,
    in_flight=1, breaker_failures=1, breaker_period_ns=1, arm=None, share=1.0, is_compared=False, is_apart=False, is_scrubbed=False, resolution_ns=0, slo_ns=(),
    captured=0.0, capture_body=0, capture_memory=0,
)  # fmt: skip

WORST: dict[str, Any] = {"method": b"PUT", "length": 1001, "is_upgrade": True, "is_marked": True, "point": 0.99}
FINE: dict[str, Any] = {"method": b"POST", "length": 1000, "is_upgrade": False, "is_marked": False, "point": 0.0}


def _decide(mirror: MirrorPolicy = MIRROR, scale: float = 1.0, **request: Any) -> int:
    return mirror.decide(
        request["method"], request["length"], is_upgrade=request["is_upgrade"], is_marked=request["is_marked"], point=request["point"], scale=scale
    )  # fmt: skip


def test_the_first_reason_counts() -> None:
    """A request that every reason excludes is counted under the first; as reasons fall away, under the next, in the documented order."""
    request = dict(WORST)
    order = []
    for name in ("is_marked", "is_upgrade", "method", "length"):
        order.append(_decide(**request))
        request[name] = FINE[name]
    order.append(_decide(**request))
    assert order == [module.MARKED, module.UPGRADE, module.METHOD, module.TOO_LARGE, module.NOT_SAMPLED]
    assert _decide(**FINE) == COPY


@pytest.mark.parametrize(
    ("point", "scale", "decision"),
    [
        (0.0, 1.0, COPY),
        (0.3999, 1.0, COPY),
        (0.4, 1.0, module.HOLDOUT),
        (0.4999, 1.0, module.HOLDOUT),
        (0.5, 1.0, module.NOT_SAMPLED),
        (0.1999, 0.5, COPY),
        (0.2, 0.5, module.SHED_RANGE),
        (0.0, 0.0, module.SHED_RANGE),
    ],
)
def test_ranges_are_half_open(point: float, scale: float, decision: int) -> None:
    """Copied, shed, held out and not sampled lie side by side in the unit interval; a range end belongs to the next."""
    assert _decide(**FINE | {"point": point}, scale=scale) == decision


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_shares_nest(small: float, large: float, at: float, scale: float) -> None:
    """What a mirror copies at a small percentage it copies at any larger one, and what it copies under overload it copies without."""
    small, large = sorted((small, large))
    less = dataclasses.replace(MIRROR, sampled=small, copied=small)
    more = dataclasses.replace(MIRROR, sampled=large, copied=large)
    if _decide(less, **FINE | {"point": at}) == COPY:
        assert _decide(more, **FINE | {"point": at}) == COPY
    if _decide(more, scale, **FINE | {"point": at}) == COPY:
        assert _decide(more, **FINE | {"point": at}) == COPY


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_who_needs_no_point_decides_the_same_for_every_point(copied: float, scale: float, at: float) -> None:
    """A point is not worked out where it cannot matter."""
    mirror = dataclasses.replace(MIRROR, sampled=max(copied, MIRROR.sampled), copied=copied)
    if not mirror.needs_point(scale):
        assert _decide(mirror, scale, **FINE | {"point": at}) == _decide(mirror, scale, **FINE | {"point": 0.0}) == COPY
    else:
        assert copied * scale < 1.0


def test_sessions_stay_whole() -> None:
    """Every request of a unit is decided alike: its point depends on the unit and the salt alone."""
    for number in range(200):
        user = b"user-%d" % number
        decisions = {_decide(**FINE | {"length": length, "point": point(user, MIRROR.salt)}) for length in (0, 1, 500, -1)}
        assert len(decisions) == 1


def test_decisions_are_fates() -> None:
    """The policy's numbers are places in the data plane's table of fates."""
    names = {name.lower(): value for name, value in vars(module).items() if name.isupper() and isinstance(value, int) and value >= 0}
    assert {name: outcome.FATES[value] for name, value in names.items()} == {name: name for name in names}
