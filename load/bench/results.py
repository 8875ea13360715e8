"""What was measured, where it is stored, and what machine it was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load.bench.latencies import median
from load.bench.processes import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from load.bench.processes import Cpus


@dataclass(frozen=True, slots=True)
class Measurement:
    """One proxy in one scenario in one round. A failed one says why in `problems` and counts for nothing.

    Closed-loop figures (`rate`, `cpu_us`, ...) are taken under as much load as the proxy takes; open-loop
    latencies at a fixed rate below that, from the moment a request was due. `doubts` say which figures are missing
    because the machine was not quiet enough for them.
    """

    scenario: str
    proxy: str
    round: int
    cpu_us: float = float("nan")
    control_cpu_us: float = float("nan")
    busy: float = float("nan")
    rate: float = float("nan")
    closed_p50_us: float = float("nan")
    closed_p99_us: float = float("nan")
    closed_p999_us: float = float("nan")
    open_p50_us: float = float("nan")
    open_p99_us: float = float("nan")
    open_p999_us: float = float("nan")
    open_lateness_p99_us: float = float("nan")
    peak_bytes: float = float("nan")
    mirrored: float = float("nan")
    shadow_connections: float = float("nan")
    errors: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def per_core_second(self) -> float:
        """Requests per second of CPU time."""
        return 1e6 / self.cpu_us


class Collection:
    """Measurements of one run, looked up by scenario and proxy."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.measurements = list(measurements)

    def good(self, scenario: str, proxy: str) -> dict[int, Measurement]:
        """The rounds that count."""
        return {m.round: m for m in self.measurements if (m.scenario, m.proxy) == (scenario, proxy) and not m.problems}

    def problems(self, scenario: str, proxy: str) -> list[str]:
        """Why rounds do not count, each reason once."""
        said = [p for m in self.measurements if (m.scenario, m.proxy) == (scenario, proxy) for p in m.problems]
        return list(dict.fromkeys(said))

    def middle(self, scenario: str, proxy: str, of: Callable[[Measurement], float]) -> float | None:
        """Median over the good rounds in which it was measured; None without any."""
        values = [value for m in self.good(scenario, proxy).values() if not isnan(value := of(m))]
        return median(values) if values else None

    def ratio(self, scenario: str, proxy: str, other: str) -> tuple[float, float, float] | None:
        """Requests per core-second of `proxy` over `other`'s: median, least and greatest over rounds that both have."""
        ours, theirs = self.good(scenario, proxy), self.good(scenario, other)
        ratios = [theirs[number].cpu_us / ours[number].cpu_us for number in sorted(ours.keys() & theirs.keys())]
        return (median(ratios), min(ratios), max(ratios)) if ratios else None


def cpu_model() -> str:
    """The processor's name as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Short hash of the checked-out commit, with `+` when files differ from it; empty outside a clone."""
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def environment(cpus: Cpus, versions: dict[str, str], command: list[str]) -> dict[str, Any]:
    """What a reader needs to judge the numbers."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "proxy_cpus": sorted(cpus.proxy),
        "other_cpus": sorted(cpus.rest),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "commit": commit(),
        "versions": versions,
        "command": " ".join(command),
    }


def store(directory: Path, kind: str, about: dict[str, Any], rows: Iterable[Any]) -> Path:
    """Write rows (dataclass instances) as one JSON file; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"bench-{kind}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    content = {"environment": about, "kind": kind, "rows": [asdict(row) for row in rows]}
    # A value that was not measured is null: JSON has no NaN.
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False)
    path.write_text(text + "\n")
    return path


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and isnan(value):
        return None
    if isinstance(value, dict):
        return {str(key): _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
