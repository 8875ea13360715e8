"""What an exchange may take part in beside its route: a slice of an experiment, a half of a rollout.

A base class and not a Protocol, as `leg` is; parts override what concerns them. Only exchanges that are in something have parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.dataplane.outcome import name_of

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.response_lines import ResponseHead
    from shadowproxy.dataplane.tally import Buckets


class Part:
    """See the module's text. Each part is told of exactly one end: answered, failed, injected or client_gone."""

    __slots__ = ()

    def on_answer(self, exchange: Exchange, head: ResponseHead, payload: bytes) -> None:
        """The answer's head, with the payload that came with it, as the client gets it."""

    def on_payload(self, payload: bytes) -> None:
        """More of it."""

    def answered(self, status: int, last: int) -> None:
        """The answer is whole: its status, and the bucket of its last byte."""

    def failed(self, ended: int) -> None:
        """There is no whole answer: an outcome."""

    def injected(self, status: int) -> None:
        """What the client got was made up by us: a status, or an outcome where it was none."""

    def client_gone(self) -> None:
        """The client left first."""


class ArmTally:
    """What one arm's clients were answered: counts and latencies to the last byte, and what we made up apart from that."""

    __slots__ = ("injected", "last", "requests", "responses")

    def __init__(self) -> None:
        self.requests = 0
        self.responses: dict[int, int] = {}
        self.last: Buckets = {}
        self.injected: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"ArmTally({self.requests} requests)"

    def answered(self, status: int, last: int) -> None:
        """One whole answer."""
        self.requests += 1
        self.responses[status] = self.responses.get(status, 0) + 1
        self.last[last] = self.last.get(last, 0) + 1

    def failed(self, ended: int) -> None:
        """One request without a whole answer."""
        self.requests += 1
        self.responses[ended] = self.responses.get(ended, 0) + 1

    def was_injected(self, status: int) -> None:
        """One answer that was made up."""
        self.requests += 1
        self.injected[status] = self.injected.get(status, 0) + 1

    def report(self) -> dict[str, Any]:
        """The deltas since the last report, as an `Arm` of messages.py; they begin anew."""
        report = {
            "requests": self.requests,
            "responses": {name_of(ended): count for ended, count in self.responses.items()},
            "last": self.last,
            "injected": {name_of(ended): count for ended, count in self.injected.items()},
        }
        self.requests = 0
        self.responses, self.last, self.injected = {}, {}, {}
        return report
