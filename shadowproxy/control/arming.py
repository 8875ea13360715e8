"""What workers are told of experiments and rollouts, beside the config: one place for all of it.

Each change is sent whole to every worker, and a worker that is started later finds the same in its
policy. The governor arms runs, the rollouts set splits, the drills set what is evacuated; none needs to know the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.dataplane.messages import Message

Plain = dict[str, Any]


class Arming:
    """The state of the `experiments` message (see `dataplane.messages`).

    Args:
        broadcast: sends a message to every worker; never blocks.
    """

    def __init__(self, broadcast: Callable[[Message], None]) -> None:
        self._broadcast = broadcast
        self._armed: dict[str, Plain] = {}
        self._splits: tuple[Plain, ...] = ()
        self._evacuated: tuple[Plain, ...] = ()

    def __repr__(self) -> str:
        return f"<Arming armed={sorted(self._armed)} splits={len(self._splits)} evacuated={len(self._evacuated)}>"

    @property
    def armed(self) -> list[Plain]:
        """The armed runs, in the order in which they were armed."""
        return list(self._armed.values())

    def arm(self, armed: Plain) -> None:
        """Arm a run, or change the one of that id. `armed` is an Armed of the protocol. Never blocks."""
        self._armed[armed["id"]] = armed
        self._send()

    def disarm(self, run: str) -> None:
        """Arm the run of that id no longer. Idempotent; never blocks."""
        if self._armed.pop(run, None) is not None:
            self._send()

    def split(self, splits: Sequence[Plain]) -> None:
        """Set all splits there are. Never blocks."""
        self._splits = tuple(splits)
        self._send()

    def evacuate(self, evacuated: Sequence[Plain]) -> None:
        """Set all that is evacuated. Never blocks."""
        self._evacuated = tuple(evacuated)
        self._send()

    def state(self) -> Plain:
        """All there is now, as in the message and in a policy's `experiments`."""
        return {"armed": self.armed, "splits": list(self._splits), "evacuated": list(self._evacuated)}

    def _send(self) -> None:
        self._broadcast({"type": "experiments", **self.state()})
