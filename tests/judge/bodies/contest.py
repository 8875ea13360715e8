"""The corpus judged by field evidence and by Diffy's rule, on the same pairs.

    python -m tests.judge.bodies.contest --cases 20 --pairs 1500

Recall: of the regressions, the share that is reported. False discovery rate: of what is
reported, the share that is none of the regressions, on average over cases (nothing
reported counts as 0). `peeked` takes the worst of ten looks at each case instead of the last.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from shadowproxy.judge.bodies.comparison import compare
from shadowproxy.judge.bodies.evidence import Evidence
from shadowproxy.judge.bodies.fieldcounts import Basis
from tests.judge.bodies import corpus
from tests.judge.bodies.diffy import Diffy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.judge.bodies.corpus import Case

LOOKS = 10
METHODS = ("evidence, control", "evidence, direction", "Diffy's rule")


@dataclass
class Score:
    """One method over cases."""

    recalls: list[float] = field(default_factory=list)
    false_shares: list[float] = field(default_factory=list)
    peeked: list[float] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, case: Case, looks: list[set[str]]) -> None:
        """Score one case, by what was reported at each look."""
        right = {place for regression, _ in case.regressions for place in regression.places}
        hits = [regression for regression, _ in case.regressions if set(regression.places) & looks[-1]]
        if case.regressions:
            self.recalls.append(len(hits) / len(case.regressions))
        shares = [len(reported - right) / len(reported) if reported else 0.0 for reported in looks]
        self.false_shares.append(shares[-1])
        self.peeked.append(max(shares))
        self.false += sorted(looks[-1] - right)
        self.missed += [f"{regression.name} ({share:.3f})" for regression, share in case.regressions if regression not in hits]


def judge(case: Case, pairs: int, alpha: float = 0.05) -> dict[str, list[set[str]]]:
    """What each method reports of a case, at each of `LOOKS` looks."""
    control, direction, rival = Evidence(Basis.CONTROL), Evidence(Basis.DIRECTION), Diffy()
    looks: dict[str, list[set[str]]] = {name: [] for name in METHODS}
    for index, triple in enumerate(case.triples(pairs)):
        shadow = compare(triple.live, triple.shadow, watched=control.watched)
        control.observe(str(index), shadow, compare(triple.live, triple.control))
        direction.observe(str(index), shadow)
        rival.observe(triple)
        if (index + 1) % (pairs // LOOKS) == 0:
            for name, evidence in (("evidence, control", control), ("evidence, direction", direction)):
                looks[name].append({_plain(finding.path) for finding in evidence.findings(alpha) if finding.is_reported})
            looks["Diffy's rule"].append(rival.reported())
    return looks


def _plain(path: str) -> str:
    return path.replace("[*]", "")


def contest(cases: Iterable[Case], pairs: int) -> dict[str, Score]:
    """The scores of all methods."""
    scores = {name: Score() for name in METHODS}
    for case in cases:
        for name, looks in judge(case, pairs).items():
            scores[name].add(case, looks)
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--regressions", type=int, default=8)
    parser.add_argument("--one-world", action="store_true", help="the shadow issues the same ids as live")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    scores = contest(
        (corpus.case(seed, given.regressions, are_worlds_apart=not given.one_world) for seed in range(given.cases)), given.pairs
    )
    print(f"{given.cases} cases of {given.pairs} requests, {given.regressions} regressions each\n")
    print("| method | recall | false discovery rate | worst of ten looks |\n|---|---|---|---|")
    for name, score in scores.items():
        recall = f"{fmean(score.recalls):.1%}" if score.recalls else "-"
        print(f"| {name} | {recall} | {fmean(score.false_shares):.1%} | {fmean(score.peeked):.1%} |")
        if given.verbose:
            print("  false:", ", ".join(sorted(set(score.false))), "\n  missed:", ", ".join(sorted(score.missed)))


if __name__ == "__main__":
    main()
