"""The thresholds of an experiment, looked at with every tick.

A guard is *true* while its value is beyond its bound, and *trips* when it has been true for `hold` without a break: with hold 0 on the very
tick that makes it true. Rates and latencies count from `least` answers in their window on; units and repeats at once.

A probe whose value is not known makes its guard neither true nor untrue. But who does not see must not go on: when there has been no value for
UNKNOWN_INTERVALS of the probe's intervals, the guard trips (fail closed).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiment import Metric
from shadowproxy.experiments.budget import SHORT_SHARE, burn_rate, is_burning
from shadowproxy.experiments.slicecounts import Slices, Window
from shadowproxy.judge import wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.experiment import Experiment, Guard, Probe
    from shadowproxy.experiments.environment import Environment

UNKNOWN_INTERVALS: Final = 3
"""Readings of a probe that may fail in a row: one is a hiccup, three are an outage of what we steer by."""

_NAMES: Final = {
    Metric.ERROR_RATE: "the error rate",
    Metric.ERROR_EXCESS: "the error rate above control's",
    Metric.P50: "the median latency",
    Metric.P99: "the p99 latency",
    Metric.P99_EXCESS: "the p99 latency above control's",
    Metric.UNITS: "the number of different units with the fault",
    Metric.REPEATS: "the most faults of one unit",
    Metric.BURN_RATE: "the burn rate of the error budget",
}

_PERCENT: Final = frozenset({Metric.ERROR_RATE, Metric.ERROR_EXCESS})
_SECONDS: Final = frozenset({Metric.P50, Metric.P99, Metric.P99_EXCESS})


@dataclass(frozen=True, slots=True)
class Readings:
    """What guards look at beside their windows."""

    units: int
    repeats: int
    probes: Mapping[str, Reading]


@dataclass(frozen=True, slots=True)
class Reading:
    """The last value of a probe and when it was read, in seconds of the run."""

    value: float
    read: float


class Watch:
    """One guard of a run.

    Attributes:
        value: in the guard's unit (percent, seconds, or a number); None while it is not known.
        worst: the value that came nearest to the bound, or went farthest beyond it; None while there was none.
        since: when it became true, in seconds of the run; None while it is not.
        has_tripped: whether it has ended the run.

    """

    def __init__(self, guard: Guard, window: Window, short: Window | None, experiment: Experiment) -> None:
        self.guard = guard
        self.value: float | None = None
        self.worst: float | None = None
        self.since: float | None = None
        self.has_tripped = False
        self.is_blind = False
        self._window = window
        self._short = short
        self._target = experiment.budget.slo.target / 100.0
        self._alpha = experiment.sequential.alpha
        self._probe: Probe | None = next((probe for probe in experiment.probes if probe.name == guard.probe), None)

    def __repr__(self) -> str:
        return f"Watch({self.guard.metric.value} {self.value}, since {self.since})"

    @property
    def is_true(self) -> bool:
        """Whether the value is beyond the bound now."""
        return self.since is not None

    def look(self, now: float, readings: Readings) -> bool:
        """Look at what is there at `now`; whether it is to trip."""
        value = self._measure(readings)
        is_probe = self.guard.metric is Metric.PROBE
        self.is_blind = is_probe and self._is_blind(now, readings)
        if value is None and is_probe and self.value is not None:
            return self.is_blind or self._has_held(now)
        self.value = value
        if value is not None:
            self.worst = value if self.worst is None else (max if self.guard.above is not None else min)(self.worst, value)
        if value is None or not self._is_beyond(value):
            self.since = None
        elif self.since is None:
            self.since = now
        return self.is_blind or self._has_held(now)

    def _has_held(self, now: float) -> bool:
        return self.since is not None and now - self.since >= self.guard.hold

    def _is_blind(self, now: float, readings: Readings) -> bool:
        if self._probe is None:
            return True
        reading = readings.probes.get(self.guard.probe)
        return now - (reading.read if reading is not None else 0.0) > UNKNOWN_INTERVALS * self._probe.every

    def _measure(self, readings: Readings) -> float | None:
        metric = self.guard.metric
        if metric is Metric.UNITS:
            return float(readings.units)
        if metric is Metric.REPEATS:
            return float(readings.repeats)
        if metric is Metric.PROBE:
            reading = readings.probes.get(self.guard.probe)
            return reading.value if reading is not None else None
        slices = self._window.slices
        if slices.fault.answered < self.guard.least:
            return None
        if metric in {Metric.ERROR_EXCESS, Metric.P99_EXCESS} and slices.control.answered < self.guard.least:
            return None
        return _of_answers(metric, slices, self._target)

    def _is_beyond(self, value: float) -> bool:
        guard = self.guard
        if guard.below is not None and value < guard.below:
            return True
        if guard.above is None or value <= guard.above:
            return False
        if guard.metric is not Metric.BURN_RATE:
            return True
        assert self._short is not None
        recent = burn_rate(self._short.slices.fault, self._target)
        if recent is None or recent <= guard.above:
            return False
        return is_burning(self._window.slices.fault, self._target, guard.above, self._alpha)

    def is_excused(self, environment: Environment) -> bool:
        """Whether it is true because something else is wrong, which control has as well."""
        metric, above, slices = self.guard.metric, self.guard.above, self._window.slices
        if self.is_blind:
            return False
        if metric is Metric.PROBE:
            return environment.is_elevated()
        if above is None:
            return False
        if metric is Metric.ERROR_RATE:
            return environment.excuses_errors(slices, above / 100.0)
        if metric is Metric.BURN_RATE:
            return environment.excuses_errors(slices, above * (1.0 - self._target))
        if metric in {Metric.P50, Metric.P99}:
            return environment.excuses_latency(slices, 0.5 if metric is Metric.P50 else 0.99, above)
        return False

    @property
    def code(self) -> str:
        """What a run is ended with."""
        return f"guard_{self.guard.metric.value}"

    @property
    def sentence(self) -> str:
        """Why, with numbers."""
        guard = self.guard
        if self.is_blind:
            assert self._probe is not None
            return f"probe {guard.probe} could not be read for {UNKNOWN_INTERVALS} intervals of {self._probe.every:g} s: nobody sees what it guards"
        name = f"probe {guard.probe}" if guard.metric is Metric.PROBE else _NAMES[guard.metric]
        value = self.value if self.value is not None else 0.0
        if guard.below is not None and value < guard.below:
            text = f"{name} is {self._shown(value)}, below {self._shown(guard.below)}"
        else:
            text = f"{name} is {self._shown(value)}, above {self._shown(guard.above or 0.0)}"
        if guard.metric in _PERCENT or guard.metric in _SECONDS or guard.metric is Metric.BURN_RATE:
            span = f"the last {self._window.seconds:g} s" if self._window.seconds else "the whole run"
            text += f", over {wording.count(self._window.slices.fault.answered, 'answer')} of {span}"
        if guard.hold:
            text += f", for {guard.hold:g} s"
        return text

    def _shown(self, value: float) -> str:
        if self.guard.metric in _PERCENT:
            return f"{value:.3g} %"
        if self.guard.metric in _SECONDS:
            return f"{value:.3g} s"
        return f"{value:.6g}"

    def to_plain(self) -> dict[str, Any]:
        """As run documents have it: bound and value in the guard's unit."""
        guard = self.guard
        return {
            "metric": guard.metric.value,
            "probe": guard.probe,
            "bound": guard.above if guard.above is not None else guard.below,
            "above": guard.above,
            "below": guard.below,
            "value": self.value,
            "worst": self.worst,
            "is_true": self.is_true,
            "since_s": self.since,
            "has_tripped": self.has_tripped,
        }


class Guards:
    """All guards of a run; those with windows of one length share one."""

    def __init__(self, experiment: Experiment) -> None:
        self._windows: dict[float, Window] = {}
        self._watches = [self._watch(guard, experiment) for guard in experiment.guards]

    def _watch(self, guard: Guard, experiment: Experiment) -> Watch:
        seconds, short = float(guard.window), None
        if guard.metric is Metric.BURN_RATE:
            # An alert over an hour watches all of an experiment of ten minutes, and its short window shrinks with it.
            seconds = min(seconds or experiment.duration, experiment.duration)
            short = self._window(seconds * SHORT_SHARE)
        return Watch(guard, self._window(seconds), short, experiment)

    def _window(self, seconds: float) -> Window:
        return self._windows.setdefault(seconds, Window(seconds))

    def add(self, now: float, tick: Slices) -> None:
        """Count a tick."""
        for window in self._windows.values():
            window.add(now, tick)

    def look(self, now: float, readings: Readings) -> list[Watch]:
        """Those that are to trip, in the order of the experiment's file."""
        return [watch for watch in self._watches if watch.look(now, readings)]

    @property
    def is_quiet(self) -> bool:
        """Whether none is true."""
        return not any(watch.is_true for watch in self._watches)

    def restart(self) -> None:
        """Something else was wrong and is over: what was seen meanwhile must not trip anything."""
        for window in self._windows.values():
            window.clear()
        for watch in self._watches:
            watch.since = None

    def to_plain(self) -> list[dict[str, Any]]:
        """As run documents have it."""
        return [watch.to_plain() for watch in self._watches]


def _of_answers(metric: Metric, slices: Slices, target: float) -> float | None:
    fault, control = slices.fault, slices.control
    if metric is Metric.BURN_RATE:
        return burn_rate(fault, target)
    if metric is Metric.P50:
        return fault.latency(0.5)
    if metric is Metric.P99:
        return fault.latency(0.99)
    if metric is Metric.P99_EXCESS:
        return _minus(fault.latency(0.99), control.latency(0.99))
    if metric is Metric.ERROR_EXCESS:
        return _percent(_minus(fault.error_rate, control.error_rate))
    return _percent(fault.error_rate)


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100.0


def reading_of(value: float | None, read: float, before: Reading | None) -> Reading | None:
    """What is known of a probe after `value` was told at `read`; a value that is no number is none, and leaves the last one."""
    return before if value is None or not isfinite(value) else Reading(value, read)
