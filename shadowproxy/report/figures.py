"""The drawings of the page: which numbers go into which chart, and what stands there when there are too few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy import logbuckets
from shadowproxy.judge import sketch
from shadowproxy.report import charts, curves, numbers, tables
from shadowproxy.report.axes import Logit
from shadowproxy.report.charts import Estimate, Marker
from shadowproxy.report.document import ends, number
from shadowproxy.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.report.document import Subject

LEVELS: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

POINTS: Final = 61
"""Levels at which the shift function is drawn."""


def margins(subject: Subject) -> Markup | None:
    """Errors and latency with their intervals beside the margins."""
    errors, latency = subject.part("errors"), subject.part("latency")
    if not errors and not latency:
        return None
    low, high = ends(errors.get("interval"))
    of_errors = Estimate(
        f"error rate, shadow minus {subject.baseline}", number(errors.get("difference")), low, high, _told(errors, numbers.points)
    )
    low, high = ends(latency.get("interval"))
    of_latency = Estimate(
        f"latency of the same request, shadow against {subject.baseline}", _less_one(number(latency.get("ratio"))), _less_one(low), _less_one(high),
        _told(latency, numbers.change, "ratio"),
    )  # fmt: skip
    drawn = [_difference(of_errors, errors, numbers.points), _difference(of_latency, latency, _signed)]
    caption = "Dot and bar: the difference and where it lies, at any time. A bar left of the green line is safe; a bar wholly right of the red line is a regression."
    return tag("figure", tag("div", drawn, class_="pair"), tag("figcaption", caption))


def latency(subject: Subject) -> Markup:
    """The distributions and the shift between them."""
    live, shadow = subject.live, subject.shadow
    counts = sketch.total(live), sketch.total(shadow)
    if not any(counts):
        return tag("p", "No latencies to draw: no whole answer of both sides has been counted, or the report was made without them.")
    if min(counts) < curves.FEW:
        drawn = [charts.rug(_places(live), _places(shadow), width) for width in charts.WIDTHS]
        caption = f"{counts[0]} answers of live and {counts[1]} of the shadow: too few for a distribution, so each is one stroke."
        return tag("figure", drawn, tag("figcaption", caption))
    bars = curves.bars(live, shadow)
    drawn = [charts.distribution(bars, _quantiles(live), _quantiles(shadow), width) for width in charts.WIDTHS]
    keys = (tag("span", class_="key live"), "live, filled; ", tag("span", class_="key shadow"), "shadow, line. ")
    outside = "One answer in a thousand, the fastest and the slowest, is left out of the bars."
    caption = f"{numbers.count(counts[0])} answers of live, {numbers.count(counts[1])} of the shadow. {outside}"
    first = tag("figure", drawn, tag("figcaption", *keys, caption), _table_of(bars))
    return Markup(first + _shift(subject, live, shadow))


def evidence(subject: Subject) -> Markup:
    """The evidence over time, or the sentence that there is none."""
    history = [one for one in subject.parts("history") if isinstance(one, (list, tuple)) and len(one) >= 4 and number(one[0]) is not None]
    if not history:
        return tag("p", "No evidence has been recorded yet.")
    drawn = [charts.evidence(history, subject.regression_threshold, subject.safe_threshold, width) for width in charts.WIDTHS]
    caption = (
        "Odds for “the shadow is worse” (line) and for “the shadow is safe” in the respect that is least certain (dashed). "
        "A regression is shown once its line has crossed the dotted one; safety while its line is above it."
    )
    thinned = history[:: max(1, len(history) // 24)]
    if thinned[-1] != history[-1]:
        thinned.append(history[-1])
    rows = [
        [numbers.moment(number(one[0])), numbers.count(number(one[1])), numbers.odds(number(one[2])), numbers.odds(number(one[3])), str(one[4]) if len(one) > 4 else ""]
        for one in thinned
    ]  # fmt: skip
    table = tables.table(("time", "#pairs", "#odds of regression", "#odds of safety", "verdict"), rows)
    return tag("figure", drawn, tag("figcaption", caption), _as_table(table))


def coverage(subject: Subject) -> Markup | None:
    """Coverage by how slow live was: whether the slow requests are the ones that are missing."""
    found = [one for one in subject.parts("coverage_by_decile") if isinstance(one, dict)]
    deciles = [
        (numbers.duration(number(one.get("upto_seconds"))), int(number(one.get("compared")) or 0), int(number(one.get("left_out")) or 0))
        for one in found
    ]
    if not deciles or not any(compared + left_out for _, compared, left_out in deciles):
        return None
    drawn = [charts.coverage(deciles, width) for width in charts.WIDTHS]
    rows = [
        [
            f"up to {name}",
            numbers.count(compared),
            numbers.count(left_out),
            numbers.share(compared / (compared + left_out) if compared + left_out else None),
        ]
        for name, compared, left_out in deciles
    ]
    caption = "Bars of unequal height mean that slow requests are compared less often than fast ones; the verdict then says less about the slow ones."
    table = tables.table(("live's latency", "#compared", "#left out", "#share"), rows)
    return tag("figure", drawn, tag("figcaption", caption), _as_table(table))


def _shift(subject: Subject, live: Mapping[int, int], shadow: Mapping[int, int]) -> Markup:
    fewest = min(sketch.total(live), sketch.total(shadow))
    top = 0.99 if fewest < 3000 else 0.999
    curve = curves.shifts(live, shadow, Logit(0.01, top, 0, 1).between(POINTS))
    estimates = []
    for name, found in subject.part("quantiles").items():
        part = found if isinstance(found, dict) else {}
        of_live, of_shadow, (low, high) = number(part.get("live")), number(part.get("shadow")), ends(part.get("interval"))
        if name in LEVELS and of_live and of_shadow is not None:
            bounds = [None if end is None else max(0.0, (of_live + end) / of_live) for end in (low, high)]
            estimates.append((LEVELS[name], Estimate(tables.quantile_name(name), of_shadow / of_live, bounds[0], bounds[1])))
    drawn = [charts.shift(curve, estimates, width) for width in charts.WIDTHS]
    caption = (
        "The shadow's latency at each quantile, relative to live's. Dots and bars: single quantiles with their interval. "
        "Band: where the whole curve lies, all quantiles at once and at any time, with 95 % confidence; it treats the sides as unpaired, so it is wider than what the pairs show."
    )
    rows = [
        [f"p{point.level * 100:.3g}", numbers.change(point.ratio), numbers.between((point.low, point.high), numbers.change)]
        for point in curve[:: POINTS // 12]
    ]
    table = tables.table(("quantile", "#shadow against live", "#band"), rows)
    return tag("figure", drawn, tag("figcaption", caption), _as_table(table))


def _table_of(bars: curves.Bars) -> Markup:
    rows = [
        [f"up to {numbers.duration(edge)}", numbers.share(live), numbers.share(shadow)]
        for edge, live, shadow in zip(bars.edges[1:], bars.live, bars.shadow, strict=True)
    ]
    return _as_table(tables.table(("time to the last byte", "#live", "#shadow"), rows))


def _as_table(table: Markup) -> Markup:
    return tag("details", tag("summary", "The same as a table"), table)


def _difference(found: Estimate, part: Mapping[str, Any], shown: Callable[[float], str]) -> Markup:
    return tag("div", tag("div", found.label, class_="soft"), charts.interval(found, _marks(part), shown, charts.NARROW))


def _quantiles(counted: Mapping[int, int]) -> list[tuple[str, float]]:
    names = ("p50", "p90", "p99", "p999")
    found = sketch.quantiles(counted, [LEVELS[name] for name in names])
    return [(tables.quantile_name(name), value / curves.NS) for name, value in zip(names, found, strict=True) if value is not None]


def _places(counted: Mapping[int, int]) -> list[tuple[float, int]]:
    return [(logbuckets.representative(index) / curves.NS, count) for index, count in sorted(counted.items())]


def _marks(part: Mapping[str, Any]) -> list[Marker]:
    regression, safe = number(part.get("margin_regression")), number(part.get("margin_safe"))
    marks = [] if safe is None else [Marker(safe, "safe below", "good")]
    if regression is not None:
        marks.append(Marker(regression, "worse above", "bad"))
    return marks


def _told(part: Mapping[str, Any], shown: Callable[[float | None], str], name: str = "difference") -> str:
    return f"{shown(number(part.get(name)))}, interval {numbers.between(ends(part.get('interval')), shown)}"


def _signed(value: float) -> str:
    return numbers.share(value, is_signed=True)


def _less_one(value: float | None) -> float | None:
    return None if value is None else value - 1
