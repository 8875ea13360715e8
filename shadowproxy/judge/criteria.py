"""What is asked of a shadow: margins, false-alarm probabilities, and what each test weighs.

All of it is fixed before the first pair (STATISTICS C8): that is what makes the mean of the tests' e-values one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log1p
from typing import Final

from shadowproxy.judge import wording
from shadowproxy.judge.symmetry import rho_for

ERRORS: Final = "errors"
LATENCY: Final = "latency"
BODIES: Final = "bodies"

ERRORS_WEIGHT: Final = 0.5
LATENCY_WEIGHT: Final = 0.25
SLO_WEIGHT: Final = 0.25
BODIES_WEIGHT: Final = 0.25
"""What each kind of evidence weighs in the mean. Without SLOs latency has their weight, so that errors and time weigh the same;
with bodies all others weigh less in proportion."""

CONTROL_MARGIN: Final = 0.25
"""How much slower or faster than live the control arm may be. It is the second leg of a pair, which on a busy machine costs some per cent;
the shadow, which is compared with it, has the same cost. What must not be is a control fleet that is not like live at all."""

SYMMETRY_SHARE: Final = 2 / 3
"""Of latency's weight, what the symmetry test has; the sign test, which is weaker and asks for less, has the rest."""

RHO: Final = rho_for(20.0, 0.05)
"""The symmetry test is sharpest after 250 pairs that scatter by 28 %: a verdict takes some hundreds (STATISTICS C4)."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is asked of a shadow. Shares and ratios are from 0 to 1 (0.01 is one percent).

    Args:
        alpha: chance of a false REGRESSION over the whole run.
        beta: chance of a false SAFE over the whole run.
        control_alpha: chance of a false INVALID by the control arm.
        errors_regression: how much worse the share of errors must be to count; 0 for any.
        errors_safe: SAFE says that the share of errors is worse by less than this.
        latency_regression: how much slower the answers must be to count.
        latency_safe: SAFE says that answers are slower by less than this.
        resolution_seconds: what is not held against the shadow on each answer.
        slo_ns: durations whose crossing is tested by itself.
        has_control: whether the shadow is compared with a control arm instead of with live.
        sampled: share of requests that are copied, each by itself; None where units are sampled, or all.
        are_bodies_judged: whether fields that differ can make a REGRESSION.
    """

    alpha: float = 0.05
    beta: float = 0.05
    control_alpha: float = 0.01
    errors_regression: float = 0.0
    errors_safe: float = 0.002
    latency_regression: float = 0.01
    latency_safe: float = 0.02
    resolution_seconds: float = 0.00005
    slo_ns: tuple[int, ...] = ()
    has_control: bool = False
    sampled: float | None = None
    are_bodies_judged: bool = False

    @property
    def threshold(self) -> float:
        """Log e-value at which evidence of a regression is enough."""
        return -log(self.alpha)

    @property
    def safe_threshold(self) -> float:
        """Log e-value at which evidence of non-inferiority is enough."""
        return -log(self.beta)

    @property
    def control_threshold(self) -> float:
        """Log e-value at which the control arm makes the comparison invalid."""
        return -log(self.control_alpha)

    @property
    def slower(self) -> float:
        """The regression margin of the log ratio."""
        return log1p(self.latency_regression)

    @property
    def slower_safe(self) -> float:
        """The non-inferiority margin of the log ratio."""
        return log1p(self.latency_safe)


def slo_name(threshold_ns: int) -> str:
    """`slo:250ms`."""
    return f"slo:{wording.duration(threshold_ns)}"
