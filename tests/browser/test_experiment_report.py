"""The report of an experiment in a real browser: by itself, at every width, in light and dark, and for a screen reader."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from shadowproxy.report import experiment_html
from tests.browser.test_report import FOREIGN, LABELS, OVERFLOW, browser, colours
from tests.kit.chromium import MISSING, PROGRAM
from tests.report.test_experiment import RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.chromium import Chromium

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

__all__ = ["browser"]


@pytest.mark.parametrize("name", ["upheld", "aborted", "idle", "ramped", "running", "draft", "hostile", "broken"])
def test_a_report_opens_by_itself(browser: Chromium, tmp_path: Path, name: str) -> None:
    """One request, for itself; no complaint; no sideways scrolling and no label cut off or hidden, from a phone to a desk."""
    file = tmp_path / "report.html"
    file.write_text(experiment_html.page(RUNS[name]), "utf-8")
    page = browser.open(file.as_uri())
    for width in (320, 400, 737, 1000, 1600):
        page.resize(width)
        assert page.evaluate(OVERFLOW) <= 0, width
        assert page.evaluate(LABELS) == [], width
    assert page.evaluate(FOREIGN) == [0, 0, 0, "undefined"]
    assert page.complaints == []
    assert [one for one in page.requests if not one.startswith("data:")] == [file.as_uri()]


def test_colours_headings_and_names(browser: Chromium, tmp_path: Path) -> None:
    """It follows the reader's preference; headings are in order, every table has heads, every drawing a name."""
    file = tmp_path / "report.html"
    file.write_text(experiment_html.page(RUNS["ramped"]), "utf-8")
    page = browser.open(file.as_uri())
    page.media(prefers_color_scheme="light")
    light = colours(page)
    page.media(prefers_color_scheme="dark")
    assert colours(page) != light
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('table')].every(one => one.querySelector('thead th[scope=col]'))")
    assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.getAttribute('aria-label').length > 20)")
