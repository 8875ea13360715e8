"""What pairing is worth: the gain that the documentation claims, and the faults that Kayenta's judge passes."""

from __future__ import annotations

import random
import re
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import pytest

from load import judging
from load.judging import Case, Errors, Latency, Row
from shadowproxy.judge.kayenta.score import Outcome

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 40


@pytest.mark.parametrize(
    ("scenario", "runs"),
    [
        (Errors(0.01, 0.005, 0.98), 200),
        (Errors(0.01, 0.002, 0.98), RUNS),
        (Latency(0.02), RUNS),
        (Latency(0.05), RUNS),
        (Latency(0.10), RUNS),
    ],
    ids=str,
)
def test_pairs_need_a_fifth_of_the_requests_or_fewer(scenario: Errors | Latency, runs: int) -> None:
    """At the same false-alarm rate, against the unpaired sequential test."""
    found = judging.row(scenario, runs)
    assert found.gain >= 5
    assert found.false_alarms[0] == pytest.approx(found.false_alarms[1])
    assert found.false_alarms[0] <= judging.ALPHA


def test_pairs_gain_little_where_live_hardly_fails() -> None:
    """With 0.1 % of errors on live there is nothing that pairing could cancel: twice, not five times. The documentation says so."""
    found = judging.row(Errors(0.001, 0.002, 0.90), RUNS)
    assert 1.2 < found.gain < 3.5


@pytest.mark.parametrize(
    ("scenario", "pairs"),
    [(Errors(0.01, 0.005, 0.98), 1273), (Errors(0.01, 0.002, 0.98), 3494), (Latency(0.05), 186), (Latency(0.10), 65)],
    ids=str,
)
def test_the_paired_tests_take_the_pairs_that_they_should(scenario: Errors | Latency, pairs: int) -> None:
    """The medians of STATISTICS C2 and C4 at the nominal threshold, within Monte-Carlo error."""
    rng = random.Random(7)
    if isinstance(scenario, Errors):
        new, gone = (1 - scenario.rate) * scenario.new, scenario.rate * (1 - scenario.repeated)
        paths = [judging.coin_path(rng, new, gone, 0.5) for _ in range(400)]
    else:
        paths = [judging.pair_path(rng, scenario.slower) for _ in range(400)]
    assert judging.typical(paths, judging.THRESHOLD) == pytest.approx(pairs, rel=0.15)


def test_false_alarms_of_the_coin_are_as_rare_as_promised() -> None:
    """4 % at most of A/A runs of 500 events that are looked at after each, at a nominal 5 %."""
    assert judging.coin_alarms(random.Random(1), 400, 0.5) <= 0.05


def test_a_calibrated_threshold_is_reached_by_the_share_that_it_should() -> None:
    """One in twenty of twenty."""
    assert judging.calibrated([float(value) for value in range(20)]) == (19.0, 0.05)


def test_kayenta_passes_what_it_was_reported_to_pass() -> None:
    """Seven of ten points a hundredfold pass there, and are enough here after six."""
    found = judging.jump()
    assert (found.kayenta_passes, found.paired_finds, found.after_pairs) == (1, 1, 6)
    assert judging.kayenta_outcome([1.0] * 10, [100.0] * 8 + [1.0] * 2) is Outcome.FAIL


def test_the_paired_judge_finds_what_kayenta_passes() -> None:
    """Sparse errors and a change of spread alone: mostly passed there, mostly found here, and not where there is nothing."""
    jump, sparse, spread = judging.cases(12)
    assert jump.paired_finds == 1
    for case in (sparse, spread):
        assert case.kayenta_passes >= 0.75
        assert case.paired_finds >= 0.75
        assert case.false_alarms <= 0.1


def test_paths_count_requests_upwards() -> None:
    """Each event and each block is later than the one before."""
    rng = random.Random(2)
    for path in (judging.coin_path(rng, 0.1, 0.1, 0.5), judging.pair_path(rng, 0), judging.mean_path(rng, 0, 100)):
        requests = [at for at, _ in islice(path, 50)]
        assert all(a < b for a, b in pairwise(requests))


def test_the_tables_are_markdown() -> None:
    """One line a row; what was given up says so."""
    limit = float(judging.LIMIT)
    rows = [Row(Latency(0.05), 200, 4000, 4000, (0.05, 0.05)), Row(Errors(0.01, 0.005, 0.98), 1000, limit, 5000, (0.04, 0.04))]
    assert judging.power_table(rows).splitlines()[2:] == [
        "| latency: +5% | 5.0% and 5.0% | 200 | 4,000 | 20.0 | 4,000 | 20.0 |",
        "| errors: live 1.0%, new 0.5%, 98% of live's repeated | 4.0% and 4.0% | 1,000 | over 60,000 | over 60.0 | 5,000 | 5.0 |",
    ]
    assert judging.case_table([Case("x", 1.0, 0.5, None, 0.0)]).splitlines()[2:] == ["| x | 100% | 50% | - | 0.0% |"]


def test_the_command_writes_the_tables_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the marks, and nothing else is touched."""
    document = tmp_path / "kayenta.md"
    document.write_text("a\n<!-- power: begin -->\nold\n<!-- power: end -->\nb\n<!-- cases: begin -->\n<!-- cases: end -->\nc\n")
    monkeypatch.setattr(judging, "DOCUMENT", document)
    monkeypatch.setattr(judging, "SCENARIOS", (Latency(0.10),))
    assert judging.main(["--runs", "10", "--write-docs"]) == 0
    text = document.read_text()
    assert "old" not in text
    assert re.fullmatch(
        r"a\n<!-- power: begin -->\n(\|.*\n){3}<!-- power: end -->\nb\n<!-- cases: begin -->\n(\|.*\n){5}<!-- cases: end -->\nc\n", text
    )
    assert "latency: +10%" in capsys.readouterr().out
