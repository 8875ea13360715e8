"""An error rate against what it was before: what is asked of the control slice (environment.py) and of other cells (containment.py).

*Has it risen?* A detector of Shiryaev and Roberts' kind over answers, whose null is an error rate that is twice that of before, or a
point above it, whichever is more: day and night do not alarm it. Between false alarms lie ALARM_ANSWERS answers on average at least.

*Is it well?* Of a short while: it fails no more than that, as far as can be told.
"""

from __future__ import annotations

from math import exp, inf, log, log1p
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.detectors import log_add
from shadowproxy.judge.special import log_betainc, log_sum_exp

if TYPE_CHECKING:
    from shadowproxy.experiments.slicecounts import Counts

HISTORY_S: Final = 600.0
"""Long against an incident, short against the tides of a day."""

LAG_S: Final = 2.0
"""An incident that begins must not become history before it is seen."""

RECENT_S: Final = 5.0
"""Over how long answers are looked at to say that all is well again."""

HISTORY_LEAST: Final = 100
"""Answers of history before anything is held against it."""

ALARM_ANSWERS: Final = 1e6
"""Answers between false alarms, were the error rate really double: about a day at ten a second."""

FACTOR: Final = 2.0
ABOVE: Final = 0.01
"""What is not an incident: an error rate up to double that of history, or a hundredth more."""

STEPS: Final = (2.0, 5.0, 20.0)
"""Error rates that are watched for, as multiples of the greatest that is no incident."""

CERTAIN_RATE: Final = 0.95
"""The greatest error rate that is watched for."""

CHANCE: Final = 0.1
"""Of a single look that decides between a pause and an abort; either stops the fault."""


class Detector:
    """Watches answers for errors beyond a rate, at any time."""

    def __init__(self) -> None:
        self._chains = [-inf] * len(STEPS)

    def __repr__(self) -> str:
        return f"Detector({self.log_value:.3g} of {log(ALARM_ANSWERS):.3g})"

    def add(self, counts: Counts, rate: float | None) -> None:
        """Count answers; `rate` is the greatest error rate that is no incident, None where nobody can say."""
        if rate is None or not counts.answered:
            return
        begun, others = log(counts.answered), counts.answered - counts.errors
        chains = []
        for chain, step in zip(self._chains, STEPS, strict=True):
            watched = max(rate, min(CERTAIN_RATE, rate * step))
            chains.append(log_add(chain, begun) + counts.errors * log(watched / rate) + others * (log1p(-watched) - log1p(-rate)))
        self._chains = chains

    @property
    def log_value(self) -> float:
        """The logarithm of the detector's value; -inf at first."""
        return log_sum_exp(self._chains) - log(len(STEPS))

    @property
    def is_alarmed(self) -> bool:
        """Whether the answers by themselves say that there is an incident."""
        return self.log_value >= log(ALARM_ANSWERS)

    def restart(self) -> None:
        """Forget everything: what was seen is over."""
        self._chains = [-inf] * len(STEPS)


def tolerated_rate(history: Counts) -> float | None:
    """The greatest error rate that is no incident; None while there is too little history."""
    if history.answered < HISTORY_LEAST:
        return None
    rate = (history.errors + 1) / (history.answered + 2)
    return min(CERTAIN_RATE, max(FACTOR * rate, rate + ABOVE))


def is_beyond(counts: Counts, tolerated: float) -> bool:
    """Whether so few answers fail on more than `tolerated`, a share, as far as can be told by one look."""
    rate = counts.error_rate
    return rate is not None and rate > tolerated and tail(counts.errors, counts.answered, tolerated) <= CHANCE


def tail(successes: int, trials: int, chance: float) -> float:
    """The probability of so many successes or more, of independent trials with that chance each."""
    if successes <= 0:
        return 1.0
    if chance <= 0.0:
        return 0.0
    if chance >= 1.0:
        return 1.0
    return exp(log_betainc(successes, trials - successes + 1, chance))
