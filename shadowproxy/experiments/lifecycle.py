"""The states of a run, and how it moves between them.

::

    draft ──▶ admitted ──▶ running ──▶ completed
      │           │           ├──────▶ aborted     a guard, a person, a reload, a shutdown
      │           │           ├──────▶ expired     its lease ran out
      │           ├───────────┴──────▶ killed      the kill switch
      ╰───────────┴──────▶ aborted

A run only moves forward, and never leaves one of the last four: what has ended is not armed again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a run is in its life."""

    DRAFT = "draft"
    ADMITTED = "admitted"
    RUNNING = "running"
    COMPLETED = "completed"
    ABORTED = "aborted"
    EXPIRED = "expired"
    KILLED = "killed"


ENDS: Final = frozenset({State.COMPLETED, State.ABORTED, State.EXPIRED, State.KILLED})
"""The states in which a run has ended."""

NEXT: Final[dict[State, frozenset[State]]] = {
    State.DRAFT: frozenset({State.ADMITTED, State.ABORTED}),
    State.ADMITTED: frozenset({State.RUNNING, State.ABORTED, State.EXPIRED, State.KILLED}),
    State.RUNNING: ENDS,
    **dict.fromkeys(ENDS, frozenset[State]()),
}


class Lifecycle:
    """The state of one run; `become` is the only way to change it."""

    __slots__ = ("_state",)

    def __init__(self, state: State = State.DRAFT) -> None:
        self._state = state

    def __repr__(self) -> str:
        return f"<Lifecycle {self._state}>"

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    @property
    def has_ended(self) -> bool:
        """Whether it is in one of the last four states."""
        return self._state in ENDS

    def become(self, state: State) -> None:
        """Move on to `state`.

        Raises:
            ValueError: there is no way from here to there.
        """
        if state not in NEXT[self._state]:
            raise ValueError(f"a run that is {self._state} cannot become {state}")
        self._state = state
