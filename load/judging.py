"""`python -m load.judging`: what pairing is worth, and where Kayenta's judge is wrong.

Two tables, with fixed seeds, for docs/kayenta.md (``--write-docs`` puts them there):

* how many requests an arm the paired tests and an unpaired sequential test take to find the same fault at
  the same false-alarm rate, on the scenarios of STATISTICS C2 and C4;
* three faults that Kayenta's users reported as passing, in Kayenta's judge and in the paired one.

Every test is looked at all the time. Equal false-alarm rate means:

* errors: both are the same mixture of fair coins with the same threshold, on discordant pairs here and on the errors of
  unrelated requests there. If the arms are alike both are the same process, so their false alarms are the same;
* latency: each test's threshold is the one that exactly ALPHA of its A/A runs reach.

The unpaired ones are favoured: a column has the error test with the tuning that is best for the scenario,
known beforehand, and the latency test is always tuned so and told the true variances, which nobody has.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import mcnemar, symmetry
from shadowproxy.judge.boundaries import NormalMixture, best_rho
from shadowproxy.judge.kayenta.canary import Canary, Metric, Series
from shadowproxy.judge.kayenta.judgement import judge
from shadowproxy.judge.kayenta.score import Outcome
from shadowproxy.judge.symmetry import LogRatio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ALPHA: Final = 0.05
THRESHOLD: Final = math.log(1 / ALPHA)

LIMIT: Final = 60_000
"""Requests an arm after which a test that has said nothing is given up."""

EVENTS: Final = 500
"""Discordant pairs, or errors, up to which false alarms of the error tests are counted."""

BLOCK: Final = 10
"""The unpaired latency test is looked at once in so many requests: its sums need no more detail."""

SPREADS: Final = (mcnemar.SPREAD, 5.0, 50.0)
"""Tunings of the unpaired error test: that of the paired one, and two that expect smaller differences."""

DIFFICULTY: Final = 1.0
"""Standard deviation of the logarithm of what a request costs either arm."""

NOISE: Final = 0.2
"""Standard deviation of the logarithm of what each arm adds by chance."""

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "kayenta.md"


@dataclass(frozen=True, slots=True)
class Errors:
    """Live fails at `rate`; the shadow repeats the share `repeated` of that, and fails anew at `new`."""

    rate: float
    new: float
    repeated: float

    def __str__(self) -> str:
        return f"errors: live {self.rate:.1%}, new {self.new:.1%}, {self.repeated:.0%} of live's repeated"


@dataclass(frozen=True, slots=True)
class Latency:
    """The shadow takes `slower` times live's time more, in the median."""

    slower: float

    def __str__(self) -> str:
        return f"latency: +{self.slower:.0%}"


SCENARIOS: Final = (
    Errors(0.01, 0.005, 0.98),
    Errors(0.01, 0.002, 0.98),
    Errors(0.02, 0.002, 0.98),
    Errors(0.001, 0.002, 0.90),
    Latency(0.01),
    Latency(0.02),
    Latency(0.05),
    Latency(0.10),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one scenario takes: medians of the requests an arm, LIMIT for more than that.

    `tuned` is the unpaired test with the best tuning; `false_alarms` are those of paired and unpaired test
    in A/A runs at the thresholds that were used.
    """

    scenario: Errors | Latency
    paired: float
    unpaired: float
    tuned: float
    false_alarms: tuple[float, float]

    @property
    def gain(self) -> float:
        """How many times fewer requests the paired test takes at the same false-alarm rate, at least."""
        return self.unpaired / self.paired


# ---- errors -------------------------------------------------------------------------------------


@cache
def coin_evidence(b: int, c: int, spread: float) -> float:
    """The evidence of `b` events on the shadow's side and `c` on live's, when they should be as likely."""
    return mcnemar.log_e_one_sided(b, c, spread)


def coin_alarms(rng: random.Random, runs: int, spread: float) -> float:
    """The share of A/A runs of EVENTS events that alarm: of pairs or of requests, it is the same coin."""
    alarms = 0
    for _ in range(runs):
        b = c = 0
        for _ in range(EVENTS):
            if rng.random() < 0.5:
                b += 1
                if coin_evidence(b, c, spread) >= THRESHOLD:
                    alarms += 1
                    break
            else:
                c += 1
    return alarms / runs


def coin_path(rng: random.Random, on_shadow: float, on_live: float, spread: float) -> Iterator[tuple[float, float]]:
    """Requests and evidence at each event of one run; the two kinds come at these rates a request."""
    total = on_shadow + on_live
    b = c = 0
    requests = 0.0
    while True:
        requests += math.ceil(math.log(1 - rng.random()) / math.log1p(-total))
        if rng.random() < on_shadow / total:
            b += 1
        else:
            c += 1
        yield requests, coin_evidence(b, c, spread)


def errors_row(scenario: Errors, runs: int, seed: int) -> Row:
    """Sequential McNemar on pairs, beside the same mixture on the errors of unrelated requests."""
    new = (1 - scenario.rate) * scenario.new
    gone = scenario.rate * (1 - scenario.repeated) * (1 - scenario.new)
    shadow_rate = scenario.rate - gone + new
    rng = random.Random(seed)
    paired = typical((coin_path(rng, new, gone, mcnemar.SPREAD) for _ in range(runs)), THRESHOLD)
    rng = random.Random(seed)
    unpaired = [typical((coin_path(rng, shadow_rate, scenario.rate, spread) for _ in range(runs)), THRESHOLD) for spread in SPREADS]
    alarms = coin_alarms(random.Random(seed), 4 * runs, mcnemar.SPREAD)
    return Row(scenario, paired, unpaired[0], min(unpaired), (alarms, alarms))


# ---- latency ------------------------------------------------------------------------------------


def pair_path(rng: random.Random, slower: float) -> Iterator[tuple[float, float]]:
    """Pairs and evidence after each: the difficulty is the same on both sides and goes away."""
    centre, spread = math.log1p(slower), NOISE * math.sqrt(2)
    n, s1, s2 = 0, 0.0, 0.0
    while True:
        d = rng.gauss(centre, spread)
        n, s1, s2 = n + 1, s1 + d, s2 + d * d
        yield n, symmetry.log_e_above(LogRatio(n, s1, s2), 0.0)


def mean_path(rng: random.Random, slower: float, tuned_to: float) -> Iterator[tuple[float, float]]:
    """Requests an arm and evidence after each block: difference of means with known variances, tuned to where it alarms."""
    variance = 2 * (DIFFICULTY**2 + NOISE**2)
    mixture = NormalMixture(best_rho(variance * tuned_to, ALPHA, is_one_sided=True), is_one_sided=True)
    centre = math.log1p(slower)
    requests, total = 0, 0.0
    while True:
        requests += BLOCK
        total += rng.gauss(BLOCK * centre, math.sqrt(BLOCK * variance))
        yield requests, mixture.log_e(total, requests * variance)


def latency_row(scenario: Latency, runs: int, seed: int) -> Row:
    """The symmetry test on pairs, beside the sequential test of means."""
    variance = 2 * (DIFFICULTY**2 + NOISE**2)
    tuned_to = 6.5 * variance / math.log1p(scenario.slower) ** 2
    limits = latency_limits(runs, seed)
    rng = random.Random(seed)
    paired = typical((pair_path(rng, scenario.slower) for _ in range(runs)), limits[0][0])
    rng = random.Random(seed)
    unpaired = typical((mean_path(rng, scenario.slower, tuned_to) for _ in range(runs)), limits[1][0])
    return Row(scenario, paired, unpaired, unpaired, (limits[0][1], limits[1][1]))


@cache
def latency_limits(runs: int, seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Threshold and false alarms of the paired and of the unpaired test; they do not depend on the scenario."""
    rng = random.Random(seed)
    paired = calibrated([peak(pair_path(rng, 0.0), 2000) for _ in range(2 * runs)])
    rng = random.Random(seed)
    # Scaled to its tuning every test of means is the same: this horizon is five times what it is tuned to.
    return paired, calibrated([peak(mean_path(rng, 0.0, 4_000.0), 20_000) for _ in range(2 * runs)])


def peak(path: Iterator[tuple[float, float]], upto: float) -> float:
    """The highest evidence up to so many requests."""
    highest = 0.0
    for requests, log_e in path:
        highest = max(highest, log_e)
        if requests >= upto:
            break
    return highest


def calibrated(peaks: Sequence[float]) -> tuple[float, float]:
    """The threshold that the share ALPHA of the peaks reach, and that share as it is with so many peaks."""
    ordered = sorted(peaks, reverse=True)
    allowed = int(ALPHA * len(peaks))
    limit = ordered[allowed - 1]
    return limit, sum(one >= limit for one in peaks) / len(peaks)


# ---- both ---------------------------------------------------------------------------------------


def typical(paths: Iterable[Iterator[tuple[float, float]]], limit: float) -> float:
    """The median of the requests after which the evidence reaches `limit`, counted up to LIMIT."""
    found = []
    for path in paths:
        at = float(LIMIT)
        for requests, log_e in path:
            if requests >= LIMIT:
                break
            if log_e >= limit:
                at = requests
                break
        found.append(at)
    return median(found)


def row(scenario: Errors | Latency, runs: int, seed: int = 1) -> Row:
    """Simulate one scenario."""
    return errors_row(scenario, runs, seed) if isinstance(scenario, Errors) else latency_row(scenario, runs, seed)


# ---- where Kayenta's judge is wrong -------------------------------------------------------------

MINUTES: Final = 60
PER_MINUTE: Final = 60
"""Pairs a minute: an hour is 3,600."""

SLO: Final = 2.0
"""Time that a request may take, in medians of live."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault: in what share of the runs each judge finds it, and in what share the paired one finds it where it is not."""

    name: str
    kayenta_passes: float
    paired_finds: float
    after_pairs: float | None
    false_alarms: float


def kayenta_outcome(control: Sequence[float], experiment: Sequence[float]) -> Outcome:
    """What Kayenta's judge says of one metric of which only an increase is bad."""
    canary = Canary((Metric("m", ("g",), is_decrease_bad=False, nans_are_zero=True),))
    return judge(canary, [Series("m", tuple(control))], [Series("m", tuple(experiment))]).outcome


def jump() -> Case:
    """Ten points, of which seven are a hundred times as large (spinnaker#6278), and the same ten as pairs."""
    control, experiment = [1.0] * 10, [100.0] * 7 + [1.0] * 3
    above = below = 0
    found = None
    for index, (live, shadow) in enumerate(zip(control, experiment, strict=True), 1):
        above, below = above + (shadow > live), below + (shadow < live)
        if found is None and mcnemar.log_e_one_sided(above, below) >= THRESHOLD:
            found = index
    passes = kayenta_outcome(control, experiment) is Outcome.PASS
    return Case("a 100x jump in 7 of 10 points", float(passes), float(found is not None), found, 0.0)


def sparse_hour(rng: random.Random, new: float) -> tuple[bool, int | None]:
    """An hour with new errors now and then: whether Kayenta passes it, and after how many pairs it is found."""
    live = [sum(rng.random() < 0.001 for _ in range(PER_MINUTE)) for _ in range(MINUTES)]
    shadow_only = [sum(rng.random() < new for _ in range(PER_MINUTE)) for _ in range(MINUTES)]
    live_only = [sum(rng.random() < 0.05 for _ in range(count)) for count in live]
    shadow = [both - only + anew for both, only, anew in zip(live, live_only, shadow_only, strict=True)]
    passes = kayenta_outcome([float(count) for count in live], [float(count) for count in shadow]) is Outcome.PASS
    b = c = 0
    for minute, (only_shadow, only_live) in enumerate(zip(shadow_only, live_only, strict=True), 1):
        b, c = b + only_shadow, c + only_live
        if mcnemar.log_e_one_sided(b, c) >= THRESHOLD:
            return passes, minute * PER_MINUTE
    return passes, None


def spread_hour(rng: random.Random, spread: float) -> tuple[bool, int | None]:
    """An hour with live's median and the shadow's noise of `spread`: Kayenta on minute medians, SLO crossings on pairs."""
    medians: tuple[list[float], list[float]] = ([], [])
    b = c = 0
    found = None
    for minute in range(1, MINUTES + 1):
        arms: tuple[list[float], list[float]] = ([], [])
        for _ in range(PER_MINUTE):
            difficulty = rng.gauss(0, 0.3)
            live, shadow = math.exp(difficulty + rng.gauss(0, NOISE)), math.exp(difficulty + rng.gauss(0, spread))
            b, c = b + (shadow > SLO >= live), c + (live > SLO >= shadow)
            arms[0].append(live)
            arms[1].append(shadow)
        for kept, values in zip(medians, arms, strict=True):
            kept.append(median(values))
        if found is None and mcnemar.log_e_one_sided(b, c) >= THRESHOLD:
            found = minute * PER_MINUTE
    return kayenta_outcome(*medians) is Outcome.PASS, found


def hours(
    name: str, hour: Callable[[random.Random, float], tuple[bool, int | None]], bad: float, good: float, *, runs: int, seed: int
) -> Case:
    """Judge `runs` hours with the fault and as many without it."""
    rng = random.Random(seed)
    faulty = [hour(rng, bad) for _ in range(runs)]
    healthy = [hour(rng, good) for _ in range(runs)]
    found = [after for _, after in faulty if after is not None]
    return Case(
        name,
        sum(passes for passes, _ in faulty) / runs,
        len(found) / runs,
        median(found) if found else None,
        sum(after is not None for _, after in healthy) / runs,
    )


def cases(runs: int, seed: int = 1) -> list[Case]:
    """The three faults."""
    return [
        jump(),
        hours("sparse errors: live 0.1 %, new 0.3 %, an hour of minute counts", sparse_hour, 0.003, 0.00005, runs=runs, seed=seed),
        hours(
            "same median, spread of the noise from 20 % to 60 %, an hour of minute medians", spread_hour, 0.6, NOISE, runs=runs, seed=seed
        ),
    ]


# ---- output -------------------------------------------------------------------------------------


def power_table(rows: Iterable[Row]) -> str:
    """The first table, as Markdown."""
    lines = [
        "| scenario | A/A alarms, paired and unpaired | requests, paired | unpaired | times fewer | unpaired, tuned | times fewer |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        alarms = " and ".join(f"{share:.1%}" for share in one.false_alarms)
        counts = f"{one.paired:,.0f} | {_requests(one.unpaired)} | {_times(one.unpaired, one.paired)}"
        lines.append(f"| {one.scenario} | {alarms} | {counts} | {_requests(one.tuned)} | {_times(one.tuned, one.paired)} |")
    return "\n".join(lines)


def _times(more: float, fewer: float) -> str:
    return f"{'over ' * (more >= LIMIT)}{more / fewer:.1f}"


def case_table(found: Iterable[Case]) -> str:
    """The second table, as Markdown."""
    lines = ["| fault | Kayenta passes it | the paired judge finds it | after pairs | its false alarms |", "|---|---|---|---|---|"]
    for case in found:
        after = "-" if case.after_pairs is None else f"{case.after_pairs:,.0f}"
        lines.append(f"| {case.name} | {case.kayenta_passes:.0%} | {case.paired_finds:.0%} | {after} | {case.false_alarms:.1%} |")
    return "\n".join(lines)


def _requests(count: float) -> str:
    return f"over {LIMIT:,}" if count >= LIMIT else f"{count:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, print, and write the document if asked to."""
    parser = argparse.ArgumentParser(prog="python -m load.judging", description="What pairing is worth, by simulation.")
    parser.add_argument("--runs", type=int, default=400, help="runs of each scenario (default 400: about a minute)")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    options = parser.parse_args(argv)
    tables = [power_table(row(scenario, options.runs) for scenario in SCENARIOS), case_table(cases(options.runs))]
    print("\n\n".join(tables))
    if options.write_docs:
        text = DOCUMENT.read_text()
        for mark, table in zip(("power", "cases"), tables, strict=True):
            begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
            text = f"{text.partition(begin)[0]}{begin}\n{table}\n{end}{text.partition(end)[2]}"
        DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
