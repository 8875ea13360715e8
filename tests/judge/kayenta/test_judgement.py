"""The whole judge: from config and series to scores, and to JSON that has no NaN."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import ConfigError
from shadowproxy.judge.kayenta.canary import Canary, Metric, Series
from shadowproxy.judge.kayenta.classify import Label
from shadowproxy.judge.kayenta.judgement import judge, statistics_of
from shadowproxy.judge.kayenta.score import Outcome

RNG = random.Random(9)
BASE = tuple(RNG.gauss(100, 10) for _ in range(40))
SLOW = tuple(RNG.gauss(130, 10) for _ in range(40))
LIKE = tuple(RNG.gauss(100, 10) for _ in range(40))

CANARY = Canary(
    (
        Metric("latency", ("speed",), is_decrease_bad=False),
        Metric("errors", ("quality",), nans_are_zero=True),
        Metric("debug", ("quality",), is_muted=True),
    ),
    {"speed": 60.0, "quality": 40.0},
)


def series(**values: tuple[float, ...]) -> list[Series]:
    """One side's series."""
    return [Series(name, listed) for name, listed in values.items()]


def test_a_good_canary_passes() -> None:
    """Every group at 100; a muted metric that is bad is shown and not counted."""
    found = judge(CANARY, series(latency=BASE, errors=(0.0,) * 9, debug=BASE), series(latency=LIKE, errors=(0.0,) * 9, debug=SLOW))
    assert [result.classification.label for result in found.results] == [Label.PASS, Label.PASS, Label.HIGH]
    assert (found.score.score, found.outcome) == (100.0, Outcome.PASS)


def test_a_slow_canary_loses_its_group() -> None:
    """40 of 100, which fails."""
    found = judge(CANARY, series(latency=BASE, errors=BASE, debug=BASE), series(latency=SLOW, errors=LIKE, debug=LIKE))
    assert (found.score.score, found.outcome) == (40.0, Outcome.FAIL)
    assert [group.score for group in found.score.groups] == [100.0, 0.0]


def test_a_series_that_one_side_lacks_is_missing_values() -> None:
    """Errors that only the canary reports (kayenta#799) are compared with zeros when missing means zero, and are no data else."""
    errors = tuple(float(value) for value in (3, 4, 5, 3, 4, 6, 4, 5, 3, 4))
    found = judge(CANARY, series(latency=BASE, debug=BASE), series(latency=LIKE, errors=errors, debug=BASE))
    assert found.results[1].classification.label is Label.HIGH
    assert found.results[1].control == (0.0,) * 10
    found = judge(CANARY, series(errors=errors, debug=BASE), series(latency=LIKE, errors=errors, debug=BASE))
    assert found.results[0].classification.label is Label.NODATA
    assert found.outcome is Outcome.FAIL
    assert "1 of 2 metrics have no data" in found.score.reason


def test_series_pair_up_by_tags() -> None:
    """Each tag set is judged by itself."""
    canary = Canary((Metric("m", ("g",)),))
    tags = ((("zone", "a"),), (("zone", "b"),))
    control = [Series("m", BASE, tag) for tag in tags]
    found = judge(canary, control, [Series("m", LIKE, tags[0]), Series("m", SLOW, tags[1])])
    assert [(result.tags, result.classification.label) for result in found.results] == [(tags[0], Label.PASS), (tags[1], Label.HIGH)]
    assert found.score.score == 50


def test_series_of_no_metric_are_refused() -> None:
    """As are two of the same name and tags; both are said."""
    with pytest.raises(ConfigError) as raised:
        judge(CANARY, series(latencies=BASE), [])
    assert str(raised.value) == "control.latencies: is no metric of the canary config"
    with pytest.raises(ConfigError, match=r"experiment\.latency: is there twice with the same tags"):
        judge(CANARY, [], [Series("latency", BASE), Series("latency", BASE)])


def test_infinite_values_are_an_error_of_their_metric() -> None:
    """Which is said, and not counted; the others are judged."""
    found = judge(CANARY, series(latency=(*BASE, math.inf), errors=BASE), series(latency=SLOW, errors=LIKE, debug=BASE))
    assert found.results[0].classification.reason == "a value is infinite"
    assert found.results[1].classification.label is Label.PASS


def test_the_answer_has_kayentas_shape() -> None:
    """Field by field, with statistics of what was judged, and interval and estimate beside them."""
    canary = Canary((Metric("m", ("g",), is_critical=True),))
    answer = judge(canary, series(m=(1.0, math.nan, 2.0, 3.0)), series(m=(11.0, 12.0, 13.0))).to_plain()
    assert answer["judgeName"] == "NetflixACAJudge-v1.0"
    reason = "98% interval of the shift 8 to 12, estimate 10: above 2.5"
    assert answer["score"] == {"score": 0.0, "classification": "Fail", "classificationReason": f"a critical metric failed: High, {reason}"}
    assert answer["groupScores"] == [{"name": "g", "score": 0.0, "weight": 100.0, "hasData": True}]
    assert answer["results"] == [
        {
            "name": "m",
            "tags": {},
            "groups": ["g"],
            "classification": "High",
            "classificationReason": reason,
            "critical": True,
            "muted": False,
            "controlMetadata": {"stats": {"min": 1.0, "max": 3.0, "mean": 2.0, "std": 1.0, "count": 3}},
            "experimentMetadata": {"stats": {"min": 11.0, "max": 13.0, "mean": 12.0, "std": 1.0, "count": 3}},
            "resultMetadata": {"ratio": 6.0, "effectSize": 6.0, "estimate": 10.0, "confidenceInterval": [8.0, 12.0]},
        }
    ]


def test_statistics_of_series() -> None:
    """Of none, of one, of infinite ones."""
    assert statistics_of([]) == {"min": 0.0, "max": 0.0, "mean": 0.0, "std": 0.0, "count": 0}
    assert statistics_of([4.0]) == {"min": 4.0, "max": 4.0, "mean": 4.0, "std": 0.0, "count": 1}
    assert statistics_of([1, 1, 1, 10, 10, 10])["std"] == pytest.approx(4.9295, abs=1e-4)
    assert statistics_of([math.inf, 1.0])["mean"] is None


@given(st.lists(st.floats(), max_size=8), st.lists(st.floats(), max_size=8))
def test_whatever_the_values_the_answer_is_json(control: list[float], experiment: list[float]) -> None:
    """Without NaN or infinity, which JSON has not."""
    for metric in (Metric("m", ("g",)), Metric("m", ("g",), nans_are_zero=True, removes_outliers=True, is_cles=True)):
        answer = judge(Canary((metric,)), series(m=tuple(control)), series(m=tuple(experiment))).to_plain()
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer
