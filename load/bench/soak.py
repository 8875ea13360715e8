"""Promise P6 as numbers: memory and live errors while shadows misbehave for long, all faults side by side.

Each fault has a proxy, origins and an open-loop load of its own, in a process of its own, at a rate so low that all
of them together leave the machine idle part of the time. Latencies are not judged here (see faults.py): what shows
after minutes and not after seconds is memory that grows. The breaker is off, so that every copy meets the fault.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from load.bench import openloop
from load.bench.faults import GROWTH_BYTES, SHADOW_TIMEOUT_S, Fault, shadow_port
from load.bench.origins import NginxOrigin, Origin, PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import Instance, Proxy, Setup
from load.bench.scenarios import HEADERS, SMALL, Scenario, Shadow
from load.bench.tables import MIB
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RATE_SHARE: Final = 5
"""Each fault runs at a fifth of its rate in faults.py: seven of them share the machine."""

SAMPLE_S: Final = 1.0
"""Seconds between looks at the resident memory."""

SETTLED_S: Final = 60.0
"""By then pools, caches and buffers have their size; growth after that is growth without end."""

CREEP_BYTES: Final = 16 * MIB
"""What may still come after SETTLED_S before it counts as a leak."""


@dataclass(frozen=True, slots=True)
class Endurance:
    """What came of one fault. Memory in bytes: before load, when it had settled, at the end, and the most."""

    fault: str
    title: str
    proxy: str
    rate: int
    seconds: float
    requests: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    before_bytes: int = 0
    settled_bytes: int = 0
    end_bytes: int = 0
    peak_bytes: int = 0
    problems: list[str] = field(default_factory=list)


def judge(row: Endurance) -> list[str]:
    """Where a row breaks its promise: an error, more than the configured bound, or growth that does not end."""
    problems = []
    if row.errors:
        problems.append(f"live errors: {row.errors}")
    if row.peak_bytes - row.before_bytes > GROWTH_BYTES:
        problems.append(f"grew by {(row.peak_bytes - row.before_bytes) / MIB:.0f} MiB, bound {GROWTH_BYTES / MIB:.0f}")
    if row.end_bytes - row.settled_bytes > CREEP_BYTES:
        problems.append(f"still grew by {(row.end_bytes - row.settled_bytes) / MIB:.0f} MiB after {SETTLED_S:.0f} s")
    return problems


class Watch:
    """Looks at a proxy's resident memory while the load runs in this thread's stead."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = time.monotonic()
        self.seen: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def at(self, seconds: float) -> int:
        """The memory seen last before `seconds` after the beginning."""
        before = [size for when, size in self.seen if when <= seconds] or [size for _, size in self.seen[:1]]
        return before[-1] if before else 0

    def _run(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            try:
                self.seen.append((time.monotonic() - self._began, self._instance.resident_bytes()))
            except BenchError:
                return


def endure(proxy: Proxy, fault: Fault, seconds: float, cpus: Cpus) -> Endurance:
    """One fault for `seconds`; what goes wrong becomes a problem of the row."""
    rate = max(1, fault.rate // RATE_SHARE)
    row = Endurance(fault.name, fault.title, proxy.name, rate, seconds)
    os.sched_setaffinity(0, cpus.rest)
    with tempfile.TemporaryDirectory(prefix="shadowproxy-soak-") as directory:
        try:
            return _endure(proxy, fault, row, cpus, Path(directory))
        except BenchError as error:
            row.problems.append(str(error))
            return row


def _endure(proxy: Proxy, fault: Fault, row: Endurance, cpus: Cpus, directory: Path) -> Endurance:
    scenario = Scenario(fault.name, fault.title, "/orders/31415", SMALL, fault.upload, Shadow.HANGS, row.rate)
    with ExitStack() as stack:
        live: Origin = PythonOrigin("live", directory, cpus) if fault.upload else NginxOrigin("live", directory, cpus)
        stack.enter_context(live)
        setup = Setup(
            port=free_port(),
            live=live.port,
            shadow=shadow_port(fault, directory, cpus, stack),
            directory=directory,
            shadow_timeout_s=SHADOW_TIMEOUT_S,
            has_breaker=False,
        )
        instance = stack.enter_context(Instance(proxy, setup, cpus))
        before = instance.resident_bytes()
        with Watch(instance) as watch:
            sample = openloop.run(
                openloop.Load(instance.port, openloop.request_of(scenario, HEADERS), SMALL, row.rate, row.seconds, connections=16)
            )
        instance.check()
        done = Endurance(
            row.fault,
            row.title,
            row.proxy,
            row.rate,
            row.seconds,
            requests=sample.due,
            errors=dict(sample.errors),
            before_bytes=before,
            settled_bytes=watch.at(min(SETTLED_S, row.seconds / 2)),
            end_bytes=instance.resident_bytes(),
            peak_bytes=instance.peak_bytes(),
        )
    done.problems.extend(judge(done))
    return done


def run(proxies: Sequence[Proxy], faults: Sequence[Fault], seconds: float, cpus: Cpus, say: Callable[[str], None]) -> Iterator[Endurance]:
    """Every fault with every proxy, all at once; rows in their order."""
    wanted = [(proxy, fault) for proxy in proxies for fault in faults]
    with ProcessPoolExecutor(max_workers=len(wanted)) as pool:
        futures = {pool.submit(endure, proxy, fault, seconds, cpus): number for number, (proxy, fault) in enumerate(wanted)}
        rows: dict[int, Endurance] = {}
        for future in as_completed(futures):
            row = rows[futures[future]] = future.result()
            say(f"{row.fault:8} {row.proxy:12} {'; '.join(row.problems) or 'held'}")
    yield from (rows[number] for number in sorted(rows))


def table(rows: Sequence[Endurance]) -> str:
    """As Markdown."""
    head = ["shadow", "proxy", "requests/s", "minutes", "live errors", "memory MiB before", "settled", "end", "most", "held"]
    return markdown(
        head,
        [
            [
                row.title,
                row.proxy,
                str(row.rate),
                f"{row.seconds / 60:.1f}",
                f"{sum(row.errors.values())} of {row.requests}",
                *(f"{size / MIB:.1f}" for size in (row.before_bytes, row.settled_bytes, row.end_bytes, row.peak_bytes)),
                "; ".join(row.problems) or "yes",
            ]
            for row in rows
        ],
    )
