"""Evidence of mirrors as tallies come in: epochs, what belongs to which, and what is asked by whom."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.counts import Counts
from shadowproxy.control.judging import Findings, Judging, criteria_of
from shadowproxy.judge.verdict import Outcome, to_plain
from tests.control.conftest import plain
from tests.judge.ticks import World, matrix_tick

if TYPE_CHECKING:
    from pathlib import Path

    from shadowproxy.config.model import Config
    from shadowproxy.judge.verdict import Verdict

KEY = "all/shadow"


class Bench:
    """A judging with clocks that are set by hand and workers that report what they are told."""

    def __init__(self, directory: Path, workers: int = 1, **mirror: Any) -> None:
        self.directory = directory
        self.now = 1000.0
        self.counts = Counts()
        self.restarted: list[str] = []
        self.findings = Findings(restart=self.restarted.append)
        config = self.config(**mirror)
        self.judging = Judging(config, self.counts, self.findings, monotonic=lambda: self.now, wall=lambda: 1.7e9 + self.now)
        self.counts.declare(["all"], [KEY])
        self.accounts = [self.counts.open(slot) for slot in range(workers)]

    def config(self, fleets: dict[str, Any] | None = None, **mirror: Any) -> Config:
        """A config with one mirror."""
        shape = plain(self.directory, routes=[{"name": "all", "live": "live", "mirror": [{"to": "shadow", **mirror}]}])
        shape["fleets"] |= {"control": {"endpoints": ["http://127.0.0.1:3"]}} | (fleets or {})
        return from_plain(shape)

    def tick(self, counted: dict[str, Any], worker: int = 0, seconds: float = 0.25, key: str = KEY) -> None:
        """One report of one worker."""
        self.now += seconds
        tally = {"type": "tally", "mirrors": {key: counted}}
        self.counts.add(self.accounts[worker], tally)
        self.judging.add(self.accounts[worker], tally)

    def verdict(self) -> Verdict:
        """Of the one mirror."""
        (verdict,) = self.judging.verdicts()
        return verdict


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One worker, one mirror."""
    return Bench(tmp_path)


def test_tallies_become_a_verdict(bench: Bench) -> None:
    """Ticks of a bad shadow end in a REGRESSION that names the transition, the rate and the exit of the curve."""
    world = World(random.Random(1), new_errors=0.05)
    for _ in range(40):
        bench.tick(world.tick(50))
    verdict = bench.verdict()
    assert (verdict.verdict, verdict.cause, verdict.pairs, verdict.epoch) == (Outcome.REGRESSION, "errors", 2000, 1)
    assert "200 -> 504" in verdict.summary
    assert verdict.pairs_per_second == pytest.approx(200, rel=0.02)
    assert [point[1] for point in verdict.history] == sorted(point[1] for point in verdict.history)
    assert verdict.history[-1][1] == 2000
    assert verdict.coverage == 1.0


def test_workers_are_ticks_one_after_the_other(tmp_path: Path) -> None:
    """What two workers count is one evidence."""
    bench = Bench(tmp_path, workers=2)
    for number in range(8):
        bench.tick(matrix_tick(**{"200,200": 9, "200,500": 1}), worker=number % 2)
    assert bench.verdict().pairs == 80
    assert bench.verdict().verdict is Outcome.REGRESSION


def test_the_lag_is_of_the_slowest_living_worker(tmp_path: Path) -> None:
    """A worker that has ended keeps nobody waiting."""
    bench = Bench(tmp_path, workers=2)
    bench.tick(matrix_tick(**{"200,200": 1}) | {"lag_ns": 2_000_000_000})
    bench.tick(matrix_tick(**{"200,200": 1}) | {"lag_ns": 5_000_000}, worker=1)
    assert bench.verdict().lag_seconds == 2.0
    bench.counts.close(bench.accounts[0], [0] * 4, {})
    assert bench.verdict().lag_seconds == 0.005


@pytest.mark.parametrize(
    ("mirror", "fleets"),
    [
        ({"judge": {"errors": {"safe": 0.5}}}, {}),
        ({"judge": {"alpha": 0.01}}, {}),
        ({"timeout": "1s"}, {}),
        ({"control": {"to": "control"}}, {}),
        ({}, {"shadow": {"endpoints": ["http://127.0.0.1:5"]}}),
        ({}, {"live": {"endpoints": ["http://127.0.0.1:1", "http://127.0.0.1:6"]}}),
    ],
)
def test_another_comparison_begins_anew(bench: Bench, mirror: dict[str, Any], fleets: dict[str, Any]) -> None:
    """New margins, another way of sending or other endpoints: a new epoch, the old verdict stands beside it."""
    bench.tick(matrix_tick(**{"200,504": 20}))
    before = bench.verdict()
    bench.judging.configure(bench.config(fleets=fleets, **mirror))
    verdict = bench.verdict()
    assert (verdict.epoch, verdict.pairs, verdict.verdict) == (2, 0, Outcome.UNDECIDED)
    assert verdict.previous is not None
    assert (verdict.previous.epoch, verdict.previous.verdict, verdict.previous.pairs) == (1, "REGRESSION", 20)
    assert verdict.previous.summary == before.summary
    assert bench.restarted == [KEY]


def test_what_changes_nothing_of_the_comparison_changes_no_evidence(bench: Bench) -> None:
    """More copies, other limits, another order of endpoints: the evidence goes on."""
    bench.tick(matrix_tick(**{"200,200": 20}))
    bench.judging.configure(bench.config(in_flight=7, breaker={"failures": 9}))
    assert (bench.verdict().epoch, bench.verdict().pairs) == (1, 20)
    bench.judging.configure(from_plain(plain(bench.directory, routes=[{"name": "all", "live": "live"}])))
    assert list(bench.judging.verdicts()) == []


def test_pairs_of_before_are_left_out_of_the_new_evidence(bench: Bench) -> None:
    """After a restart the ticks that may hold older pairs are left out: the next one, and until as many pairs as were then pending."""
    bench.tick(matrix_tick(**{"200,200": 20}) | {"pending": 3})
    bench.judging.restart(KEY, "test")
    bench.tick(matrix_tick(**{"200,500": 10}) | {"pending": 5})
    bench.tick(matrix_tick(**{"200,500": 4}))
    bench.tick(matrix_tick(**{"200,500": 4}))
    assert bench.verdict().pairs == 0
    bench.tick(matrix_tick(**{"200,200": 7}))
    assert bench.verdict().pairs == 7


def test_pairs_of_before_are_over_at_their_deadline(bench: Bench) -> None:
    """What was pending may be killed and never counted: after the deadline of pairs nothing is left out any more."""
    bench.tick(matrix_tick(**{"200,200": 20}))
    bench.judging.restart(KEY, "test")
    bench.tick(matrix_tick(**{"200,200": 10}) | {"pending": 500})
    bench.tick(matrix_tick(**{"200,200": 7}), seconds=40.0)
    assert bench.verdict().pairs == 7


def test_a_worker_that_starts_later_brings_nothing_old(bench: Bench) -> None:
    """Its first tick counts."""
    bench.judging.restart(KEY, "test")
    bench.accounts.append(bench.counts.open(1))
    bench.tick(matrix_tick(**{"200,200": 5}), worker=1)
    assert bench.verdict().pairs == 5


def test_another_build_begins_anew(bench: Bench) -> None:
    """The first build that is seen changes nothing; a second one does, and is named."""
    bench.judging.seen_revision("shadow", "v1")
    bench.judging.seen_revision("live", "v0")
    bench.tick(matrix_tick(**{"200,500": 20}))
    assert bench.verdict().epoch == 1
    assert bench.verdict().revisions == {"live": ("v0",), "shadow": ("v1",)}
    bench.judging.seen_revision("shadow", "v2")
    verdict = bench.verdict()
    assert (verdict.epoch, verdict.pairs) == (2, 0)
    assert verdict.revisions["shadow"] == ("v1", "v2")
    bench.judging.seen_revision("elsewhere", "v1")
    bench.judging.seen_revision("elsewhere", "v2")
    assert bench.verdict().epoch == 2


def test_captured_pairs_tell_builds(tmp_path: Path) -> None:
    """The header that the fleet's config names is looked for in the answers."""
    bench = Bench(tmp_path)
    fleets = {"shadow": {"endpoints": ["http://127.0.0.1:2"], "revision": "header:x-version"}}
    bench.judging.configure(bench.config(fleets=fleets))
    epoch = bench.verdict().epoch
    for build in ("v1", "v1", "v2"):
        answer = {"outcome": "200", "headers": [["X-Version", build]]}
        assert bench.judging.take_captured([{"mirror": KEY, "at": 3e9, "live": answer, "shadow": answer}])
    assert bench.verdict().revisions == {"live": (), "shadow": ("v1", "v2")}
    assert bench.verdict().epoch == epoch + 1
    since = bench.verdict().since
    pairs = [
        {"mirror": mirror, "at": since + after} for after in (-1.0, 1.0) for mirror in (KEY, f"{KEY}.control", f"{KEY}.resend", "no/such")
    ]
    assert bench.judging.take_captured(pairs) == pairs[4:7]


def test_a_control_arm_is_the_baseline_and_the_test(tmp_path: Path) -> None:
    """Its own tally calibrates; the triples of the mirror's tally are what is judged."""
    bench = Bench(tmp_path, control={"to": "control"})
    bench.counts.declare([], [f"{KEY}.control"])
    world = World(random.Random(1), control=True, control_slower=1.8)
    for _ in range(30):
        tick = world.tick(50)
        bench.tick(tick.pop("control"), key=f"{KEY}.control")
        bench.tick(tick)
    verdict = bench.verdict()
    assert (verdict.verdict, verdict.baseline, verdict.pairs) == (Outcome.INVALID, "control", 1500)
    assert verdict.control is not None
    assert verdict.control.is_tripped
    assert verdict.control.latency_ratio == pytest.approx(1.8, rel=0.1)
    assert "control" in verdict.summary


def test_counters_that_do_not_add_up_make_it_invalid(bench: Bench) -> None:
    """Whatever the pairs show."""
    bench.tick({"eligible": 30, "fates": {"paired": 20}, "pending": 0, "matrix": {"200,500": 20}})
    assert bench.verdict().verdict is Outcome.INVALID
    assert "do not add up" in bench.verdict().summary


def test_only_a_random_sample_of_single_requests_has_a_ratio_to_check(tmp_path: Path) -> None:
    """Half of the requests by themselves: checked. Units, or everything: not."""
    assert Bench(tmp_path, percent=50).verdict().sample_ratio is not None
    assert Bench(tmp_path, percent=50, key="client").verdict().sample_ratio is None
    assert Bench(tmp_path).verdict().sample_ratio is None
    bench = Bench(tmp_path, percent=50)
    for _ in range(20):
        fates = {"paired": 900, "not_sampled": 100}
        bench.tick({"eligible": 1000, "fates": fates, "matrix": {"200,200": 900}})
    assert bench.verdict().verdict is Outcome.INVALID
    assert "90 % of the requests are copied instead of 50 %" in bench.verdict().summary


def test_findings_stand_in_the_document(bench: Bench) -> None:
    """Fields and exemplars come from whoever knows them."""
    bench.findings.fields = lambda key: ({"path": "$.total", "is_reported": True},) if key == KEY else ()
    bench.findings.exemplars = lambda _: ("a1", "b2")
    verdict = bench.verdict()
    assert verdict.fields == ({"path": "$.total", "is_reported": True},)
    assert verdict.exemplars == ("a1", "b2")


def test_fields_can_fail_a_mirror(tmp_path: Path) -> None:
    """With `bodies: fail` their evidence is part of the verdict's."""
    bench = Bench(tmp_path, judge={"bodies": "fail"})
    bench.findings.bodies = lambda _: 12.0
    bench.findings.fields = lambda _: ({"path": "$.total", "is_reported": True},)
    bench.tick(matrix_tick(**{"200,200": 20}))
    assert bench.verdict().cause == "bodies"
    assert "$.total" in bench.verdict().summary


def test_margins_are_read_in_their_units(tmp_path: Path) -> None:
    """Points and percents become shares, durations nanoseconds."""
    judge = {
        "errors": {"regression": 0.1, "safe": 0.5},
        "latency": {"regression": 3, "safe": 5, "resolution": "1ms"},
        "slo": ["250ms", "1s"],
    }
    config = Bench(tmp_path).config(judge=judge, percent=20, holdout=10)
    criteria = criteria_of(config.routes[0].mirror[0])
    assert (criteria.errors_regression, criteria.errors_safe) == pytest.approx((0.001, 0.005))
    assert (criteria.latency_regression, criteria.latency_safe, criteria.resolution_seconds) == pytest.approx((0.03, 0.05, 0.001))
    assert criteria.slo_ns == (250_000_000, 1_000_000_000)
    assert criteria.sampled == pytest.approx(0.18)


def test_numbers_for_metrics_are_kept_while_nothing_comes(bench: Bench) -> None:
    """They are made anew when pairs came, and not more often than they are good for."""
    (case,) = bench.judging.cases
    first = bench.judging.standing(case)
    assert bench.judging.standing(case) is first
    bench.tick(matrix_tick(**{"200,200": 20}))
    assert bench.judging.standing(case) is first
    bench.now += 5
    assert bench.judging.standing(case) is not first


def test_a_document_can_be_chosen_by_name(bench: Bench) -> None:
    """By route and by mirror."""
    assert len(list(bench.judging.verdicts("all", "shadow"))) == 1
    assert not list(bench.judging.verdicts("other"))
    assert not list(bench.judging.verdicts(mirror="other"))
    assert to_plain(bench.verdict())["route"] == "all"


def test_a_mirror_without_pairs_is_undecided(bench: Bench) -> None:
    """And says so."""
    verdict = bench.verdict()
    assert verdict.verdict is Outcome.UNDECIDED
    assert "no request has been compared yet" in verdict.summary
    with pytest.raises(KeyError):
        bench.judging.restart("no/such", "test")
    assert "all/shadow: UNDECIDED" in repr(bench.judging)


def again(bench: Bench, **mirror: Any) -> Bench:
    """The process that comes after, with the same fleets unless told otherwise, handed what the store would have."""
    snapshots = [json.loads(json.dumps(bench.judging.snapshot(case))) for case in bench.judging.cases]
    later = Bench(bench.directory, **mirror)
    later.now = bench.now + 20.0
    for snapshot in snapshots:
        later.judging.resume(snapshot)
    return later


def test_evidence_of_the_process_before_goes_on(bench: Bench) -> None:
    """The document is the same but for the rate, and what comes is added to it."""
    bench.judging.restart(KEY, "test")
    bench.now += 40.0
    world = World(random.Random(1), new_errors=0.01)
    for _ in range(10):
        bench.tick(world.tick(50))
    later = again(bench)
    documents = [
        to_plain(one.verdict()) | dict.fromkeys(("pairs_per_second", "history", "needs", "summary", "reasons")) for one in (bench, later)
    ]
    assert documents[0] == documents[1]
    assert documents[1]["epoch"] == 2
    assert later.verdict().history[:-1] == bench.verdict().history[:-1]
    later.tick(matrix_tick(**{"200,200": 7}))
    assert later.verdict().pairs == 507


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identity": "x"}, "config of its fleets or of the judge has changed"),
        ({"program": "0.0.0"}, "it is of shadowproxy 0.0.0"),
        ({"evidence": {}}, "cannot be read"),
        ({"evidence": None}, "cannot be read"),
        ({"previous": {"no": 1}}, "cannot be read"),
        ({"history": 7}, "cannot be read"),
        ({"outcome": "PERHAPS"}, "cannot be read"),
        ({"builds": {"shadow": 3}}, "cannot be read"),
    ],
)
def test_evidence_that_cannot_go_on_is_dropped_whole(
    bench: Bench, change: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is taken over, the log says why, and the epoch is another."""
    bench.tick(matrix_tick(**{"200,500": 20}))
    (case,) = bench.judging.cases
    later = Bench(bench.directory)
    assert not later.judging.resume(bench.judging.snapshot(case) | change)
    verdict = later.verdict()
    assert (verdict.verdict, verdict.pairs, verdict.epoch, verdict.previous) == (Outcome.UNDECIDED, 0, 2, None)
    assert why in caplog.text
    assert not later.judging.resume({"key": "no/such"})


def test_other_criteria_or_endpoints_are_another_setup(bench: Bench) -> None:
    """What a reload would begin anew, a restart does too."""
    bench.tick(matrix_tick(**{"200,200": 20}))
    assert again(bench, in_flight=7).verdict().pairs == 20
    assert again(bench, judge={"alpha": 0.01}).verdict().pairs == 0
    assert again(bench, timeout="1s").verdict().pairs == 0
    assert again(bench, control={"to": "control"}).verdict().pairs == 0


class TestBuilds:
    """After a restart nobody knows who answers until they have."""

    FLEETS: ClassVar = {"shadow": {"endpoints": ["http://127.0.0.1:2"], "revision": "header:x-version"}}

    def resumed(self, bench: Bench, **mirror: Any) -> Bench:
        """A regression of build v1, and the process after it."""
        bench.judging.configure(bench.config(fleets=self.FLEETS))
        bench.judging.seen_revision("shadow", "v1")
        bench.now += 40.0
        bench.tick(matrix_tick(**{"200,500": 20}))
        bench.tick(matrix_tick(**{"200,500": 20}))
        assert bench.verdict().verdict is Outcome.REGRESSION
        (case,) = bench.judging.cases
        later = Bench(bench.directory)
        later.judging.configure(later.config(fleets=self.FLEETS, **mirror))
        later.judging.resume(bench.judging.snapshot(case))
        later.now += 40.0
        return later

    def test_the_verdict_of_before_stands_once_the_build_has_answered(self, bench: Bench) -> None:
        """Until then it is undecided; what came in between counts."""
        later = self.resumed(bench)
        pairs = bench.verdict().pairs
        assert (later.verdict().verdict, later.verdict().pairs) == (Outcome.UNDECIDED, 0)
        assert (
            later.verdict().summary
            == f"{pairs} pairs from before a restart of the proxy count as soon as shadow answers with the same build as then"
        )
        later.tick(matrix_tick(**{"200,200": 5}))
        (case,) = later.judging.cases
        assert (later.verdict().pairs, later.judging.standing(case).outcome) == (0, Outcome.UNDECIDED)
        later.judging.seen_revision("shadow", "v1")
        assert (later.verdict().verdict, later.verdict().pairs) == (Outcome.REGRESSION, pairs + 5)

    def test_another_build_begins_anew(self, bench: Bench) -> None:
        """Whatever was deployed while the proxy was down never has the verdict of what was there before."""
        later = self.resumed(bench)
        later.judging.seen_revision("shadow", "v2")
        verdict = later.verdict()
        assert (verdict.verdict, verdict.pairs) == (Outcome.UNDECIDED, 0)
        assert verdict.previous is not None
        assert verdict.previous.verdict == "REGRESSION"

    def test_a_fleet_that_names_no_build_any_more_begins_anew(self, bench: Bench) -> None:
        """After a minute of pairs."""
        later = self.resumed(bench)
        later.tick(matrix_tick(**{"200,200": 5}))
        later.tick(matrix_tick(**{"200,200": 5}), seconds=59.0)
        epoch = later.verdict().epoch
        later.tick(matrix_tick(**{"200,200": 5}), seconds=2.0)
        assert later.verdict().epoch == epoch + 1

    def test_without_captures_builds_cannot_be_seen(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """So nothing goes on."""
        later = self.resumed(bench, capture={"per_second": 0})
        assert later.verdict().pairs == 0
        assert "cannot be seen without captures" in caplog.text


def test_what_a_short_drain_would_cut_off_counts_for_neither_side(tmp_path: Path) -> None:
    """Pairs that may outlast the drain are the slow ones: after the stop nothing is counted. Where all may end, all are."""
    for pair_timeout, counted in (("1s", 25), ("2s", 20)):
        bench = Bench(tmp_path, timeout="1s", pair_timeout=pair_timeout)
        bench.tick(matrix_tick(**{"200,200": 20}))
        bench.judging.close(drain_timeout=1.0)
        bench.tick(matrix_tick(**{"200,200": 5}))
        assert bench.verdict().pairs == counted


def test_a_turn_is_told(bench: Bench) -> None:
    """A verdict that changes, and evidence that begins anew: whoever keeps it must not wait."""
    told: list[int] = []
    bench.judging.on_turn = lambda: told.append(1)
    bench.tick(matrix_tick(**{"200,200": 5}), seconds=2.0)
    assert not told
    bench.tick(matrix_tick(**{"200,500": 20}), seconds=2.0)
    assert len(told) == 1
    bench.judging.restart(KEY, "test")
    assert len(told) == 2


def test_pairs_that_a_kill_went_through_count_for_neither_side(bench: Bench) -> None:
    """Copies that were still waiting for the shadow are cut off, and those that were not are not: what is reported next is left out, not the evidence."""
    bench.tick(matrix_tick(**{"200,200": 20}))
    bench.judging.leave_out_under_way()
    bench.tick(matrix_tick(**{"200,200": 4}) | {"pending": 2})
    bench.tick(matrix_tick(**{"200,200": 2}))
    assert (bench.verdict().pairs, bench.verdict().epoch) == (20, 1)
    bench.tick(matrix_tick(**{"200,200": 3}))
    assert bench.verdict().pairs == 23
