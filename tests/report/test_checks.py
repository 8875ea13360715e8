"""A verdict as tests that passed or failed."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.report import numbers
from shadowproxy.report.checks import ADVICE, Check, State, checks, slo_name
from shadowproxy.report.document import VERDICTS, Subject
from tests.report import samples


def found(verdict: dict[str, Any], **comparison: Any) -> dict[str, Check]:
    """The tests of a verdict by name."""
    return {one.name: one for one in checks(Subject(verdict, comparison))}


def test_a_regression_fails_by_its_cause() -> None:
    """The cause fails, another test with as much evidence too; one that is settled passes, the rest is undecided."""
    tests = found(samples.verdict(), is_conserved=True)
    states = {name: one.state for name, one in tests.items()}
    assert states == {
        "errors": State.FAILED, "latency": State.UNDECIDED, "slo:250ms": State.UNDECIDED, "slo:1s": State.PASSED, "bodies": State.PASSED,
        "coverage": State.PASSED, "instrument": State.PASSED,
    }  # fmt: skip
    both = samples.verdict()
    both["latency"]["log_e_regression"] = 3.1
    assert found(both)["latency"].state is State.FAILED


def test_evidence_without_the_verdict_fails_nothing() -> None:
    """One test's evidence is not corrected for the others: only a REGRESSION fails."""
    one = samples.undecided()
    one["latency"]["log_e_regression"] = 3.1
    assert found(one)["latency"].state is State.UNDECIDED


def test_safe_passes_everything_that_was_tested() -> None:
    """Bodies were not: they are undecided, not passed."""
    states = {name: one.state for name, one in found(samples.safe()).items()}
    assert states["errors"] is states["latency"] is states["coverage"] is states["instrument"] is State.PASSED
    assert states["bodies"] is State.UNDECIDED


def test_an_invalid_instrument_decides_nothing() -> None:
    """The instrument is invalid, with its reason; no other test passes or fails."""
    tests = found(samples.invalid(), is_conserved=True)
    assert tests["instrument"] == Check("instrument", State.INVALID, "Live and its control arm, the same build, differ: 100 to 1.")
    assert {tests[name].state for name in ("errors", "latency", "slo:1s", "bodies")} == {State.UNDECIDED}


def test_the_median_of_live_is_not_said_to_be_of_control() -> None:
    """Quantiles of the control arm are not in the verdict."""
    assert found(samples.verdict())["latency"].live.startswith("19.9")
    assert found(samples.verdict(baseline="control"))["latency"].live == numbers.DASH


def test_bodies_fail_only_when_they_are_the_cause() -> None:
    """Differences that are reported alone pass, and say so."""
    tests = found(samples.verdict(cause="bodies"))
    assert tests["bodies"].state is State.FAILED
    assert tests["errors"].state is State.FAILED  # by its own evidence
    assert "do not fail" in found(samples.verdict())["bodies"].sentence


@pytest.mark.parametrize(
    "verdict", [samples.verdict(), samples.safe(), samples.undecided(), samples.invalid(), samples.empty(), samples.hostile()]
)
def test_each_test_says_what_it_found(verdict: dict[str, Any]) -> None:
    """A sentence for each, whatever is missing."""
    tests = found(verdict)
    assert {"errors", "latency", "bodies", "coverage", "instrument"} <= tests.keys()
    assert all(one.sentence for one in tests.values())
    assert "None" not in str([one.sentence for one in tests.values()])


def test_nothing_counted() -> None:
    """Sentences, not zeros."""
    tests = found(samples.empty())
    assert tests["errors"].sentence == "no pair has been compared"
    assert tests["coverage"].sentence == "no eligible request has been seen"
    assert {one.state for one in tests.values()} == {State.UNDECIDED, State.PASSED}


def test_counters_that_do_not_add_up_are_said() -> None:
    """The instrument's sentence follows the conservation law."""
    assert "do not add up" in found(samples.safe(), is_conserved=False)["instrument"].sentence


def test_names_of_thresholds_are_those_of_the_verdict() -> None:
    """`cause` and the tests call them the same."""
    assert [slo_name(seconds) for seconds in (0.25, 1.0, 0.0015)] == ["slo:250ms", "slo:1s", "slo:1.5ms"]


def test_there_is_advice_for_every_verdict() -> None:
    """What to do."""
    assert set(ADVICE) == set(VERDICTS)
