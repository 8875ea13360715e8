"""Whether the comparison itself is sound: the A/A test and the sample-ratio check.

What fails here says nothing about the shadow; it says that nothing can be said. Both are kept once failed, for the epoch.
"""

from __future__ import annotations

from collections import Counter
from math import log, log1p
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import mcnemar, symmetry
from shadowproxy.judge.criteria import CONTROL_MARGIN, RHO
from shadowproxy.judge.multiplicity import mean_log_e
from shadowproxy.judge.pairs import is_error
from shadowproxy.judge.rates import log_e_sample_ratio
from shadowproxy.judge.symmetry import LogRatio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.pairs import Tick

SAMPLING_ALPHA: Final = 0.001
"""False-alarm probability of the sample-ratio check: it checks the program, not the shadow."""

BEFORE_SAMPLING: Final = frozenset({"method", "marked", "upgrade"})
"""Fates that are decided before the sampling."""

UNCLEAR_SAMPLING: Final = frozenset({"too_large", "killed", "lost"})
"""Fates that may be decided before or after it: a tick that has one says nothing about the sampling."""

OUTSIDE: Final = frozenset({"not_sampled", "holdout"})
"""Fates of requests that the sampling left out."""


class Calibration:
    """The A/A test: live against the control arm, which runs the same build. What shows here, the instrument adds."""

    __slots__ = ("back", "control_only", "criteria", "live_only", "matrix", "pairs", "peak", "ratio")

    def __init__(self, criteria: Criteria) -> None:
        self.criteria = criteria
        self.pairs = 0
        self.live_only = 0
        self.control_only = 0
        self.matrix: Counter[tuple[str, str]] = Counter()
        self.ratio = LogRatio(0, 0.0, 0.0)
        self.back = LogRatio(0, 0.0, 0.0)
        self.peak = 0.0

    def __repr__(self) -> str:
        return f"<Calibration pairs={self.pairs} peak={self.peak:.3f}>"

    def add(self, tick: Tick, back: LogRatio) -> None:
        """Count one tick. `back` has the log ratios with the resolution on the control's side: of control + r to live."""
        for (live, control), count in tick.matrix.items():
            self.pairs += count
            is_live, is_control = is_error(live), is_error(control)
            self.live_only += count if is_live and not is_control else 0
            self.control_only += count if is_control and not is_live else 0
            self.matrix[live, control] += count
        self.ratio = self.ratio + tick.ratio
        self.back = self.back + (tick.ratio if self.criteria.resolution_seconds == 0 else back)
        self.peak = max(self.peak, self.log_e)

    @property
    def log_e(self) -> float:
        """Evidence that live and control differ, of now.

        Live slower than control is judged by `back`: in `ratio` the resolution is taken off control's time, which for
        answers of the resolution's size would make control look faster than it is.
        """
        margin = log1p(max(self.criteria.latency_regression, CONTROL_MARGIN))
        return mean_log_e(
            [
                (0.5, mcnemar.log_e_two_sided(self.control_only, self.live_only)),
                (0.25, symmetry.log_e_above(self.ratio, margin, RHO)),
                (0.25, symmetry.log_e_below(self.back, -margin, RHO)),
            ]
        )

    @property
    def is_tripped(self) -> bool:
        """Whether the evidence has been enough at any time."""
        return self.peak >= self.criteria.control_threshold


class Sampling:
    """Whether as many requests are copied as the config says (STATISTICS C6, the sample-ratio check)."""

    __slots__ = ("copied", "left_out", "peak", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self.copied = 0
        self.left_out = 0
        self.peak = 0.0

    def __repr__(self) -> str:
        return f"<Sampling {self.copied} of {self.copied + self.left_out}, share {self.share}>"

    def add(self, eligible: int, fates: Mapping[str, int]) -> None:
        """Count one tick: requests that arrived in it, and the fates that were decided in it.

        The sampling is decided on arrival; what passed it may have its fate only later, so it is counted as what is
        left of the arrivals. A tick with a fate that may be from before or after the sampling is left out.
        """
        if any(fates.get(fate) for fate in UNCLEAR_SAMPLING):
            return
        left_out = sum(fates.get(fate, 0) for fate in OUTSIDE)
        copied = eligible - left_out - sum(fates.get(fate, 0) for fate in BEFORE_SAMPLING)
        if copied >= 0:
            self.copied += copied
            self.left_out += left_out
            self.peak = max(self.peak, self.log_e)

    @property
    def observed(self) -> float | None:
        """The share that was copied."""
        decided = self.copied + self.left_out
        return self.copied / decided if decided else None

    @property
    def log_e(self) -> float:
        """Evidence that the share is another, of now."""
        return log_e_sample_ratio((self.copied, self.left_out), (self.share, 1.0 - self.share))

    @property
    def is_tripped(self) -> bool:
        """Whether the evidence has been enough at any time."""
        return self.peak >= -log(SAMPLING_ALPHA)
