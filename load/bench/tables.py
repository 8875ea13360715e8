"""Measurements as Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import isnan
from typing import TYPE_CHECKING, Any

from load.bench.proxies import OURS, PEERS
from load.bench.scenarios import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from load.bench.results import Collection, Measurement
    from load.bench.scenarios import Scenario

MIB = 1048576
NOTHING = "-"
RECONNECTS = 0.5
"""Shadow connections per copy from which a note says that the mirror does not keep them alive."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio of requests per core-second that this project promises.

    Args:
        scenario: where.
        other: a proxy, or `best peer`.
        least: the ratio asked for; for the floor it is the CPU ratio and the most.
        goal: the one hoped for, or None.
    """

    scenario: str
    other: str
    least: float
    goal: float | None = None


BEST_PEER = "best peer"

TARGETS = (
    Target("small-mirror", BEST_PEER, 1.5, 2.5),
    Target("small-mirror", "envoy", 2.0),
    Target("small-mirror", "traefik", 2.5),
    Target("small-mirror", "floor", 2.0, 1.6),
    Target("varied-mirror", BEST_PEER, 1.5, 2.5),
    Target("varied-mirror", "envoy", 2.0),
    Target("varied-mirror", "traefik", 2.5),
    Target("varied-mirror", "floor", 2.0, 1.6),
    Target("small", "envoy", 1.5),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---'] + ['---:'] * (len(head) - 1))}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float | None, form: str = ".0f") -> str:
    """A figure, or a dash where there is none."""
    return NOTHING if value is None or isnan(value) else format(value, form)


def milliseconds(value_us: float | None) -> str:
    """Microseconds as milliseconds with two places."""
    return number(None if value_us is None else value_us / 1000, ".2f")


def conditions(about: dict[str, Any]) -> str:
    """One paragraph on machine, versions and command."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = (
        f"{about['cpu']}, {about['cpus']} CPUs (proxy on {about['proxy_cpus']}, the rest on {about['other_cpus']}), Linux {about['kernel']}"
    )
    return f"{about['when']}, commit {about['commit'] or 'unknown'}, {machine}, Python {about['python']}; {versions}.\nCommand: `{about['command']}`."


def best_peer(collection: Collection, scenario: str, names: Sequence[str]) -> str | None:
    """The peer with the least CPU per request in a scenario."""
    costs = {name: collection.middle(scenario, name, lambda m: m.cpu_us) for name in names if name in PEERS}
    known = {name: cost for name, cost in costs.items() if cost is not None}
    return min(known, key=known.__getitem__) if known else None


def comparison(collection: Collection, scenarios: Sequence[Scenario], names: Sequence[str], absent: dict[str, str]) -> str:
    """The whole report: ratios, targets, then a table per scenario."""
    parts = []
    if ours := [name for name in OURS if name in names]:
        parts += [_ratios(collection, scenarios, names, ours), _targets(collection, scenarios, names, ours)]
    for scenario in scenarios:
        parts.append(f"#### {scenario.title} (`{scenario.name}`)\n\n{_figures(collection, scenario, names)}")
    parts += [f"Absent: {name} ({reason})." for name, reason in absent.items()]
    return "\n\n".join(part for part in parts if part)


def _spread(ratio: tuple[float, float, float] | None) -> str:
    return NOTHING if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def _inverse(ratio: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    return None if ratio is None else (1 / ratio[0], 1 / ratio[2], 1 / ratio[1])


def _ratios(collection: Collection, scenarios: Sequence[Scenario], names: Sequence[str], ours: Sequence[str]) -> str:
    peers = [name for name in PEERS if name in names]
    others = [*peers, *(["floor"] if "floor" in names else [])]
    if not others:
        return ""
    rows = []
    for scenario, our in product(scenarios, ours):
        best = best_peer(collection, scenario.name, names)
        cells = [our, f"{_spread(collection.ratio(scenario.name, our, best))} {best}" if best else NOTHING]
        cells += [_spread(collection.ratio(scenario.name, our, name)) for name in peers]
        if "floor" in names:
            cells.append(_spread(_inverse(collection.ratio(scenario.name, our, "floor"))))
        rows.append([f"`{scenario.name}`", *cells])
    head = ["scenario", "ours", "over best peer", *(f"over {name}" for name in peers), *(["CPU over floor"] if "floor" in names else [])]
    return (
        "Requests per core-second over a peer's (more is better), CPU per request over the floor's (less is better): median (least to greatest) over rounds.\n\n"
        + table(head, rows)
    )


def _targets(collection: Collection, scenarios: Sequence[Scenario], names: Sequence[str], ours: Sequence[str]) -> str:
    run = {scenario.name for scenario in scenarios}
    rows = []
    for target, our in product(TARGETS, ours):
        other = best_peer(collection, target.scenario, names) if target.other == BEST_PEER else target.other
        if other is None or target.scenario not in run or other not in names:
            continue
        is_floor = other == "floor"
        ratio = collection.ratio(target.scenario, our, other)
        measured = (_inverse(ratio) if is_floor else ratio) or (float("nan"),) * 3
        is_met = measured[0] <= target.least if is_floor else measured[0] >= target.least
        sign = "at most" if is_floor else "at least"
        wanted = f"{sign} {target.least:g}" + (f" (goal {target.goal:g})" if target.goal else "")
        what = "CPU per request over the floor" if is_floor else f"requests per core-second over {target.other}"
        rows.append(
            [
                f"`{target.scenario}`: {what}",
                our,
                wanted,
                number(measured[0], ".2f"),
                NOTHING if ratio is None else "yes" if is_met else "**no**",
            ]
        )
    return table(["target", "ours", "asked", "measured", "met"], rows) if rows else ""


def _figures(collection: Collection, scenario: Scenario, names: Sequence[str]) -> str:
    head = ["proxy", "CPU µs/request", "requests/core-s", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "peak MiB", "notes"]
    return table(head, [_row(collection, scenario, name) for name in names])


def _row(collection: Collection, scenario: Scenario, name: str) -> list[str]:
    def middle(of: Callable[[Measurement], float]) -> float | None:
        return collection.middle(scenario.name, name, of)

    peak = middle(lambda m: m.peak_bytes)
    return [
        name,
        number(middle(lambda m: m.cpu_us), ".1f"),
        number(middle(lambda m: m.per_core_second)),
        number(middle(lambda m: m.rate)),
        milliseconds(middle(lambda m: m.open_p50_us)),
        milliseconds(middle(lambda m: m.open_p99_us)),
        milliseconds(middle(lambda m: m.open_p999_us)),
        number(None if peak is None else peak / MIB),
        "; ".join(_notes(collection, scenario, name)) or " ",
    ]


def _notes(collection: Collection, scenario: Scenario, name: str) -> list[str]:
    notes = [f"failed: {problem.replace('|', ' ')}" for problem in collection.problems(scenario.name, name)]
    rounds = collection.good(scenario.name, name).values()
    if not rounds:
        return notes
    doubts = Counter(doubt for m in rounds for doubt in m.doubts)
    notes += [f"{doubt} ({count} of {len(rounds)} rounds)" for doubt, count in doubts.items()]
    if errors := sum(count for m in rounds for count in m.errors.values()):
        notes.append(f"{errors} errors on the live leg")
    if scenario.shadow is Shadow.ANSWERS:
        mirrored = collection.middle(scenario.name, name, lambda m: m.mirrored)
        notes.append(f"{number(mirrored, '.1%')} mirrored")
        if (opened := collection.middle(scenario.name, name, lambda m: m.shadow_connections)) and opened > RECONNECTS:
            notes.append(f"{opened:.2f} new connections per copy")
    if control := collection.middle(scenario.name, name, lambda m: m.control_cpu_us):
        notes.append(f"control process {control:.1f} µs/request")
    return notes
