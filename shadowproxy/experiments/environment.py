"""Whether something else than the experiment is wrong: the control slice, which has no fault, moves too.

The control slice is held against its own history: the last HISTORY_S, up to LAG_S ago. Two questions are asked of it.

*Is there an incident?* The detector of errorrate.py says so.

*Would a guard be true without it?* A guard is on the slice with the fault, and an incident makes it true as well. It is excused when both hold:

1. control is elevated, too: beyond the guard's bound itself, or against its history (one-sided binomial test at CHANCE);
2. what remains of the guarded value when the control slice's rise is taken off it (of latencies also: when its factor is) is within the bound, or the
   slices cannot be told apart in the guard's window (the same test, and for latencies less than ALIKE between them).

Being excused is cheap to get wrong: it pauses the experiment, so that nothing is injected, and harm of the fault alone then goes away and is
not an incident. It only ends as "environment" if control stays bad without any fault.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from shadowproxy.experiments.errorrate import (
    ABOVE,
    CHANCE,
    HISTORY_LEAST,
    HISTORY_S,
    LAG_S,
    RECENT_S,
    Detector,
    is_beyond,
    tail,
    tolerated_rate,
)
from shadowproxy.experiments.slicecounts import Counts, Slices, Window, bucket_of

SLOT_S: Final = 1.0
"""History is kept, and forgotten, by the second."""

SILENCE_LEAST: Final = 3.0
"""Answers that are usual in RECENT_S, from which it is a bad sign that there is none: by chance it is so once in twenty times."""

STIR: Final = 0.25
"""The same of the last RECENT_S: at little traffic an incident begins with a single error of control, which is no rarer."""

RARE: Final = 0.001
"""Of a look that is repeated many times a second, before a paused experiment goes on."""

ALIKE: Final = 1.25
"""Factor between the slices' latencies below which they count as alike."""


class Environment:
    """What the control slice does, against what it did before. Ticks come in order of time."""

    def __init__(self) -> None:
        self._recent = Window(RECENT_S)
        self._slots: deque[tuple[int, Counts]] = deque()
        self._fresh: deque[tuple[int, Counts]] = deque()
        self._history = Counts()
        self._detector = Detector()
        self._allowed = ABOVE

    def __repr__(self) -> str:
        return f"Environment(history={self._history.errors} of {self._history.answered}, {self._detector})"

    def add(self, now: float, tick: Slices, *, is_paused: bool) -> None:
        """Count a tick. While the experiment is paused, nothing becomes history."""
        self._recent.add(now, tick)
        if is_paused:
            return
        self._detector.add(tick.control, tolerated_rate(self._history))
        slot = int(now / SLOT_S)
        if self._fresh and self._fresh[-1][0] == slot:
            self._fresh[-1][1].add(tick.control)
        else:
            own = Counts()
            own.add(tick.control)
            self._fresh.append((slot, own))
        while self._fresh[0][0] < slot - LAG_S / SLOT_S:
            old = self._fresh.popleft()
            self._slots.append(old)
            self._history.add(old[1])
        while self._slots and self._slots[0][0] < slot - HISTORY_S / SLOT_S:
            self._history.subtract(self._slots.popleft()[1])

    @property
    def is_alarmed(self) -> bool:
        """Whether the control slice by itself says that there is an incident."""
        return self._detector.is_alarmed

    @property
    def rates(self) -> tuple[float | None, float | None]:
        """The control slice's error rate lately, and in its history."""
        return self._recent.slices.control.error_rate, self._history.error_rate

    def is_well(self) -> bool:
        """Whether the control slice answers, fails no more than is no incident, as far as can be told, and is not slow.

        Without history that is what the guard allows which was excused last.
        """
        control = self._recent.slices.control
        if not control.answered:
            # Silence says something only where there were answers before.
            return self._usual_answers() < SILENCE_LEAST
        if is_beyond(control, tolerated_rate(self._history) or self._allowed):
            return False
        return not any(self._is_slower(control, q, RARE) for q in (0.5, 0.99))

    def _usual_answers(self) -> float:
        """How many answers of the control slice are usual in RECENT_S."""
        seconds = SLOT_S * (self._slots[-1][0] - self._slots[0][0] + 1) if self._slots else 1.0
        return self._history.answered / seconds * RECENT_S

    def is_elevated(self) -> bool:
        """Whether the control slice fails more often of late than before."""
        return self._has_more_errors(self._recent.slices.control, CHANCE)

    def resume(self) -> None:
        """The experiment goes on: what was unlike history is over, and is none of it."""
        self._detector.restart()
        self._fresh.clear()
        self._recent.clear()

    # Guards.

    def excuses_errors(self, window: Slices, bound: float) -> bool:
        """Whether an error rate above `bound` (a share) of the fault slice is the environment's doing."""
        fault, control = window.fault, window.control
        rate, other = fault.error_rate, control.error_rate
        if rate is None or other is None or not (other > bound or self._has_more_errors(control, CHANCE) or self._stirs()):
            return False
        self._allowed = max(ABOVE, bound)
        before = self._history.error_rate or 0.0
        if rate - max(0.0, other - before) <= bound:
            return True
        share = fault.answered / (fault.answered + control.answered)
        return tail(fault.errors, fault.errors + control.errors, share) > CHANCE

    def excuses_latency(self, window: Slices, q: float, bound: float) -> bool:
        """Whether a `q` quantile above `bound` seconds of the fault slice is the environment's doing."""
        slow, other = window.fault.latency(q), window.control.latency(q)
        if slow is None or other is None or not (other > bound or self._is_slower(window.control, q, CHANCE)):
            return False
        before = self._usual_latency(q)
        if before is None or slow <= ALIKE * other:
            return slow <= ALIKE * other
        # A fault may add to latencies, or make everything slower by a factor.
        return slow - max(0.0, other - before) <= bound or slow * min(1.0, before / other) <= bound

    def _usual_latency(self, q: float) -> float | None:
        """The control slice's `q` quantile in its history, in seconds; None while there is too little."""
        return self._history.latency(q) if self._history.answered >= HISTORY_LEAST else None

    def _is_slower(self, control: Counts, q: float, chance: float) -> bool:
        """Whether more answers of the control slice take longer than the `q` quantile of its history than chance explains."""
        before = self._usual_latency(q)
        return before is not None and tail(control.above(bucket_of(before)), sum(control.last.values()), 1 - q) <= chance

    def _stirs(self) -> bool:
        """Whether control has had more errors of late than is usual: at little traffic, one."""
        return self._has_more_errors(self._recent.slices.control, STIR)

    def _has_more_errors(self, control: Counts, chance: float) -> bool:
        history = self._history
        if history.answered < HISTORY_LEAST:
            return False
        return tail(control.errors, control.answered, (history.errors + 1) / (history.answered + 2)) <= chance
