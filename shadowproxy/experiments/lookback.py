"""What an experiment would have touched of the last requests of all workers: their answers put together, and what is said of it.

Each worker remembers its own last requests; the last of all of them are those since one moment, which `since` finds. Workers then
count from that moment on, so that their counts add up to what is known of these requests and no others.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.planning import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from shadowproxy.config.experiment import Experiment

SECOND: Final = 10**9
"""In nanoseconds."""

SHORT_S: Final = 120.0
"""Up to here a span is said in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What would have been touched at one share.

    Attributes:
        percent: of the units, or of the requests where each is its own.
        seen: requests in the fault slice that the fault concerns.
        touched: those of them that would have got it; the others are spared by limits of the experiment.
        writes: of `touched`, those that write.
        units: different units of `touched`; None where requests have none.
        control: requests of the observed routes in the control slice.

    """

    percent: float
    seen: int
    touched: int
    writes: int
    units: int | None
    control: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookBack:
    """What is known of the past.

    Attributes:
        wanted: requests to be looked at (`experiments.recent_requests`).
        requests: those that were: as many, or all that are remembered.
        seconds: how far back they go; 0 for none.
        of_routes: those on routes that the experiment names.
        denied: those that the deny lists keep from the fault.
        too_long: those whose heads were too long to be remembered: nobody can tell.
        unread: those that the present limits of the config would refuse.
        workers: those that were asked.
        silent: of them, those that have not answered in time.
        empty: of them, those that have answered and remember nothing: they have begun anew, or have had no request.
        steps: the first step of the ramp, if there is one, and the full share.

    """

    wanted: int
    requests: int = 0
    seconds: float = 0.0
    of_routes: int = 0
    denied: int = 0
    too_long: int = 0
    unread: int = 0
    workers: int = 0
    silent: int = 0
    empty: int = 0
    steps: tuple[Step, ...] = ()

    @property
    def sentence(self) -> str:
        """What it says to people."""
        return "; ".join((*(_of_the_past(self) if self.requests else _of_nothing(self)), *_of_workers(self)))

    def to_plain(self) -> dict[str, Any]:
        """Return it as documents show it."""
        return {**asdict(self), "steps": [asdict(step) for step in self.steps], "sentence": self.sentence}


def percents(experiment: Experiment) -> tuple[float, ...]:
    """Return the shares that are looked at: the first step of the ramp, where it is smaller, and the whole."""
    whole = experiment.slice.percent
    first = (experiment.ramp.steps or (whole,))[0]
    return (first, whole) if first < whole else (whole,)


def since(arrivals: Iterable[Sequence[int]], wanted: int) -> int | None:
    """Return when the first of the last `wanted` requests came, of all workers; None where there is none.

    Args:
        arrivals: of each worker, rising.
        wanted: 1 or more. Of all that came at the very moment that is found none is left out.

    """
    known = [of_one for of_one in arrivals if of_one]
    if not known:
        return None
    low, high = min(of_one[0] for of_one in known), max(of_one[-1] for of_one in known)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(len(of_one) - bisect_left(of_one, middle) for of_one in known) >= wanted:
            low = middle
        else:
            high = middle - 1
    return low


def merged(experiment: Experiment, answers: Sequence[Mapping[str, Any]], known: LookBack, now_ns: int) -> LookBack:
    """Return what workers answered, put together.

    Args:
        experiment: what they were asked about.
        answers: `looked_back` of dataplane/messages.py, of those that remember something.
        known: which workers were asked, and how many of them have said anything.
        now_ns: of the clock that workers note arrivals by.

    """
    counts = {name: sum(one[name] for one in answers) for name in ("requests", "of_routes", "denied", "too_long", "unread")}
    begun = [one["first"] for one in answers if one["requests"]]
    return LookBack(
        wanted=known.wanted,
        workers=known.workers,
        silent=known.silent,
        empty=known.empty,
        seconds=(now_ns - min(begun)) / SECOND if begun else 0.0,
        steps=tuple(_step(experiment, found) for found in zip(*(one["steps"] for one in answers), strict=True)),
        **counts,
    )


def _step(experiment: Experiment, found: Sequence[Mapping[str, Any]]) -> Step:
    writes = sum(one["writes"] for one in found)
    return Step(
        percent=found[0]["percent"],
        seen=sum(one["seen"] for one in found),
        touched=sum(one["reads"] for one in found) + writes,
        writes=writes,
        units=len({unit for one in found for unit in one["units"]}) if experiment.slice.key else None,
        control=sum(one["control"] for one in found),
    )


def _of_the_past(known: LookBack) -> Iterator[str]:
    whole = known.steps[-1]
    last = f"the last {known.requests:,} requests" if known.requests > 1 else "the last request"
    yield f"over {last} ({_span(known.seconds)}) this would have touched {_touched(whole)}"
    if not known.of_routes and not known.too_long:
        yield "none was of its routes"
    if whole.touched and whole.units is not None:
        yield f"{whole.units:,} different units" if whole.units != 1 else "1 unit"
    if len(known.steps) > 1:
        yield f"at its first step of {known.steps[0].percent:g} % {_touched(known.steps[0])}"
    if whole.seen > whole.touched:
        yield f"{whole.seen - whole.touched:,} more in its slice would have been spared by its limits"
    for count, what in (
        (known.denied, "more would have been touched and are on a deny list"),
        (known.too_long, "had heads that are too long to tell"),
        (known.unread, "would be refused by the config of now"),
    ):
        if count:
            yield f"{count:,} {what}"


def _of_nothing(known: LookBack) -> Iterator[str]:
    if not known.wanted:
        yield "nothing is known of past requests: experiments.recent_requests is 0"
    elif known.workers == known.silent:
        yield "nothing is known of past requests: no worker answers"
    else:
        yield "nothing is known of past requests: none is remembered yet"


def _of_workers(known: LookBack) -> Iterator[str]:
    if 0 < known.silent < known.workers:
        yield f"{known.silent} of {known.workers} workers did not answer in time, and what they remember is missing"
    if known.empty and known.requests:
        yield f"{known.empty} of {known.workers} workers remembers nothing yet"


def _touched(step: Step) -> str:
    return f"{step.touched:,}, {step.writes:,} of them writes" if step.touched else "none"


def _span(seconds: float) -> str:
    if seconds >= SHORT_S:
        return duration(seconds)
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
