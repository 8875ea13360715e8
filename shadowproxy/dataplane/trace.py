"""W3C Trace Context: carried on, or begun where the client sent none.

Live gets the client's `traceparent` as it came. A copy keeps the trace id, so that both calls are found in
one trace, under a span id of its own, so that they are not taken for one call (PEERS section 2, 10).
"""

from __future__ import annotations

from random import getrandbits
from typing import Final

SPANS: Final = 64
"""Span ids that are drawn at once: to draw and to print many costs little more than one."""


class Spans:
    """Span ids of copies. Ids must be unique, not unguessable: the Mersenne twister does."""

    __slots__ = ("_digits", "_place")

    def __init__(self) -> None:
        self._digits = b""
        self._place = 0

    def __repr__(self) -> str:
        return f"Spans({(len(self._digits) - self._place) // 16} left)"

    def next(self) -> bytes:
        """Sixteen digits that no other span has."""
        place = self._place
        if place >= len(self._digits):
            self._digits = b"%0*x" % (16 * SPANS, getrandbits(64 * SPANS))
            place = 0
        self._place = place + 16
        return self._digits[place : place + 16]


_spans: Final = Spans()


class Trace:
    """The trace of one exchange. `parent` is the client's valid traceparent, b"" for none, b"-" for an unreadable one."""

    __slots__ = ("_digits", "_flags", "_is_span_used", "trace_id")

    def __init__(self, parent: bytes) -> None:
        # A trace id, a span id for live and one for a copy. Ids must be unique, not unguessable: the Mersenne twister does.
        self._is_span_used = False
        if len(parent) < 2:
            self._digits = digits = b"%064x" % getrandbits(256)
            self.trace_id = digits[:32]
            self._flags = b"-01\r\n"
        else:
            self._digits = parent
            self.trace_id = parent[3:35]
            self._flags = b""

    def __repr__(self) -> str:
        return f"Trace({self.trace_id.decode()})"

    def live_line(self) -> bytes:
        """The field for live, with CRLF."""
        if self._flags:
            digits = self._digits
            return b"traceparent: 00-%b-%b-01\r\n" % (self.trace_id, digits[32:48])
        return b"traceparent: %b\r\n" % self._digits

    def copy_line(self) -> bytes:
        """The field for a copy, with CRLF: same trace, a span of its own each time, same flags."""
        if self._flags and not self._is_span_used:
            self._is_span_used = True
            return b"traceparent: 00-%b-%b-01\r\n" % (self.trace_id, self._digits[48:])
        flags = b"01" if self._flags else self._digits[53:55]
        return b"traceparent: 00-%b-%b-%b\r\n" % (self.trace_id, _spans.next(), flags)
