"""Drawings: well-formed, labelled, and inside their frame, whatever the numbers."""

from __future__ import annotations

import re
from math import log
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from shadowproxy.report import charts, curves, numbers
from shadowproxy.report.axes import Logit
from shadowproxy.report.charts import Course, Estimate, Marker
from tests.report import samples

if TYPE_CHECKING:
    from shadowproxy.report.markup import Markup

LIVE = curves.buckets_of(samples.distribution(1, 5000))
SHADOW = curves.buckets_of(samples.distribution(2, 5000, 1.1))


def drawn(svg: Markup) -> ET.Element:
    """The drawing, checked: it says what it is, has a size, and nothing lies outside or is no number."""
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    title = root.find("title")
    assert title is not None
    assert title.text == root.get("aria-label")
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    assert not re.search(r"nan|inf|None", svg)
    for one in root.iter():
        for name, limit in (
            ("x", width),
            ("y", height),
            ("x1", width),
            ("x2", width),
            ("y1", height),
            ("y2", height),
            ("cx", width),
            ("cy", height),
        ):
            if one.get(name) is not None:
                assert -1 <= float(one.get(name, "0")) <= limit + 1, (one.tag, one.attrib)
        for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", one.get("d", "")):
            assert -1 <= float(x) <= width + 1
            assert -1 <= float(y) <= height + 1
    return root


def texts(root: ET.Element) -> list[str]:
    """Labels of a drawing."""
    return [(one.text or "").replace(numbers.THIN, " ") for one in root.iter("text")]


@pytest.mark.parametrize("width", charts.WIDTHS)
def test_a_distribution_names_both_sides_and_its_axes(width: int) -> None:
    """Live is a filled shape, the shadow a line; quantiles stand below; the unit is at the axis."""
    root = drawn(charts.distribution(curves.bars(LIVE, SHADOW), [("p50", 0.02), ("p99", 0.2)], [("p50", 0.022), ("p99", 9.0)], width))
    classes = [one.get("class") for one in root.iter("path")]
    assert classes == ["fill live", "line live", "line shadow"]
    assert {"live", "shadow", "share of answers per bar", "time to the last byte (logarithmic)", "p50 20.0 ms"} <= set(texts(root))
    assert "dot shadow hollow" in [one.get("class") for one in root.iter("circle")]  # a p99 beyond the axis is marked as such


@pytest.mark.parametrize("width", charts.WIDTHS)
def test_single_durations_are_strokes(width: int) -> None:
    """A drawing of one answer is possible, and says how many there are."""
    root = drawn(charts.rug([(0.02, 1)], [], width))
    assert "1 of live, 0 of shadow" in root.get("aria-label", "")


@pytest.mark.parametrize("width", charts.WIDTHS)
def test_a_shift_has_its_band_inside(width: int) -> None:
    """Ends that are not bounded go to the edge of the drawing, no further."""
    curve = curves.shifts(LIVE, SHADOW, Logit(0.01, 0.999, 0, 1).between(31))
    estimates = [
        (0.5, Estimate("p50", 1.1, 1.05, 1.15)),
        (0.99, Estimate("p99", 1.2, None, 40.0)),
        (0.9, Estimate("p90", None, None, None)),
    ]
    root = drawn(charts.shift(curve, estimates, width))
    assert "shadow compared with live" in texts(root)
    assert "p99" in texts(root)


@pytest.mark.parametrize("width", charts.WIDTHS)
@pytest.mark.parametrize(
    "history",
    [
        samples.history(240, 0.05, -0.02), samples.history(1, 0.1, 0.1), [[1.0, 1, None, None, ""]], [[1.0, 1, 5000.0, -5000.0, "x"], [1.0, 2, -700.0, 0.0, "x"]],
    ],
)  # fmt: skip
def test_evidence_of_any_size(width: int, history: list[list[Any]]) -> None:
    """No evidence, one point, or far too much: the line that decides is there, and nothing leaves the frame."""
    root = drawn(charts.evidence(history, log(20), log(20), width))
    assert "decides" in [one.get("class") for one in root.iter("line")]
    assert any(text.startswith("decides: 20") for text in texts(root))


def test_two_thresholds_are_two_lines() -> None:
    """Alpha and beta may differ."""
    root = drawn(charts.evidence(samples.history(20, 0.1, 0.1), log(100), log(20), charts.WIDE))
    assert {"decides against", "decides safety"} <= {one.get("class") for one in root.iter("line")}


@pytest.mark.parametrize(
    "estimate",
    [Estimate("e", 0.01, -0.02, 0.03), Estimate("e", 0.01, None, None), Estimate("e", None, None, None), Estimate("e", 0.0, 0.0, 0.0)],
)
@pytest.mark.parametrize("width", charts.WIDTHS)
def test_a_difference_beside_its_margins(estimate: Estimate, width: int) -> None:
    """Bounded or not, measured or not, equal to the margin or not."""
    root = drawn(charts.interval(estimate, [Marker(0.02, "safe below", "good"), Marker(0.0, "worse above", "bad")], numbers.points, width))
    assert {"safe below", "worse above"} <= set(texts(root))
    assert ("nothing measured yet" in texts(root)) == (estimate.value is None)


@pytest.mark.parametrize("width", charts.WIDTHS)
@pytest.mark.parametrize("deciles", [[("12 ms", 10, 0)], [(f"{index} ms", index, 9 - index) for index in range(10)], [("1 ms", 0, 0)] * 10])
def test_coverage_by_latency(width: int, deciles: list[tuple[str, int, int]]) -> None:
    """A bar a decile, in its full height and in the part that was compared."""
    root = drawn(charts.coverage(deciles, width))
    assert len(list(root.iter("rect"))) == 2 * len(deciles)


@pytest.mark.parametrize("width", charts.WIDTHS)
@pytest.mark.parametrize(
    "points", [[(0.0, None)], [(0.0, 0.0)], [(0.0, 1.0), (5.0, None), (6.0, 3.0)], [(float(at), at / 7) for at in range(600)], [(0.0, 1e-9), (1e6, 1e9)]]
)  # fmt: skip
def test_values_over_time(width: int, points: list[tuple[float, float | None]]) -> None:
    """Nothing measured, a single point, gaps, many points, far too much; lines that end at the same place keep their names apart."""
    courses = [Course("control", "live", points), Course("fault", "shadow", points), Course("share", "against", points, is_stepped=True)]
    root = drawn(charts.over_time(courses, "error rate", numbers.plain, width))
    assert "time since the beginning" in texts(root)
    names = [float(one.get("y", "0")) for one in root.iter("text") if (one.text or "") in {"control", "fault", "share"}]
    if width == charts.WIDE and points[0][1] is not None:
        assert min(abs(a - b) for at, a in enumerate(names) for b in names[at + 1 :]) >= charts.LABEL - 0.2


def test_a_level_has_no_points_in_its_middle() -> None:
    """However many there are of them: a step is a corner, and a level two ends."""
    root = drawn(
        charts.over_time(
            [Course("p", "against", [(float(at), float(at >= 50)) for at in range(100)], is_stepped=True)], "p", numbers.plain, 720
        )
    )
    (path,) = [one.get("d", "") for one in root.iter("path") if one.get("class") == "line against"]
    assert path.count("L") == 3
