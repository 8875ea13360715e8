"""About how many more pairs a verdict needs, if things go on as they have been.

Forecasts are estimates for people: no decision rests on them. None means that at the present estimates the evidence
never comes. Each test by itself is `planning`'s; here they are put together as the verdict does it.
"""

from __future__ import annotations

from math import ceil, log
from typing import TYPE_CHECKING

from shadowproxy.judge.betting import NOT_WORSE, WORSE
from shadowproxy.judge.criteria import ERRORS, LATENCY, RHO, SYMMETRY_SHARE, slo_name
from shadowproxy.judge.planning import until_margin, until_more_errors, until_ratio

if TYPE_CHECKING:
    from shadowproxy.judge.betting import Direction, RiskDifference
    from shadowproxy.judge.evidence import MirrorEvidence
    from shadowproxy.judge.pairs import PairEvidence


def until_safe(pairs: PairEvidence) -> int | None:
    """Further pairs until every non-inferiority test is passed."""
    criteria = pairs.criteria
    enough, margin = criteria.safe_threshold, criteria.errors_safe
    waits = [until_margin(pairs.risk, margin, NOT_WORSE, enough), _latency(pairs, criteria.slower_safe, NOT_WORSE, enough)]
    waits += [until_margin(one.risk, margin, NOT_WORSE, enough) for one in pairs.crossings.values()]
    known = [wait for wait in waits if wait is not None]
    return max(known) if len(known) == len(waits) else None


def until_regression(evidence: MirrorEvidence) -> int | None:
    """Further pairs until some test makes the mean of e-values enough, the others showing nothing."""
    pairs, criteria = evidence.pairs, evidence.criteria
    # In a mean a test must show the more, the less it weighs.
    enough = {part.name: criteria.threshold - log(part.weight) for part in evidence.regression_parts()}
    waits = [_worse(pairs.risk, criteria.errors_regression, enough[ERRORS])]
    waits.append(_latency(pairs, criteria.slower, WORSE, enough[LATENCY] - log(SYMMETRY_SHARE)))
    waits += [_worse(one.risk, 0.0, enough[slo_name(threshold)]) for threshold, one in pairs.crossings.items()]
    return min((wait for wait in waits if wait is not None), default=None)


def _worse(risk: RiskDifference, margin: float, enough: float) -> int | None:
    if margin > 0:
        return until_margin(risk, margin, WORSE, enough)
    return until_more_errors(risk.plus, risk.minus, risk.pairs, enough)


def _latency(pairs: PairEvidence, margin: float, direction: Direction, enough: float) -> int | None:
    """In pairs: not every pair has a ratio."""
    sums = pairs.ratio
    if not sums.n:
        return None
    ratios = until_ratio(sums, margin, direction, enough, rho=RHO)
    return None if ratios is None else ceil(ratios * pairs.pairs / sums.n)
