"""Late faults: a detector that does not tire of a long healthy history (STATISTICS C7).

A test that has watched a healthy shadow for hours has bet on it, and must first win that back. The Shiryaev-Roberts
detector begins a new bet at every discordant pair and adds them all up:

    M = (M + n) * L      for a tick of n discordant pairs, L the product of their likelihood ratios

Without a fault, M less the number of discordant pairs is a martingale. So when it alarms at M >= A, on average at least A
discordant pairs lie between false alarms, however they are cut into ticks. Nothing is independent or stationary here:
each discordant pair is a fair coin given the past, or one that favours the shadow.

An alarm is for aborting quickly. It is not the verdict, whose false-alarm probability holds for the whole run.
"""

from __future__ import annotations

from math import exp, inf, log, log1p
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.special import LN_2, log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARES: Final = (0.6, 0.7, 0.8, 0.9)
"""Shares of shadow-only among the discordant pairs that are watched for; one chain each, and their mean."""


RUN_LENGTH: Final = 10_000.0
"""Discordant pairs between false alarms by default, on average at least."""


class ShiryaevRoberts:
    """Watches discordant pairs for a turn to the worse, at any time.

    Attributes:
        run_length: discordant pairs between false alarms, on average at least.
        seen: discordant pairs since the start or the last restart.
    """

    __slots__ = ("_chains", "run_length", "seen")

    def __init__(self, run_length: float = RUN_LENGTH) -> None:
        """Begin without history.

        Args:
            run_length: what `is_alarmed` compares with.

        Raises:
            ValueError: `run_length` is below 1.
        """
        if run_length < 1.0:
            raise ValueError(f"an average of at least one pair lies between false alarms, not {run_length}")
        self.run_length = run_length
        self.restart()

    def __repr__(self) -> str:
        return f"ShiryaevRoberts(seen={self.seen}, log_detector={self.log_detector:.4g} of {log(self.run_length):.4g})"

    def restart(self) -> None:
        """Forget everything: what is watched has changed."""
        self.seen = 0
        self._chains = [-inf] * len(SHARES)

    @property
    def chains(self) -> tuple[float, ...]:
        """The logarithm of each chain, in the order of SHARES; -inf before the first discordant pair. With `seen`, all that it knows."""
        return tuple(self._chains)

    def resume(self, seen: int, chains: Sequence[float]) -> None:
        """Go on from what `seen` and `chains` were.

        Raises:
            ValueError: there are not as many chains as SHARES.
        """
        if len(chains) != len(SHARES):
            raise ValueError(f"{len(chains)} chains, not {len(SHARES)}")
        self.seen, self._chains = seen, list(chains)

    def update(self, b: int, c: int) -> None:
        """Add one tick.

        Args:
            b: pairs of it where only the shadow was bad.
            c: pairs of it where only live was bad.

        Raises:
            ValueError: a count is negative.
        """
        if b < 0 or c < 0:
            raise ValueError(f"counts of pairs cannot be negative: {b} and {c}")
        if not b + c:
            return
        self.seen += b + c
        begun = log(b + c)
        self._chains = [
            log_add(chain, begun) + b * (LN_2 + log(share)) + c * (LN_2 + log1p(-share))
            for chain, share in zip(self._chains, SHARES, strict=True)
        ]

    @property
    def log_detector(self) -> float:
        """The logarithm of the detector's value; -inf before the first discordant pair."""
        return log_sum_exp(self._chains) - log(len(SHARES))

    @property
    def is_alarmed(self) -> bool:
        """Whether it has just alarmed. It may fall again: who aborts does so at once."""
        return self.log_detector >= log(self.run_length)


def log_add(a: float, b: float) -> float:
    """The logarithm of `exp(a) + exp(b)`."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -inf else high + log1p(exp(low - high))
