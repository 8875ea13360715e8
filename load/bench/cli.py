"""The command line of `make bench`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from load.bench import big, compare, docs, faults, idle, profile, results, scenarios, soak, tables, tagged, verdicts
from load.bench import proxies as known
from load.bench.processes import REPOSITORY, BenchError, Cpus, raise_file_limit, share_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load.bench.proxies import Proxy

PARTS = ("compare", "idle", "faults", "big", "profile")
"""What --all runs."""

LONG_PARTS = ("soak", "verdicts", "tagged")
"""What runs only when it is named: for minutes, whatever else is asked for."""


def parser() -> argparse.ArgumentParser:
    """All options, with their defaults."""
    made = argparse.ArgumentParser(prog="python -m load.bench", description="Mirroring proxies side by side, one core each.")
    made.add_argument("--only", default="", metavar="NAMES", help="scenarios of the comparison (comma-separated; see --list)")
    made.add_argument("--proxies", default="", metavar="NAMES", help=f"of {', '.join(known.PROXIES)}; default all")
    made.add_argument("--seconds", type=int, default=4, help="closed-loop seconds per measurement (default 4)")
    made.add_argument("--open-seconds", type=float, default=3.0, help="open-loop seconds per measurement; 0 leaves it out (default 3)")
    made.add_argument("--rate", type=int, default=0, help="open-loop requests a second; default is each scenario's own")
    made.add_argument("--repeat", type=int, default=3, help="rounds (default 3)")
    made.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    made.add_argument("--idle", action="store_true", help="memory of idle keep-alive connections instead of the comparison")
    made.add_argument("--idle-connections", type=int, default=idle.CONNECTIONS, help=f"how many (default {idle.CONNECTIONS})")
    made.add_argument("--faults", action="store_true", help="live latency beside a shadow that misbehaves, instead of the comparison")
    made.add_argument("--fault", default="", metavar="NAMES", help=f"of {', '.join(faults.names())}; default all")
    made.add_argument("--fault-seconds", type=float, default=5.0, help="seconds of each of the rounds of --faults (default 5)")
    made.add_argument("--without-breaker", action="store_true", help="in --faults: our mirror keeps trying the broken shadow")
    made.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="all faults side by side for so long: memory and errors")
    made.add_argument("--verdicts", type=int, default=0, metavar="RUNS", help="how many pairs verdicts take, and how many are wrong")
    made.add_argument(
        "--tagged", type=float, default=0.0, metavar="SECONDS", help="tagged writes with a durable row each, and what kills leave of them"
    )
    made.add_argument("--tagged-rate", type=int, default=tagged.RATE, help=f"writes a second (default {tagged.RATE})")
    made.add_argument("--big", action="store_true", help="1 GiB up and down, instead of the comparison")
    made.add_argument("--big-bytes", type=int, default=big.BYTES, help="how much that is (default 1 GiB)")
    made.add_argument("--profile", action="store_true", help="where our worker's CPU time goes, instead of the comparison")
    made.add_argument("--all", action="store_true", help="all parts but --soak, --verdicts and --tagged")
    made.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    made.add_argument("--results", type=Path, default=REPOSITORY / "results", help="directory of the JSON files (default results/)")
    made.add_argument("--list", action="store_true", help="name scenarios, faults and proxies, and leave")
    return made


def chosen_parts(options: argparse.Namespace) -> list[str]:
    """Which parts to run: those that were named, else the comparison."""
    if options.all:
        return list(PARTS)
    named = [part for part in (*PARTS[1:], *LONG_PARTS) if getattr(options, part)]
    # Scenarios are the comparison's and the profile's.
    return named if named and (not options.only or options.profile) else ["compare", *named]


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when every measurement counts, 1 when one failed, 2 for a bad option, 130 on Ctrl-C."""
    options = parser().parse_args(arguments)
    if options.list:
        print(listing())
        return 0
    try:
        wanted = known.choose(options.proxies)
        chosen = scenarios.choose(options.only)
        ailments = faults.choose(options.fault)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    # A stop from outside ends like Ctrl-C: by unwinding, which stops every child and removes every file.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return Run(options, wanted, chosen, ailments).all()
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def listing() -> str:
    """Everything that can be named on the command line."""
    lines = ["scenarios:", *(f"  {scenario.name:16}{scenario.title}" for scenario in scenarios.SCENARIOS)]
    lines += ["faults:", *(f"  {fault.name:16}{fault.title}" for fault in faults.FAULTS)]
    versions, absent = compare.installed(list(known.PROXIES.values()))
    return "\n".join([*lines, "proxies:", *(f"  {name:16}{versions.get(name) or absent[name]}" for name in known.PROXIES)])


class Run:
    """One run of some parts."""

    def __init__(
        self,
        options: argparse.Namespace,
        wanted: list[Proxy],
        chosen: list[scenarios.Scenario],
        ailments: list[faults.Fault],
    ) -> None:
        self._options = options
        self._scenarios = chosen
        self._faults = ailments
        self._cpus: Cpus = share_out(os.sched_getaffinity(0))
        self._versions, self._absent = compare.installed(wanted)
        self._proxies = [proxy for proxy in wanted if proxy.name in self._versions]
        self._failed = False

    def all(self) -> int:
        """Run the parts; returns the exit code.

        Raises:
            BenchError: nothing can be measured here.
        """
        raise_file_limit()
        for name, reason in self._absent.items():
            print(f"absent: {name}: {reason}")
        if self._options.proxies and not set(known.OURS).isdisjoint(self._absent):
            self._failed = True
        if not self._proxies:
            raise BenchError("none of the proxies is installed")
        # This program is load too: it must never run on the proxy's CPU.
        os.sched_setaffinity(0, self._cpus.rest)
        if self._cpus.is_shared:
            print("warning: one usable CPU: proxy and load share it, so throughput and latency say little; CPU per request still holds")
        for part in chosen_parts(self._options):
            getattr(self, part)()
        return int(self._failed)

    def _report(self, kind: str, rows: Sequence[Any], text: str, problems: list[str]) -> None:
        about = results.environment(self._cpus, self._versions, [Path(sys.executable).name, "-m", "load.bench", *sys.argv[1:]])
        path = results.store(self._options.results, kind, about, rows)
        print(f"\n{text}\nstored in {path}")
        if problems:
            self._failed = True
            print("\nFAILED:\n" + "\n".join(f"- {problem}" for problem in problems))
        if self._options.write_docs:
            docs.insert(REPOSITORY / "docs" / "benchmarks.md", kind, f"{tables.conditions(about)}\n\n{text}")

    def _ours_or_named(self) -> list[Proxy]:
        named = self._options.proxies
        return [proxy for proxy in self._proxies if (proxy.name != "floor" if named else proxy.name == known.OURS[0])]

    def compare(self) -> None:
        """Every scenario, every proxy."""
        options = self._options
        plan = compare.Plan(options.seconds, options.open_seconds, options.rate, options.repeat, options.connections)
        rows = list(compare.run(self._scenarios, self._proxies, plan, self._cpus, say))
        text = tables.comparison(results.Collection(rows), self._scenarios, [proxy.name for proxy in self._proxies], self._absent)
        self._report("compare", rows, text, [f"{row.scenario}, {row.proxy}: {problem}" for row in rows for problem in row.problems])

    def idle(self) -> None:
        """Memory of connections that do nothing."""
        # The floor opens three sockets a client by design: it has no idle state to compare.
        proxies = [proxy for proxy in self._proxies if proxy.name != "floor"]
        rows = [idle.attempt(proxy, self._options.idle_connections, self._cpus) for proxy in proxies]
        self._report("idle", rows, idle.table(rows), [f"idle, {row.proxy}: {row.problem}" for row in rows if row.problem])

    def faults(self) -> None:
        """Promise P1. Only our own proxy unless peers are named: theirs can take long."""
        proxies = self._ours_or_named()
        options = self._options
        plan = faults.Plan(options.fault_seconds, options.repeat, options.rate, has_breaker=not options.without_breaker)
        rows = [faults.attempt(proxy, fault, plan, self._cpus, say) for fault in self._faults for proxy in proxies]
        problems = [f"{row.fault}, {row.proxy}: {problem}" for row in rows if row.proxy in known.OURS for problem in row.problems]
        self._report("faults", rows, faults.table(rows), problems)

    def soak(self) -> None:
        """Promise P6, over minutes. Only our own proxy unless peers are named."""
        rows = list(soak.run(self._ours_or_named(), self._faults, 60.0 * self._options.soak, self._cpus, say))
        problems = [f"{row.fault}, {row.proxy}: {problem}" for row in rows if row.proxy in known.OURS for problem in row.problems]
        self._report("soak", rows, soak.table(rows), problems)

    def verdicts(self) -> None:
        """Promise P7, through the running proxy."""
        rows = verdicts.run(verdicts.CASES, self._options.verdicts, self._cpus, say)
        self._report("verdicts", rows, verdicts.table(rows), verdicts.problems(rows))

    def tagged(self) -> None:
        """Promises P3 and P8, under load and under kills."""
        rows = tagged.run(self._options.tagged, self._options.tagged_rate, self._cpus, say)
        self._report("tagged", rows, tagged.table(rows), [f"{row.title}: {problem}" for row in rows for problem in row.problems])

    def big(self) -> None:
        """Bodies of a gibibyte. Only our own proxy unless peers are named."""
        proxies = self._ours_or_named()
        rows = [row for proxy in proxies for row in big.attempt(proxy, self._options.big_bytes, self._cpus)]
        problems = [f"{row.direction}, {row.proxy}: {problem}" for row in rows if row.proxy in known.OURS for problem in row.problems]
        self._report("big", rows, big.table(rows), problems)

    def profile(self) -> None:
        """A sampling profile of our worker in the first scenario that was chosen, else in small-mirror."""
        scenario = self._scenarios[0] if self._options.only else scenarios.choose("small-mirror")[0]
        rows = profile.run(scenario, seconds=2 * self._options.seconds, connections=self._options.connections, cpus=self._cpus)
        self._report("profile", rows, f"{scenario.title}.\n\n{profile.table(rows)}", [])


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)
