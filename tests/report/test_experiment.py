"""The run document, read with defaults."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.experiments.lifecycle import State
from shadowproxy.report.experiment import BINS, UNKNOWN, Run, Verdict, counts
from tests.report import experiment_samples as samples
from tests.report.samples import NOW

RUNS = {name: samples.run(found) for name, found in samples.ALL.items()}
"""One of each kind."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    """Run documents in which anything may be anything."""
    found = dict(samples.upheld())
    for name in draw(st.lists(st.sampled_from(sorted(found)), max_size=4)):
        found[name] = draw(JSON)
    if isinstance(found.get("result"), dict):
        inner = dict(samples.result())
        for name in draw(st.lists(st.sampled_from(sorted(inner)), max_size=4)):
            inner[name] = draw(JSON)
        found["result"] = inner
    return found


def test_a_run_is_what_its_document_says() -> None:
    """Names, states, times."""
    run = RUNS["aborted"]
    assert (run.id, run.name, run.state, run.verdict) == ("recommendations-down-7", "recommendations-down", State.ABORTED, Verdict.REFUTED)
    assert run.is_over
    assert run.lasted is not None
    assert round(run.lasted, 2) == 41.02
    assert run.hypothesis.startswith("If recommendations answer 503 for 2 % of users, we expect the shop shows")
    assert run.hypothesis.endswith(", resulting in no lost orders.")


def test_what_is_not_over_lasts_until_now() -> None:
    """And what never began lasts no time."""
    assert RUNS["running"].lasted == 1.5
    assert not RUNS["running"].is_over
    assert RUNS["draft"].lasted is None


def test_words_that_are_none_of_ours_are_unknown() -> None:
    """States and verdicts of another version, or of somebody who wants to break the page."""
    for name in ("hostile", "broken", "empty"):
        assert RUNS[name].verdict is Verdict.UNDECIDED
        assert RUNS[name].state == UNKNOWN
    assert RUNS["empty"].sentence == "Nothing is known: the run is in an unknown state."
    assert RUNS["empty"].name == "experiment"


def test_a_series_is_thinned_without_losing_requests() -> None:
    """At most BINS stretches that have all requests and errors, the worst tail, and begin where the first did."""
    run = RUNS["ramped"]
    rows, found = run.result["series"], run.series()
    assert len(rows) == 600
    assert len(found) == BINS
    assert sum(point.requests["fault"] for point in found) == sum(row[1] for row in rows)
    assert sum(point.errors["control"] for point in found) == sum(row[4] for row in rows)
    assert max(point.p99["fault"] or 0 for point in found) == max(row[6] for row in rows)
    assert (found[0].seconds, found[1].seconds) == (0.0, 10.0)
    assert [found[0].percent, found[-1].percent] == [0.5, 2.0]


def test_latencies_in_either_form() -> None:
    """A map of buckets, or pairs of a duration and a count; what is no bucket is left out."""
    assert RUNS["upheld"].latencies("fault") == {int(bucket): n for bucket, n in samples.buckets(1, 6000, 1.06).items()}
    odd = samples.document(
        result=samples.result(slices={"fault": {"buckets": [[0.02, 3], [None, 1], 5]}, "control": {"buckets": {"x": 1, "7": 2, "8": 0}}})
    )
    assert sum(samples.run(odd).latencies("fault").values()) == 3
    assert samples.run(odd).latencies("control") == {7: 2}


def test_counts_come_the_largest_first() -> None:
    """Without those that are 0, and of nothing there are none."""
    assert counts({"a": 1, "b": 3, "c": 0, "d": None}) == [("b", 3), ("a", 1)]
    assert counts(None) == []


@settings(max_examples=30)
@given(documents())
def test_any_document_can_be_read(found: dict[str, object]) -> None:
    """Whatever is in it: no property raises."""
    run = Run(found, NOW, "p")
    for name in ("id", "name", "state", "verdict", "is_over", "started", "ended", "lasted", "hypothesis", "sentence", "requests"):
        getattr(run, name)
    run.series()
    run.latencies("fault")
