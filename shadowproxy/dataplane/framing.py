"""Bodies on the wire: where they end, and chunked framing in and out.

The rules of this file (RFC 9112 sections 6 and 7):

1.  A chunk size is 1 to 16 hexadecimal digits, then `;name[=value]` extensions or nothing, then CRLF.
    Nothing else: no sign, no prefix, no blank, no bare CR or LF. (FRM-05)
2.  Extensions are read, bounded and dropped: EXTENSIONS_LIMIT bytes a body (CVE-2023-39326).
3.  Trailer fields are parsed, bounded and passed on as trailers; one that would frame, route or
    authorise (TRAILERS_REFUSED) makes the message malformed, one that comes too late to mean
    anything (TRAILERS_DROPPED) is left out. (FRM-06)
4.  A reader never holds payload: what it is given, it returns.
"""

from __future__ import annotations

import re
from typing import Final

from shadowproxy.dataplane.fields import OURS
from shadowproxy.errors import BadRequest, BadResponse, MessageError

SIZE_LINE_LIMIT: Final = 1024
"""Bytes of one chunk-size line: extensions in the wild are under 100."""

EXTENSIONS_LIMIT: Final = 16384
"""Bytes of chunk extensions in one body."""

TRAILERS_LIMIT: Final = 16384
"""Bytes of the trailer section."""

SMALL_CHUNK: Final = 64
"""A chunk under so many bytes costs more to take apart (1.5 us) than to carry."""

LAST_CHUNK: Final = b"0\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_EXTENSION = rb";[ \t]*" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?'
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)\r\n")
_SIZE_START: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:\r|;[^\r\n]*\r?)?")
_TRAILER: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t \x21-\x7e\x80-\xff]*)")
_SIZE_LIMIT: Final = 2**63

TRAILERS_REFUSED: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"host", b"authorization", b"proxy-authorization", b"cookie", b"x-test-traffic"}
)
"""Fields that must not come after the body: they say where it ends, where it goes or who sent it (RFC 9110 section 6.5.1)."""

TRAILERS_DROPPED: Final = frozenset(
    {
        b"content-encoding", b"content-type", b"content-range", b"trailer", b"te", b"connection", b"keep-alive", b"set-cookie", b"expect",
        b"max-forwards", b"upgrade", b"cache-control", b"range", b"traceparent", b"tracestate", b"baggage", b"forwarded", b"via", b"x-real-ip",
    }
)  # fmt: skip
"""Fields that mean nothing any more once the body has been read, or that belong to a connection: left out (RFC 9110 section 6.5.2)."""

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedReader:
    """Takes a chunked body apart.

    `is_done` after the last byte of the body; `rest` is then what came behind it. `trailers` are the
    trailer lines, whole, without their CRLF. `chunks` counts those that have begun. What is malformed is a
    BadRequest or a BadResponse, by whose bytes these are; so are more than `small_limit` chunks under SMALL_CHUNK
    bytes (0: no limit).
    """

    __slots__ = (
        "_extensions", "_is_request", "_left", "_line", "_small_left", "_state", "_trailer_bytes", "chunks", "is_done", "rest", "trailers",
    )  # fmt: skip

    def __init__(self, *, is_request: bool, small_limit: int = 0) -> None:
        self._is_request = is_request
        self._small_left = small_limit or _SIZE_LIMIT
        self.chunks = 0
        self._state = _SIZE
        self._left = 0
        self._line = b""
        self._extensions = 0
        self._trailer_bytes = 0
        self.is_done = False
        self.rest = b""
        self.trailers: list[bytes] = []

    def __repr__(self) -> str:
        return f"ChunkedReader(state={('size', 'data', 'data end', 'trailers', 'done')[self._state]}, left={self._left})"

    def feed(self, received: bytes) -> bytes:
        """The payload bytes in `received`, which may be none.

        Raises:
            BadRequest | BadResponse: the framing is malformed; nothing of `received` may be passed on.
        """
        if self._line:
            received = self._line + received
            self._line = b""
        at = 0
        end = len(received)
        pieces: list[bytes] = []
        while at < end:
            if self._state == _DATA:
                take = min(self._left, end - at)
                pieces.append(received[at : at + take])
                at += take
                self._left -= take
                if self._left:
                    break
                self._state = _DATA_END
            elif self._state == _DATA_END:
                if received[at : at + 2] == b"\r\n":
                    at += 2
                    self._state = _SIZE
                elif received[at:] == b"\r":
                    self._line = b"\r"
                    break
                else:
                    raise self._malformed("malformed_chunk", "a chunk is longer than its size says")
            elif self._state == _SIZE:
                line = _SIZE_LINE.match(received, at)
                if line is None:
                    self._stash_size_line(received[at:])
                    break
                at = line.end()
                self._begin_chunk(int(line[1], 16), len(line[2]))
            else:
                at = self._read_trailer(received, at)
                if self._state == _DONE:
                    self.rest = received[at:]
                    break
                if at < 0:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin_chunk(self, size: int, extension: int) -> None:
        self._extensions += extension
        if self._extensions > EXTENSIONS_LIMIT:
            raise self._malformed(
                "chunk_extensions_too_long", f"read {self._extensions} bytes of chunk extensions, limit {EXTENSIONS_LIMIT}"
            )
        if size >= _SIZE_LIMIT:
            raise self._malformed("malformed_chunk", "the chunk size is over 2**63")
        self.chunks += 1
        if size < SMALL_CHUNK:
            self._small_left -= 1
            if self._small_left < 0:
                raise self._malformed("chunks_too_small", f"too many chunks are under {SMALL_CHUNK} bytes")
        self._left = size
        self._state = _DATA if size else _TRAILERS

    def _stash_size_line(self, start: bytes) -> None:
        """Keep an unfinished size line, if any continuation can make it one."""
        if len(start) > SIZE_LINE_LIMIT or _SIZE_START.fullmatch(start) is None:
            raise self._malformed("malformed_chunk", "a chunk size is hexadecimal digits and CRLF")
        self._line = start

    def _read_trailer(self, received: bytes, at: int) -> int:
        """Read one trailer line from `at`; where the next begins, or -1 where it is unfinished."""
        end = received.find(b"\n", at)
        line = received[at:] if end < 0 else received[at : end + 1]
        self._trailer_bytes += len(line) if end >= 0 else 0
        if self._trailer_bytes + (len(line) if end < 0 else 0) > TRAILERS_LIMIT:
            raise self._malformed("trailers_too_long", f"trailers are over {TRAILERS_LIMIT} bytes", 431)
        if end < 0:
            if b"\r" in line[:-1]:
                raise self._malformed("bare_cr_or_lf", "CR and LF must come together")
            self._line = line
            return -1
        if not line.endswith(b"\r\n"):
            raise self._malformed("bare_cr_or_lf", "CR and LF must come together")
        if line == b"\r\n":
            self._state = _DONE
            self.is_done = True
            return end + 1
        field = _TRAILER.fullmatch(line, 0, len(line) - 2)
        if field is None:
            raise self._malformed("malformed_trailer", "a trailer line is name: value")
        name = field[1].lower()
        # Our own names in any spelling, as in heads.
        plain = name.replace(b"_", b"-").replace(b".", b"-")
        # A tag that comes behind the body comes too late to be obeyed, and is not overlooked either.
        is_tag = plain == b"x-test-traffic" or (self._is_request and name == b"baggage" and b"synthetic" in line.lower())
        if name in TRAILERS_REFUSED or is_tag:
            raise self._malformed("forbidden_trailer", f"{field[1].decode('latin-1')} cannot be a trailer")
        if name not in TRAILERS_DROPPED and not plain.startswith(OURS):
            self.trailers.append(line[:-2])
        return end + 1

    def _malformed(self, code: str, detail: str, status: int = 400) -> MessageError:
        return BadRequest(status, code, detail) if self._is_request else BadResponse(code, detail)


def chunk(payload: bytes) -> bytes:
    """One chunk that carries `payload`, which must not be empty: an empty one would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def last_chunk(trailers: list[bytes]) -> bytes:
    """The end of a chunked body, with trailer lines (without CRLF) where there are any."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n%b\r\n\r\n" % b"\r\n".join(trailers)
