"""Metrics of rollouts and evacuation drills; `metrics` adds them to the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.control.metric_spec import COUNTER, GAUGE, Spec
from shadowproxy.experiments.rollout import MOVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.control.evacuations import Evacuations
    from shadowproxy.control.rollouts import Rollouts

_ROUTE: Final = ("route", "fleet")

SPECS: Final[tuple[Spec, ...]] = (
    Spec(
        "shadowproxy_rollout_state",
        GAUGE,
        "boolean",
        (*_ROUTE, "state"),
        "1 for the state of now, 0 for the others: idle, running, paused, rolled_back or completed.",
    ),
    Spec("shadowproxy_rollout_share_ratio", GAUGE, "ratio", _ROUTE, "The new version's share of the units."),
    Spec(
        "shadowproxy_rollout_requests_total",
        COUNTER,
        "requests",
        (*_ROUTE, "arm"),
        "Requests by arm: canary and stable are compared, ring and more are others on the new version. Begins anew with each rollout.",
    ),
    Spec("shadowproxy_rollout_errors_total", COUNTER, "requests", (*_ROUTE, "arm"), "Those that failed: 5xx, or no whole answer."),
    Spec(
        "shadowproxy_rollout_units",
        GAUGE,
        "units",
        _ROUTE,
        "Different units that had the new version; requests, where each is its own unit.",
    ),
    Spec(
        "shadowproxy_rollout_log_e_nats",
        GAUGE,
        "nats",
        (*_ROUTE, "claim"),
        "Log evidence: errors (it is rolled back for them), safe (the step is) and sample_ratio (the halves are none).",
    ),
    Spec("shadowproxy_rollout_threshold_nats", GAUGE, "nats", (*_ROUTE, "claim"), "Log evidence at which that is claimed."),
    Spec("shadowproxy_evacuations", GAUGE, "drills", (), "Evacuation drills under way."),
    Spec(
        "shadowproxy_evacuation_late_requests_total",
        COUNTER,
        "requests",
        ("fleet", "endpoint"),
        "Requests that an evacuated endpoint got nevertheless, for want of others that are well.",
    ),
)


def collect(rollouts: Rollouts, evacuations: Evacuations, add: Callable[..., None]) -> None:
    """Add every sample of SPECS: `add(name without prefix, value, *labels)`."""
    for document in rollouts.documents():
        of = (document["route"], document["to"])
        for state in MOVES:
            add("rollout_state", state == document["state"], *of, state)
        add("rollout_share_ratio", document["percent"] / 100, *of)
        arms = {**document["halves"], "ring": document["ring"], "more": document["more"]}
        for name, arm in arms.items():
            add("rollout_requests_total", arm["requests"], *of, name)
            add("rollout_errors_total", arm["errors"], *of, name)
        affected = document["affected"]
        add("rollout_units", affected["requests"] if affected["units"] is None else affected["units"], *of)
        for claim, evidence in document["evidence"].items():
            add("rollout_log_e_nats", evidence["log_e"], *of, claim)
            add("rollout_threshold_nats", evidence["threshold"], *of, claim)
    add("evacuations", len(evacuations.drills))
    for (fleet, endpoint), count in evacuations.late.items():
        if count:
            add("evacuation_late_requests_total", count, fleet, endpoint)
