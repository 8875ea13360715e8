"""Attached runs: the dead man's switch of whoever waits for a run.

A run that was begun by a command that waits for it is to end with that command, however it ends: killed, its laptop closed, its network gone.
So the command says `keep` again and again, and the run ends when it has not done so for a while. The rules:

* only `keep` counts; looking at a run, as pages and other commands do, keeps nothing alive;
* how long nobody said it is counted in steps, of the monotonic clock, and a step counts for STEP_S at the most. Control that was itself held up has
  not read what the command said meanwhile, so its own lateness is not the command's. (What a lease is for is another matter: leases count every moment.)
"""

from __future__ import annotations

from typing import Final

STEP_S: Final = 0.5
"""Most that one step counts for: ten times the pulse of the governor."""

LEAST_S: Final = 2.0
MOST_S: Final = 3600.0
"""What may be asked for: several steps; and no longer than a laptop may be closed."""


class Attachment:
    """How long a run goes on without word of the command that waits for it.

    Args:
        patience_s: from LEAST_S to MOST_S.
    """

    __slots__ = ("_absent_s", "patience_s")

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._absent_s = 0.0

    def __repr__(self) -> str:
        return f"<Attachment absent {self._absent_s:.1f} of {self.patience_s:g} s>"

    @property
    def is_gone(self) -> bool:
        """Whether nothing was heard for too long."""
        return self._absent_s >= self.patience_s

    def keep(self) -> None:
        """The command is there."""
        self._absent_s = 0.0

    def pass_time(self, seconds: float) -> None:
        """So much time has passed since the last step."""
        self._absent_s += min(seconds, STEP_S)
