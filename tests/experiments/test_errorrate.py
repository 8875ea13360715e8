"""An error rate against what it was before: the detector, what is no incident, and the tail that both rest on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shadowproxy.experiments.errorrate import ABOVE, FACTOR, HISTORY_LEAST, Detector, is_beyond, tail, tolerated_rate
from shadowproxy.experiments.slicecounts import Counts


def answers(answered: int, errors: int = 0) -> Counts:
    """So many answers, so many of them errors."""
    return Counts(answered, answered, errors)


@pytest.mark.parametrize(("successes", "trials", "chance"), [(0, 10, 0.3), (1, 10, 0.01), (7, 20, 0.2), (50, 1000, 0.01), (3, 3, 0.5)])
def test_the_tail_is_that_of_the_binomial_distribution(successes: int, trials: int, chance: float) -> None:
    """As scipy has it; certain and impossible chances are what they are."""
    assert tail(successes, trials, chance) == pytest.approx(float(stats.binom.sf(successes - 1, trials, chance)), rel=1e-9)
    assert tail(1, 5, 0.0) == 0.0
    assert tail(1, 5, 1.0) == 1.0


def test_too_little_history_tolerates_nothing_and_alarms_never() -> None:
    """Nobody can say what is usual after 99 answers."""
    assert tolerated_rate(answers(HISTORY_LEAST - 1)) is None
    detector = Detector()
    detector.add(answers(1000, 1000), None)
    assert not detector.is_alarmed


@pytest.mark.parametrize(("errors", "tolerated"), [(0, ABOVE), (100, 0.01 + ABOVE), (1000, 0.1 * FACTOR), (9900, 0.95)])
def test_what_is_tolerated_is_double_or_a_point_more(errors: int, tolerated: float) -> None:
    """Whichever is more, of a history of ten thousand; never all."""
    assert tolerated_rate(answers(10_000, errors)) == pytest.approx(tolerated, abs=3e-4)


def test_a_look_at_a_few_answers_forgives_what_chance_explains() -> None:
    """One error of twenty where two per cent are tolerated; not four; and silence is beyond nothing."""
    assert not is_beyond(answers(20, 1), 0.02)
    assert is_beyond(answers(20, 4), 0.02)
    assert not is_beyond(answers(0), 0.02)


def test_false_alarms_are_rare_at_the_very_edge_of_what_is_tolerated() -> None:
    """Twenty times 100,000 answers, as often bad as is just no incident: on average one alarm in ten such streams at the most."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(20):
        detector = Detector()
        for errors in rng.binomial(50, 0.02, 2000):
            detector.add(answers(50, int(errors)), 0.02)
            alarms += detector.is_alarmed
            if detector.is_alarmed:
                break
    assert alarms <= 3


def test_a_restart_forgets() -> None:
    """What alarmed does not, and shows itself."""
    detector = Detector()
    detector.add(answers(50, 50), 0.02)
    assert detector.is_alarmed
    assert repr(detector) == "Detector(153 of 13.8)"
    detector.restart()
    assert not detector.is_alarmed
