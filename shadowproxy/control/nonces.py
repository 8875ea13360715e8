"""Which passports were used: one memory for all workers, so that each passport works once.

A nonce is remembered until its passport has expired. What is forgotten must stay refused, whatever
the clock does afterwards and whatever tolerance a new config has. So the memory knows one moment,
the *horizon*, which only moves forward: passports that expire before it may have been forgotten, and are
refused as expired. The clock going back does not move it back.

It is bounded: beyond LIMIT nothing is fresh any more until something expires. Memory only: what a process
before this one had seen is not known, and `first_second` says from when on that does not matter.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LIMIT: Final = 1_000_000
"""Nonces remembered, at most 130 MB: 3,300 new ones a second where passports last five minutes."""


class Use(StrEnum):
    """What is known of a passport's nonce."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    FULL = "replay_cache_full"


class Nonces:
    """The nonces of the passports that were used and have not expired.

    Args:
        limit: how many are remembered.
        clock: Unix seconds.
    """

    def __init__(self, limit: int = LIMIT, clock: Callable[[], float] = time.time) -> None:
        self.uses: Counter[Use] = Counter(dict.fromkeys(Use, 0))
        self._limit = limit
        self._clock = clock
        self._known: set[bytes] = set()
        self._expiring: dict[int, list[bytes]] = {}
        self._horizon = -math.inf

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"<Nonces {len(self._known)} of {self._limit}, horizon={self._horizon}>"

    def use(self, keyid: str, nonce: str, expires: int, skew_s: float) -> Use:
        """Use a passport that has been verified; from now on it is used.

        Args:
            keyid: of its key.
            nonce: what no other passport of that key has.
            expires: Unix seconds, as signed.
            skew_s: for how long after that it would still be accepted.
        """
        self._forget(self._clock() - skew_s)
        # Nonces as they came would let clients choose how much is remembered.
        name = blake2b(f"{keyid} {nonce}".encode(), digest_size=16).digest()
        if expires < self._horizon:
            used = Use.EXPIRED
        elif name in self._known:
            used = Use.REPLAYED
        elif len(self._known) >= self._limit:
            used = Use.FULL
        else:
            self._known.add(name)
            self._expiring.setdefault(expires, []).append(name)
            used = Use.FRESH
        self.uses[used] += 1
        return used

    def answer(self, nonces: Iterable[Sequence[Any]], skew_s: float) -> list[str]:
        """The use of each `[keyid, nonce, expires]` by name, for the worker that asked.

        Raises:
            TypeError, ValueError: not three parts, or not of the right kind; those before it are used.
        """
        return [str(self.use(str(keyid), str(nonce), int(expires), skew_s)) for keyid, nonce, expires in nonces]

    def _forget(self, horizon: float) -> None:
        if horizon <= self._horizon:
            return
        is_same_second = math.isfinite(self._horizon) and math.ceil(horizon) == math.ceil(self._horizon)
        self._horizon = horizon
        if is_same_second:  # all that can expire are whole seconds
            return
        for second in [second for second in self._expiring if second < horizon]:
            self._known.difference_update(self._expiring.pop(second))


def first_second(now: float, skew_s: float) -> int:
    """The earliest `created` that a process which starts at `now` can take.

    A process before it may have accepted, and this one knows nothing of, passports created up to the moment
    it ended; and as clients' clocks may go ahead of ours, created up to `skew_s` later than that.
    """
    return math.floor(now + skew_s) + 1
