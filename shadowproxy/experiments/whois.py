"""What is said of a unit to those who asked: plain sentences for customer support, out of the document of `whois`.

To be in a slice is not to be hit: a sentence says which. Times are UTC, with their date where it is not that of `now`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Plain = dict[str, Any]

UNIT = "This unit"
"""The unit where its name must not be said."""

OUTSIDE = frozenset({"outside", "unknown", "apart", "stable"})
"""Places in which nothing differs for the unit from what everybody else gets, as far as anybody knows."""


def with_sentences(document: Mapping[str, Any], unit: str = UNIT) -> Plain:
    """The document with a `sentence` for each part, and `affected`: those of parts that the unit is or was affected by.

    Args:
        document: of `control.exposures.Exposures.whois`.
        unit: what sentences call the unit.
    """
    now = float(document["now"])
    said: Plain = dict(document)
    for kind in ("experiments", "rollouts", "mirrors"):
        said[kind] = [{**one, "sentence": sentence(one, now, unit)} for one in document[kind]]
    said["affected"] = [one["sentence"] for kind in ("experiments", "rollouts", "mirrors") for one in said[kind] if is_affected(one)]
    return said


def is_affected(part: Mapping[str, Any]) -> bool:
    """Whether the unit was hit, or got or gets something else than others, or was compared with those that do."""
    return bool(part["hits"]) or bool(part["is_tenant"]) or any(one["place"] not in OUTSIDE for one in part["was"])


def sentence(part: Mapping[str, Any], now: float, unit: str = UNIT) -> str:
    """One part in a sentence or two."""
    if part["kind"] == "experiment":
        return _experiment(part, now, unit)
    return _rollout(part, now, unit) if part["kind"] == "rollout" else _mirror(part, now, unit)


def _experiment(part: Mapping[str, Any], now: float, unit: str) -> str:
    name = f"experiment {part['name']}"
    hits, was = part["hits"], part["was"]
    if hits:
        answers = f"{hits['count']:,} {part['effect']} answer{'s' * (hits['count'] != 1)}"
        return f"{unit} got {answers} from {name} {between(hits['first'], hits['last'], now)}; {_standing(part, now)}."
    places = {one["place"] for one in was}
    if "unknown" in places:
        return f"{name[:1].upper()}{name[1:]} drew each request by itself, so nobody can say whose it hit; {_standing(part, now)}."
    if "fault" in places:
        unsure = (
            f"whether a fault reached it is not known, for {part['unrecorded']:,} units are not on record"
            if part["unrecorded"]
            else "no fault reached it"
        )
        return f"{unit} was in the slice of {name} {_when(was, {'fault'}, now)}, but {unsure}; {_standing(part, now)}."
    if "control" in places:
        return f"{unit} was only watched, as a part of the control slice of {name}, {_when(was, {'control'}, now)}; {_standing(part, now)}."
    if part["is_tenant"]:
        return f"Requests of test tenant {unit} are what {name} was drawn from; {_standing(part, now)}."
    if "apart" in places:
        return f"{unit} is listed to be left alone by {name}; {_standing(part, now)}."
    return f"{unit} was in neither slice of {name}; {_standing(part, now)}."


def _rollout(part: Mapping[str, Any], now: float, unit: str) -> str:
    route = f"route {part['name']}"
    was = part["was"]
    new = [one for one in was if one["place"] == "canary"]
    if any(one["place"] == "unknown" for one in was):
        return f"The rollout of {route} draws each request by itself, so {unit[:1].lower()}{unit[1:]} may get either version; {_standing(part, now)}."
    if part["state"] == "completed":
        first = f" {unit} had it from {clock(new[0]['since'], now)} on." if new else ""
        return f"Everybody has the new version ({part['to']}) of {route} since {clock(_end(was), now)}.{first}"
    if not new:
        why = "is listed to stay with" if any(one["place"] == "apart" for one in was) else "stayed with"
        return f"{unit} {why} the present version of {route}; {_standing(part, now)}."
    if new[-1]["until"] is None:
        return f"{unit} has had the new version ({part['to']}) of {route} since {clock(new[0]['since'], now)}; {_standing(part, now)}."
    return f"{unit} had the new version ({part['to']}) of {route} {_when(was, {'canary'}, now)}; {_standing(part, now)}."


def _mirror(part: Mapping[str, Any], now: float, unit: str) -> str:
    name = f"mirror {part['name']}"
    was = part["was"]
    places = {one["place"] for one in was}
    if "unknown" in places:
        return f"Mirror {part['name']} samples each request by itself, so some of anybody's may be copied to {part['to']}. Answers are not affected."
    if "copied" in places:
        is_now = any(one["place"] == "copied" and one["until"] is None for one in was)
        verb = "are" if is_now else "were"
        when = _when(was, {"copied"}, now)
        return f"Requests of {unit[:1].lower() + unit[1:] if unit == UNIT else unit} {verb} copied to {part['to']} by {name} {when}. Answers are not affected."
    if "holdout" in places:
        return f"{unit} is sampled by {name}, but held out: its requests are not copied."
    return f"{unit} is not sampled by {name}: its requests are not copied."


def _standing(part: Mapping[str, Any], now: float) -> str:
    """How it stands, as the end of a sentence."""
    if part["state"] in {"running", "paused"}:
        return "it is paused" if part["is_paused"] else "it is running"
    state = str(part["state"]).replace("_", " ")
    end = _end(part["was"])
    return f"it ended at {clock(end, now)} ({state})" if end is not None else f"it is over ({state})"


def _end(was: Sequence[Mapping[str, Any]]) -> float | None:
    return was[-1]["until"] if was else None


def _when(was: Sequence[Mapping[str, Any]], places: set[str], now: float) -> str:
    """When the unit had one of `places`: the first and the last time."""
    there = [one for one in was if one["place"] in places]
    first, last = there[0]["since"], there[-1]["until"]
    return f"since {clock(first, now)}" if last is None else between(first, last, now)


def between(first: float, last: float, now: float) -> str:
    """`between 14:02 and 14:07 UTC`, or `at 14:02 UTC` where both are the same minute."""
    begin, end = clock(first, now), clock(last, now)
    if begin == end:
        return f"at {begin}"
    is_same_day = begin.rpartition(",")[0] == end.rpartition(",")[0]
    return f"between {begin.removesuffix(' UTC') if is_same_day else begin} and {end.rpartition(', ')[2] if is_same_day else end}"


def clock(time: float | None, now: float) -> str:
    """`14:02 UTC`, with the date where that is another than today's: `Nov 3, 14:02 UTC`, `2026 Nov 3, 14:02 UTC`."""
    if time is None:
        return "an unknown time"
    moment, today = datetime.fromtimestamp(time, UTC), datetime.fromtimestamp(now, UTC)
    text = f"{moment:%H:%M} UTC"
    if moment.date() != today.date():
        text = f"{moment:%b} {moment.day}, {text}"
    return text if moment.year == today.year else f"{moment.year} {text}"
