"""What uses a connection to an endpoint: the seam between wire codecs and everything above them.

A base class and not a Protocol: calls through it are direct when the data plane is compiled. A leg overrides
what concerns it; what it does not override, it does not care about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowproxy.dataplane.response_lines import ResponseHead
    from shadowproxy.dataplane.upstream import UpstreamConnection


class Leg:
    """What uses a connection: the live side of an exchange, a mirrored copy, a health check.

    `method` decides how the answer's body ends; `accepts_upgrade` whether a 101 is welcome.
    `waits_until_ns` bounds its wait for a connection, `failed_openings` counts those that could not be opened for it.
    `small_chunks_limit` is how many chunks of next to nothing it takes in one answer (0: any number). While it `is_full` nothing
    is read for it, whoever asks.
    """

    __slots__ = ("accepts_upgrade", "failed_openings", "is_full", "method", "small_chunks_limit", "waits_until_ns")

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.accepts_upgrade = False
        self.waits_until_ns = 0
        self.failed_openings = 0
        self.small_chunks_limit = 0
        self.is_full = False

    def on_connection(self, connection: UpstreamConnection) -> None:
        """The connection is yours: send."""

    def on_interim(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101."""

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """The final head and the payload that came with it."""

    def on_payload(self, payload: bytes) -> None:
        """More payload."""

    def on_end(self, trailers: list[bytes]) -> None:
        """The answer is complete; the connection is no longer yours."""

    def on_failure(self, ended: int) -> None:
        """The leg is over without a whole answer; the connection is no longer yours."""

    def on_upgrade(self, connection: UpstreamConnection, head: ResponseHead, rest: bytes) -> None:
        """101: from now on bytes pass through `on_payload` and `UpstreamConnection.send` until the end."""

    def on_blocked(self) -> None:
        """The endpoint reads more slowly than we send."""

    def on_unblocked(self) -> None:
        """It has caught up."""
