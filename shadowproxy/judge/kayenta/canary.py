"""A canary config and the series of its metrics, as Kayenta stores them in JSON, with every problem found.

Read are: metrics (name, groups, `analysisConfigurations.canary`), `classifier.groupWeights` and
`classifier.scoreThresholds`; thresholds of an `executionRequest` beside a `canaryConfig` win. Queries, templates and
scopes are somebody else's business and are passed over. An unknown direction or strategy is a
problem here, where Kayenta silently takes the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import ConfigError, Problem
from shadowproxy.judge.kayenta.transforms import OUTLIER_FACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIRECTIONS: Final = ("either", "increase", "decrease")
NAN_STRATEGIES: Final = ("none", "remove", "replace")
OUTLIER_STRATEGIES: Final = ("none", "keep", "remove")
MEASURES: Final = ("meanRatio", "cles")

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """How one metric is judged. Effects are ratios of means, or common-language effect sizes if `is_cles`."""

    name: str
    groups: tuple[str, ...] = ()
    is_increase_bad: bool = True
    is_decrease_bad: bool = True
    nans_are_zero: bool = False
    is_critical: bool = False
    must_have_data: bool = False
    is_muted: bool = False
    removes_outliers: bool = False
    outlier_factor: float = OUTLIER_FACTOR
    is_cles: bool = False
    allowed_increase: float = 1.0
    allowed_decrease: float = 1.0
    critical_increase: float = 1.0
    critical_decrease: float = 1.0


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary config: weights are percent by group, thresholds are scores."""

    metrics: tuple[Metric, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    pass_at: float = 95.0
    marginal_at: float = 75.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one metric of one side; what is missing is NaN. Series pair up by name and tags."""

    name: str
    values: tuple[float, ...]
    tags: Tags = ()


class _Reader:
    """Reads plain values by path and remembers what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def wrong(self, path: str, message: str, suggestion: str = "") -> None:
        self.problems.append(Problem(path, message, file=self.file, suggestion=suggestion))

    def check(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)

    def mapping(self, of: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = of.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(path, f"must be an object, not {_shown(value)}")
            return {}
        return value

    def number(self, of: Mapping[str, Any], key: str, path: str, default: float) -> float:
        value = of.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.wrong(f"{path}.{key}", f"must be a number, not {_shown(value)}")
            return default
        return float(value)

    def flag(self, of: Mapping[str, Any], key: str, path: str) -> bool:
        value = of.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        if value in {"true", "false"}:  # Kayenta's own readers take these for booleans
            return bool(value == "true")
        self.wrong(f"{path}.{key}", f"must be true or false, not {_shown(value)}")
        return False

    def choice(self, of: Mapping[str, Any], key: str, path: str, choices: Sequence[str]) -> str:
        value = of.get(key)
        if value is None:
            return choices[0]
        if value not in choices:
            close = get_close_matches(str(value), choices, 1)
            self.wrong(f"{path}.{key}", f"must be one of {', '.join(choices)}, not {_shown(value)}", close[0] if close else "")
            return choices[0]
        return str(value)


def read(plain: object, file: str = "", *, pass_at: float | None = None, marginal_at: float | None = None) -> Canary:
    """Read a canary config, or an object with one under `canaryConfig`.

    Args:
        plain: what JSON was read to.
        file: what problems say the file is.
        pass_at: instead of the config's threshold.
        marginal_at: instead of the config's threshold.

    Raises:
        ConfigError: with everything that is wrong.

    """
    reader = _Reader(file)
    if not isinstance(plain, dict):
        reader.wrong("config", f"must be an object, not {_shown(plain)}")
        reader.check()
        return Canary(())
    config = reader.mapping(plain, "canaryConfig", "canaryConfig") if "canaryConfig" in plain else plain
    metrics = _metrics(reader, config)
    classifier = reader.mapping(config, "classifier", "classifier")
    weights = reader.mapping(classifier, "groupWeights", "classifier.groupWeights")
    read_weights = {name: reader.number(weights, name, "classifier.groupWeights", 0.0) for name in weights}
    thresholds = dict(reader.mapping(classifier, "scoreThresholds", "classifier.scoreThresholds"))
    request = reader.mapping(plain, "executionRequest", "executionRequest")
    thresholds |= reader.mapping(request, "thresholds", "executionRequest.thresholds")
    limits = {}
    for key, given in (("pass", pass_at), ("marginal", marginal_at)):
        if given is None and thresholds.get(key) is None:
            reader.wrong(f"classifier.scoreThresholds.{key}", "is missing: give it here or on the command line")
        limits[key] = reader.number(thresholds, key, "classifier.scoreThresholds", 0.0) if given is None else given
    if limits["marginal"] > limits["pass"]:
        reader.wrong("classifier.scoreThresholds", f"marginal {limits['marginal']:g} is above pass {limits['pass']:g}")
    reader.check()
    return Canary(metrics, read_weights, limits["pass"], limits["marginal"], str(config.get("name", "")))


def _metrics(reader: _Reader, config: Mapping[str, Any]) -> tuple[Metric, ...]:
    listed = config.get("metrics")
    if not isinstance(listed, list) or not listed:
        reader.wrong("metrics", f"must be a list of metrics, not {_shown(listed)}")
        return ()
    metrics: dict[str, Metric] = {}
    for index, plain in enumerate(listed):
        path = f"metrics[{index}]"
        name = plain.get("name") if isinstance(plain, dict) else None
        if not isinstance(name, str) or not name:
            reader.wrong(f"{path}.name", "is missing")
        elif name in metrics:
            reader.wrong(f"{path}.name", f"{name!r} is there already")
        else:
            metrics[name] = _metric(reader, plain, path, name)
    return tuple(metrics.values())


def _metric(reader: _Reader, plain: Mapping[str, Any], path: str, name: str) -> Metric:
    groups = plain.get("groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        reader.wrong(f"{path}.groups", f"must be a list of names, not {_shown(groups)}")
        groups = []
    above = f"{path}.analysisConfigurations"
    at = f"{above}.canary"
    canary = reader.mapping(reader.mapping(plain, "analysisConfigurations", above), "canary", at)
    effect = reader.mapping(canary, "effectSize", f"{at}.effectSize")
    outliers = reader.mapping(canary, "outliers", f"{at}.outliers")
    direction = reader.choice(canary, "direction", at, DIRECTIONS)
    is_cles = reader.choice(effect, "measure", f"{at}.effectSize", MEASURES) == "cles"
    factor = reader.number(outliers, "outlierFactor", f"{at}.outliers", OUTLIER_FACTOR)
    if factor <= 0:
        reader.wrong(f"{at}.outliers.outlierFactor", f"must be above 0, not {factor:g}")
    neutral = 0.5 if is_cles else 1.0
    limits = {
        key: reader.number(effect, key, f"{at}.effectSize", neutral)
        for key in ("allowedIncrease", "allowedDecrease", "criticalIncrease", "criticalDecrease")
    }
    return Metric(
        name=name,
        groups=tuple(groups),
        is_increase_bad=direction != "decrease",
        is_decrease_bad=direction != "increase",
        nans_are_zero=reader.choice(canary, "nanStrategy", at, NAN_STRATEGIES) == "replace",
        is_critical=reader.flag(canary, "critical", at),
        must_have_data=reader.flag(canary, "mustHaveData", at),
        is_muted=reader.flag(canary, "muted", at),
        removes_outliers=reader.choice(outliers, "strategy", f"{at}.outliers", OUTLIER_STRATEGIES) == "remove",
        outlier_factor=factor,
        is_cles=is_cles,
        allowed_increase=limits["allowedIncrease"],
        allowed_decrease=limits["allowedDecrease"],
        critical_increase=limits["criticalIncrease"],
        critical_decrease=limits["criticalDecrease"],
    )


def read_series(plain: object, file: str = "") -> list[Series]:
    """Read the series of one side: an object of lists by metric name, or Kayenta's list of metric sets.

    Raises:
        ConfigError: with everything that is wrong.

    """
    reader = _Reader(file)
    series: list[Series] = []
    if isinstance(plain, dict):
        series = [Series(name, _values(reader, name, values)) for name, values in plain.items()]
    else:
        for path, entry in _entries(reader, plain):
            series.append(Series(entry["name"], _values(reader, f"{path}.values", entry.get("values")), _tags(entry)))
    reader.check()
    return series


def read_pairs(plain: object, file: str = "") -> tuple[list[Series], list[Series]]:
    """Read Kayenta's list of metric set pairs, each with `values.control` and `values.experiment`.

    Returns:
        The series of control and of experiment.

    Raises:
        ConfigError: with everything that is wrong.

    """
    reader = _Reader(file)
    sides: tuple[list[Series], list[Series]] = ([], [])
    for path, entry in _entries(reader, plain):
        values = reader.mapping(entry, "values", f"{path}.values")
        for side, key in zip(sides, ("control", "experiment"), strict=True):
            side.append(Series(entry["name"], _values(reader, f"{path}.values.{key}", values.get(key)), _tags(entry)))
    reader.check()
    return sides


def _entries(reader: _Reader, plain: object) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a list of metric sets that have a name, each with its path."""
    if not isinstance(plain, list):
        reader.wrong("metrics", f"must be a list of metric sets, not {_shown(plain)}")
        return []
    found: list[tuple[str, dict[str, Any]]] = []
    for index, entry in enumerate(plain):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            found.append((f"[{index}]", entry))
        else:
            reader.wrong(f"[{index}].name", "is missing")
    return found


def _tags(entry: Mapping[str, Any]) -> Tags:
    tags = entry.get("tags")
    return tuple(sorted((str(key), str(value)) for key, value in tags.items())) if isinstance(tags, dict) else ()


def _values(reader: _Reader, path: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        reader.wrong(path, f"must be a list of numbers, not {_shown(values)}")
        return ()
    found: list[float] = []
    for index, value in enumerate(values):
        if value is None or value == "NaN":
            found.append(math.nan)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            reader.wrong(f"{path}[{index}]", f"must be a number or null, not {_shown(value)}")
        else:
            found.append(_float(value))
    return tuple(found)


def _float(value: float) -> float:
    """The number as a float; whole numbers beyond its range are infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    """A value in an error message, cut."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
