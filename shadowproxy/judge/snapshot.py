"""Evidence as JSON and back: everything is counts and sums, so nothing is lost.

A snapshot is only good for the criteria that it was taken under: bets were laid by them. What is read back is checked:
a file that was damaged or changed by hand is refused as a whole.

Going on from a snapshot is sound because evidence at a snapshot is evidence at a moment of the run like any other. Pairs
between the snapshot and the next start are seen by nobody and count for neither side; that keeps every e-process one as
long as the moment at which the process ended was not chosen by their outcomes (docs/verdicts.md says what follows).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge.evidence import Alarm, MirrorEvidence
from shadowproxy.judge.symmetry import LogRatio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.judge.betting import RiskDifference
    from shadowproxy.judge.calibration import Calibration, Sampling
    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.detectors import ShiryaevRoberts
    from shadowproxy.judge.pairs import PairEvidence

VERSION: Final = 1

COUNT_LIMIT: Final = 2**53
"""Greatest count that is believed: what all readers of JSON have exactly."""

Plain = dict[str, Any]

_PAIRS: Final = ("pairs", "baseline_errors", "shadow_errors", "baseline_only", "shadow_only")
_CALIBRATION: Final = ("pairs", "live_only", "control_only")
_SAMPLING: Final = ("copied", "left_out")
_CROSSINGS: Final = ("baseline_only", "shadow_only")
_SKETCHES: Final = ("live_last", "shadow_last", "left_out_last")


def dump(evidence: MirrorEvidence) -> Plain:
    """All that `load` needs, as JSON has it. Shares nothing with `evidence`, which may go on."""
    return {
        "version": VERSION,
        "criteria": _as_json(evidence.criteria),
        "eligible": evidence.eligible,
        "log_e_bodies": evidence.log_e_bodies,
        "fates": dict(evidence.fates),
        "sketches": {name: _sketch(getattr(evidence, name)) for name in _SKETCHES},
        "alarm": None if evidence.alarm is None else asdict(evidence.alarm),
        "pairs": _dump_pairs(evidence.pairs),
        "calibration": None if evidence.calibration is None else _dump_calibration(evidence.calibration),
        "sampling": None if evidence.sampling is None else {**_read(evidence.sampling, _SAMPLING), "peak": evidence.sampling.peak},
    }


def load(criteria: Criteria, snapshot: Mapping[str, Any]) -> MirrorEvidence:
    """The evidence of a snapshot.

    Raises:
        ValueError: it is of another version, was taken under other criteria, or is none.
    """
    try:
        if snapshot["version"] != VERSION:
            raise ValueError(f"a snapshot of version {snapshot['version']}, not {VERSION}")
        if snapshot["criteria"] != _as_json(criteria):
            raise ValueError("the snapshot was taken under other criteria")
        return _loaded(criteria, snapshot)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"no snapshot: {type(error).__name__}") from None


def _loaded(criteria: Criteria, snapshot: Mapping[str, Any]) -> MirrorEvidence:
    evidence = MirrorEvidence(criteria)
    evidence.eligible = _count(snapshot["eligible"])
    evidence.log_e_bodies = evidence.log_e_bodies_before = _number(snapshot["log_e_bodies"])
    evidence.fates = Counter({fate: _count(count) for fate, count in snapshot["fates"].items()})
    for name in _SKETCHES:
        setattr(evidence, name, _buckets(snapshot["sketches"][name]))
    if snapshot["alarm"] is not None:
        alarm = snapshot["alarm"]
        evidence.alarm = Alarm(_count(alarm["pairs"]), _number(alarm["log_e"]), str(alarm["cause"]))
    _load_pairs(evidence.pairs, snapshot["pairs"])
    if evidence.calibration is not None:
        _load_calibration(evidence.calibration, snapshot["calibration"])
    if evidence.sampling is not None:
        _write(evidence.sampling, _SAMPLING, snapshot["sampling"])
        evidence.sampling.peak = _number(snapshot["sampling"]["peak"])
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
        "detector": _dump_detector(pairs.detector),
    }


def _load_pairs(pairs: PairEvidence, snapshot: Mapping[str, Any]) -> None:
    _write(pairs, _PAIRS, snapshot)
    pairs.matrix = _cells(snapshot["matrix"])
    pairs.risk.update(*_counts(snapshot["risk"]))
    pairs.ratio = _ratio(snapshot["ratio"])
    pairs.buckets = _buckets(snapshot["buckets"])
    for threshold, one in pairs.crossings.items():
        seen = snapshot["crossings"][str(threshold)]
        _write(one, _CROSSINGS, seen)
        one.risk.update(*_counts(seen["risk"]))
    chains = [-inf if chain is None else _number(chain) for chain in snapshot["detector"]["chains"]]
    pairs.detector.resume(_count(snapshot["detector"]["seen"]), chains)


def _dump_detector(detector: ShiryaevRoberts) -> Plain:
    return {"seen": detector.seen, "chains": [None if chain == -inf else chain for chain in detector.chains]}


def _dump_calibration(calibration: Calibration) -> Plain:
    ratios = {"ratio": asdict(calibration.ratio), "back": asdict(calibration.back), "peak": calibration.peak}
    return {**_read(calibration, _CALIBRATION), "matrix": _matrix(calibration.matrix), **ratios}


def _load_calibration(calibration: Calibration, snapshot: Mapping[str, Any]) -> None:
    _write(calibration, _CALIBRATION, snapshot)
    calibration.matrix = _cells(snapshot["matrix"])
    calibration.ratio, calibration.back = _ratio(snapshot["ratio"]), _ratio(snapshot["back"])
    calibration.peak = _number(snapshot["peak"])


def _as_json(criteria: Criteria) -> Plain:
    return {**asdict(criteria), "slo_ns": list(criteria.slo_ns)}


def _read(value: PairEvidence | Calibration | Sampling, names: tuple[str, ...]) -> Plain:
    return {name: getattr(value, name) for name in names}


def _write(value: object, names: tuple[str, ...], snapshot: Mapping[str, Any]) -> None:
    for name in names:
        setattr(value, name, _count(snapshot[name]))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= COUNT_LIMIT:
        raise ValueError(f"no snapshot: {str(value)[:40]!r} where a count must be")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not isfinite(value):
        raise ValueError(f"no snapshot: {str(value)[:40]!r} where a number must be")
    return float(value)


def _counts(values: Sequence[Any]) -> list[int]:
    return [_count(value) for value in values]


def _ratio(sums: Mapping[str, Any]) -> LogRatio:
    n, s1, s2 = _count(sums["n"]), _number(sums["s1"]), _number(sums["s2"])
    if s2 < 0.0:
        raise ValueError("no snapshot: a sum of squares below 0")
    return LogRatio(n, s1, s2)


def _risk(risk: RiskDifference) -> list[int]:
    return [risk.plus, risk.zero, risk.minus]


def _matrix(matrix: Mapping[tuple[str, str], int]) -> dict[str, int]:
    return {f"{live},{shadow}": count for (live, shadow), count in matrix.items()}


def _cells(matrix: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    cells: Counter[tuple[str, str]] = Counter()
    for cell, count in matrix.items():
        live, _, shadow = cell.partition(",")
        cells[live, shadow] = _count(count)
    return cells


def _sketch(sketch: Mapping[int, int]) -> dict[str, int]:
    return {str(bucket): count for bucket, count in sketch.items()}


def _buckets(sketch: Mapping[str, Any]) -> dict[int, int]:
    return {int(bucket): _count(count) for bucket, count in sketch.items()}
