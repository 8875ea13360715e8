"""Documents of the admin API, made by hand: every verdict, no data at all, and everything hostile at once."""

from __future__ import annotations

import base64
import random
from collections import Counter
from math import log
from typing import Any

from shadowproxy import logbuckets
from shadowproxy.report.document import Report, gather

NOW = 1_790_000_000.0
"""When the reports of tests are made."""

HOSTILE = "</script><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>\"'`|*_[a](javascript:b)]]>&amp;\x00\x1b[31m\u202e\ud800"
"""What a stranger may put into a path, a header or a body to break out of a report."""


CONFIG: dict[str, Any] = {
    "admin": {"token_file": "secret.token"},
    "fleets": {"live": {"endpoints": ["http://127.0.0.1:9001"]}, "shadow": {"endpoints": ["http://127.0.0.1:9002"], "tls": {"key": "secret.key"}}},
    "routes": [
        {
            "name": "orders", "match": {"path": "/orders", "host": ""}, "live": "live",
            "mirror": [{"to": "shadow", "percent": 25.0, "key": "", "headers": {"set": {"authorization": "secret"}}, "judge": {"alpha": 0.05}}],
        },
        {"name": "rest", "match": {"path": "/"}, "live": "live", "mirror": []},
    ],
}  # fmt: skip
"""A config in force, with things in it that are nobody's business."""


def distribution(seed: int, count: int, factor: float = 1.0, tail: float = 0.02) -> list[list[float]]:
    """`[[upto_seconds, count], ...]` of `count` latencies around 20 ms, some of them ten times slower."""
    chance = random.Random(seed)
    counted: Counter[int] = Counter()
    for _ in range(count):
        seconds = 0.02 * factor * chance.lognormvariate(0, 0.35) * (chance.uniform(6, 14) if chance.random() < tail else 1.0)
        counted[logbuckets.bucket(round(seconds * 1e9))] += 1
    return [[logbuckets.upper_edge(index) / 1e9, found] for index, found in sorted(counted.items())]


def history(count: int, slope: float, safe: float) -> list[list[Any]]:
    """Evidence that wanders and then goes where `slope` leads it, one point every ten seconds."""
    chance = random.Random(count)
    against, safety, points = 0.0, 0.0, []
    for index in range(count):
        against += slope + chance.gauss(0, 0.25)
        safety += safe + chance.gauss(0, 0.2)
        verdict = "REGRESSION" if against > log(20) else "SAFE" if safety > log(20) else "UNDECIDED"
        points.append([NOW - (count - index) * 10.0, (index + 1) * 31, max(against, -6.0), max(safety, -8.0), verdict])
    return points


def verdict(**changed: Any) -> dict[str, Any]:
    """An entry of the verdict document: a shadow that fails and is slower."""
    whole: dict[str, Any] = {
        "route": "orders", "mirror": "v2", "verdict": "REGRESSION",
        "summary": "The shadow fails where live does not: 200 to 504 in 41 of 7,440 pairs, never the other way round.",
        "reasons": ["errors: 41 requests failed on the shadow alone and 2 on live alone", "latency: the same request takes the shadow 3.1 % longer"],
        "cause": "errors", "since": NOW - 2400, "epoch": 2, "revisions": {"live": ["2026.41.3"], "shadow": ["2026.42.0-rc1"], "control": []},
        "previous": {"epoch": 1, "verdict": "UNDECIDED", "summary": "More pairs are needed.", "pairs": 812, "ended": NOW - 2400},
        "pairs": 7440, "eligible": 9120, "coverage": 0.8158, "pairs_per_second": 3.1, "baseline": "live", "alpha": 0.05, "beta": 0.05,
        "log_e": {"combined": 9.31, "threshold": log(20)},
        "errors": {
            "live_rate": 0.00121, "shadow_rate": 0.00645, "difference": 0.00524, "interval": [0.0021, 0.0088], "live_only": 2, "shadow_only": 41,
            "log_e_regression": 10.0, "log_e_safe": -5.2, "margin_safe": 0.002, "margin_regression": 0.0,
            "transitions": [{"live": "200", "shadow": "504", "count": 37, "reverse": 0, "log_e": 9.4},
                            {"live": "200", "shadow": "timeout", "count": 4, "reverse": 1, "log_e": 0.8},
                            {"live": "503", "shadow": "200", "count": 1, "reverse": 0, "log_e": -0.1}],
        },
        "latency": {
            "pairs": 7380, "ratio": 1.031, "interval": [1.012, 1.051], "log_e_regression": 2.2, "log_e_safe": -3.0,
            "sign": {"above": 4100, "below": 3280, "log_e": 2.9}, "margin_safe": 0.02, "margin_regression": 0.01,
        },
        "slo": [{"threshold_seconds": 0.25, "live_only": 4, "shadow_only": 11, "interval": [-0.0004, 0.0024], "log_e_regression": 0.7, "log_e_safe": -0.4},
                {"threshold_seconds": 1.0, "live_only": 0, "shadow_only": 1, "interval": [-0.0005, 0.0009], "log_e_regression": 0.1, "log_e_safe": 3.4}],
        "control": {"log_e": -0.7, "threshold": log(100), "is_tripped": False, "pairs": 7000, "live_only": 2, "control_only": 3, "latency_ratio": 1.002,
                    "interval": [0.991, 1.012]},
        "sample_ratio": {"expected": 0.9, "observed": 0.8977, "log_e": -2.1, "is_tripped": False},
        "late_fault": {"log_detector": 2.0, "threshold": log(1000), "is_tripped": False},
        "coverage_by_decile": [{"upto_seconds": 0.012 * 1.4**index, "compared": 744 - index * 2, "left_out": index * index} for index in range(10)],
        "excluded": {"not_sampled": 900, "shed_memory": 63, "failed_timeout": 22, "client_gone": 95, "too_large": 600},
        "needs": None, "lag_seconds": 0.4,
        "quantiles": {
            "p50": {"live": 0.0199, "shadow": 0.0205, "difference": 0.0006, "interval": [0.0001, 0.0012]},
            "p90": {"live": 0.0322, "shadow": 0.0334, "difference": 0.0012, "interval": [-0.0004, 0.0033]},
            "p99": {"live": 0.214, "shadow": 0.231, "difference": 0.017, "interval": [-0.031, 0.066]},
            "p999": {"live": 0.402, "shadow": 0.431, "difference": 0.029, "interval": [None, None]},
        },
        "fields": [
            {"path": "$.items[*].price", "kind": "number", "compared": 640, "differs": 210, "noise": 0, "log_e": 88.0, "is_reported": True, "example": "a1",
             "standing": "regression", "basis": "resend", "why": "differs on the shadow far more often than by itself", "live": "12.5", "shadow": "12.63"},
            {"path": "$.generated_at", "kind": "time", "compared": 640, "differs": 640, "noise": 64, "log_e": None, "is_reported": False, "example": None,
             "standing": "noise", "basis": "resend", "why": "a time", "live": "2026", "shadow": "2026"},
        ],
        "exemplars": ["a1"], "history": history(240, 0.035, -0.02),
    }  # fmt: skip
    return {**whole, **changed}


def safe() -> dict[str, Any]:
    """A shadow that is like live."""
    whole = verdict(
        mirror="v3", verdict="SAFE", cause=None, needs=None, previous=None, fields=[], exemplars=[], reasons=[],
        summary="Errors worse by less than 0.2 points and median latency by less than 2 %, 95 % at any time; 2,046 pairs.",
        log_e={"combined": -3.0, "threshold": log(20)}, history=history(150, -0.02, 0.05), slo=[],
    )  # fmt: skip
    whole["errors"] |= {"difference": 0.0, "interval": [-0.0011, 0.0012], "log_e_regression": -4.0, "log_e_safe": 4.1, "transitions": []}
    whole["latency"] |= {"ratio": 0.999, "interval": [0.988, 1.009], "log_e_regression": -3.0, "log_e_safe": 3.3}
    return whole


def undecided() -> dict[str, Any]:
    """A shadow of which little is known yet."""
    whole = verdict(
        mirror="v4", verdict="UNDECIDED", cause=None, previous=None, fields=[], exemplars=[], reasons=["latency: 46 pairs say nothing yet"],
        summary="Nothing is shown yet, after 46 pairs.", pairs=46, eligible=50, coverage=0.92, control=None, sample_ratio=None, slo=[],
        needs={"what": "Latency is not yet known to be within 2 %.", "more_pairs": 1400, "seconds": 452.0}, coverage_by_decile=[],
        log_e={"combined": -0.4, "threshold": log(20)}, history=history(3, -0.02, 0.02), excluded={"not_sampled": 4},
    )  # fmt: skip
    whole["errors"] |= {"difference": 0.0, "interval": [-0.21, 0.2], "log_e_regression": -0.1, "log_e_safe": -1.0, "transitions": []}
    whole["latency"] |= {"ratio": 1.004, "interval": [0.9, 1.12], "log_e_regression": -0.3, "log_e_safe": -1.0, "pairs": 46}
    return whole


def invalid() -> dict[str, Any]:
    """An instrument that is not to be trusted."""
    whole = verdict(
        mirror="v5",
        verdict="INVALID",
        cause=None,
        previous=None,
        reasons=["Live and its control arm, the same build, differ: 100 to 1."],
        summary="The comparison is not to be trusted: live differs from itself.",
    )
    whole["control"] |= {"log_e": 5.1, "is_tripped": True, "latency_ratio": 1.11, "interval": [1.04, 1.19]}
    return whole


def empty() -> dict[str, Any]:
    """A mirror that has seen nothing, as the judge writes it."""
    return {
        "route": "rest", "mirror": "v2", "verdict": "UNDECIDED", "summary": "No pair has been compared yet.", "reasons": [], "cause": None,
        "since": NOW, "epoch": 1, "revisions": {}, "previous": None, "pairs": 0, "eligible": 0, "coverage": None, "pairs_per_second": 0.0,
        "baseline": "live", "alpha": 0.05, "beta": 0.05, "log_e": {"combined": 0.0, "threshold": log(20)},
        "errors": {"live_rate": None, "shadow_rate": None, "difference": None, "interval": None, "live_only": 0, "shadow_only": 0, "log_e_regression": 0.0,
                   "log_e_safe": 0.0, "margin_safe": 0.002, "margin_regression": 0.0, "transitions": []},
        "latency": {"pairs": 0, "ratio": None, "interval": None, "log_e_regression": 0.0, "log_e_safe": 0.0,
                    "sign": {"above": 0, "below": 0, "log_e": 0.0}, "margin_safe": 0.02, "margin_regression": 0.01},
        "slo": [], "control": None, "sample_ratio": None, "coverage_by_decile": [], "excluded": {}, "needs": None, "lag_seconds": 0.0, "quantiles": {},
        "fields": [], "exemplars": [], "history": [],
    }  # fmt: skip


def exemplar(**changed: Any) -> dict[str, Any]:
    """A pair that was kept."""
    body = base64.b64encode(b'{"error": "upstream timed out"}').decode()
    whole: dict[str, Any] = {
        "id": "a1", "route": "orders", "mirror": "v2", "at": NOW - 60,
        "why": [{"kind": "transition", "name": "200 -> 504"}, {"kind": "latency", "name": "slower", "ratio": 12.5}],
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "request": {"method": "GET", "target": "/orders/17?expand=items", "headers": [["host", "shop.example"], ["authorization", "Bearer pseudonym"]],
                    "body": "", "cut": False},
        "live": {"outcome": "200", "first_seconds": 0.011, "last_seconds": 0.0124, "headers": [["content-type", "application/json"]],
                 "body": base64.b64encode(b'{"id": 17}').decode(), "cut": False},
        "shadow": {"outcome": "504", "first_seconds": 5.0, "last_seconds": 5.0002, "headers": [["content-type", "application/json"]], "body": body,
                   "cut": True},
    }  # fmt: skip
    return {**whole, **changed}


def compared(mirror: str, live: list[list[float]], shadow: list[list[float]], route: str = "orders") -> dict[str, Any]:
    """An entry of the comparison, as far as a report reads it."""
    return {
        "route": route, "mirror": mirror, "live_fleet": "live", "shadow_fleet": "shadow", "eligible": 9120, "pending": 3,
        "fates": {"paired": 7440, "not_sampled": 900, "shed_memory": 63, "failed_timeout": 22, "client_gone": 92, "too_large": 600},
        "is_conserved": True, "distribution": {"live": live, "shadow": shadow},
    }  # fmt: skip


def hostile() -> dict[str, Any]:
    """Everything that may come from traffic or config is HOSTILE."""
    whole = verdict(route=HOSTILE, mirror=HOSTILE, summary=HOSTILE, reasons=[HOSTILE], cause=HOSTILE, revisions={HOSTILE: [HOSTILE]})
    whole["errors"]["transitions"][0] |= {"live": HOSTILE, "shadow": HOSTILE}
    whole["fields"][0] |= {"path": HOSTILE, "kind": HOSTILE, "why": HOSTILE, "live": HOSTILE, "shadow": HOSTILE}
    whole["fields"][1] |= {"standing": HOSTILE}
    whole["excluded"] |= {HOSTILE: 3}
    whole["quantiles"] |= {HOSTILE: whole["quantiles"]["p50"]}
    whole["needs"] = {"what": HOSTILE, "more_pairs": 1, "seconds": None}
    whole["previous"] |= {"summary": HOSTILE, "verdict": HOSTILE}
    return whole


def hostile_exemplar() -> dict[str, Any]:
    """A pair whose every text is HOSTILE."""
    part = {"outcome": HOSTILE, "last_seconds": 1, "headers": [[HOSTILE, HOSTILE]], "body": HOSTILE, "method": HOSTILE, "target": HOSTILE}
    why = [{"kind": HOSTILE, "name": HOSTILE, "difference": HOSTILE}]
    return exemplar(id=HOSTILE, trace=HOSTILE, route=HOSTILE, mirror=HOSTILE, why=why, request=part, live=part, shadow=part)


def report(
    *verdicts: dict[str, Any], exemplars: tuple[dict[str, Any], ...] | None = None, pairs: int = 7000, is_killed: bool = False
) -> Report:
    """A report on `verdicts`, each with latencies of `pairs` pairs."""
    seen = [
        compared(one["mirror"], distribution(1, pairs), distribution(2, pairs, 1.04, 0.025), one["route"])
        | ({} if pairs else {"fates": {}})
        for one in verdicts
    ]
    return gather(
        {"verdicts": list(verdicts)},
        {"mirrors": seen, "is_killed": is_killed},
        (exemplar(),) if exemplars is None else exemplars,
        made_at=NOW,
        program="shadowproxy 0.1.0",
        status={"started": "2026-09-21T13:33:20.000+00:00"},
        config=CONFIG,
    )
