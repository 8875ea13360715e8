"""Promise P1 as numbers: live latency and errors while the shadow misbehaves.

Two instances of a proxy run side by side, one without a mirror and one that mirrors everything to
the shadow under test. They get the same open-loop load in turns (off, on, on, off, ...), with a pause
after each turn of the mirroring one so that what its shadow still owes does not burden the other.
The difference is taken per pair of turns; the median over pairs counts.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load.bench import openloop
from load.bench.latencies import median
from load.bench.origins import DeadPort, NginxOrigin, Origin, PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import Instance, Proxy, Setup
from load.bench.scenarios import HEADERS, SMALL, UPLOAD, Scenario, Shadow
from load.bench.tables import MIB, milliseconds, number
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from load.bench.openloop import Sample

SHADOW_TIMEOUT_S = 5.0
TOLERANCE = 0.05
TOLERANCE_US = 300.0
GROWTH_BYTES = 64 * MIB
"""What a worker may hold for slow shadows: the default of `limits.tee_memory`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way for a shadow to misbehave.

    Args:
        name: what `--fault` selects.
        title: in the table.
        mode: of the origin server, or `refuse` or `dead`.
        rate: requests a second.
        upload: bytes of each request's body.
    """

    name: str
    title: str
    mode: str
    rate: int = 500
    upload: int = 0


FAULTS: tuple[Fault, ...] = (
    Fault("dead", "dead: drops every SYN", "dead"),
    Fault("refuse", "refuses connections", "refuse"),
    Fault("hang", "accepts, reads, never answers", "hang"),
    Fault("late", "answers after 3 s", "late"),
    Fault("reset", "resets in the middle of its answer", "reset"),
    Fault("endless", "answers without end", "endless"),
    Fault("trickle", "reads 1 byte a second (64 KiB uploads)", "trickle", rate=100, upload=UPLOAD),
)


def names() -> list[str]:
    """What `--fault` knows."""
    return [fault.name for fault in FAULTS]


def choose(wanted: str) -> list[Fault]:
    """Faults of a comma-separated list; an empty list means all.

    Raises:
        ValueError: a name is none of theirs.
    """
    chosen = {name.strip() for name in wanted.split(",") if name.strip()}
    if unknown := sorted(chosen - set(names())):
        raise ValueError(f"no fault {', '.join(unknown)}; there are {', '.join(names())}")
    return [fault for fault in FAULTS if not chosen or fault.name in chosen]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, and how hard.

    Args:
        seconds: of a turn.
        repeat: pairs of turns.
        rate: requests a second in place of the faults' own; 0 takes theirs.
        has_breaker: whether our mirror may pause; without, every request keeps trying the broken shadow.
    """

    seconds: float = 5.0
    repeat: int = 3
    rate: int = 0
    has_breaker: bool = True


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault did to live. Differences are on minus off, in microseconds, median over pairs of turns."""

    fault: str
    title: str
    proxy: str
    rate: int
    requests: int = 0
    off_p50_us: float = float("nan")
    off_p99_us: float = float("nan")
    off_p99_least_us: float = float("nan")
    off_p99_most_us: float = float("nan")
    p50_difference_us: float = float("nan")
    p99_difference_us: float = float("nan")
    off_errors: dict[str, int] = field(default_factory=dict)
    on_errors: dict[str, int] = field(default_factory=dict)
    resident_bytes: int = 0
    growth_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Harmed and how; else undecided and why; else unharmed."""
        if self.problems:
            return "; ".join(self.problems)
        return f"undecided: {'; '.join(self.doubts)}" if self.doubts else "unharmed"


def order(pairs: int) -> list[bool]:
    """Turns of the mirroring instance (True) and the other: off, on, on, off, off, on, ..."""
    turns: list[bool] = []
    for pair in range(pairs):
        turns += [False, True] if pair % 2 == 0 else [True, False]
    return turns


def within(difference_us: float, reference_us: float) -> bool:
    """Whether live got at most 5 %, or 0.3 ms, slower."""
    return difference_us <= max(TOLERANCE * reference_us, TOLERANCE_US)


def is_noise(effect: Effect) -> bool:
    """Whether the turns with mirroring off differ among themselves by more than mirroring changed."""
    return effect.p99_difference_us < effect.off_p99_most_us - effect.off_p99_least_us


def judge(effect: Effect) -> list[str]:
    """Where an effect breaks promise P1."""
    problems = []
    if not within(effect.p50_difference_us, effect.off_p50_us):
        problems.append(f"p50 is {effect.p50_difference_us / 1000:.2f} ms over {effect.off_p50_us / 1000:.2f} ms")
    if not (within(effect.p99_difference_us, effect.off_p99_us) or is_noise(effect)):
        problems.append(f"p99 is {effect.p99_difference_us / 1000:.2f} ms over {effect.off_p99_us / 1000:.2f} ms")
    if effect.on_errors:
        problems.append(f"live errors: {effect.on_errors}")
    if effect.growth_bytes > GROWTH_BYTES:
        problems.append(f"grew by {effect.growth_bytes / MIB:.0f} MiB, bound {GROWTH_BYTES / MIB:.0f}")
    return problems


def shadow_port(fault: Fault, directory: Path, cpus: Cpus, stack: ExitStack) -> int:
    """Start the shadow of a fault; returns its port."""
    if fault.mode in {"dead", "refuse"}:
        return stack.enter_context(DeadPort(is_black_hole=fault.mode == "dead")).port
    return stack.enter_context(PythonOrigin("shadow", directory, cpus, mode=fault.mode)).port


def measure(proxy: Proxy, fault: Fault, plan: Plan, *, cpus: Cpus, directory: Path) -> Effect:
    """All turns of one fault.

    Raises:
        BenchError: something could not be started, or ended.
    """
    rate = plan.rate or fault.rate
    scenario = Scenario(fault.name, fault.title, "/orders/31415", SMALL, fault.upload, Shadow.HANGS, rate)
    with ExitStack() as stack:
        live: Origin = PythonOrigin("live", directory, cpus) if fault.upload else NginxOrigin("live", directory, cpus)
        stack.enter_context(live)
        shadow = shadow_port(fault, directory, cpus, stack)
        instances: dict[bool, Instance] = {}
        for is_on in (False, True):
            home = directory / ("on" if is_on else "off")
            home.mkdir()
            setup = Setup(
                port=free_port(),
                live=live.port,
                shadow=shadow if is_on else None,
                directory=home,
                shadow_timeout_s=SHADOW_TIMEOUT_S,
                has_breaker=plan.has_breaker,
            )
            instances[is_on] = stack.enter_context(Instance(proxy, setup, cpus))
        instances[True].reset_peak()
        resident = instances[True].resident_bytes()
        samples: dict[bool, list[Sample]] = {False: [], True: []}
        for is_on in order(plan.repeat):
            load = openloop.Load(instances[is_on].port, openloop.request_of(scenario, HEADERS), SMALL, rate, plan.seconds)
            samples[is_on].append(openloop.run(load))
            if is_on:
                time.sleep(SHADOW_TIMEOUT_S + 0.5)
        instances[True].check()
        growth = instances[True].peak_bytes() - resident
    return summarise(proxy.name, fault, samples[False], samples[True], rate=rate, resident=resident, growth=growth)


def summarise(proxy: str, fault: Fault, off: Sequence[Sample], on: Sequence[Sample], *, rate: int, resident: int, growth: int) -> Effect:
    """One effect out of the turns."""

    def quantile(sample: Sample, share: float) -> float:
        return sample.latencies.quantile_us(share)

    def difference(share: float) -> float:
        return median(quantile(b, share) - quantile(a, share) for a, b in zip(off, on, strict=True))

    def errors(samples: Sequence[Sample]) -> dict[str, int]:
        return dict(sum((sample.errors for sample in samples), Counter[str]()))

    measured: dict[str, Any] = {
        "off_p50_us": median(quantile(sample, 0.5) for sample in off),
        "off_p99_us": median(quantile(sample, 0.99) for sample in off),
        "off_p99_least_us": min(quantile(sample, 0.99) for sample in off),
        "off_p99_most_us": max(quantile(sample, 0.99) for sample in off),
        "p50_difference_us": difference(0.5),
        "p99_difference_us": difference(0.99),
    }
    requests = sum(sample.due for sample in on)
    effect = Effect(
        fault.name,
        fault.title,
        proxy,
        rate,
        requests,
        **measured,
        off_errors=errors(off),
        on_errors=errors(on),
        resident_bytes=resident,
        growth_bytes=growth,
    )
    effect.problems.extend(judge(effect))
    if not within(effect.p99_difference_us, effect.off_p99_us) and is_noise(effect):
        effect.doubts.append("p99 without a mirror moves more than that by itself")
    if any(sample.is_late for sample in (*off, *on)):
        effect.doubts.append(openloop.LATE)
    return effect


def attempt(proxy: Proxy, fault: Fault, plan: Plan, cpus: Cpus, say: Callable[[str], None]) -> Effect:
    """`measure` in a directory of its own; what goes wrong becomes a problem of the effect."""
    with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as directory:
        try:
            effect = measure(proxy, fault, plan, cpus=cpus, directory=Path(directory))
        except BenchError as error:
            effect = Effect(fault.name, fault.title, proxy.name, plan.rate or fault.rate, problems=[str(error)])
    say(f"{fault.name:8} {proxy.name:12} {effect.verdict}")
    return effect


def table(effects: Sequence[Effect]) -> str:
    """As Markdown."""
    head = ["shadow", "proxy", "requests/s", "p50 off ms", "change", "p99 off ms", "change", "live errors", "memory MiB", "live"]
    rows = [
        [
            effect.title,
            effect.proxy,
            str(effect.rate),
            milliseconds(effect.off_p50_us),
            number(effect.p50_difference_us / 1000, "+.2f"),
            f"{milliseconds(effect.off_p99_us)} ({milliseconds(effect.off_p99_least_us)} to {milliseconds(effect.off_p99_most_us)})",
            number(effect.p99_difference_us / 1000, "+.2f"),
            f"{sum(effect.on_errors.values())} of {effect.requests}",
            f"{effect.resident_bytes / MIB:.0f} {effect.growth_bytes / MIB:+.1f}",
            effect.verdict,
        ]
        for effect in effects
    ]
    return markdown(head, rows)
