"""The drawings of an experiment's page: both slices' latencies, and how the run went over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy import logbuckets
from shadowproxy.judge import sketch
from shadowproxy.report import charts, curves, numbers
from shadowproxy.report.charts import Course
from shadowproxy.report.experiment import ARMS
from shadowproxy.report.markup import Markup, tag
from shadowproxy.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.report.experiment import Point, Run

NAMES: Final = ("control", "fault")
"""What the arms are called in drawings."""

LEVELS: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

LEAST: Final = 0.01
"""The error rate that an axis shows at least: a chart of none must not look like one of all."""

_COLOURS: Final = dict(zip(ARMS, charts.LIVE_AND_SHADOW, strict=True))


def latency(run: Run) -> Markup:
    """Both distributions over one another."""
    control, fault = (run.latencies(arm) for arm in ARMS)
    found = sketch.total(control), sketch.total(fault)
    if not any(found):
        return tag("p", "No latencies to draw: no whole answer of a service was counted in either slice.")
    if min(found) < curves.FEW:
        drawn = [charts.rug(_places(control), _places(fault), width, NAMES) for width in charts.WIDTHS]
        caption = f"{found[0]} answers of control and {found[1]} with the fault: too few for a distribution, so each is one stroke."
        return tag("figure", drawn, tag("figcaption", caption))
    bars = curves.bars(control, fault)
    drawn = [charts.distribution(bars, _quantiles(control), _quantiles(fault), width, NAMES) for width in charts.WIDTHS]
    keys = (tag("span", class_="key live"), "control, filled; ", tag("span", class_="key shadow"), "with the fault, line. ")
    caption = f"{numbers.count(found[0])} answers of control, {numbers.count(found[1])} with the fault; those that the proxy made up are left out."
    rows = [
        [f"up to {numbers.duration(edge)}", numbers.share(one), numbers.share(other)]
        for edge, one, other in zip(bars.edges[1:], bars.live, bars.shadow, strict=True)
    ]
    return tag("figure", drawn, tag("figcaption", *keys, caption), _as_table(table(("time to the last byte", "#control", "#fault"), rows)))


def over_time(run: Run) -> Markup:
    """Errors, the share with the fault, and the p99, one below the other."""
    series = run.series()
    if not any(sum(point.requests.values()) for point in series):
        return tag("p", "There is nothing to draw over time: no request was seen.")
    rates = [Course(name, _COLOURS[name], [(point.seconds, point.rate(name)) for point in series]) for name in reversed(ARMS)]
    tails = [Course(name, _COLOURS[name], [(point.seconds, point.p99[name]) for point in series]) for name in reversed(ARMS)]
    percents = [Course("percent", "against", [(point.seconds, point.percent / 100) for point in run.points()], is_stepped=True)]
    drawn: list[object] = [charts.over_time(rates, "error rate", _share, width, least=LEAST) for width in charts.WIDTHS]
    drawn += [charts.over_time(percents, "share of the units with the fault", _share, width, height=150) for width in charts.WIDTHS]
    if any(value is not None for course in tails for _, value in course.points):
        drawn += [charts.over_time(tails, "p99 to the last byte", _duration, width) for width in charts.WIDTHS]
    keys = (tag("span", class_="key line-live"), "control, ", tag("span", class_="key shadow"), "with the fault. ")
    caption = "A gap is a time without requests of that slice. The share is 0 while the run is paused."
    return tag("figure", drawn, tag("figcaption", *keys, caption), _as_table(_table_of(series)))


def _table_of(series: Sequence[Point]) -> Markup:
    rows = [
        [
            f"{point.seconds:,.1f}{numbers.THIN}s",
            numbers.share(point.percent / 100),
            *(
                cell
                for arm in ARMS
                for cell in (numbers.count(point.requests[arm]), numbers.count(point.errors[arm]), numbers.duration(point.p99[arm]))
            ),
        ]
        for point in series
    ]
    columns = ("from", "#share", "#control: requests", "#errors", "#p99", "#fault: requests", "#errors", "#p99")
    return table(columns, rows)


def _as_table(shown: Markup) -> Markup:
    return tag("details", tag("summary", "The same as a table"), shown)


def _share(value: float) -> str:
    return f"{value * 100:.3g}{numbers.THIN}%"


def _duration(seconds: float) -> str:
    return numbers.round_duration(seconds) if seconds else "0"


def _quantiles(counted: Mapping[int, int]) -> list[tuple[str, float]]:
    found = sketch.quantiles(counted, list(LEVELS.values()))
    return [(name, value / curves.NS) for name, value in zip(LEVELS, found, strict=True) if value is not None]


def _places(counted: Mapping[int, int]) -> list[tuple[float, int]]:
    return [(logbuckets.representative(index) / curves.NS, count) for index, count in sorted(counted.items())]
