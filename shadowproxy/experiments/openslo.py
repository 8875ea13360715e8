"""Service level objectives of other tools: OpenSLO v1 documents of kind SLO, read strictly, as what `budget.slo` says (STATISTICS C10).

An experiment's budget counts answers. So does `Occurrences`; `RatioTimeslices` does where traffic is even. `Timeslices` counts slices of time that were bad; a slice is
bad when more than 1 - timeSliceTarget of its answers are, so that the fewest bad answers that use up its budget are (1 - target) * (1 - timeSliceTarget) of all: that is what is imported.

Source: OpenSLO specification v1, https://github.com/OpenSLO/OpenSLO.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.declare import Percent, Seconds
from shadowproxy.config.experiment import Slo
from shadowproxy.config.load import read_text
from shadowproxy.config.read import Literal
from shadowproxy.config.report import child, closest, item
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.report import Report

VERSION: Final = "openslo/v1"

METHODS: Final = ("Occurrences", "Timeslices", "RatioTimeslices")

UNITS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "M": 30 * 86400, "Q": 90 * 86400, "Y": 365 * 86400}
"""Seconds of each unit; months and longer as thirty days each, and 365 of a year."""

_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhdwMQY])")

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "": ("apiVersion", "kind", "metadata", "spec"),
    "metadata": ("name", "displayName", "labels", "annotations"),
    "spec": ("description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies"),
    "timeWindow": ("duration", "isRolling", "calendar"),
    "objective": (
        "displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow", "indicator", "indicatorRef", "compositeWeight",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective of a document.

    Attributes:
        name: of the SLO, and of the objective where it has one.
        slo: what an experiment spends error budget of.
        note: how it was translated, where it counts something other than answers; else empty.

    """

    name: str
    slo: Slo
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Common:
    """What all objectives of a document share; the period in seconds."""

    name: str
    method: str
    period: float


def read_objectives(text: str | bytes, *, file: str = "<text>") -> tuple[Objective, ...]:
    """Return the objectives of an OpenSLO document, the strictest first.

    Args:
        text: YAML or JSON, one document.
        file: what problems call it.

    Raises:
        ConfigError: with every problem, each with its line and column; also what is not understood is one.

    """
    value, report = read_text(text, file=file)
    found = _document(_plain(value), report)
    if report.has_errors:
        raise ConfigError(report.in_order())
    return tuple(sorted(found, key=lambda objective: -objective.slo.target))


def _plain(value: Any) -> Any:
    """Return the value without the texts that scalars were written as."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return (value.text if value.is_text else value.value) if isinstance(value, Literal) else value


def _document(value: Any, report: Report) -> list[Objective]:
    document = _mapping(value, "", _KEYS[""], report)
    if document.get("apiVersion") != VERSION:
        report.error("apiVersion", f"expected {VERSION}, got {document.get('apiVersion')!r}")
    if document.get("kind") != "SLO":
        report.error("kind", f"expected SLO, got {document.get('kind')!r}")
    if report.has_errors:
        return []
    metadata = _mapping(document.get("metadata"), "metadata", _KEYS["metadata"], report)
    spec = _mapping(document.get("spec"), "spec", _KEYS["spec"], report)
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        report.error("metadata.name", "names no SLO")
    method = spec.get("budgetingMethod")
    if method not in METHODS:
        report.error("spec.budgetingMethod", f"expected one of {', '.join(METHODS)}, got {method!r}")
    period = _period(spec.get("timeWindow"), report)
    objectives = spec.get("objectives")
    if not isinstance(objectives, list) or not objectives:
        report.error("spec.objectives", "expected a list of at least one objective")
        return []
    common = _Common(str(name), str(method), period)
    found = [_objective(one, item("spec.objectives", index), common, report) for index, one in enumerate(objectives)]
    return [one for one in found if one is not None]


def _period(value: Any, report: Report) -> float:
    path = "spec.timeWindow"
    if not isinstance(value, list) or len(value) != 1:
        report.error(path, "expected a list of one time window")
        return 0.0
    window = _mapping(value[0], item(path, 0), _KEYS["timeWindow"], report)
    found = _DURATION.fullmatch(str(window.get("duration", "")))
    if found is None:
        report.error(child(item(path, 0), "duration"), f"expected a duration such as 28d or 1M, got {window.get('duration')!r}")
        return 0.0
    if bool(window.get("calendar")) == (window.get("isRolling") is True):
        report.error(item(path, 0), "give isRolling: true, or a calendar")
    return float(int(found[1]) * UNITS[found[2]])


def _objective(value: Any, path: str, common: _Common, report: Report) -> Objective | None:
    objective = _mapping(value, path, _KEYS["objective"], report)
    target = _target(objective, path, report)
    title = objective.get("displayName")
    shown = f"{common.name}: {title}" if isinstance(title, str) and title else common.name
    note = ""
    if common.method == "Timeslices":
        slices: Any = objective.get("timeSliceTarget")
        if not _is_share(slices):
            report.error(child(path, "timeSliceTarget"), f"expected a number above 0 and below 1, got {slices!r}")
            return None
        note = f"counts slices of time: as many bad answers are allowed as could spoil {100 * (1 - target):.4g} % of the slices"
        target = 1 - (1 - target) * (1 - slices)
    elif common.method == "RatioTimeslices":
        note = "averages over slices of time: taken as an average over answers, which it is where traffic is even"
    if report.has_errors or not common.period:
        return None
    return Objective(shown, Slo(target=Percent(round(100 * target, 9)), period=Seconds(common.period)), note)


def _target(objective: Mapping[str, Any], path: str, report: Report) -> float:
    given = [key for key in ("target", "targetPercent") if key in objective]
    if len(given) != 1:
        report.error(path, "give one of target and targetPercent")
        return 0.0
    value = objective[given[0]]
    share = value / 100 if given[0] == "targetPercent" and isinstance(value, int | float) else value
    if not _is_share(share):
        most = "100" if given[0] == "targetPercent" else "1"
        report.error(child(path, given[0]), f"expected a number above 0 and below {most}, got {value!r}")
        return 0.0
    return float(share)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


def _mapping(value: Any, path: str, known: tuple[str, ...], report: Report) -> dict[str, Any]:
    if not isinstance(value, dict):
        report.error(path, f"expected a mapping, got {type(value).__name__}")
        return {}
    for key in value:
        if key not in known:
            report.error(child(path, str(key)), "OpenSLO v1 has no such field here", suggestion=closest(str(key), known), on_key=True)
    return value
