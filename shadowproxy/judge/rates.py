"""Counts that fall into arms: unpaired error rates, their ratio, and the sample-ratio check (STATISTICS C6).

Given that an event happens (an error, or a request at all), it falls to an arm with the arm's
share of the traffic if the arms are alike. Rates may change with the hour as long as they
change for all arms at once. So two integers are enough, at any moment.

Source: Lindon and Malek, Anytime-valid inference for multinomial count data (NeurIPS 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.boundaries import BetaBinomialMixture, crossing

if TYPE_CHECKING:
    from collections.abc import Sequence

CONCENTRATION: Final = 100.0
"""Prior events of a comparison of rates: finds differences that are large, soon."""

RATIO_CONCENTRATION: Final = 10_000.0
"""Prior requests of the sample-ratio check: finds small shifts of large counts."""

CERTAIN: Final = 1e9
"""The log evidence of what cannot happen: a request in an arm whose share is none. Finite, so that it can be written down."""

_WIDEST: Final = 60.0
"""Of the logarithm of odds: beyond, a share is 0 or 1 to the last digit."""


def log_marginal(counts: Sequence[int], prior: Sequence[float]) -> float:
    """The logarithm of a sequence's probability under shares drawn from a Dirichlet distribution.

    Args:
        counts: how many of the sequence fell in each cell.
        prior: the distribution's parameters, each above 0.

    """
    total = lgamma(sum(prior)) - lgamma(sum(prior) + sum(counts))
    return total + sum(lgamma(a + n) - lgamma(a) for a, n in zip(prior, counts, strict=True) if n)


def log_e_shares(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """The logarithm of the e-process against "each event falls in cell k with probability ``shares[k]``".

    Args:
        counts: events in each cell.
        shares: probabilities that sum to 1. A cell with share 0 must be empty; if it is not, the result is `CERTAIN`.
        concentration: weight of the prior, which is centred on `shares`, in events.

    Raises:
        ValueError: counts or shares are negative, shares do not sum to 1, or concentration is not above 0.

    """
    if any(n < 0 for n in counts) or any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-9 or concentration <= 0:
        raise ValueError(f"counts {list(counts)} cannot be tested against shares {list(shares)} with concentration {concentration}")
    cells = [(n, share) for n, share in zip(counts, shares, strict=True) if share > 0]
    if sum(n for n, _ in cells) < sum(counts):
        return CERTAIN
    marginal = log_marginal([n for n, _ in cells], [concentration * share for _, share in cells])
    return marginal - sum(n * log(share) for n, share in cells if n)


@dataclass(frozen=True, slots=True)
class RateRatio:
    """The shadow's rate of events over live's: estimate, interval at every moment, and evidence that it is not 1.

    `high` is None where live's share may be nothing.
    """

    estimate: float | None
    low: float
    high: float | None
    log_e: float


def rate_ratio(live: int, shadow: int, share: float, alpha: float = 0.05, concentration: float = CONCENTRATION) -> RateRatio:
    """Compare the arms' rates of an event from its two counts.

    Args:
        live: events of the live arm.
        shadow: events of the shadow arm.
        share: the shadow arm's share of the requests, in (0, 1).
        alpha: probability that the interval ever misses the ratio.
        concentration: weight of the prior in events.

    Raises:
        ValueError: `share` or `alpha` is not between 0 and 1.

    """
    if not (0 < share < 1 and 0 < alpha < 1):
        raise ValueError(f"no rates to compare at share {share} and alpha {alpha}")
    odds = log(share) - log1p(-share)
    marginal = log_marginal((shadow, live), (concentration * share, concentration * (1 - share)))
    threshold = log(1 / alpha)

    def excess(logit: float) -> float:
        """Evidence against the share with these log-odds, less the threshold; convex, least at the observed share."""
        return marginal + shadow * log1p(exp(-logit)) + live * log1p(exp(logit)) - threshold

    total = live + shadow
    middle = log(shadow / live) if live and shadow else (_WIDEST if shadow else -_WIDEST) if total else 0.0
    low = crossing(lambda x: -excess(x), -_WIDEST, middle) if total and shadow and excess(-_WIDEST) > 0 else -_WIDEST
    high = crossing(excess, middle, _WIDEST) if total and live and excess(_WIDEST) > 0 else _WIDEST
    return RateRatio(
        estimate=shadow / live * exp(-odds) if live else None,
        low=exp(low - odds) if low > -_WIDEST else 0.0,
        high=exp(high - odds) if high < _WIDEST else None,
        log_e=log_e_shares((shadow, live), (share, 1 - share), concentration),
    )


def log_e_sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The logarithm of the e-process against "requests were shared out as configured".

    Not for sticky choices: all requests of a unit are chosen together, so they are not independent.

    Args:
        counts: requests that fell to each arm.
        shares: each arm's share, adding up to 1.

    Raises:
        ValueError: as `log_e_shares`.

    """
    return log_e_shares(counts, shares, RATIO_CONCENTRATION)


def share_interval(
    successes: float, trials: int, alpha: float = 0.05, t_opt: float = 100.0, alpha_opt: float = 0.05
) -> tuple[float, float]:
    """Where a probability is, at all moments together, after `successes` of `trials`.

    Args:
        successes: from 0 to `trials`.
        trials: independent, or with that conditional probability given the past.
        alpha: probability that the interval ever misses it.
        t_opt: the number of trials at which it is narrowest.
        alpha_opt: the alpha it is tuned for.

    Raises:
        ValueError: `successes` is not among `trials`.

    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share")
    if not trials:
        return 0.0, 1.0
    seen = successes / trials
    threshold = log(1 / alpha)

    def excess(p: float) -> float:
        if not 0 < p < 1:
            return 1.0
        mixture = BetaBinomialMixture.tuned(p * (1 - p) * t_opt, alpha_opt, g=p, h=1 - p)
        return mixture.log_e((seen - p) * trials, p * (1 - p) * trials) - threshold

    low = crossing(lambda p: -excess(p), 0.0, seen) if seen > 0 else 0.0
    high = crossing(excess, seen, 1.0) if seen < 1 else 1.0
    return low, high
