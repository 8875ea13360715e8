"""Promises P3 and P8 as numbers: tagged writes with a durable row each, and what is left of them when processes are killed.

The proxy runs as it does in production (control, one worker, the sink's process), on all CPUs that there are, with the
load beside it. Afterwards the ledger's file is read, and every write that was acknowledged is looked for in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
import yaml

from load.bench.origins import PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Child, Cpus, children_of, command_of, python_module, spawn, wait_until_open
from load.bench.tables import table as markdown
from load.bench.writers import TARGET, Written, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RATE: Final = 2000
"""Writes a second: what a worker and a sink must carry on two cores."""

CONNECTIONS: Final = 64
KILL_EVERY_S: Final = 2.0
"""Seconds between two kills, on average."""

_NUMBER: Final = re.compile(re.escape(TARGET) + r"(\d+)")
VICTIMS: Final = ("worker", "sink", "control")


@dataclass(slots=True)
class Outcome:
    """What came of one run. Latencies in microseconds, from when a write was due to its answer."""

    title: str
    rate: int
    seconds: float
    due: int = 0
    acknowledged: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    rows: int = 0
    missing: int = 0
    twice: int = 0
    reached_live: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    p50_us: float = 0.0
    p99_us: float = 0.0
    seconds_taken: float = 0.0
    problems: list[str] = field(default_factory=list)


def judge(outcome: Outcome) -> list[str]:
    """Where a run breaks a promise; without kills every write must have been acknowledged, and in time."""
    problems = []
    if outcome.missing:
        problems.append(f"{outcome.missing} acknowledged writes are not in the ledger")
    if outcome.twice:
        problems.append(f"{outcome.twice} writes are in the ledger twice")
    if outcome.reached_live:
        problems.append(f"{outcome.reached_live} tagged writes reached live")
    if not outcome.acknowledged:
        problems.append("no write was acknowledged")
    if not outcome.kills:
        if outcome.acknowledged < outcome.due:
            problems.append(f"{outcome.due - outcome.acknowledged} of {outcome.due} writes were not acknowledged: {outcome.answers}")
        if outcome.seconds_taken > outcome.seconds * 1.05 + 0.5:
            problems.append(f"took {outcome.seconds_taken:.1f} s for {outcome.seconds:.0f} s of load: it cannot keep up")
    return problems


def config(front: int, admin: int, live: int) -> dict[str, object]:
    """A route whose tagged writes go to a sink."""
    return {
        "listen": [{"name": "front", "address": f"127.0.0.1:{front}"}],
        "admin": {"address": f"127.0.0.1:{admin}"},
        "workers": 1,
        "state": "sqlite:///state.db",
        "fleets": {"live": {"endpoints": [f"http://127.0.0.1:{live}"]}},
        "tenancy": {"ledger": {"path": "ledger.db"}},
        "routes": [{"name": "orders", "match": {"path": "/"}, "live": "live", "test_traffic": {"writes": {"sink": "orders"}}}],
        "sinks": {"orders": {"respond": {"status": 201, "json": {"status": "accepted"}}}},
    }


class Proxy:
    """`shadowproxy run`, started again when it was killed, as a service manager does."""

    def __init__(self, directory: Path, front: int, cpus: frozenset[int]) -> None:
        self._directory = directory
        self._front = front
        self._cpus = cpus
        self.child: Child
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = python_module("shadowproxy", "run", "-c", "shadowproxy.yaml")
        self.child = spawn("shadowproxy", command, cpus=self._cpus, directory=self._directory)
        wait_until_open(self._front, self.child)

    def kill(self, victim: str) -> bool:
        """SIGKILL one process; whether there was one."""
        if victim == "control":
            os.kill(self.child.pid, signal.SIGKILL)
            return True
        module = {"worker": "shadowproxy.dataplane.process", "sink": "shadowproxy.sinks.server"}[victim]
        for pid in children_of(self.child.pid):
            if module in command_of(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return True
        return False

    def revive(self) -> None:
        """Start it again where it was killed. What it left behind ends by itself, and must, before its port is free."""
        try:
            self.child.wait(0.01)
        except subprocess.TimeoutExpired:
            return
        for _ in range(20):
            try:
                self.start()
            except BenchError:
                time.sleep(0.1)
            else:
                return
        raise BenchError(f"the proxy cannot be started again: {self.child.complaint()}")


def attempt(title: str, *, rate: int, seconds: float, kills: bool, cpus: Cpus, seed: int = 0) -> Outcome:
    """One run; what goes wrong becomes a problem of the outcome."""
    outcome = Outcome(title, rate, seconds)
    with tempfile.TemporaryDirectory(prefix="shadowproxy-tagged-") as name, ExitStack() as stack:
        try:
            _attempt(outcome, Path(name), stack, kills=kills, cpus=cpus, seed=seed)
        except BenchError as error:
            outcome.problems.append(str(error))
            return outcome
    outcome.problems += judge(outcome)
    return outcome


def _attempt(outcome: Outcome, directory: Path, stack: ExitStack, *, kills: bool, cpus: Cpus, seed: int) -> None:
    live = stack.enter_context(PythonOrigin("live", directory, cpus))
    front, everything = free_port(), cpus.proxy | cpus.rest
    (directory / "shadowproxy.yaml").write_text(yaml.safe_dump(config(front, free_port(), live.port), sort_keys=False))
    proxy = Proxy(directory, front, everything)
    stack.callback(lambda: proxy.child.stop())  # noqa: PLW0108  the child that there is then
    killed: Counter[str] = Counter()
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        written = runner.run(_run(outcome, proxy, front, killed, random.Random(seed) if kills else None))
    outcome.seconds_taken = time.monotonic() - began
    outcome.kills = dict(killed)
    proxy.revive()
    outcome.reached_live = live.arrivals().requests
    proxy.child.stop()
    _fill(outcome, written, rows_of(directory / "ledger.db"))


async def _run(outcome: Outcome, proxy: Proxy, front: int, killed: Counter[str], chance: random.Random | None) -> Written:
    if chance is None:
        return await write(front, rate=outcome.rate, seconds=outcome.seconds, connections=CONNECTIONS)
    killer = asyncio.create_task(_kill(proxy, killed, chance))
    try:
        return await write(front, rate=outcome.rate, seconds=outcome.seconds, connections=CONNECTIONS)
    finally:
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer


async def _kill(proxy: Proxy, killed: Counter[str], chance: random.Random) -> None:
    queue: list[str] = []
    while True:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * KILL_EVERY_S)
        if not queue:
            # Each in its turn, in any order.
            queue = chance.sample(VICTIMS, len(VICTIMS))
        victim = queue.pop()
        killed[victim] += proxy.kill(victim)
        await asyncio.sleep(0.05)
        # To the end even when the load is over: a proxy that is half started cannot be looked at.
        await asyncio.shield(asyncio.to_thread(proxy.revive))


def rows_of(ledger: Path) -> Counter[int]:
    """How often each write's number is in a ledger."""
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        targets = database.execute("SELECT target FROM writes WHERE fate = 'sunk'").fetchall()
    return Counter(int(found[1]) for (target,) in targets if (found := _NUMBER.match(target)))


def _fill(outcome: Outcome, written: Written, rows: Counter[int]) -> None:
    outcome.due = written.due
    outcome.acknowledged = len(written.acknowledged)
    outcome.answers = {str(status): count for status, count in sorted(written.answers.items())}
    outcome.unknown = written.unknown
    outcome.rows = rows.total()
    outcome.missing = len(written.acknowledged - rows.keys())
    outcome.twice = sum(count > 1 for count in rows.values())
    outcome.p50_us = written.latencies.quantile_us(0.5)
    outcome.p99_us = written.latencies.quantile_us(0.99)


def run(seconds: float, rate: int, cpus: Cpus, say: Callable[[str], None]) -> list[Outcome]:
    """Undisturbed, then with processes killed at random."""
    outcomes: list[Outcome] = []
    for title, kills in (("undisturbed", False), ("sink, worker or control killed every 2 s", True)):
        outcome = attempt(title, rate=rate, seconds=seconds, kills=kills, cpus=cpus, seed=len(outcomes))
        say(f"{title}: {outcome.acknowledged} of {outcome.due} acknowledged, {'; '.join(outcome.problems) or 'held'}")
        outcomes.append(outcome)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """As Markdown."""
    head = [
        "processes",
        "writes/s",
        "seconds",
        "acknowledged",
        "rows",
        "acknowledged without a row",
        "rows twice",
        "reached live",
        "p50 ms",
        "p99 ms",
        "held",
    ]
    return markdown(
        head,
        [
            [
                outcome.title
                + (f" ({', '.join(f'{name} {count}x' for name, count in sorted(outcome.kills.items()))})" if outcome.kills else ""),
                str(outcome.rate),
                f"{outcome.seconds:.0f}",
                f"{outcome.acknowledged} of {outcome.due}",
                str(outcome.rows),
                str(outcome.missing),
                str(outcome.twice),
                str(outcome.reached_live),
                f"{outcome.p50_us / 1000:.1f}",
                f"{outcome.p99_us / 1000:.1f}",
                "; ".join(outcome.problems) or "yes",
            ]
            for outcome in outcomes
        ],
    )
