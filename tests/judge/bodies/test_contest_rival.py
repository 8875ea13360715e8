"""The rival is what its users know."""

from __future__ import annotations

from shadowproxy.judge.bodies.comparison import Answer
from tests.judge.bodies.corpus import Triple
from tests.judge.bodies.diffy import Diffy


def _triple(live: str, shadow: str, control: str) -> Triple:
    return Triple(*(Answer("200", (("Date", text),), text.encode()) for text in (live, shadow, control)))


def test_one_difference_is_reported() -> None:
    """There is no significance: one of one request shows."""
    rival = Diffy()
    rival.observe(_triple('{"a": 1}', '{"a": 2}', '{"a": 1}'))
    assert rival.reported() == {"body.a"}


def test_noise_within_a_fifth_is_not() -> None:
    """6 against 5 is 9 % of the sum; 8 against 5 is 23 %."""
    rival = Diffy()
    for index in range(20):
        shadow = {"a": int(index < 6), "b": int(index < 8)}
        control = {"a": int(index < 5), "b": int(index < 5)}
        rival.observe(_triple('{"a": 0, "b": 0}', str(shadow).replace("'", '"'), str(control).replace("'", '"')))
    assert rival.reported() == {"body.b"}


def test_rare_differences_are_not() -> None:
    """One in 4,000 is below 0.03 %."""
    rival = Diffy()
    rival.observe(_triple('{"a": 1}', '{"a": 2}', '{"a": 1}'))
    rival.total = 4000
    assert not rival.reported()


def test_arrays_are_sorted_before_they_are_compared() -> None:
    """Another order is no difference, another length one."""
    rival = Diffy()
    rival.observe(_triple('{"a": [1, 2], "b": [1]}', '{"a": [2, 1], "b": [1, 2]}', '{"a": [1, 2], "b": [1]}'))
    assert rival.reported() == {"body.b"}
