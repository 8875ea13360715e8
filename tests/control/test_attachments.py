"""The dead man's switch of whoever waits for a run, in made-up time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.control.attachments import LEAST_S, STEP_S, Attachment


def test_nobody_says_keep() -> None:
    """It is gone after as long as was agreed on, and not before."""
    attachment = Attachment(10.0)
    for _ in range(39):
        attachment.pass_time(0.25)
    assert not attachment.is_gone
    attachment.pass_time(0.25)
    assert attachment.is_gone
    assert "10.0 of 10 s" in repr(attachment)


def test_a_word_begins_it_anew() -> None:
    """However late it comes, as long as it comes in time."""
    attachment = Attachment(2.0)
    for _ in range(100):
        attachment.pass_time(0.5)
        attachment.pass_time(0.5)
        attachment.keep()
    assert not attachment.is_gone


@given(held_up=st.floats(0, 1e9), patience=st.floats(LEAST_S, 3600))
def test_lateness_of_control_is_not_the_commands(held_up: float, patience: float) -> None:
    """One step, however long control was held up between two, ends nothing: what was said meanwhile has not been read yet."""
    attachment = Attachment(patience)
    attachment.pass_time(held_up)
    assert not attachment.is_gone


@given(st.lists(st.floats(0, 5), max_size=50))
def test_never_before_its_time(steps: list[float]) -> None:
    """What was counted is no more than what passed."""
    attachment = Attachment(LEAST_S)
    for step in steps:
        attachment.pass_time(step)
    assert not attachment.is_gone or sum(min(step, STEP_S) for step in steps) >= LEAST_S - 1e-6
