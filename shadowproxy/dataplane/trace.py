"""W3C Trace Context: carried on, or begun where the client sent none.

Live gets the client's `traceparent` as it came. A copy keeps the trace id, so that both calls are found in
one trace, under a span id of its own, so that they are not taken for one call (PEERS section 2, 10).
"""

from __future__ import annotations

from random import getrandbits


class Trace:
    """The trace of one exchange. `parent` is the client's valid traceparent, b"" for none, b"-" for an unreadable one."""

    __slots__ = ("_digits", "_is_new", "_parent", "_used")

    def __init__(self, parent: bytes) -> None:
        self._is_new = len(parent) < 2
        self._parent = parent
        # 128 bits of trace id and 64 of span id. Ids must be unique, not unguessable: the Mersenne twister does.
        self._digits = b"%048x" % getrandbits(192) if self._is_new else b""

    def __repr__(self) -> str:
        return f"Trace({self.trace_id.decode()})"

    @property
    def trace_id(self) -> bytes:
        """32 hex digits."""
        return self._digits[:32] if self._is_new else self._parent[3:35]

    def live_line(self) -> bytes:
        """The field for live, with CRLF."""
        if self._is_new:
            return b"traceparent: 00-%b-%b-01\r\n" % (self._digits[:32], self._digits[32:])
        return b"traceparent: %b\r\n" % self._parent

    def copy_line(self) -> bytes:
        """The field for a copy, with CRLF: same trace, new span, same flags."""
        flags = b"01" if self._is_new else self._parent[53:55]
        return b"traceparent: 00-%b-%016x-%b\r\n" % (self.trace_id, getrandbits(64) or 1, flags)
