"""Evidence as JSON and back: everything is counts and sums, so nothing is lost but the detector of late faults, which begins anew.

A snapshot is only good for the criteria that it was taken under: bets were laid by them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge.evidence import Alarm, MirrorEvidence
from shadowproxy.judge.symmetry import LogRatio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.judge.betting import RiskDifference
    from shadowproxy.judge.calibration import Calibration, Sampling
    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.pairs import PairEvidence

VERSION: Final = 1

Plain = dict[str, Any]

_PAIRS: Final = ("pairs", "baseline_errors", "shadow_errors", "baseline_only", "shadow_only")
_CALIBRATION: Final = ("pairs", "live_only", "control_only", "peak")
_SAMPLING: Final = ("copied", "left_out", "peak")
_MIRROR: Final = ("eligible", "log_e_bodies")
_SKETCHES: Final = ("live_last", "shadow_last", "left_out_last")


def dump(evidence: MirrorEvidence) -> Plain:
    """All that `load` needs, as JSON has it."""
    return {
        "version": VERSION,
        "criteria": _as_json(evidence.criteria),
        **_read(evidence, _MIRROR),
        "fates": dict(evidence.fates),
        "sketches": {name: _sketch(getattr(evidence, name)) for name in _SKETCHES},
        "alarm": None if evidence.alarm is None else asdict(evidence.alarm),
        "pairs": _dump_pairs(evidence.pairs),
        "calibration": None if evidence.calibration is None else _dump_calibration(evidence.calibration),
        "sampling": None if evidence.sampling is None else _read(evidence.sampling, _SAMPLING),
    }


def load(criteria: Criteria, snapshot: Mapping[str, Any]) -> MirrorEvidence:
    """The evidence of a snapshot.

    Raises:
        ValueError: it is of another version, or was taken under other criteria.
    """
    if snapshot.get("version") != VERSION:
        raise ValueError(f"a snapshot of version {snapshot.get('version')}, not {VERSION}")
    if snapshot["criteria"] != _as_json(criteria):
        raise ValueError("the snapshot was taken under other criteria")
    evidence = MirrorEvidence(criteria)
    _write(evidence, _MIRROR, snapshot)
    evidence.fates = Counter(snapshot["fates"])
    for name in _SKETCHES:
        setattr(evidence, name, _buckets(snapshot["sketches"][name]))
    evidence.alarm = None if snapshot["alarm"] is None else Alarm(**snapshot["alarm"])
    _load_pairs(evidence.pairs, snapshot["pairs"])
    if evidence.calibration is not None:
        _load_calibration(evidence.calibration, snapshot["calibration"])
    if evidence.sampling is not None:
        _write(evidence.sampling, _SAMPLING, snapshot["sampling"])
    return evidence


def _dump_pairs(pairs: PairEvidence) -> Plain:
    return {
        **_read(pairs, _PAIRS),
        "matrix": _matrix(pairs.matrix),
        "risk": _risk(pairs.risk),
        "ratio": asdict(pairs.ratio),
        "buckets": _sketch(pairs.buckets),
        "crossings": {
            str(threshold): {"baseline_only": one.baseline_only, "shadow_only": one.shadow_only, "risk": _risk(one.risk)}
            for threshold, one in pairs.crossings.items()
        },
    }


def _load_pairs(pairs: PairEvidence, snapshot: Mapping[str, Any]) -> None:
    _write(pairs, _PAIRS, snapshot)
    pairs.matrix = _cells(snapshot["matrix"])
    pairs.risk.update(*snapshot["risk"])
    pairs.ratio = LogRatio(**snapshot["ratio"])
    pairs.buckets = _buckets(snapshot["buckets"])
    for threshold, one in pairs.crossings.items():
        seen = snapshot["crossings"][str(threshold)]
        _write(one, ("baseline_only", "shadow_only"), seen)
        one.risk.update(*seen["risk"])


def _dump_calibration(calibration: Calibration) -> Plain:
    ratios = {"ratio": asdict(calibration.ratio), "back": asdict(calibration.back)}
    return {**_read(calibration, _CALIBRATION), "matrix": _matrix(calibration.matrix), **ratios}


def _load_calibration(calibration: Calibration, snapshot: Mapping[str, Any]) -> None:
    _write(calibration, _CALIBRATION, snapshot)
    calibration.matrix = _cells(snapshot["matrix"])
    calibration.ratio, calibration.back = LogRatio(**snapshot["ratio"]), LogRatio(**snapshot["back"])


def _as_json(criteria: Criteria) -> Plain:
    return {**asdict(criteria), "slo_ns": list(criteria.slo_ns)}


def _read(value: MirrorEvidence | PairEvidence | Calibration | Sampling, names: tuple[str, ...]) -> Plain:
    return {name: getattr(value, name) for name in names}


def _write(value: object, names: tuple[str, ...], snapshot: Mapping[str, Any]) -> None:
    for name in names:
        setattr(value, name, snapshot[name])


def _risk(risk: RiskDifference) -> list[int]:
    return [risk.plus, risk.zero, risk.minus]


def _matrix(matrix: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {f"{live},{shadow}": count for (live, shadow), count in matrix.items()}


def _cells(matrix: Mapping[str, int]) -> Counter[tuple[str, str]]:
    cells: Counter[tuple[str, str]] = Counter()
    for cell, count in matrix.items():
        live, _, shadow = cell.partition(",")
        cells[live, shadow] = count
    return cells


def _sketch(sketch: Mapping[int, int]) -> dict[str, int]:
    return {str(bucket): count for bucket, count in sketch.items()}


def _buckets(sketch: Mapping[str, int]) -> dict[int, int]:
    return {int(bucket): count for bucket, count in sketch.items()}
