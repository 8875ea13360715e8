"""Whether the slice with the fault fails more often than the control slice, at any moment (STATISTICS C3, C6, C7).

Nothing here is paired: two groups of units get their answers, of rates that change with the hour and in bursts. What holds if
the fault does no harm: of the answers of one short stretch of time, it is chance which of them are the fault slice's. So an error of that
stretch is the fault slice's with its share of the stretch's answers. Such a stretch is a *block*: it ends when both slices have LEAST_EACH answers
or more, which is decided by numbers of answers alone, never by how they ended. At high traffic it is one tick; at low traffic ticks are pooled,
for a tick with one answer says nothing.

Three things are kept of blocks:

* the *martingale*, for the verdict: capital of 1 that is bet on RATIOS of the odds of an error, half of it at once and the rest bit by bit, a part
  with every error (`_kept_after`), so that harm that begins late meets bets that have not lost. The chance that it ever reaches
  2/alpha without harm is at most alpha/2, over the whole run and all steps of its ramp;
* the *detector*, for late harm: Shiryaev and Roberts' sum of such bets begun at every error, which has not been tired by hours of health.
  Between false alarms lie run_length errors on average at least, and the chance of one among the first n errors is at most n/run_length. A busy service
  has more errors in an hour than any fixed number, so that it is raised to 2/alpha times the errors that a whole run has at the present rate: that
  costs a few errors of delay, and makes the chance of a false alarm in the whole run alpha/2;
* the *difference* of the two error rates, by betting, once for the run and once for each step of the ramp: its interval, and whether a step is safe. Of a
  block with unlike numbers of answers as many count as the smaller slice has: the capital of a gambler is an exponential of counts, so that by Jensen's
  inequality the mean counts of such a choice have no more than the mean capital of all choices.

A product of likelihood ratios is convex in the number of errors, and drawing without replacement spreads less than drawing with it (Hoeffding 1963): the
bets, written for the latter, hold for the former.
"""

from __future__ import annotations

from math import inf, log, log1p
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge.betting import RiskDifference
from shadowproxy.judge.detectors import log_add
from shadowproxy.judge.special import log_sum_exp

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Sequential
    from shadowproxy.experiments.slicecounts import Slices

LEAST_EACH: Final = 3
"""Answers of each slice in a block. Fewer make blocks lopsided, which says less; more make them late."""

RATIOS: Final = (1.25, 1.5, 7 / 3, 4.0, 9.0, 19.0, 99.0)
"""Odds of an error with the fault over those without that the martingale bets on: from a quarter more to all of them."""

FIRST_SHARE: Final = 0.5
"""Of the martingale's capital: what is bet from the first error on."""

LATE_RATIOS: Final = (1.5, 7 / 3, 4.0, 9.0)
"""Those of the detector: shares of 0.6, 0.7, 0.8 and 0.9 of the errors where the slices are alike (STATISTICS C7)."""


class Detector:
    """Late harm: M = (M + e) * L for a block of e errors, for each of LATE_RATIOS; their mean is compared with `run_length`."""

    def __init__(self, run_length: float) -> None:
        self.run_length = run_length
        self._least = run_length
        self._chains = [-inf] * len(LATE_RATIOS)

    def lengthen(self, run_length: float) -> None:
        """Let at least so many errors lie between false alarms, and at least those that it began with."""
        self.run_length = max(self._least, run_length)

    def restart(self) -> None:
        """Forget everything."""
        self._chains = [-inf] * len(LATE_RATIOS)

    def add(self, errors: int, others: int, share: float) -> None:
        """Count a block with errors: those of the fault slice, those of control, and the fault slice's share of its answers."""
        begun = log(errors + others)
        self._chains = [
            log_add(chain, begun) + log_ratio(ratio, errors, others, share) for chain, ratio in zip(self._chains, LATE_RATIOS, strict=True)
        ]

    @property
    def log_value(self) -> float:
        """The logarithm of its value; -inf before the first error."""
        return log_sum_exp(self._chains) - log(len(LATE_RATIOS))

    @property
    def is_alarmed(self) -> bool:
        """Whether it is at its run length now."""
        return self.log_value >= log(self.run_length)


class Evidence:
    """What a run has shown of errors, fault less control.

    Attributes:
        highest: the most evidence that there was at any moment, as a logarithm.
        is_late: whether the detector has alarmed at any moment.
        detector: for late harm.
        difference: of the run's error rates.
        of_step: the same of the ramp's present step.

    """

    def __init__(self, sequential: Sequential) -> None:
        self.alpha = sequential.alpha
        self.threshold = log(2 / sequential.alpha)
        self.highest = 0.0
        self.is_late = False
        self.detector = Detector(sequential.run_length)
        self.difference = RiskDifference()
        self.of_step = RiskDifference()
        self._bets = [log(FIRST_SHARE)] * len(RATIOS)
        self._errors = 0
        self._open = [0, 0, 0, 0]

    def __repr__(self) -> str:
        return f"Evidence(log_e={self.log_e:.3g} of {self.threshold:.3g}, {self.detector.log_value:.3g} of {log(self.detector.run_length):.3g})"

    @property
    def log_e(self) -> float:
        """Evidence that the slice with the fault fails more often, as a logarithm; 0 at first."""
        return log_add(log_sum_exp(self._bets) - log(len(RATIOS)), log(_kept_after(self._errors)))

    @property
    def is_shown(self) -> bool:
        """Whether it was shown at any moment that it does: without harm with a chance of alpha at most, over the whole run."""
        return self.highest >= self.threshold or self.is_late

    def add(self, tick: Slices) -> None:
        """Count what a worker told."""
        fault, control = tick.fault, tick.control
        block = self._open
        block[0] += fault.answered
        block[1] += fault.errors
        block[2] += control.answered
        block[3] += control.errors
        if block[0] >= LEAST_EACH and block[2] >= LEAST_EACH:
            self._close(*block)
            self._open = [0, 0, 0, 0]

    def _close(self, answers: int, errors: int, other_answers: int, other_errors: int) -> None:
        if errors or other_errors:
            share = answers / (answers + other_answers)
            before, self._errors = self._errors, self._errors + errors + other_errors
            fresh = log(_kept_after(before) - _kept_after(self._errors))
            self._bets = [
                log_add(bet, fresh) + log_ratio(ratio, errors, other_errors, share) for bet, ratio in zip(self._bets, RATIOS, strict=True)
            ]
            self.detector.add(errors, other_errors, share)
            self.highest = max(self.highest, self.log_e)
            self.is_late = self.is_late or self.detector.is_alarmed
        pairs = min(answers, other_answers)
        plus, minus = errors * pairs / answers, other_errors * pairs / other_answers
        # Failures that must share a pair, because there are more of them than pairs, cancel; all others count apart, which is the cautious way.
        together = max(0.0, plus + minus - pairs)
        plus, minus = max(0.0, plus - together), max(0.0, minus - together)
        counts = plus, max(0.0, pairs - plus - minus), minus
        for difference in (self.difference, self.of_step):
            difference.update(*counts)  # type: ignore[arg-type]  # a capital takes parts of pairs as well

    def expect(self, errors: float) -> None:
        """A whole run without harm has about so many errors."""
        self.detector.lengthen(errors * 2 / self.alpha)

    def begin_step(self) -> None:
        """Another share of the units has the fault: what is safe is asked anew. Harm is not: its alpha is for the whole ramp."""
        self.of_step = RiskDifference()
        self._open = [0, 0, 0, 0]

    def restart(self) -> None:
        """Something else moved both slices: late harm is looked for anew, and an open block is forgotten."""
        self.detector.restart()
        self._open = [0, 0, 0, 0]

    def is_safe(self, margin: float, alpha: float) -> bool:
        """Whether the present step is shown to fail more often by less than `margin` (a share), wrongly with a chance of `alpha` at any time."""
        return self.of_step.log_not_worse(margin) >= log(1 / alpha)

    def to_plain(self) -> dict[str, Any]:
        """As run documents have it; all logarithms but `run_length`."""
        late = self.detector.log_value
        return {
            "log_e": self.log_e,
            "highest": self.highest,
            "threshold": self.threshold,
            "detector": late if late > -inf else None,
            "run_length": self.detector.run_length,
        }


def _kept_after(errors: int) -> float:
    """What of the martingale's capital is not bet yet. It falls so slowly that a bet begun at the thousandth error has a 125,000th of it."""
    return (1.0 - FIRST_SHARE) / (1.0 + log1p(errors))


def log_ratio(ratio: float, errors: int, others: int, share: float) -> float:
    """The likelihood of errors that fall to the fault slice with odds `ratio` times its share's, over that of its share; a logarithm."""
    return errors * log(ratio) - (errors + others) * log1p((ratio - 1) * share)
