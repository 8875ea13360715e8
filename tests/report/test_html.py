"""The page: whole, self-contained, and not to be broken into."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from shadowproxy.report import html
from shadowproxy.report.document import Report
from tests.report import samples
from tests.report.test_markup import Read

REPORTS = {
    "regression": samples.report(samples.verdict()),
    "all": samples.report(samples.verdict(), samples.safe(), samples.undecided(), samples.invalid(), samples.empty()),
    "tiny": samples.report(samples.undecided(), pairs=3),
    "empty": samples.report(samples.empty(), pairs=0),
    "none": samples.report(),
    "hostile": samples.report(samples.hostile(), exemplars=(samples.hostile_exemplar(),), is_killed=True),
}
"""One of each kind."""


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_needs_nothing_else(name: str) -> None:
    """No script, no handler, no address that is fetched; its policy allows its own style and nothing more."""
    page = html.page(REPORTS[name])
    seen = Read(page).elements
    assert {element for element, _ in seen} <= {
        "html", "head", "meta", "title", "link", "style", "body", "header", "main", "footer", "section", "article", "h1", "h2", "h3", "p", "span", "strong",
        "code", "pre", "ul", "li", "dl", "dt", "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details",
        "summary", "a", "svg", "g", "path", "line", "rect", "circle", "text", "small", "br",
    }  # fmt: skip
    for element, attributes in seen:
        assert not any(attribute.startswith("on") or attribute in {"style", "src", "srcset", "action"} for attribute in attributes)
        if "href" in attributes:
            assert re.fullmatch(r"data:,|#mirror-\d+", attributes["href"] or ""), element
    policy = next(attributes["content"] for element, attributes in seen if attributes.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    assert f"style-src 'sha256-{b64encode(sha256(style[1].encode()).digest()).decode()}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")


def test_hostile_words_are_shown_and_do_nothing() -> None:
    """They appear as text, where they belong, and elements stay the same as without them."""
    hostile, tame = (Read(html.page(REPORTS[name])) for name in ("hostile", "regression"))
    assert "<script>alert(1)</script>" in hostile.text
    assert "\u202e" not in hostile.text
    assert {element for element, _ in hostile.elements} == {element for element, _ in tame.elements}


@pytest.mark.parametrize("verdict", [samples.verdict(), samples.safe(), samples.undecided(), samples.invalid()])
def test_the_banner_says_what_and_what_to_do(verdict: dict[str, object]) -> None:
    """The verdict, its sentence, the advice, and what is missing when something is."""
    text = Read(html.page(samples.report(verdict))).text
    assert str(verdict["summary"]) in text
    assert "What to do: " in text
    assert ("What is missing: " in text) == (verdict["needs"] is not None)


def test_several_mirrors_have_an_overview() -> None:
    """With a link to each."""
    page = html.page(REPORTS["all"])
    targets = re.findall(r'href="#(mirror-\d+)"', page)
    assert len(targets) == 5
    assert all(f'id="{target}"' in page for target in targets)
    assert page.startswith("<!doctype html>\n<html")
    assert "<title>INVALID: 5 mirrors</title>" in page


def test_no_mirror_and_the_kill_switch_are_said() -> None:
    """Instead of an empty page."""
    assert "No route has a mirror" in html.page(Report(0.0, "p", ()))
    assert "The kill switch is on" in html.page(REPORTS["hostile"])


def test_nothing_that_is_missing_shows_as_code() -> None:
    """No None, no nan, in any state."""
    for name, report in REPORTS.items():
        assert not re.search(r"\bNone\b|\bnan\b|\binf\b", Read(html.page(report)).text), name


def test_a_page_is_of_a_size_to_send_around() -> None:
    """An example with everything is under 150 KB."""
    assert len(html.page(REPORTS["regression"]).encode()) < 150_000
