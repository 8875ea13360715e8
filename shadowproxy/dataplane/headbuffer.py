"""A request head on its way in: where it ends, and whether what has come can still become one.

A head that comes in one piece, as nearly all do, passes through without a copy. One that comes in pieces is
judged with every piece, so that a malformed one is refused at its first wrong byte and not when its client
gives up; it is bounded in bytes while it grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.dataplane.head import CRLF, END_OF_HEAD
from shadowproxy.dataplane.request_head import HeadProbe
from shadowproxy.errors import BadRequest

if TYPE_CHECKING:
    from shadowproxy.config.model import Limits
    from shadowproxy.dataplane.request_head import RequestHeads
    from shadowproxy.dataplane.request_lines import RequestHead

LEADING_LINES_LIMIT: Final = 8
"""Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one)."""


class HeadBuffer:
    """Collects one head. `has_begun` says that a byte of it has come (empty lines do not count)."""

    __slots__ = ("_empty_lines", "_partial", "_probe")

    def __init__(self) -> None:
        self._partial = b""
        self._probe: HeadProbe | None = None
        self._empty_lines = 0

    def __repr__(self) -> str:
        return f"HeadBuffer({len(self._partial)} bytes)"

    @property
    def has_begun(self) -> bool:
        """Whether the client has begun a head."""
        return self._partial != b""

    def asks_for_head(self, received: bytes) -> bool:
        """Whether the request that `take` was given last with `received`, malformed though it may be, is a HEAD: its answer has no body."""
        return (self._partial + received).lstrip(CRLF).startswith(b"HEAD ")

    def take(self, received: bytes, limits: Limits) -> tuple[bytes, bytes] | None:
        """The whole head and the bytes behind it, or None while more is to come.

        Args:
            received: what has come since the last call.
            limits: bytes of a head and of its request line.

        Raises:
            BadRequest: 400 where no continuation can make it a head, 414 and 431 where it is too long.
        """
        kept = self._partial
        if kept == b"\r":
            # The first half of an empty line, so far.
            received = b"\r" + received
            kept = self._partial = b""
        if not kept:
            received = self._without_empty_lines(received)
            if received in (b"", b"\r"):
                self._partial = received
                return None
        whole = kept + received if kept else received
        end = whole.find(END_OF_HEAD, max(len(kept) - 3, 0))
        if 0 <= end <= limits.head - 4:
            end += 4
            return (whole, b"") if end == len(whole) else (whole[:end], whole[end:])
        if len(whole) > limits.request_line and whole.find(CRLF) < 0:
            raise BadRequest(414, "request_line_too_long", f"read {len(whole)} bytes of a request line, limit {limits.request_line}")
        if len(whole) > limits.head:
            raise BadRequest(431, "head_too_long", f"read {len(whole)} bytes of a head, limit {limits.head}")
        if self._probe is None:
            self._probe = HeadProbe()
        self._probe.feed(received)
        self._partial = whole
        return None

    def _without_empty_lines(self, received: bytes) -> bytes:
        """RFC 9112 section 2.2: empty lines before a request line are robustness, up to a point."""
        while received.startswith(CRLF):
            received = received[2:]
            self._empty_lines += 1
            if self._empty_lines > LEADING_LINES_LIMIT:
                raise BadRequest(400, "malformed_head", "too many empty lines before a request")
        return received


def vet(heads: RequestHeads, head: RequestHead, rest: bytes) -> None:
    """Judge whether bytes behind a whole request could be the next one.

    A last request that announced a body may be followed by anything: it is ignored. A last request that
    announced none may be followed by a request, which is ignored; anything else can only be a body that was
    not announced. On a connection that goes on, grammar is judged here and meaning when it is that request's turn.

    Raises:
        BadRequest: they could not.
    """
    if head.upgrade or (not head.is_keep_alive and head.length):
        return
    while rest.startswith(CRLF):
        rest = rest[2:]
    end = rest.find(END_OF_HEAD)
    if end < 0:
        if rest and rest != b"\r":
            HeadProbe().feed(rest)
        return
    try:
        heads.read(rest[: end + 4])
    except BadRequest as error:
        if not head.is_keep_alive or error.code in ("malformed_head", "malformed_request_line", "bare_cr_or_lf", "unknown_method"):
            raise
