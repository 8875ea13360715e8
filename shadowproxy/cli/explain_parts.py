"""`shadowproxy explain`, of what is beside the config: the rollout of the request's route, and experiments on it.

What is armed is told as workers are told it (`dataplane.messages`: Armed and Split), by the running instance or made here of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain
from shadowproxy.experiments.domains import confined_to
from shadowproxy.policy.explain_parts import PartFinding, explain_slice, explain_split, first_share, unconcerned
from shadowproxy.policy.slices import SlicePolicy, compile_slice
from shadowproxy.policy.splits import compile_split
from shadowproxy.report.experiment_faults import faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.model import Config, Route
    from shadowproxy.policy.explain import Facts

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment that runs, or would."""

    id: str
    experiment: Experiment
    slice: SlicePolicy
    percent: float
    state: str
    endpoints: tuple[str, ...]


class Parts:
    """What is beside the config.

    Args:
        config: which is asked about.
        armed: of the running instance, `{"armed": [...], "splits": [...]}`; None where only files are.
        experiments: that do not run, and are asked about as if they had reached their full share.
    """

    def __init__(self, config: Config, armed: Plain | None = None, experiments: Iterable[Experiment] = ()) -> None:
        self.config = config
        self._splits = {one["route"]: one for one in (armed or {}).get("splits", [])}
        self._runs = [_run(one) for one in (armed or {}).get("armed", [])] + [_planned(one, config) for one in experiments]

    @property
    def wanted(self) -> frozenset[bytes]:
        """The header fields that decisions look at."""
        units = [compile_split(split).unit for route in self.config.routes if (split := self._step(route, 100.0))]
        fields = {unit[1] for unit in units if unit is not None and unit[0] == "header"} | {
            b"cookie" for unit in units if unit and unit[0] == "cookie"
        }
        return frozenset(fields).union(*(run.slice.wanted for run in self._runs))

    def rollout(self, name: str, facts: Facts) -> Plain | None:
        """Which version of a route would answer; None where it has no rollout."""
        route = next(one for one in self.config.routes if one.name == name)
        if route.rollout is None and name not in self._splits:
            return None
        under_way = self._splits.get(name)
        steps = [compile_split(split) for percent in self._steps(route) if (split := self._step(route, percent)) is not None]
        first = first_share(steps, facts)
        said = {"to": steps[0].fleet, "new_from_percent": None if first is None else round(100 * first, 9)}
        if under_way is None:
            nowhere = {"place": None, "reason": "it is not under way", "share": 0.0}
            return {**said, "live": route.live, "percent": None, **_placed(explain_split(steps[0], facts)), **nowhere}
        finding = explain_split(compile_split(under_way), facts)
        return {**said, "live": under_way["live"], "percent": under_way["percent"], **_placed(finding)}

    def experiments(self, route: str, fleet: str, facts: Facts, tenant: bytes) -> list[Plain]:
        """In which slice of each experiment on the route the request is."""
        found = []
        for run in self._runs:
            inject = run.experiment.inject
            if route not in (*inject.routes, *run.experiment.observe):
                continue
            finding = explain_slice(run.slice, facts, tenant)
            spared = ""
            if finding.share:
                spared = unconcerned(inject, route, fleet, facts) or ("the run is paused" if run.state == "paused" else "")
            found.append(
                {
                    "id": run.id,
                    "state": run.state,
                    "percent": run.percent,
                    **_placed(finding),
                    "spared": spared,
                    "endpoints": list(run.endpoints),
                    "faults": faults(experiment_to_plain(run.experiment)),
                }
            )
        return found

    def _steps(self, route: Route) -> Sequence[float]:
        under_way = self._splits.get(route.name)
        steps = route.rollout.steps if route.rollout is not None else ()
        return sorted({*steps, *([under_way["percent"]] if under_way is not None else [])})

    def _step(self, route: Route, percent: float) -> Plain | None:
        """The route's split at a step, as it is told to workers."""
        if (under_way := self._splits.get(route.name)) is not None:
            return {**under_way, "percent": percent}
        rollout = route.rollout
        if rollout is None:
            return None
        return {
            "route": route.name,
            "live": route.live,
            "to": rollout.to,
            "percent": percent,
            "unit": rollout.key,
            "salt": rollout.salt,
            "pinned": list(rollout.pinned),
            "first": list(rollout.first),
            "denied": list(self.config.experiments.deny),
            "epoch": 0,
        }


def lines_of(rollout: Plain | None, experiments: list[Plain]) -> list[str]:
    """The same for people."""
    lines: list[str] = []
    if rollout is not None:
        lines += _rollout_lines(rollout)
    for one in experiments:
        lines += _experiment_lines(one)
    return lines


def _rollout_lines(rollout: Plain) -> list[str]:
    first = rollout["new_from_percent"]
    later = f"; it has the new version from {first:g} % on" if first is not None else ""
    if rollout["percent"] is None:
        return [f"rollout to {rollout['to']}: not under way{later}", *_unit_line(rollout)]
    head = f"rollout to {rollout['to']}, at {rollout['percent']:g} %"
    if rollout["place"] == "by_chance":
        return [f"{head}: {rollout['reason']}"]
    said = f"the new version, as {rollout['place']}" if rollout["share"] else f"the old version, as {rollout['place']}{later}"
    return [f"{head}: {said}", f"  {rollout['reason']}", *_unit_line(rollout)]


def _experiment_lines(one: Plain) -> list[str]:
    head = f"experiment {one['id']} ({one['state']}, {one['percent']:g} %)"
    words = {"fault": "the slice with the fault", "control": "the control slice, which is only watched", "outside": "in neither slice"}
    lines = [f"{head}: {words.get(one['place'], 'as chance has it')}", f"  {one['reason']}"]
    if one["spared"]:
        lines.append(f"  spared: {one['spared']}")
    elif one["share"]:
        verb = "would get" if one["state"] in {"dry", "planned"} else "gets"
        lines.append(f"  {verb}: {'; '.join(one['faults'])}{', and no mirror copies it then' * (one['state'] != 'dry')}")
        if one["endpoints"]:
            lines.append(f"  only where it goes to {', '.join(one['endpoints'])}")
    return lines + _unit_line(one)


def _unit_line(found: Plain) -> list[str]:
    unit = found["unit"]
    if unit is None:
        return []
    where = f"{unit['value']!r}, point {unit['point']:.6f}" if unit["value"] is not None else "none in this request"
    return [f"  unit: {unit['from']}: {where}"]


def _placed(finding: PartFinding) -> Plain:
    value = finding.unit.decode("latin-1") if finding.unit is not None else None
    unit = {"from": finding.unit_from, "value": value, "point": finding.point} if finding.unit_from else None
    return {"place": finding.place, "reason": finding.reason, "share": finding.share, "unit": unit}


def _run(armed: Plain) -> Run:
    """A run as workers are told of it."""
    experiment = experiment_from_plain(armed["experiment"])
    slices = compile_slice(experiment, armed["percent"], tuple(armed["deny"]), is_paused=armed["paused"])
    state = "paused" if armed["paused"] else "dry" if armed["dry"] else "running"
    return Run(armed["id"], experiment, slices, armed["percent"], state, tuple(armed["endpoints"] or ()))


def _planned(experiment: Experiment, config: Config) -> Run:
    percent = experiment.slice.percent
    endpoints = tuple(sorted(confined_to(experiment, config) or ()))
    return Run(experiment.name, experiment, compile_slice(experiment, percent, config.experiments.deny), percent, "planned", endpoints)
