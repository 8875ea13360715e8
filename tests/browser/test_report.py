"""The report in a real browser: nothing fetched, nothing complained about, nothing cut off, in light, dark and print."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.report import html
from tests.kit.chromium import MISSING, PROGRAM, Chromium
from tests.report.test_html import REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

LABELS = """
[...document.querySelectorAll('svg')].filter(svg => svg.getClientRects().length).flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const outside = boxes.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  const touching = boxes.flatMap(([text, a], at) => boxes.slice(at + 1)
    .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => text + ' | ' + other));
  return [...outside.map(([text]) => 'outside: ' + text), ...touching];
})
"""
"""Labels of drawings that leave their drawing, and pairs of labels that lie on each other."""

FOREIGN = "[document.scripts.length, document.images.length, document.querySelectorAll('iframe, object, embed, form').length, typeof window.hacked]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all pages."""
    with Chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_opens_by_itself(browser: Chromium, tmp_path: Path, name: str) -> None:
    """One request, for itself; no complaint; no sideways scrolling and no label cut off or hidden, from a phone to a desk."""
    file = tmp_path / "report.html"
    file.write_text(html.page(REPORTS[name]), "utf-8")
    page = browser.open(file.as_uri())
    for width in (320, 400, 734, 738, 1000, 1600):
        page.resize(width)
        assert page.evaluate(OVERFLOW) <= 0, width
        assert page.evaluate(LABELS) == [], width
    assert page.evaluate(FOREIGN) == [0, 0, 0, "undefined"]
    assert page.complaints == []
    assert [one for one in page.requests if not one.startswith("data:")] == [file.as_uri()]


def colours(page: Any) -> list[str]:
    """Of the page's ground and of its text."""
    found: list[str] = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    return found


def test_light_dark_and_paper(browser: Chromium, tmp_path: Path) -> None:
    """The page follows the reader's preference, is light on paper, and paper shows what is folded up on the screen."""
    file = tmp_path / "report.html"
    file.write_text(html.page(REPORTS["regression"]), "utf-8")
    page = browser.open(file.as_uri())
    page.media(prefers_color_scheme="light")
    light = colours(page)
    page.media(prefers_color_scheme="dark")
    dark = colours(page)
    assert light != dark
    page.media("print", prefers_color_scheme="dark")
    assert colours(page)[0] == "rgb(255, 255, 255)"
    assert colours(page)[1] == light[1]
    assert page.evaluate("document.querySelector('details.case pre').checkVisibility({contentVisibilityAuto: true})")
    pdf = page.command("Page.printToPDF", printBackground=True)["data"]
    assert len(pdf) > 10_000


def test_a_screen_reader_finds_its_way(browser: Chromium, tmp_path: Path) -> None:
    """Landmarks, headings in order, every drawing named, every table with heads."""
    file = tmp_path / "report.html"
    file.write_text(html.page(REPORTS["all"]), "utf-8")
    page = browser.open(file.as_uri())
    assert page.evaluate("document.querySelectorAll('header, main, footer').length") == 3
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    images = [node for node in nodes if node.get("role", {}).get("value") in {"image", "img"}]
    assert images
    assert all(node["name"]["value"] for node in images)
    assert page.evaluate("[...document.querySelectorAll('table')].every(one => one.querySelector('thead th[scope=col]'))")
