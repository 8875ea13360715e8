"""Reading what Kayenta wrote: every option, and every problem at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import ConfigError
from shadowproxy.judge.kayenta import canary
from shadowproxy.judge.kayenta.canary import Canary, Metric, Series

LIMITS: dict[str, Any] = {"scoreThresholds": {"pass": 95, "marginal": 75}}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metrics", "name", "groups", "values", "analysisConfigurations", "canary", "classifier", "effectSize", "tags", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def problems(read: Any, document: Any) -> list[str]:
    """What is said to be wrong with a document."""
    with pytest.raises(ConfigError) as raised:
        read(document, "c.json")
    return [str(problem) for problem in raised.value.problems]


def test_a_config_with_everything_is_read() -> None:
    """Each option of a metric reaches its field, and what belongs to others is passed over."""
    options = {
        "direction": "increase",
        "nanStrategy": "replace",
        "critical": True,
        "mustHaveData": "true",
        "muted": False,
        "effectSize": {"measure": "cles", "allowedIncrease": 0.6, "allowedDecrease": 0.4, "criticalIncrease": 0.9, "criticalDecrease": 0.1},
        "outliers": {"strategy": "remove", "outlierFactor": 2},
    }
    document = {
        "name": "golden",
        "configVersion": "1",
        "applications": ["shop"],
        "judge": {"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {}},
        "metrics": [
            {"name": "errors", "groups": ["web", "all"], "query": {"type": "prometheus"}, "analysisConfigurations": {"canary": options}},
            {"name": "latency"},
        ],
        "templates": {},
        "classifier": {"groupWeights": {"web": 60}, **LIMITS},
    }
    errors = Metric(
        "errors",
        ("web", "all"),
        is_decrease_bad=False,
        nans_are_zero=True,
        is_critical=True,
        must_have_data=True,
        removes_outliers=True,
        outlier_factor=2.0,
        is_cles=True,
        allowed_increase=0.6,
        allowed_decrease=0.4,
        critical_increase=0.9,
        critical_decrease=0.1,
    )
    assert canary.read(document) == Canary((errors, Metric("latency")), {"web": 60.0}, 95.0, 75.0, "golden")


def test_effects_that_are_not_given_are_neutral_ones() -> None:
    """1 for a ratio of means, a half for the common-language effect size."""
    document = {"metrics": [{"name": "m", "analysisConfigurations": {"canary": {"effectSize": {"measure": "cles"}}}}], "classifier": LIMITS}
    assert canary.read(document).metrics[0].allowed_increase == 0.5
    document = {"metrics": [{"name": "m", "analysisConfigurations": {"canary": {"direction": "decrease"}}}], "classifier": LIMITS}
    assert canary.read(document).metrics == (Metric("m", is_increase_bad=False),)


def test_thresholds_come_from_the_request_or_the_command() -> None:
    """A config in an execution request has its thresholds there; the command line wins over both."""
    document = {
        "canaryConfig": {"metrics": [{"name": "m"}], "classifier": LIMITS},
        "executionRequest": {"thresholds": {"pass": 80, "marginal": 40}},
    }
    assert (canary.read(document).pass_at, canary.read(document).marginal_at) == (80, 40)
    assert canary.read(document, pass_at=90).pass_at == 90
    assert canary.read({"metrics": [{"name": "m"}]}, pass_at=90, marginal_at=50).marginal_at == 50


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """With the path of each, and a guess at what was meant."""
    options = {"direction": "increases", "critical": 1, "effectSize": {"allowedIncrease": "1.2"}, "outliers": {"outlierFactor": 0}}
    document = {
        "metrics": [{"name": "m", "groups": "web", "analysisConfigurations": {"canary": options}}, {"name": "m"}, {"groups": []}, 7],
        "classifier": {"groupWeights": {"web": "heavy"}, "scoreThresholds": {"pass": 50, "marginal": 75}},
    }
    at = "metrics[0].analysisConfigurations.canary"
    assert problems(canary.read, document) == [
        "c.json: metrics[0].groups: must be a list of names, not 'web'",
        f"c.json: {at}.direction: must be one of either, increase, decrease, not 'increases' (did you mean 'increase'?)",
        f"c.json: {at}.outliers.outlierFactor: must be above 0, not 0",
        f"c.json: {at}.effectSize.allowedIncrease: must be a number, not '1.2'",
        f"c.json: {at}.critical: must be true or false, not 1",
        "c.json: metrics[1].name: 'm' is there already",
        "c.json: metrics[2].name: is missing",
        "c.json: metrics[3].name: is missing",
        "c.json: classifier.groupWeights.web: must be a number, not 'heavy'",
        "c.json: classifier.scoreThresholds: marginal 75 is above pass 50",
    ]


def test_a_config_without_metrics_or_thresholds_is_none() -> None:
    """Neither has a default that would be right."""
    assert problems(canary.read, {}) == [
        "c.json: metrics: must be a list of metrics, not nothing",
        "c.json: classifier.scoreThresholds.pass: is missing: give it here or on the command line",
        "c.json: classifier.scoreThresholds.marginal: is missing: give it here or on the command line",
    ]
    assert problems(canary.read, [1]) == ["c.json: config: must be an object, not [1]"]
    assert problems(canary.read, {"metrics": [{"name": "m"}], "classifier": 3})[0] == "c.json: classifier: must be an object, not 3"


def test_series_are_read_from_objects_and_from_metric_sets() -> None:
    """What is null or "NaN" is missing; tags tell series of one metric apart."""
    found = canary.read_series({"errors": [0, 1.5, None, "NaN"]})
    assert (found[0].name, found[0].values[:2], found[0].tags) == ("errors", (0.0, 1.5), ())
    assert all(math.isnan(value) for value in found[0].values[2:])
    sets = [{"name": "m", "values": [1], "tags": {"zone": "b", "app": "x"}, "stepMillis": 60000}, {"name": "m", "values": [2]}]
    assert canary.read_series(sets) == [Series("m", (1.0,), (("app", "x"), ("zone", "b"))), Series("m", (2.0,))]


def test_pairs_are_read_into_two_sides() -> None:
    """As Kayenta's list of metric set pairs has them."""
    pairs = [{"name": "m", "values": {"control": [1, 2], "experiment": [3]}, "tags": {"a": "b"}}]
    assert canary.read_pairs(pairs) == ([Series("m", (1.0, 2.0), (("a", "b"),))], [Series("m", (3.0,), (("a", "b"),))])


def test_series_that_are_none_are_said_to_be() -> None:
    """By metric and by place in the list."""
    assert problems(canary.read_series, {"m": 3, "n": [1, "x", True]}) == [
        "c.json: m: must be a list of numbers, not 3",
        "c.json: n[1]: must be a number or null, not 'x'",
        "c.json: n[2]: must be a number or null, not True",
    ]
    assert problems(canary.read_series, [{"values": []}, 3]) == ["c.json: [0].name: is missing", "c.json: [1].name: is missing"]
    assert problems(canary.read_series, 3) == ["c.json: metrics: must be a list of metric sets, not 3"]
    assert problems(canary.read_pairs, [{"name": "m"}]) == [
        "c.json: [0].values.control: must be a list of numbers, not nothing",
        "c.json: [0].values.experiment: must be a list of numbers, not nothing",
    ]


def test_numbers_beyond_a_float_are_infinite() -> None:
    """JSON has whole numbers of any length."""
    assert canary.read_series({"m": [10**400, -(10**400)]})[0].values == (math.inf, -math.inf)


@given(plain)
def test_whatever_json_says_it_is_read_or_refused(document: Any) -> None:
    """Nothing but a ConfigError, and that with a problem in it."""
    for read in (canary.read, canary.read_series, canary.read_pairs):
        try:
            read(document)
        except ConfigError as error:
            assert error.problems  # noqa: PT017  either outcome is right
