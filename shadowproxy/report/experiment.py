"""What the report of an experiment is about: the run document of the admin API, read with defaults.

A run may have been refused, may not have seen a request, or may come from another version: `Run` reads what is there. Words in it
come from files, from people and from traffic; whoever writes them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log
from typing import Any, Final

from shadowproxy.experiments.lifecycle import ENDS, State
from shadowproxy.logbuckets import LN_GAMMA
from shadowproxy.report import numbers
from shadowproxy.report.document import Plain, number


class Verdict(StrEnum):
    """What became of the hypothesis."""

    UPHELD = "upheld"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    ENVIRONMENT = "environment"


UNKNOWN: Final = "unknown"
"""A state that is none of ours."""

ENDINGS: Final[dict[str, str]] = {
    State.DRAFT: "has not begun",
    State.ADMITTED: "has not begun",
    State.RUNNING: "is running",
    State.COMPLETED: "ran to its end",
    State.ABORTED: "was aborted",
    State.EXPIRED: "expired: control could not keep it alive, so it ended by itself",
    State.KILLED: "was killed",
    UNKNOWN: "is in an unknown state",
}
"""How a run stands, as the end of a sentence."""

ARMS: Final = ("control", "fault")
"""The slices, in the order in which they are shown: what is normal first."""

BINS: Final = 60
"""Most points of a curve over time: with more, each stands for too few requests to say anything."""

_NS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Point:
    """What was seen in a stretch of time that begins at `seconds` since the start: by arm requests, errors and the p99 in seconds."""

    seconds: float
    requests: dict[str, int]
    errors: dict[str, int]
    p99: dict[str, float | None]
    percent: float

    def rate(self, arm: str) -> float | None:
        """Share of requests of the arm that failed; None when it had none."""
        return self.errors[arm] / self.requests[arm] if self.requests[arm] else None


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Args:
        document: of `GET /api/v1/experiments/{id}`.
        made_at: when the report is made, in Unix seconds.
        program: name and version of what makes it.
    """

    document: Plain
    made_at: float
    program: str

    @property
    def id(self) -> str:
        """Of the run."""
        return self.word("id")

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.word("name") or self.id or "experiment"

    @property
    def state(self) -> str:
        """A `State`, or UNKNOWN for what is none."""
        found = self.word("state")
        return found if found in set(State) else UNKNOWN

    @property
    def verdict(self) -> Verdict:
        """UNDECIDED for what is none."""
        found = str(self.result.get("verdict", ""))
        return Verdict(found) if found in set(Verdict) else Verdict.UNDECIDED

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ENDS

    @property
    def result(self) -> Plain:
        """What the conductor concluded."""
        return part(self.document, "result")

    @property
    def experiment(self) -> Plain:
        """The file, as plain values."""
        return part(self.document, "experiment")

    @property
    def started(self) -> float | None:
        """When faults could begin."""
        return number(self.document.get("started"))

    @property
    def ended(self) -> float | None:
        """When it was over; None while it is not."""
        return number(self.document.get("ended"))

    @property
    def lasted(self) -> float | None:
        """Seconds from start to end, or to now; None when it never began."""
        if self.started is None:
            return None
        return max(0.0, (self.made_at if self.ended is None else self.ended) - self.started)

    @property
    def hypothesis(self) -> str:
        """`If ..., we expect ..., resulting in ...`; empty when there is none."""
        said = part(self.document, "hypothesis") or part(self.experiment, "hypothesis")
        if not said:
            return ""
        fault, expect, impact = (str(said.get(name, "")).strip().rstrip(".") for name in ("fault", "expect", "impact"))
        return f"If {fault}, we expect {expect}, resulting in {impact}."

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        said = str(self.result.get("sentence", "")).strip()
        return numbers.sentence(said) if said else f"Nothing is known: the run {ENDINGS[self.state]}."

    @property
    def look_back(self) -> str:
        """What it would have touched of the requests before it began; empty where nobody looked."""
        return str(part(self.document, "look_back").get("sentence") or "")

    @property
    def ending(self) -> str:
        """How the run stands, and why where the verdict does not say it already."""
        reason = self.word("reason").strip().rstrip(".")
        is_news = reason and reason.lower() not in self.sentence.lower()
        return f"The run {ENDINGS[self.state]}" + (f": {reason}." if is_news else ".")

    @property
    def requests(self) -> int:
        """Requests of both slices."""
        return sum(count(self.slice(arm).get("requests")) for arm in ARMS)

    def word(self, name: str) -> str:
        """A text of the document; empty when it is absent or null."""
        found = self.document.get(name)
        return "" if found is None else str(found)

    def slice(self, arm: str) -> Plain:
        """What was counted of one of ARMS."""
        return part(part(self.result, "slices"), arm)

    def latencies(self, arm: str) -> dict[int, int]:
        """The sketch of an arm's latencies: log bucket to count."""
        found = self.slice(arm).get("buckets")
        if isinstance(found, dict):
            return {int(bucket): count(n) for bucket, n in found.items() if _is_integer(bucket) and count(n)}
        pairs = [one for one in found or [] if isinstance(one, (list, tuple)) and len(one) == 2] if isinstance(found, (list, tuple)) else []
        placed = [(number(upto), count(n)) for upto, n in pairs]
        return {round(log(max(upto * _NS, 1.0)) / LN_GAMMA): n for upto, n in placed if upto is not None and n}

    def parts(self, name: str) -> list[Plain]:
        """The objects in a list of the result; empty when it is absent."""
        return objects(self.result.get(name))

    def points(self) -> list[Point]:
        """The run over time, as finely as it is known."""
        found = self.result.get("series")
        rows = [row for row in found if isinstance(row, (list, tuple)) and len(row) >= 6] if isinstance(found, (list, tuple)) else []
        return [_point(row) for row in rows if number(row[0]) is not None]

    def series(self) -> list[Point]:
        """The run over time, in at most BINS stretches."""
        every = self.points()
        size = -(-len(every) // BINS) if every else 1
        return [_joined(every[at : at + size]) for at in range(0, len(every), size)]


def part(plain: Plain, name: str) -> Plain:
    """A member that is an object; empty when it is none."""
    found = plain.get(name)
    return found if isinstance(found, dict) else {}


def objects(value: object) -> list[Plain]:
    """The objects in a list; empty for everything that is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def count(value: object) -> int:
    """A number of things; 0 for everything that is none."""
    return int(number(value) or 0)


def counts(value: object) -> list[tuple[str, int]]:
    """A map of names to numbers, the largest first, without those that are 0."""
    found = [(str(name), count(n)) for name, n in value.items()] if isinstance(value, dict) else []
    return sorted((one for one in found if one[1]), key=lambda one: (-one[1], one[0]))


def _point(row: Any) -> Point:
    cells = [number(cell) for cell in [*row, None, None][:8]]
    seconds, fault, fault_errors, control, control_errors, percent, fault_p99, control_p99 = cells
    return Point(
        seconds or 0.0,
        {"fault": int(fault or 0), "control": int(control or 0)},
        {"fault": int(fault_errors or 0), "control": int(control_errors or 0)},
        {"fault": fault_p99, "control": control_p99},
        percent or 0.0,
    )


def _joined(points: list[Point]) -> Point:
    """Several stretches as one: counts added, of the p99 the worst, of the percentage the last."""
    return Point(
        points[0].seconds,
        {arm: sum(point.requests[arm] for point in points) for arm in ARMS},
        {arm: sum(point.errors[arm] for point in points) for arm in ARMS},
        {arm: max((value for point in points if (value := point.p99[arm]) is not None), default=None) for arm in ARMS},
        points[-1].percent,
    )


def _is_integer(text: object) -> bool:
    try:
        int(str(text))
    except ValueError:
        return False
    return True
