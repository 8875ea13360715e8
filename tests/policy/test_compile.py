"""Config in, policy out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.policy import nanoseconds
from shadowproxy.policy.compile import CREDENTIALS
from shadowproxy.policy.tenancy import LIVE, REFUSE, UNRULED

if TYPE_CHECKING:
    from tests.policy.conftest import MakePolicy


def _mirror_of(make_policy: MakePolicy, mirror: str) -> object:
    return make_policy(f"name: r, mirror: [{{to: shadow, {mirror}}}]").routes[0].mirrors[0]


@pytest.mark.parametrize(
    ("written", "compiled"),
    [
        ("percent: 25", {"sampled": 0.25, "copied": 0.25, "key": "r/shadow", "name": "shadow", "fleet": "shadow"}),
        ("percent: 0.001", {"sampled": 0.00001}),
        ("percent: 50, holdout: 10", {"sampled": 0.5, "copied": 0.45}),
        ("name: m, percent: 1", {"key": "r/m", "name": "m"}),
        ("percent: 1", {"salt": b"r", "unit": None}),
        ("percent: 1, salt: pepper", {"salt": b"pepper"}),
        ('percent: 1, key: "header:X-User"', {"unit": ("header", b"x-user")}),
        ("percent: 1, methods: [GET, POST]", {"methods": frozenset({b"GET", b"POST"})}),
        ("percent: 1", {"methods": frozenset({b"GET", b"HEAD", b"OPTIONS"})}),
        ("percent: 1", {"removed": CREDENTIALS, "added": b""}),
        ("percent: 1, credentials: keep", {"removed": frozenset()}),
        ("percent: 1, credentials: keep, headers: {remove: [X-A], set: {X-B: v}}", {"removed": frozenset({b"x-a", b"x-b"}), "added": b"X-B: v\r\n"}),
        ("percent: 1", {"host_mode": "preserve", "host_text": b""}),
        ('percent: 1, host: "literal:dark.example"', {"host_mode": "literal", "host_text": b"dark.example"}),
        ('percent: 1, host: "suffix:-dark"', {"host_mode": "suffix", "host_text": b"-dark"}),
        ("percent: 1, timeout: 150ms, pair_timeout: 2s", {"timeout_ns": 150_000_000, "pair_timeout_ns": 2_000_000_000}),
        ("percent: 1, body_limit: 1MiB, body_budget: 4KiB, in_flight: 7", {"body_limit": 1048576, "body_budget": 4096, "in_flight": 7}),
        ("percent: 1, breaker: {failures: 3, period: 500ms}", {"breaker_failures": 3, "breaker_period_ns": 500_000_000}),
    ],
)  # fmt: skip
def test_mirrors_are_worked_out_once(make_policy: MakePolicy, written: str, compiled: dict[str, object]) -> None:
    """Percents become fractions, texts bytes, durations nanoseconds; credentials are removed unless asked for."""
    mirror = _mirror_of(make_policy, written)
    assert {name: getattr(mirror, name) for name in compiled} == compiled


def test_only_what_rules_look_at_is_wanted(make_policy: MakePolicy) -> None:
    """Conditions' headers and keys' headers and cookies; nothing else is taken out of a head."""
    policy = make_policy(
        """
        name: a, match: {headers: {X-Beta: "1"}}, mirror: [{to: shadow, percent: 1, key: "header:X-User"}]
        name: b, mirror: [{to: shadow, percent: 1, key: "cookie:sid"}, {to: dark, percent: 1, key: client}]
        """,
        generation=7,
    )
    assert policy.wanted == {b"x-beta", b"x-user", b"cookie"}
    assert not policy.asks_host
    assert policy.generation == 7
    assert not make_policy("name: a").wanted


@pytest.mark.parametrize("host", ["shop.example", '"*.shop.example"'])
def test_a_host_is_only_read_where_a_route_asks(make_policy: MakePolicy, host: str) -> None:
    """Reading it costs time, which configs without hosts do not pay."""
    assert make_policy(f"name: a, match: {{host: {host}}}").asks_host


def test_tagged_writes_are_refused_unless_a_rule_says_more(make_policy: MakePolicy) -> None:
    """What cannot be decided is refused (P3)."""
    assert make_policy("name: a").routes[0].tests.writes.kind == UNRULED
    assert make_policy("name: a, test_traffic: {writes: refuse}").routes[0].tests.writes.kind == REFUSE
    assert make_policy("name: a, test_traffic: {writes: live}").routes[0].tests.writes.kind == LIVE
    assert make_policy("name: a").routes[0].tests.reads.kind == LIVE


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0), (0.15, 150_000_000), (1e-9, 1), (3600.0, 3_600_000_000_000)])
def test_durations_are_whole_nanoseconds(seconds: float, expected: int) -> None:
    """Rounded, not cut."""
    assert nanoseconds(seconds) == expected
