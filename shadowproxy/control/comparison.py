"""Live and shadow side by side: the numbers that `compare`, the page and the metrics show.

Everything is computed from `Counts` at the moment of asking; durations are in seconds,
shares from 0 to 1, and None stands where nothing was counted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from shadowproxy import logbuckets
from shadowproxy.config.arms import arms
from shadowproxy.judge import sketch
from shadowproxy.judge.pairs import is_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.config.model import Config, Mirror, Route
    from shadowproxy.control.counts import Counts, MirrorTotals

QUANTILE_NAMES: Final = {0.5: "p50", 0.9: "p90", 0.99: "p99", 0.999: "p999"}

NS: Final = 1e9


def classes(matrix: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    """The matrix by outcome class instead of by status: few enough cells for a metric."""
    counted: Counter[tuple[str, str]] = Counter()
    for (live, shadow), count in matrix.items():
        counted[outcome_class(live), outcome_class(shadow)] += count
    return counted


def outcome_class(outcome: str) -> str:
    """`"2xx"` for a status, and a failure's own name."""
    return f"{outcome[0]}xx" if outcome.isdigit() else outcome


def latency(counted: Mapping[int, int]) -> dict[str, Any]:
    """Count and quantiles of one sketch."""
    found = sketch.quantiles(counted, tuple(QUANTILE_NAMES))
    return {"count": sketch.total(counted)} | {name: _seconds(value) for name, value in zip(QUANTILE_NAMES.values(), found, strict=True)}


def penalty(totals: MirrorTotals) -> dict[str, float | None]:
    """What mirroring costs live: quantiles of live's last byte for mirrored requests minus those for unmirrored ones.

    The unmirrored are the eligible requests that were held out or not sampled.
    """
    mirrored = sketch.quantiles(totals.latency["live_last"], tuple(QUANTILE_NAMES))
    unmirrored = sketch.quantiles(totals.latency["holdout_last"], tuple(QUANTILE_NAMES))
    return {
        name: None if with_mirror is None or without is None else (with_mirror - without) / NS
        for name, with_mirror, without in zip(QUANTILE_NAMES.values(), mirrored, unmirrored, strict=True)
    }


def errors(matrix: Mapping[tuple[str, str], int], side: int) -> dict[str, Any]:
    """Failed answers of one side (0 live, 1 shadow) among the pairs."""
    pairs = sum(matrix.values())
    failed = sum(count for outcomes, count in matrix.items() if is_error(outcomes[side]))
    return {"count": failed, "rate": failed / pairs if pairs else None}


def comparison(counts: Counts, config: Config, route: str | None = None, *, has_buckets: bool = False) -> list[dict[str, Any]]:
    """One entry a mirror, in the order of the config; only those of `route` when given.

    With `has_buckets` each also has its `distribution`.
    """
    entries = []
    for of, mirror in mirrors_of(config):
        if route is None or of.name == route:
            entry = _compared(counts, of, mirror)
            if has_buckets:
                totals = counts.mirrors[f"{of.name}/{mirror.name}"].latency
                entry["distribution"] = distribution(totals["live_last"], totals["shadow_last"])
            entries.append(entry)
    return entries


def distribution(live: Mapping[int, int], shadow: Mapping[int, int]) -> dict[str, list[tuple[float, int]]]:
    """The sketches of both sides, bucket by bucket: the bucket's upper edge in seconds, and how many durations fell in it.

    The lower edge is the upper one divided by `logbuckets.GAMMA`; empty buckets are left out.
    """
    return {
        side: [(logbuckets.upper_edge(bucket) / NS, count) for bucket, count in sorted(counted.items()) if count]
        for side, counted in (("live", live), ("shadow", shadow))
    }


def mirrors_of(config: Config) -> Iterable[tuple[Route, Mirror]]:
    """Every mirror with its route, in the order of the config; its arm behind it."""
    return ((route, mirror) for route in config.routes for mirror in arms(route))


def conservation(counts: Counts, key: str) -> dict[str, Any]:
    """The evidence for promise P2 on one mirror."""
    totals = counts.mirrors[key]
    return {
        "eligible": totals.eligible,
        "pending": counts.pending(key),
        "fates": dict(sorted(totals.fates.items())),
        "is_conserved": counts.is_conserved(key),
    }


def _compared(counts: Counts, route: Route, mirror: Mirror) -> dict[str, Any]:
    key = f"{route.name}/{mirror.name}"
    totals = counts.mirrors[key]
    pairs = totals.matrix.total()
    matrix = sorted(totals.matrix.items(), key=lambda cell: (-cell[1], cell[0]))
    return {
        "route": route.name,
        "mirror": mirror.name,
        "live_fleet": route.live,
        "shadow_fleet": mirror.to,
        **conservation(counts, key),
        "pairs": pairs,
        "coverage": pairs / totals.eligible if totals.eligible else None,
        "latency": {side: {byte: latency(totals.latency[f"{side}_{byte}"]) for byte in ("first", "last")} for side in ("live", "shadow")},
        "errors": {"live": errors(totals.matrix, 0), "shadow": errors(totals.matrix, 1)},
        "matrix": [{"live": live, "shadow": shadow, "count": count} for (live, shadow), count in matrix],
        "bodies": {name: totals.bodies[name] for name in ("equal", "different", "unknown")},
        "live_penalty": penalty(totals),
        "unmirrored": sketch.total(totals.latency["holdout_last"]),
    }


def _seconds(duration_ns: float | None) -> float | None:
    return None if duration_ns is None else duration_ns / NS
