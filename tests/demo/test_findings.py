"""What the comparison is read as, and the sentences made of it."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config import load_text
from shadowproxy.control.comparison import comparison
from shadowproxy.control.counts import Counts
from shadowproxy.demo import findings
from shadowproxy.demo.findings import Comparison, Side


def _comparison(**changes: Any) -> Comparison:
    plain: dict[str, Any] = {
        "route": "search",
        "eligible": 110,
        "pending": 0,
        "pairs": 100,
        "live": Side(p50_ms=8.0, p99_ms=14.0, errors=0),
        "shadow": Side(p50_ms=8.2, p99_ms=14.5, errors=0),
        "changes": (),
        "bodies_different": 0,
        "bodies_compared": 100,
        "not_compared": {"holdout": 10},
        "is_conserved": True,
        "penalty_p50_ms": 0.1,
    }
    return Comparison(**{**plain, **changes})


def test_equal_services_get_one_reassuring_sentence() -> None:
    """Small gaps are not findings; the list is never empty."""
    assert findings.sentences([_comparison()]) == [
        "Nothing differs: same outcomes, same bodies, medians within what two equal services show."
    ]
    assert len(findings.sentences([])) == 1


def test_a_slow_shadow_is_named_with_both_numbers() -> None:
    """The sentence has the route, both medians, the gap, both tails and the number of pairs."""
    (sentence,) = findings.sentences([_comparison(pairs=1234, shadow=Side(p50_ms=20.1, p99_ms=29.0, errors=0))])
    assert sentence == "search is slower on the shadow: p50 8.0 -> 20.1 ms (+12.1 ms), p99 14.0 -> 29.0 ms, over 1,234 pairs."


def test_a_fast_shadow_is_a_difference_too() -> None:
    """Faster is said as plainly as slower."""
    (sentence,) = findings.sentences([_comparison(shadow=Side(p50_ms=2.0, p99_ms=3.0, errors=0))])
    assert sentence.startswith("search is faster on the shadow: p50 8.0 -> 2.0 ms (-6.0 ms)")


@pytest.mark.parametrize(
    ("live", "shadow", "pairs"),
    [(8.0, 9.9, 100), (100.0, 119.0, 100), (8.0, 20.0, 19), (None, 20.0, 100), (8.0, None, 100)],
    ids=["under 2 ms", "under 20 %", "few pairs", "no live", "no shadow"],
)
def test_a_gap_needs_size_and_pairs(live: float | None, shadow: float | None, pairs: int) -> None:
    """No sentence about latency below 2 ms, below 20 %, or from fewer than 20 pairs."""
    sentences = findings.sentences(
        [_comparison(pairs=pairs, live=Side(p50_ms=live, p99_ms=None, errors=0), shadow=Side(p50_ms=shadow, p99_ms=None, errors=0))]
    )
    assert sentences[0].startswith("Nothing differs")


def test_changed_statuses_and_bodies_are_told_apart() -> None:
    """A pair whose status changed is not told again as a changed body."""
    sentences = findings.sentences([_comparison(changes=(("200", "500", 3),), bodies_different=8)])
    assert sentences == [
        "search answers differently: live 200 but shadow 500 for 3 of 100 pairs (3.0 %).",
        "search shows other content: the same status but a different body for 5 of 100 pairs (5.0 %).",
    ]


def test_the_accounting_adds_up_or_says_so_loudly() -> None:
    """Every eligible request has a place; a count that is missing is shouted."""
    whole = _comparison(not_compared={"holdout": 7, "failed_refused": 2, "shed_breaker": 2}, pending=1)
    assert findings.accounting([whole]) == (
        "110 requests could be mirrored = 100 compared + 7 holdout + 2 shed breaker + 1 under way; every one is accounted for."
    )
    assert findings.accounting([_comparison(eligible=111)]).endswith("THE COUNTS DO NOT ADD UP.")
    assert findings.accounting([_comparison(is_conserved=False)]).endswith("THE COUNTS DO NOT ADD UP.")


def test_the_penalty_is_the_median_over_routes() -> None:
    """Routes without a holdout are left out; without any there is none."""
    assert findings.penalty([_comparison(penalty_p50_ms=value) for value in (0.3, None, -0.1, 0.1)]) == 0.1
    assert findings.penalty([_comparison(penalty_p50_ms=None)]) is None


def test_it_reads_verdicts() -> None:
    """Route, verdict and sentence, in order."""
    document = {"verdicts": [{"route": "a", "verdict": "SAFE", "summary": "fine", "pairs": 7}]}
    assert findings.read_verdicts(document) == [findings.Ruling(route="a", verdict="SAFE", summary="fine")]


def test_share_has_a_dash_for_no_whole() -> None:
    """Nothing is divided by zero."""
    assert (findings.share(1, 40), findings.share(0, 0)) == ("2.5 %", "-")


def test_it_reads_what_the_control_process_says() -> None:
    """A document made by the comparison itself is read whole, before and after anything was counted."""
    config = load_text(
        """
listen: ["127.0.0.1:0"]
fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}, shadow: {endpoints: ["http://127.0.0.1:9002"]}}
routes: [{name: all, live: live, mirror: [{to: shadow}]}]
""",
    ).config
    counts = Counts()
    counts.declare(["all"], ["all/shadow"])
    (empty,) = findings.read({"mirrors": comparison(counts, config)})
    assert (empty.route, empty.pairs, empty.live.p50_ms, empty.penalty_p50_ms) == ("all", 0, None, None)
    tally = {
        "eligible": 3,
        "pending": 0,
        "fates": {"paired": 2, "holdout": 1},
        "matrix": {"200,200": 1, "200,500": 1},
        "bodies": {"equal": 1, "different": 1},
        "live_last": {"1000": 2},
        "shadow_last": {"1000": 2},
        "holdout_last": {"1000": 1},
    }
    counts.add(counts.open(0), {"type": "tally", "mirrors": {"all/shadow": tally}})
    (counted,) = findings.read({"mirrors": comparison(counts, config)})
    assert counted.pairs == 2
    assert counted.changes == (("200", "500", 1),)
    assert counted.shadow.errors == 1
    assert counted.not_compared == {"holdout": 1}
    assert counted.live.p50_ms == counted.shadow.p50_ms
    assert counted.penalty_p50_ms == 0.0
    assert findings.accounting([counted]).endswith("every one is accounted for.")
