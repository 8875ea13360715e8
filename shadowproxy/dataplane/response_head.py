"""Answers' heads: see head.py for the rules."""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from shadowproxy.dataplane.fields import CODING, CONNECTION, DATE, LENGTH, OPTIONS, PROTECTED, RESPONSE_FIELDS, UPGRADE
from shadowproxy.dataplane.head import (
    BLOCK_BYTES_LIMIT,
    BLOCKS_LIMIT,
    CHUNKED,
    LINE_BYTES_LIMIT,
    LINES_LIMIT,
    SPELLINGS_LIMIT,
    UNTIL_CLOSE,
    Completion,
    Newcomers,
)
from shadowproxy.errors import BadResponse

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
"""RFC 9112 section 4. llhttp lets control characters pass in the reason; nobody else should have to (CVE-2026-34520)."""


class Meaning:
    """What a line says to us: `action` is what its field is (fields.py), the value is without space around it."""

    __slots__ = ("action", "value")

    def __init__(self, action: int, value: bytes) -> None:
        self.action = action
        self.value = value

    def __repr__(self) -> str:
        return f"Meaning({self.action}, {self.value.decode('latin-1')!r})"


_INERT: Final = Meaning(0, b"")
"""Nothing: the line passes as it came."""


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


class ResponseHeads:
    """Reads answers' heads, as strictly as requests: an upstream is a peer like any other."""

    __slots__ = ("_blocks", "_complete", "_count_limit", "_lines", "_meanings", "_newcomers", "_spellings", "_statuses")

    def __init__(self, *, count_limit: int = 500) -> None:
        self._blocks: dict[bytes, ResponseHead] = {}
        self._complete = Completion()
        self._count_limit = count_limit
        self._meanings: dict[bytes, Meaning] = {}
        self._newcomers = Newcomers()
        self._statuses: dict[bytes, int] = {}
        self._spellings: dict[bytes, int] = {}
        self._lines = Newcomers()

    def read(self, head: bytes, method: bytes) -> ResponseHead:
        """The answer to a request of `method` whose head is `head`, from the status line to the empty line.

        Raises:
            BadResponse: it is not unambiguous HTTP/1.
        """
        if method != b"HEAD":
            known = self._blocks.get(head)
            if known is not None:
                return known
        complete = self._complete
        complete.heads = 0
        try:
            HttpResponseParser(complete).feed_data(head)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise BadResponse("malformed_head", str(error).split("b'")[0][:120]) from None
        # splitlines takes a bare CR or LF for an end of line too, and then less than two bytes a line are missing.
        lines = head.splitlines()
        if complete.heads != 1 or sum(map(len, lines)) + 2 * len(lines) != len(head) or lines.pop():
            raise BadResponse("malformed_head", "not an HTTP/1 head")
        start = lines[0]
        status = self._statuses.get(start) or self._learn(start)
        if len(lines) - 1 > self._count_limit:
            raise BadResponse("too_many_fields", f"read {len(lines) - 1} header lines, limit {self._count_limit}")
        response = ResponseHead(status)
        is_http10 = start[7:8] == b"0"
        if is_http10:
            # RFC 9110 section 2.5: the version is the sender's own.
            lines[0] = b"HTTP/1.1" + start[8:]
        self._classify(response, lines, is_http10=is_http10)
        response.wire = b"\r\n".join([*lines, b""])
        if response.status < 200 or response.status in (204, 304) or method == b"HEAD":
            response.length = 0
        elif len(head) <= BLOCK_BYTES_LIMIT and self._newcomers.is_known(hash(head)):
            if len(self._blocks) >= BLOCKS_LIMIT:
                self._blocks.clear()
            self._blocks[head] = response
        return response

    def _classify(self, response: ResponseHead, lines: list[bytes], *, is_http10: bool) -> None:
        # The look-ups in one go, as in request_head.py.
        found: list[Meaning | None] = list(map(self._meanings.get, lines))
        drop: list[int] = []
        tokens = b""
        has_coding = False
        for index, known in enumerate(found):
            if known is _INERT or not index:
                continue
            meaning = known if known is not None else self._understand(lines[index])
            action = meaning.action
            value = meaning.value
            if not action:
                continue
            if action == LENGTH:
                if response.announced >= 0 or not value.isdigit() or len(value) > 18:
                    raise BadResponse("malformed_content_length", "Content-Length must be one number")
                response.announced = response.length = int(value)
                if response.status < 200 or response.status == 204:
                    # FRM-09: no length in a 204, nor in an interim answer.
                    drop.append(index)
            elif action == DATE:
                response.has_date = True
            else:
                drop.append(index)
                if action == CONNECTION:
                    tokens = tokens + b"," + value if tokens else value
                elif action == CODING:
                    if has_coding or value != b"chunked" or is_http10:
                        raise BadResponse("unsupported_coding", "Transfer-Encoding must be chunked, once, in HTTP/1.1")
                    has_coding = True
                elif action == UPGRADE:
                    response.upgrade = value
        if has_coding:
            if response.announced >= 0:
                raise BadResponse("length_and_coding", "Content-Length and Transfer-Encoding together")
            response.length = CHUNKED
        if tokens == b"close":
            response.is_reusable = False
        elif is_http10 or (tokens and tokens != b"keep-alive"):
            options = [part.strip(b" \t") for part in tokens.split(b",")]
            response.is_reusable = b"close" not in options and (not is_http10 or b"keep-alive" in options)
            self._nominated(lines, options, drop)
            drop.sort()
        for place in reversed(drop):
            del lines[place]

    @staticmethod
    def _nominated(lines: list[bytes], options: list[bytes], drop: list[int]) -> None:
        names = {token for token in options if token and token not in OPTIONS and token not in PROTECTED and token != b"date"}
        if names:
            for index in range(1, len(lines)):
                if index not in drop and lines[index][: lines[index].find(b":")].lower() in names:
                    drop.append(index)

    def _understand(self, line: bytes) -> Meaning:
        """What a line seen for the first time means."""
        colon = line.find(b":")
        name = line[:colon]
        action = self._spellings.get(name)
        if action is None:
            if len(self._spellings) >= SPELLINGS_LIMIT:
                self._spellings.clear()
            action = self._spellings[name] = RESPONSE_FIELDS.get(name.lower(), 0)
        meaning = _INERT
        if action:
            value = line[colon + 1 :].strip(b" \t")
            meaning = Meaning(action, value.lower() if action in (CONNECTION, CODING) else value)
        if len(line) <= LINE_BYTES_LIMIT and self._lines.is_known(hash(line)):
            if len(self._meanings) >= LINES_LIMIT:
                self._meanings.clear()
            self._meanings[line] = meaning
        return meaning

    def _learn(self, start: bytes) -> int:
        """The status of a status line seen for the first time.

        Raises:
            BadResponse: it is none.
        """
        if _STATUS_LINE.fullmatch(start) is None:
            raise BadResponse("malformed_head", "not an HTTP/1 head")
        status = int(start[9:12])
        if len(start) <= LINE_BYTES_LIMIT:
            if len(self._statuses) >= LINES_LIMIT:
                self._statuses.clear()
            self._statuses[start] = status
        return status
