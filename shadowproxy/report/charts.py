"""Drawings as SVG: each function takes numbers and a width in pixels and returns one `<svg>`.

What all of them keep to:

* live and shadow differ by colour (a pair that colour-blind people can tell apart) and by form: live is a filled
  shape, the shadow a line;
* lines are labelled where they are, not in a legend; axes say what they measure and in which unit;
* colours come from the page's style by class, so that they follow light, dark and print;
* each has a sentence that says what it shows, for those who do not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.axes import Linear, Log, Logit, moments, padded, powers
from shadowproxy.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shadowproxy.report.axes import Scale
    from shadowproxy.report.curves import Bars, Shift

WIDE: Final = 720
NARROW: Final = 340
WIDTHS: Final = (WIDE, NARROW)
"""Every drawing is made in both, and the style shows the one that fits: text keeps its size."""

LABEL: Final = 14
"""Pixels between the baselines of two labels, one below the other."""

CHARACTER: Final = 7.7
"""Pixels of an average character of a label, to keep labels inside."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A named value on an axis."""

    value: float
    label: str
    kind: str = "mark"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; None is an end that is not bounded, or a value that there is none of."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """One value over time: seconds since the beginning and what was measured then, None where nothing was.

    `kind` is its colour: live, shadow, against or safety. `is_stepped`: it keeps its value until the next point.
    """

    name: str
    kind: str
    points: Sequence[tuple[float, float | None]]
    is_stepped: bool = False


LIVE_AND_SHADOW: Final = ("live", "shadow")


def distribution(
    bars: Bars,
    live: Sequence[tuple[str, float]],
    shadow: Sequence[tuple[str, float]],
    width: int,
    names: tuple[str, str] = LIVE_AND_SHADOW,
) -> Markup:
    """Both latency distributions over one another, and below them a lane each with their quantiles.

    Args:
        bars: what is drawn.
        live: quantiles by name, in seconds.
        shadow: the same for the shadow.
        width: of the drawing, in pixels.
        names: of the two.
    """
    height, left, right, top, base = 336, 62, 12, 26, 196
    across = Log(bars.edges[0], bars.edges[-1], left, width - right)
    tallest = max(*bars.live, *bars.shadow, 1e-9)
    up = Linear(0, tallest * 1.08, base, top)
    parts: list[Markup] = [_axis_x(across, base, top, numbers.round_duration, wanted=_wanted(width))]
    parts.append(_axis_y(up, left, width - right, _short_share, wanted=4, title="share of answers per bar"))
    parts.append(tag("path", class_="fill live", d=_steps(bars.edges, bars.live, across, up, is_closed=True)))
    parts.append(tag("path", class_="line live", d=_steps(bars.edges, bars.live, across, up)))
    parts.append(tag("path", class_="line shadow", d=_steps(bars.edges, bars.shadow, across, up)))
    for lane, (name, kind, found) in enumerate(zip(names, LIVE_AND_SHADOW, (live, shadow), strict=True)):
        parts.append(_lane(name, kind, found, across=across, y=262 + lane * 46, left=left))
    parts.append(_text((left + width - right) / 2, 230, "time to the last byte (logarithmic)", "soft", "middle"))
    described = "; ".join(
        f"{name}: " + ", ".join(f"{q} {numbers.duration(v)}" for q, v in found) for name, found in zip(names, (live, shadow), strict=True)
    )
    return _svg(width, height, f"Distribution of latency, {' and '.join(names)}. {described}.", parts)


def over_time(
    courses: Sequence[Course], title: str, shown: Callable[[float], str], width: int, *, height: int = 236, least: float = 0.0
) -> Markup:
    """Values over the time since the beginning, from 0 up.

    Args:
        courses: at least one, with at least one point among them.
        title: what is measured, above the axis.
        shown: a value as text.
        width: of the drawing, in pixels.
        height: the same.
        least: the axis reaches at least as far, so that what is hardly anything looks like it.
    """
    left, right, top, base = 62, 16 if width < WIDE else 78, 26, height - 42
    times = [time for course in courses for time, _ in course.points]
    peak = max([value for course in courses for _, value in course.points if value is not None], default=0.0)
    peak = max(peak, least)
    across = Linear(0.0, max(*times, 1.0), left, width - right)
    up = Linear(0.0, peak * 1.1 or 1.0, base, top)
    parts = [_axis_since(across, base, top, width), _axis_y(up, left, width - right, shown, wanted=4 if height > 200 else 3, title=title)]
    ends: list[tuple[float, str, str]] = []
    for course in courses:
        pieces = list(_pieces(course, across, up))
        parts.append(tag("path", class_=f"line {course.kind}", d="".join(_polyline(piece) for piece in pieces)))
        # A single point between gaps would be a line of no length.
        parts += [
            tag("circle", class_=f"dot {course.kind}", cx=_px(piece[0][0]), cy=_px(piece[0][1]), r=2.5)
            for piece in pieces
            if len(piece) == 1
        ]
        if pieces:
            ends.append((pieces[-1][-1][1], course.name, course.kind))
    if len(courses) > 1:
        parts += _end_labels(ends, width, right, top, base)
    parts.append(_text((left + width - right) / 2, height - 6, "time since the beginning", "soft", "middle"))
    highest = "; ".join(
        f"{course.name} at most {shown(max(known))}"
        for course in courses
        if (known := [value for _, value in course.points if value is not None])
    )
    return _svg(width, height, f"{title} over time. {highest or 'Nothing was measured'}.", parts)


def rug(
    live: Sequence[tuple[float, int]], shadow: Sequence[tuple[float, int]], width: int, names: tuple[str, str] = LIVE_AND_SHADOW
) -> Markup:
    """Each duration as one stroke: what there is to see of very few answers. Pairs of seconds and count; one side has some."""
    height, left, right = 118, 70, 12
    every = [seconds for seconds, _ in (*live, *shadow)]
    low, high = min(every) * 0.8, max(every) * 1.25
    across = Log(low, high, left, width - right)
    parts = [_axis_x(across, 78, 8, numbers.round_duration, wanted=_wanted(width))]
    for lane, (name, kind, found) in enumerate(zip(names, LIVE_AND_SHADOW, (live, shadow), strict=True)):
        y = 26 + lane * 30
        parts.append(_text(left - 8, y + 4, name, f"name {kind}", "end"))
        parts += [_line(across.at(seconds), y - 9, across.at(seconds), y + 9, f"line {kind}") for seconds, _ in found]
    parts.append(_text((left + width - right) / 2, height - 6, "time to the last byte (logarithmic)", "soft", "middle"))
    counts = [sum(count for _, count in found) for found in (live, shadow)]
    return _svg(width, height, f"Single durations: {counts[0]} of {names[0]}, {counts[1]} of {names[1]}.", parts)


def shift(curve: Sequence[Shift], estimates: Sequence[tuple[float, Estimate]], width: int) -> Markup:
    """The shadow's quantiles relative to live's along all quantiles, with a band, and whiskers at the named ones.

    Args:
        curve: ascending levels, at least two.
        estimates: level, and its ratio with an interval.
        width: of the drawing, in pixels.
    """
    height, left, right, top, base = 272, 64, 16, 26, 222
    across = Logit(curve[0].level, curve[-1].level, left, width - right)
    known = [point.ratio - 1 for point in curve] + [0.0]
    known += [end - 1 for _, one in estimates for end in (one.low, one.high, one.value) if end is not None]
    # The band is part of the picture where it is narrowest; where it is wide it may leave the frame.
    known += [min(found) - 1 for found in [[point.high for point in curve if point.high is not None]] if found]
    known += [max(found) - 1 for found in [[point.low for point in curve if point.low is not None]] if found]
    low, high = padded(known, 0.25)
    low, high = min(low, -0.01), max(high, 0.01)
    up = Linear(low, high, base, top)

    def at(ratio: float | None, otherwise: float) -> float:
        return up.at(min(max((otherwise if ratio is None else ratio - 1), low), high))

    forth = [(across.at(point.level), at(point.high, high)) for point in curve]
    back = [(across.at(point.level), at(point.low, low)) for point in reversed(curve)]
    parts = [
        _axis_x(across, base, top, _quantile_name, wanted=_wanted(width)),
        tag("path", class_="band", d=_polygon([*forth, *back])),
        _axis_y(up, left, width - right, lambda value: numbers.share(value, is_signed=True), wanted=5, title="shadow compared with live"),
        _line(left, up.at(0), width - right, up.at(0), "zero"),
        tag("path", class_="line shadow", d=_polyline([(across.at(point.level), at(point.ratio, 0)) for point in curve])),
    ]
    for level, one in estimates:
        if curve[0].level <= level <= curve[-1].level and one.value is not None:
            x = across.at(level)
            parts.append(_line(x, at(one.low, low), x, at(one.high, high), "whisker"))
            parts.append(tag("circle", class_="dot shadow", cx=_px(x), cy=_px(at(one.value, 0)), r=3.5))
    parts.append(_text(width - right, top - 8, "↑ shadow slower", "soft", "end"))
    parts.append(_text((left + width - right) / 2, height - 8, "quantile of the latency", "soft", "middle"))
    described = ", ".join(f"{one.label} {numbers.change(one.value)}" for _, one in estimates if one.value is not None)
    return _svg(width, height, f"How much slower or faster the shadow is at each quantile. {described or 'See the table'}.", parts)


def evidence(history: Sequence[Sequence[object]], threshold: float, safe_threshold: float, width: int) -> Markup:
    """The evidence for a regression and for safety over time, each against the line that it must cross.

    Args:
        history: at least one of `[unix seconds, pairs, log e against the shadow, log e for safety, verdict]`.
        threshold: log e at which it is a regression.
        safe_threshold: log e at which it is safe.
        width: of the drawing, in pixels.
    """
    height, left, right, top, base = 268, 62, 16 if width < WIDE else 92, 26, 204
    times = [_number(point[0]) or 0.0 for point in history]
    against = [(_number(point[0]) or 0.0, value) for point in history if (value := _number(point[2])) is not None]
    safety = [(_number(point[0]) or 0.0, value) for point in history if (value := _number(point[3])) is not None]
    start, end = min(times), max(times)
    end = end if end > start else start + 1
    peak = max([threshold, safe_threshold, *(value for _, value in against), *(value for _, value in safety)])
    floor = max(min([0.0, *(value for _, value in against), *(value for _, value in safety)]), -log(100.0))
    up = Linear(floor - 0.4, min(peak, max(threshold, safe_threshold) * 12) * 1.1, base, top)
    across = Linear(start, end, left, width - right)
    parts = [
        _axis_time(across, base, top, width),
        _axis_odds(up, left, width - right, "odds against chance (logarithmic)" if width >= WIDE else "odds (logarithmic)"),
    ]
    lines = (
        [(threshold, "decides")] if threshold == safe_threshold else [(threshold, "decides against"), (safe_threshold, "decides safety")]
    )
    for value, kind in lines:
        parts.append(_line(left, up.at(value), width - right, up.at(value), kind))
    ends: list[tuple[float, str, str]] = []
    for kind, name, found in (("against", "regression", against), ("safety", "safe", safety)):
        if not found:
            continue
        drawn = [(across.at(moment), min(max(up.at(value), top), base)) for moment, value in found]
        parts.append(tag("path", class_=f"line {kind}", d=_polyline(drawn)))
        if len(drawn) == 1:
            parts.append(tag("circle", class_=f"dot {kind}", cx=_px(drawn[0][0]), cy=_px(drawn[0][1]), r=3))
        ends.append((drawn[-1][1], name, kind))
    parts += _end_labels(ends, width, right, top, base)
    says = f"decides: {numbers.odds(threshold)}" if len(lines) == 1 else f"regression: {numbers.odds(threshold)}"
    parts.append(_text(left + 4, up.at(threshold) - 5, says, "halo"))
    pairs = _number(history[-1][1])
    parts.append(_text((left + width - right) / 2, height - 8, f"time (UTC), up to {numbers.count(pairs)} pairs", "soft", "middle"))
    now = "; ".join(f"{name} {numbers.odds(found[-1][1])}" for name, found in (("regression", against), ("safe", safety)) if found)
    return _svg(width, height, f"Evidence over time; it decides from {numbers.odds(threshold)} on. At the end: {now or 'none'}.", parts)


def interval(estimate: Estimate, marks: Sequence[Marker], shown: Callable[[float], str], width: int) -> Markup:
    """One difference with its interval on a line, beside the margins that it is judged by."""
    height, left, right, top, middle, base = 104, 14, 14, 32, 52, 72
    known = [0.0, *(mark.value for mark in marks), *(one for one in (estimate.value, estimate.low, estimate.high) if one is not None)]
    low, high = padded(known, 0.1)
    across = Linear(low, high, left, width - right)
    parts = [_axis_x(across, base, top, shown, wanted=_wanted(width)), _line(across.at(0), top, across.at(0), base, "zero")]
    for row, mark in enumerate(marks):
        x = across.at(mark.value)
        half = len(mark.label) * CHARACTER / 2
        parts.append(_line(x, 15 + row * 14, x, base, f"margin {mark.kind}"))
        parts.append(_text(min(max(x, half), width - half), 12 + row * 14, mark.label, f"soft {mark.kind}", "middle"))
    begin = left if estimate.low is None else across.at(estimate.low)
    end = width - right if estimate.high is None else across.at(estimate.high)
    if estimate.value is not None:
        parts.append(_line(begin, middle, end, middle, "whisker thick"))
        parts.append(tag("circle", class_="dot shadow", cx=_px(across.at(estimate.value)), cy=middle, r=5))
    else:
        parts.append(_text(width / 2, middle + 4, "nothing measured yet", "soft halo", "middle"))
    return _svg(width, height, f"{estimate.label}: {estimate.note}", parts)


def coverage(deciles: Sequence[tuple[str, int, int]], width: int) -> Markup:
    """Which share of the eligible requests was compared, by how slow live was.

    Args:
        deciles: name, compared and left out, fastest first; at least one.
        width: of the drawing, in pixels.
    """
    height, left, right, top, base = 196, 52, 12, 28, 142
    up = Linear(0, 1, base, top)
    parts = [_axis_y(up, left, width - right, _short_share, wanted=4, title="share that was compared")]
    slot = (width - left - right) / len(deciles)
    for index, (name, compared, left_out) in enumerate(deciles):
        whole = compared + left_out
        share = compared / whole if whole else 0.0
        x = left + index * slot + slot * 0.12
        parts.append(tag("rect", class_="bar rest", x=_px(x), y=_px(up.at(1)), width=_px(slot * 0.76), height=_px(base - up.at(1))))
        parts.append(tag("rect", class_="bar live", x=_px(x), y=_px(up.at(share)), width=_px(slot * 0.76), height=_px(base - up.at(share))))
        if width >= WIDE or index % 3 == 0 or index == len(deciles) - 1:
            parts.append(_text(x + slot * 0.38, base + 18, name, "tick", "middle"))
    parts.append(_text((left + width - right) / 2, base + 40, "tenths of the requests by live's latency, up to", "soft", "middle"))
    described = ", ".join(f"up to {name}: {numbers.share(c / (c + o) if c + o else None)}" for name, c, o in deciles)
    return _svg(width, height, f"Share of requests compared, by live's latency. {described}.", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    kind = "wide" if width >= WIDE else "narrow"
    title = tag("title", label)
    return tag(
        "svg", title, list(parts), class_=f"chart {kind}", viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=label
    )  # fmt: skip


def _wanted(width: int) -> int:
    return 9 if width >= WIDE else 4


def _axis_x(scale: Scale, base: float, top: float, shown: Callable[[float], str], wanted: int) -> Markup:
    start, end = scale.at(_domain(scale)[0]), scale.at(_domain(scale)[1])
    parts = [_line(start, base, end, base, "axis")]
    for value in scale.ticks(wanted):
        x = scale.at(value)
        text = shown(value)
        half = len(text) * CHARACTER / 2
        parts.append(_line(x, top, x, base, "grid"))
        parts.append(_text(min(max(x, half), end + 12 - half), base + 16, text, "tick", "middle"))
    return tag("g", parts)


def _axis_y(scale: Linear, left: float, right: float, shown: Callable[[float], str], *, wanted: int, title: str) -> Markup:
    parts = []
    for value in scale.ticks(wanted):
        y = scale.at(value)
        parts.append(_line(left, y, right, y, "grid"))
        parts.append(_text(left - 6, y + 4, shown(value), "tick", "end"))
    parts.append(_text(4, 14, title, "soft"))
    return tag("g", parts)


def _axis_odds(scale: Linear, left: float, right: float, title: str) -> Markup:
    parts = []
    for value in powers(scale.low, scale.high):
        y = scale.at(value)
        parts.append(_line(left, y, right, y, "zero" if value == 0 else "grid"))
        parts.append(_text(left - 6, y + 4, numbers.odds(value), "tick", "end"))
    parts.append(_text(4, 14, title, "soft"))
    return tag("g", parts)


def _axis_time(scale: Linear, base: float, top: float, width: int) -> Markup:
    seconds = scale.high - scale.low
    style = "%H:%M:%S" if seconds < 600 else "%H:%M" if seconds < 86400 else "%b %d"
    parts = [_line(scale.start, base, scale.end, base, "axis")]
    for value in moments(scale.low, scale.high, 6 if width >= WIDE else 3):
        x = scale.at(value)
        parts.append(_line(x, top, x, base, "grid"))
        text = numbers.clock(value, style)
        half = len(text) * CHARACTER / 2
        parts.append(_text(min(max(x, half), width - half), base + 16, text, "tick", "middle"))
    return tag("g", parts)


def _axis_since(scale: Linear, base: float, top: float, width: int) -> Markup:
    parts = [_line(scale.start, base, scale.end, base, "axis")]
    for value in moments(0.0, scale.high, 8 if width >= WIDE else 4):
        x = scale.at(value)
        parts.append(_line(x, top, x, base, "grid"))
        parts.append(_text(x, base + 16, numbers.elapsed(value, scale.high), "tick", "middle"))
    return tag("g", parts)


def _pieces(course: Course, across: Linear, up: Linear) -> Iterator[list[tuple[float, float]]]:
    """The parts of a course between its gaps, in pixels."""
    piece: list[tuple[float, float]] = []
    for time, value in course.points:
        if value is None:
            if piece:
                yield piece
            piece = []
            continue
        place = (across.at(time), up.at(value))
        if course.is_stepped and piece:
            if len(piece) > 1 and piece[-2][1] == piece[-1][1]:
                piece.pop()  # in the middle of a level
            if piece[-1][1] != place[1]:
                piece.append((place[0], piece[-1][1]))
        piece.append(place)
    if piece:
        yield piece


def _lane(name: str, kind: str, found: Sequence[tuple[str, float]], *, across: Log, y: float, left: float) -> Markup:
    parts = [_line(left, y, across.end, y, "grid"), _text(4, y + 4, name, f"name {kind}")]
    free = [left, left]
    for index, (label, value) in enumerate(found):
        x = min(max(across.at(value), left), across.end)
        is_beyond = value > across.high or value < across.low
        parts.append(tag("circle", class_=f"dot {kind}{' hollow' if is_beyond else ''}", cx=_px(x), cy=_px(y), r=4))
        text = f"{label} {numbers.duration(value)}"
        half = len(text) * CHARACTER / 2
        centre = min(max(x, left + half), across.end - half)
        row = index % 2  # neighbours lie on different sides of the line, so that both have room
        if centre - half >= free[row]:
            parts.append(_text(centre, y + (17 if row == 0 else -9), text, "tick", "middle"))
            free[row] = centre + half + CHARACTER
    return tag("g", parts)


def _end_labels(ends: list[tuple[float, str, str]], width: int, right: float, top: float, base: float) -> list[Markup]:
    """Names of lines at their ends, moved apart where they would lie on each other; above the drawing where there is no room beside it."""
    if width < WIDE:
        return [
            _text(width - right - 70 * (len(ends) - 1 - at), top - 12, name, f"name {kind}", "end")
            for at, (_, name, kind) in enumerate(ends)
        ]
    places: list[float] = []
    for y, _, _ in sorted(ends):
        places.append(min(max([y + 4, top + 4, *(place + LABEL for place in places[-1:])]), base + 4))
    for at in range(len(places) - 1, 0, -1):  # those that would leave the drawing push the others up
        places[at - 1] = min(places[at - 1], places[at] - LABEL)
    return [_text(width - right + 6, at, name, f"name {kind}") for at, (_, name, kind) in zip(places, sorted(ends), strict=True)]


def _steps(edges: Sequence[float], shares: Sequence[float], across: Log, up: Linear, *, is_closed: bool = False) -> str:
    path = [f"M{_px(across.at(edges[0]))} {_px(up.at(0))}"]
    for index, share in enumerate(shares):
        path.append(f"V{_px(up.at(share))}H{_px(across.at(edges[index + 1]))}")
    path.append(f"V{_px(up.at(0))}" + "Z" * is_closed)
    return "".join(path)


def _polyline(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_px(x)} {_px(y)}" for x, y in places)


def _polygon(places: Sequence[tuple[float, float]]) -> str:
    return _polyline(places) + "Z"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", class_=kind, x1=_px(x1), y1=_px(y1), x2=_px(x2), y2=_px(y2))


def _text(x: float, y: float, text: str, kind: str, anchor: str | None = None) -> Markup:
    return tag("text", text, class_=kind, x=_px(x), y=_px(y), text_anchor=anchor)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _domain(scale: Scale) -> tuple[float, float]:
    assert isinstance(scale, (Linear, Log, Logit))
    return scale.low, scale.high


def _short_share(value: float) -> str:
    return f"{value * 100:.3g}{numbers.THIN}%"


def _quantile_name(level: float) -> str:
    return f"p{level * 100:g}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
