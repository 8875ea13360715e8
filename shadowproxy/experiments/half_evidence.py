"""What two halves of equal size say about a new version: errors, latency, and whether they are halves at all.

The canary and control are as large as each other and drawn by a hash, so if the version makes no difference then

* a unit that fails for the first time is the canary's or control's with the same chance, whatever else happens. That is a fair
  coin a unit, exactly, even where some units fail all the time and send most of the traffic: each is counted once. New failures of the
  new version make it unfair. Two bets on that share the stake: one on the whole run (STATISTICS C2), and one that begins
  anew at each failed unit, so that a fault that comes late is seen as soon as an early one (C7, with weights that make it a bet);
* each request is the canary's or control's with the same chance too, so twice the mean of +1 (canary, failed), -1 (control,
  failed) and 0 is the excess of the error rate. How large it may be at most is a bet as well (C3), on the requests of a step;
* quantiles of latency lie in intervals that hold at every moment (C5), again of a step: a version may be slow under load only.

The last two take requests for independent, which those of one user are not quite: they ask for a margin, and the first asks for none.
"""

from __future__ import annotations

from math import inf, log, log1p
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge import mcnemar, quantiles, rates, sketch
from shadowproxy.judge.betting import RiskDifference
from shadowproxy.judge.detectors import SHARES, log_add
from shadowproxy.judge.multiplicity import mean_log_e
from shadowproxy.judge.special import LN_2, log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.judge.sketch import Sketch

RESOLUTION_NS: Final = 1_000_000.0
"""A quantile is not called slower for less than a millisecond: that is the noise of networks, not a version's doing."""


class Arm:
    """What the clients of one arm were answered, so far."""

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self.last: Sketch = {}

    def __repr__(self) -> str:
        return f"Arm({self.errors} of {self.requests} failed)"

    def add(self, counts: Mapping[str, Any]) -> tuple[int, int]:
        """Add an `Arm` of the protocol: 5xx and broken answers are errors; clients that left, and answers that an experiment made up, are left out.

        Returns:
            How many requests and how many errors were added.
        """
        responses: Mapping[str, int] = counts.get("responses", {})
        requests = sum(count for outcome, count in responses.items() if outcome != "client_gone")
        errors = sum(count for outcome, count in responses.items() if is_error(outcome))
        self.requests += requests
        self.errors += errors
        sketch.add(self.last, {int(bucket): count for bucket, count in counts.get("last", {}).items()})
        return requests, errors

    @property
    def error_rate(self) -> float | None:
        """Errors among the requests; None without any."""
        return self.errors / self.requests if self.requests else None

    def to_plain(self) -> dict[str, Any]:
        """As JSON can say."""
        return {"requests": self.requests, "errors": self.errors, "last": {str(bucket): count for bucket, count in self.last.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Arm:
        """The way back."""
        made = cls()
        made.requests, made.errors = int(plain["requests"]), int(plain["errors"])
        made.last = {int(bucket): int(count) for bucket, count in plain["last"].items()}
        return made


def is_error(outcome: str) -> bool:
    """Whether an outcome is a failure of the service: a 5xx, or no whole answer while the client was there."""
    return outcome.startswith("5") if outcome.isdigit() else outcome != "client_gone"


class FailedUnits:
    """Evidence that units which fail are the canary's more often than control's.

    Attributes:
        canary: different units that failed on the new version.
        control: those that failed on the old one.
    """

    def __init__(self) -> None:
        self.canary = self.control = 0
        self._late = [-inf] * len(SHARES)

    def __repr__(self) -> str:
        return f"FailedUnits({self.canary} on the canary, {self.control} on control, log_e={self.log_e:.1f})"

    def update(self, canary: int, control: int) -> None:
        """Add the units of a tick that had not failed before.

        Raises:
            ValueError: a count is negative.
        """
        if canary < 0 or control < 0:
            raise ValueError(f"counts of units cannot be negative: {canary} and {control}")
        fresh, known = canary + control, self.canary + self.control
        if fresh:
            # The stake of the bets that begin with this tick; all of them together stake 1, and 1/(n+1) is not staked yet.
            begun = log(1 / (known + 1) - 1 / (known + fresh + 1))
            self._late = [
                log_add(chain, begun) + canary * (LN_2 + log(share)) + control * (LN_2 + log1p(-share))
                for chain, share in zip(self._late, SHARES, strict=True)
            ]
        self.canary += canary
        self.control += control

    @property
    def log_e(self) -> float:
        """Log evidence; 0 before the first failure."""
        if not self.canary + self.control:
            return 0.0
        late = log_sum_exp([*(chain - log(len(SHARES)) for chain in self._late), -log1p(self.canary + self.control)])
        return mean_log_e(((1.0, mcnemar.log_e_one_sided(self.canary, self.control)), (1.0, late)))

    def to_plain(self) -> dict[str, Any]:
        """As JSON can say."""
        return {"canary": self.canary, "control": self.control, "late": [None if chain == -inf else chain for chain in self._late]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FailedUnits:
        """The way back.

        Raises:
            ValueError: there are not as many bets as there were.
        """
        made = cls()
        made.canary, made.control = int(plain["canary"]), int(plain["control"])
        late: Sequence[float | None] = plain["late"]
        if len(late) != len(SHARES):
            raise ValueError(f"{len(late)} bets, not {len(SHARES)}")
        made._late = [-inf if chain is None else float(chain) for chain in late]
        return made


def excess(canary: Arm, control: Arm, alpha: float) -> tuple[float | None, float, float]:
    """The canary's error rate less control's: estimate, and the interval that holds at every moment with 1 - `alpha`."""
    low, high = _difference(canary, control).interval(alpha)
    rate, other = canary.error_rate, control.error_rate
    return (None if rate is None or other is None else rate - other), max(-1.0, 2 * low), min(1.0, 2 * high)


def log_e_safe(canary: Arm, control: Arm, margin: float) -> float:
    """Log evidence that the canary's error rate exceeds control's by less than `margin`, a share from 0 to 1."""
    return _difference(canary, control).log_not_worse(margin / 2)


def _difference(canary: Arm, control: Arm) -> RiskDifference:
    difference = RiskDifference()
    total = canary.requests + control.requests
    difference.update(canary.errors, total - canary.errors - control.errors, control.errors)
    return difference


def slowdown(canary: Arm, control: Arm, p: float, alpha: float) -> tuple[float | None, float, float | None]:
    """The canary's `p` quantile over control's: estimate, and the interval that holds at every moment.

    The lower end is 1 at most where the quantiles are not shown to be RESOLUTION_NS apart.
    """
    old, new = quantiles.from_sketch(control.last), quantiles.from_sketch(canary.last)
    found = quantiles.ratio(old, new, p, alpha)
    apart = quantiles.difference(old, new, p, alpha).low
    of_old, of_new = sketch.quantile(control.last, p), sketch.quantile(canary.last, p)
    low = found.low or 0.0
    if apart is None or apart < RESOLUTION_NS:
        low = min(low, 1.0)
    return (of_new / of_old if of_old and of_new else None), low, found.high


def ring_is_worse(ring: Arm, control: Arm, margin: float, alpha: float) -> bool:
    """Whether the first ring is shown to fail more often than control by over `margin`. It was chosen by somebody, so it may by nature."""
    low, _ = rates.share_interval(ring.errors, ring.requests, alpha / 2)
    _, high = rates.share_interval(control.errors, control.requests, alpha / 2)
    return low > high + margin


def shown(arm: Arm) -> dict[str, Any]:
    """An arm for people: counts, rate, and latencies in seconds."""
    p50, p99 = sketch.quantiles(arm.last, (0.5, 0.99))
    return {
        "requests": arm.requests,
        "errors": arm.errors,
        "error_rate": arm.error_rate,
        "p50": None if p50 is None else p50 / 1e9,
        "p99": None if p99 is None else p99 / 1e9,
    }
