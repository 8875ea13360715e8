"""Control against its own history: incidents, what they excuse, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest

from shadowproxy.experiments.environment import Environment
from shadowproxy.experiments.errorrate import HISTORY_LEAST, RECENT_S
from shadowproxy.experiments.slicecounts import Counts, Slices, bucket_of


def told(answers: int, errors: int = 0, last: dict[int, int] | None = None) -> Slices:
    """A tick in which control answered."""
    return Slices(Counts(), Counts(answers, answers, errors, last=dict(last or {})))


def healthy(seconds: int = 60, answers: int = 100, errors: int = 1, latency_s: float = 0.1) -> Environment:
    """A control slice with that much of history."""
    environment = Environment()
    for second in range(seconds):
        environment.add(float(second), told(answers, errors, {bucket_of(latency_s): answers}), is_paused=False)
    return environment


def test_without_history_nothing_alarms() -> None:
    """The first answers cannot be unlike what was before."""
    environment = Environment()
    environment.add(0.0, told(HISTORY_LEAST - 1, 50), is_paused=False)
    environment.add(10.0, told(50, 50), is_paused=False)
    assert not environment.is_alarmed
    assert not environment.is_elevated()


def test_an_incident_alarms_within_a_few_errors() -> None:
    """Errors on half of the answers, after one in a hundred."""
    environment = healthy()
    answers = 0
    while not environment.is_alarmed:
        environment.add(60.0 + answers / 100, told(2, 1), is_paused=False)
        answers += 2
    assert answers <= 30


def test_the_tides_of_a_day_do_not_alarm() -> None:
    """Rates that double and halve over ten minutes, an hour long."""
    environment = Environment()
    rng = np.random.default_rng(71)
    for number in range(3600):
        rate = 0.01 * (1 + 0.6 * np.sin(number / 600 * 2 * np.pi))
        answers = int(rng.poisson(50))
        environment.add(float(number), told(answers, int(rng.binomial(answers, rate))), is_paused=False)
        assert not environment.is_alarmed, number


def test_what_happens_in_a_pause_is_no_history() -> None:
    """Else an incident would become what is usual."""
    environment = healthy()
    before = environment._history.answered
    for second in range(60, 90):
        environment.add(float(second), told(100, 50), is_paused=True)
    assert environment._history.answered == before
    recent, usual = environment.rates
    assert recent == 0.5
    assert usual == pytest.approx(0.01)
    assert not environment.is_well()
    for second in range(90, 97):
        environment.add(float(second), told(100, 1), is_paused=True)
    assert environment.is_well()


def test_old_history_is_forgotten() -> None:
    """Ten minutes count."""
    environment = healthy(seconds=1000)
    assert environment._history.answered == pytest.approx(600 * 100, abs=500)


def test_a_slow_control_is_not_well() -> None:
    """Errors are as they were, latencies five times as long."""
    environment = healthy()
    for second in range(60, 70):
        environment.add(float(second), told(100, 1, {bucket_of(0.5): 100}), is_paused=True)
    assert not environment.is_well()


def test_silence_is_a_bad_sign_where_there_were_answers() -> None:
    """After a hundred a second; not after one a minute, nor where there is no control slice."""
    environment = healthy()
    environment.add(60.0 + 2 * RECENT_S, Slices(), is_paused=True)
    assert not environment.is_well()
    rare = Environment()
    for second in range(0, 60 * HISTORY_LEAST, 60):
        rare.add(float(second), told(1), is_paused=False)
    rare.add(60.0 * HISTORY_LEAST + 30, Slices(), is_paused=True)
    assert rare.is_well()
    assert Environment().is_well()


@pytest.mark.parametrize(
    ("fault", "control", "is_excused"),
    [
        ((1000, 500), (1000, 490), True),  # both, alike
        ((1000, 60), (1000, 45), True),  # at the moment when it begins
        ((40, 3), (40, 2), True),
        ((1000, 60), (1000, 10), False),  # the fault alone
        ((1000, 600), (1000, 200), False),  # both, but the fault far more
        ((20, 2), (20, 0), False),
        ((20, 2), (0, 0), False),  # nobody knows of control
    ],
)
def test_a_guard_on_errors_is_excused_when_control_moved_as_far(fault: tuple[int, int], control: tuple[int, int], is_excused: bool) -> None:
    """Bound five per cent, history one."""
    window = Slices(Counts(fault[0], *fault), Counts(control[0], *control))
    assert healthy().excuses_errors(window, 0.05) is is_excused


@pytest.mark.parametrize(
    ("slow", "other", "is_excused"),
    [
        (0.9, 0.8, True),  # both, alike
        (0.8, 0.5, True),  # the fault adds 300 ms, the incident 400
        (1.2, 0.8, True),  # the fault makes it half as slow again
        (0.8, 0.1, False),  # the fault alone
        (5.0, 0.2, False),  # control a little, the fault far more
    ],
)
def test_a_guard_on_latency_is_excused_when_control_moved_as_far(slow: float, other: float, is_excused: bool) -> None:
    """Bound half a second, history a tenth."""
    window = Slices(Counts(100, 100, 0, last={bucket_of(slow): 100}), Counts(100, 100, 0, last={bucket_of(other): 100}))
    assert healthy().excuses_latency(window, 0.99, 0.5) is is_excused


def test_without_history_latency_is_compared_with_control_alone() -> None:
    """Alike and both beyond the bound: excused. Control below it: not. Nothing known: not."""
    environment = Environment()

    def window(slow: float, other: float) -> Slices:
        return Slices(Counts(9, 9, 0, last={bucket_of(slow): 9}), Counts(9, 9, 0, last={bucket_of(other): 9}))

    assert environment.excuses_latency(window(0.9, 0.85), 0.99, 0.5)
    assert not environment.excuses_latency(window(0.9, 0.4), 0.99, 0.5)
    assert not environment.excuses_latency(Slices(), 0.99, 0.5)
