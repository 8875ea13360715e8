"""What a comparison says, in figures and in sentences.

Reads the documents of `GET /api/v1/compare` and `GET /api/v1/verdict`. A sentence about a
comparison says that live and shadow differ, where and by how much; the conclusion is the verdict's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WORTH_MS: Final = 2.0
WORTH_SHARE: Final = 0.2
"""A median is called different when it is off by both: smaller gaps are what two equal shops on one laptop show."""

_ENOUGH: Final = 20
"""Pairs from which a median is worth a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One leg of the pairs of a route; milliseconds from dispatch to last byte, None before the first pair."""

    p50_ms: float | None
    p99_ms: float | None
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Live and shadow on one route.

    `changes` has the pairs whose outcomes differ, as (live, shadow, count), most frequent
    first; `not_compared` the other fates of eligible requests; `penalty_p50_ms` what
    mirroring costs live at the median, None while nobody was held out.
    """

    route: str
    eligible: int
    pending: int
    pairs: int
    live: Side
    shadow: Side
    changes: tuple[tuple[str, str, int], ...]
    bodies_different: int
    bodies_compared: int
    not_compared: dict[str, int]
    is_conserved: bool
    penalty_p50_ms: float | None


def read(document: dict[str, Any]) -> list[Comparison]:
    """Every mirror of a `compare` document, in its order.

    Raises:
        KeyError: the document is of another shape.
    """
    return [_read_mirror(mirror) for mirror in document["mirrors"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict on one route: REGRESSION, SAFE, UNDECIDED or INVALID, and its sentence."""

    route: str
    verdict: str
    summary: str


def read_verdicts(document: dict[str, Any]) -> list[Ruling]:
    """Every mirror of a `verdict` document, in its order.

    Raises:
        KeyError: the document is of another shape.
    """
    return [Ruling(route=one["route"], verdict=one["verdict"], summary=one["summary"]) for one in document["verdicts"]]


def _read_mirror(mirror: dict[str, Any]) -> Comparison:
    matrix = [(cell["live"], cell["shadow"], cell["count"]) for cell in mirror["matrix"]]
    bodies = mirror["bodies"]
    return Comparison(
        route=mirror["route"],
        eligible=mirror["eligible"],
        pending=mirror["pending"],
        pairs=mirror["pairs"],
        live=_read_side(mirror, "live"),
        shadow=_read_side(mirror, "shadow"),
        changes=tuple((live, shadow, count) for live, shadow, count in matrix if live != shadow),
        bodies_different=bodies["different"],
        bodies_compared=bodies["different"] + bodies["equal"],
        not_compared={fate: count for fate, count in mirror["fates"].items() if fate != "paired" and count},
        is_conserved=mirror["is_conserved"],
        penalty_p50_ms=_ms(mirror["live_penalty"]["p50"]),
    )


def _read_side(mirror: dict[str, Any], side: str) -> Side:
    last = mirror["latency"][side]["last"]
    return Side(p50_ms=_ms(last["p50"]), p99_ms=_ms(last["p99"]), errors=mirror["errors"][side]["count"])


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000.0


def share(part: int, whole: int) -> str:
    """`2.6 %`; a dash where there is no whole."""
    return f"{100.0 * part / whole:.1f} %" if whole else "-"


def sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """What differs between live and shadow and where, one sentence each; never empty."""
    found = [sentence for comparison in comparisons for sentence in _of_route(comparison)]
    return found or ["Nothing differs: same outcomes, same bodies, medians within what two equal services show."]


def _of_route(comparison: Comparison) -> list[str]:
    name = comparison.route
    found = []
    gap = _gap(comparison)
    if gap:
        live, shadow = comparison.live, comparison.shadow
        more = f", p99 {live.p99_ms:.1f} -> {shadow.p99_ms:.1f} ms" if live.p99_ms is not None and shadow.p99_ms is not None else ""
        word = "slower" if gap > 0 else "faster"
        found.append(
            f"{name} is {word} on the shadow: p50 {live.p50_ms:.1f} -> {shadow.p50_ms:.1f} ms ({gap:+.1f} ms){more}, over {comparison.pairs:,} pairs."
        )
    for live_outcome, shadow_outcome, count in comparison.changes[:3]:
        found.append(
            f"{name} answers differently: live {live_outcome} but shadow {shadow_outcome} for {count:,} of {comparison.pairs:,} pairs"
            f" ({share(count, comparison.pairs)})."
        )
    # A changed status changes the body too, and has been said.
    other = comparison.bodies_different - sum(count for *_, count in comparison.changes)
    if other > 0:
        found.append(
            f"{name} shows other content: the same status but a different body for {other:,} of {comparison.bodies_compared:,} pairs"
            f" ({share(other, comparison.bodies_compared)})."
        )
    return found


def _gap(comparison: Comparison) -> float:
    """Shadow's median minus live's in milliseconds where that is worth a sentence, else 0."""
    live, shadow = comparison.live.p50_ms, comparison.shadow.p50_ms
    if live is None or shadow is None or comparison.pairs < _ENOUGH:
        return 0.0
    gap = shadow - live
    return gap if abs(gap) >= WORTH_MS and abs(gap) >= WORTH_SHARE * live else 0.0


def accounting(comparisons: Sequence[Comparison]) -> str:
    """Where every request that could be mirrored went, in one sentence."""
    eligible = sum(comparison.eligible for comparison in comparisons)
    fates: dict[str, int] = {"compared": sum(comparison.pairs for comparison in comparisons)}
    for comparison in comparisons:
        for fate, count in comparison.not_compared.items():
            if not fate.startswith("failed_"):  # those are compared: their outcome is in the matrix
                fates[fate] = fates.get(fate, 0) + count
    fates["under way"] = sum(comparison.pending for comparison in comparisons)
    parts = " + ".join(f"{count:,} {fate.replace('_', ' ')}" for fate, count in fates.items() if count or fate == "compared")
    adds_up = sum(fates.values()) == eligible and all(comparison.is_conserved for comparison in comparisons)
    return f"{eligible:,} requests could be mirrored = {parts}" + (
        "; every one is accounted for." if adds_up else "; THE COUNTS DO NOT ADD UP."
    )


def penalty(comparisons: Sequence[Comparison]) -> float | None:
    """What mirroring cost live, in milliseconds: the median over routes of the gap between mirrored and held-out medians."""
    gaps = sorted(comparison.penalty_p50_ms for comparison in comparisons if comparison.penalty_p50_ms is not None)
    return gaps[len(gaps) // 2] if gaps else None
