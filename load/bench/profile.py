"""Where the CPU time of our worker goes, under the load of one scenario."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from load.bench import wrk
from load.bench.compare import origins_of
from load.bench.ports import free_port
from load.bench.processes import REPOSITORY, BenchError, Cpus
from load.bench.proxies import Instance, Setup, Shadowproxy
from load.bench.proxies.shadowproxy import WORKER
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load.bench.scenarios import Scenario

ROWS = 25

HOOK = """
import sys
from pathlib import Path

if {worker!r} in sys.orig_argv:
    from load.bench import sampler

    sampler.install(Path({path!r}))
"""
"""Becomes sitecustomize.py on the module path of the proxy: the interpreter imports it before the program."""


@dataclass(frozen=True, slots=True)
class Share:
    """One function's part of the samples: `own` while it was innermost, `inclusive` with all it called."""

    function: str
    own: float
    inclusive: float


class Sampled(Shadowproxy):
    """Our proxy with a sampler in its worker."""

    def __init__(self, directory: Path) -> None:
        self.samples = directory / "samples.json"
        (directory / "sitecustomize.py").write_text(HOOK.format(worker=WORKER, path=str(self.samples)))
        self.environment = {"PYTHONPATH": f"{directory}:{REPOSITORY}"}


def shares(text: str) -> list[Share]:
    """The functions of a sampler's file, most own time first.

    Raises:
        BenchError: there are no samples in it.
    """
    said = json.loads(text)
    total = said["total"]
    if not total:
        raise BenchError("the sampler took no sample")
    names = said["own"].keys() | said["inclusive"].keys()
    rows = [Share(name, said["own"].get(name, 0) / total, said["inclusive"].get(name, 0) / total) for name in names]
    return sorted(rows, key=lambda row: (-row.own, -row.inclusive, row.function))


def run(scenario: Scenario, *, seconds: int, connections: int, cpus: Cpus) -> list[Share]:
    """Load our proxy with wrk and return where its worker spent the time, start-up included.

    Raises:
        BenchError: something could not be started, or the worker left no samples.
    """
    with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as name:
        directory = Path(name)
        proxy = Sampled(directory)
        with ExitStack() as stack:
            live, shadow = origins_of(scenario, directory, cpus)
            stack.enter_context(live)
            if shadow:
                stack.enter_context(shadow)
            setup = Setup(free_port(), live.port, shadow.port if shadow else None, directory)
            instance = stack.enter_context(Instance(proxy, setup, cpus))
            wrk.run(scenario, instance.port, seconds=seconds, connections=connections, directory=directory, cpus=cpus)
        if not proxy.samples.exists():
            raise BenchError("the worker left no samples")
        return shares(proxy.samples.read_text())


def table(rows: Sequence[Share]) -> str:
    """The first rows as Markdown."""
    body = [[f"`{row.function}`", f"{row.own:.1%}", f"{row.inclusive:.1%}"] for row in rows[:ROWS]]
    return markdown(["function", "own CPU time", "with what it calls"], body)
