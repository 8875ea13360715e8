"""Tables, and what stands there when there is nothing to show."""

from __future__ import annotations

from typing import Any

from shadowproxy.dataplane import outcome
from shadowproxy.report import tables
from shadowproxy.report.checks import checks
from shadowproxy.report.document import Subject
from tests.report import samples
from tests.report.test_markup import Read


def text(made: str) -> str:
    """What a reader sees."""
    return Read(made).text.replace("\u00a0", " ")


def subject(verdict: dict[str, Any], **comparison: Any) -> Subject:
    """A mirror with that verdict."""
    return Subject(verdict, comparison)


def test_heads_of_rows_and_columns_are_marked() -> None:
    """For those who listen to a table."""
    made = tables.table(("a", "#b"), [["x", "1"]], "caption")
    seen = Read(made).elements
    assert [attributes.get("scope") for name, attributes in seen if name == "th"] == ["col", "col", "row"]
    assert ("td", {"class": "num"}) in seen


def test_every_test_is_told() -> None:
    """With numbers in the table, without in the list."""
    seen = text(tables.tests(checks(subject(samples.verdict())), "live"))
    for words in ("errors", "✗ failed", "+0.52 pp", "+0.21 to +0.88 pp", "slo:250ms", "bodies", "judge.bodies"):
        assert words in seen


def test_transitions() -> None:
    """What became of what, how often, and the other way round; only so many."""
    seen = text(tables.transitions(subject(samples.verdict())))
    assert "200 → 504370" in seen
    many = samples.verdict()
    many["errors"]["transitions"] = [{"live": "200", "shadow": str(400 + at), "count": 1, "reverse": 0, "log_e": 0.0} for at in range(30)]
    assert "and 10 more" in text(tables.transitions(subject(many)))
    assert "No pair ended differently" in tables.transitions(subject(samples.safe()))
    assert "No pair has been compared" in tables.transitions(subject(samples.empty()))


def test_coverage_adds_up_or_says_that_it_does_not() -> None:
    """Every fate, what is under way, and the law."""
    (seen,) = samples.report(samples.verdict()).subjects
    words = text(tables.coverage(seen))
    for one in ("compared: both answered7,440", "still under way3", "They add up.", "a body beyond the limit600"):
        assert one in words
    assert "DO NOT ADD UP" in tables.coverage(subject(samples.verdict(), fates={"paired": 1}, is_conserved=False))
    assert "in this epoch" in tables.coverage(subject(samples.verdict()))
    assert "No eligible request" in tables.coverage(subject(samples.empty()))


def test_every_fate_is_explained() -> None:
    """Those that workers and the control process give, and no others."""
    assert set(tables.FATES) == {*outcome.FATES, outcome.LOST}


def test_the_instrument() -> None:
    """Tripped or not; a mirror without an A/A arm says so."""
    assert "! tripped" in text(tables.instrument(subject(samples.invalid())))
    assert "89.8 %, configured 90 %" in text(tables.instrument(subject(samples.verdict())))
    assert "no A/A arm" in tables.instrument(subject(samples.empty()))


def test_fields_that_differ_come_first() -> None:
    """Those within noise after them."""
    seen = text(tables.fields(subject(samples.verdict())))
    assert seen.index("$.items[*].price") < seen.index("$.generated_at")
    for words in ("live 12.5, shadow 12.63", "differs on the shadow far more often", "a time"):
        assert words in seen
    assert tables.fields(subject(samples.empty())).startswith("<p>")


def test_quantiles_and_crossings() -> None:
    """Names as people say them; nothing at all when there are none."""
    assert "p99.9" in tables.quantiles(subject(samples.verdict()))
    assert "over 250" in text(tables.crossings(subject(samples.verdict())))
    assert tables.quantiles(subject(samples.empty())) == tables.crossings(subject(samples.empty())) == ""
    assert [tables.quantile_name(name) for name in ("p50", "p999", "p9999", "x")] == ["p50", "p99.9", "p99.99", "x"]


def test_the_config_is_shown_when_there_is_one() -> None:
    """With the time of the start."""
    seen = text(tables.config(samples.report(samples.verdict())) or "")
    assert "2026-09-21T13:33:20" in seen
    assert '"percent": 25.0' in seen
    assert tables.config(samples.report()) is not None


def test_with_an_aa_arm_the_baseline_is_control() -> None:
    """Tables head their columns by what the shadow is compared with."""
    verdict = samples.verdict(baseline="control")
    assert "controlshadowdifference" in text(tables.tests(checks(subject(verdict)), subject(verdict).baseline))
    assert "control → shadow" in text(tables.transitions(subject(verdict)))
    assert "control alone" in text(tables.crossings(subject(verdict)))
