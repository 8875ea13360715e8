"""A run moves forward, in the ways that the table names, and ends once."""

from __future__ import annotations

import pytest

from shadowproxy.experiments.lifecycle import ENDS, NEXT, Lifecycle, State


def test_the_ways_of_a_run() -> None:
    """From draft to each end, and nothing after it."""
    for end in ENDS:
        run = Lifecycle()
        for state in (State.ADMITTED, State.RUNNING, end):
            assert not run.has_ended
            run.become(state)
        assert run.has_ended
        assert run.state is end
        assert str(end) in repr(run)


@pytest.mark.parametrize(("state", "to"), [(state, to) for state in State for to in State if to not in NEXT[state]])
def test_every_other_way_is_refused(state: State, to: State) -> None:
    """Nothing comes back, nothing begins twice, and the state stays what it was."""
    run = Lifecycle(state)
    with pytest.raises(ValueError, match=f"{state} cannot become {to}"):
        run.become(to)
    assert run.state is state


def test_the_table_names_every_state() -> None:
    """A new state that nobody thought through would have no row."""
    assert set(NEXT) == set(State)
    assert all(not NEXT[end] for end in ENDS)
