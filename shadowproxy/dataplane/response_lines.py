"""What the head of an answer says."""

from __future__ import annotations

from shadowproxy.dataplane.head import UNTIL_CLOSE


class ResponseHead:
    """One answer's head, read. Shared by all answers that came with the same bytes: never changed once read.

    `wire` is what to forward: status line and field lines, each with CRLF, without connection-level fields.
    `length` is 0 for none, CHUNKED, UNTIL_CLOSE, else bytes. `announced` is the Content-Length that was sent, -1
    for none (it may be there without a body: HEAD, 304). `is_reusable` says that the connection may carry
    another exchange.
    """

    __slots__ = ("announced", "has_date", "is_reusable", "length", "status", "upgrade", "wire")

    def __init__(self, status: int) -> None:
        self.status = status
        self.wire = b""
        self.length = UNTIL_CLOSE
        self.announced = -1
        self.is_reusable = True
        self.has_date = False
        self.upgrade = b""

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, length={self.length}, reusable={self.is_reusable})"
