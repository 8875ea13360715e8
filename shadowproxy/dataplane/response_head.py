"""Answers' heads: see head.py for the rules."""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from shadowproxy.dataplane.fields import CODING, CONNECTION, DATE, FRAMING, LENGTH, OPTIONS, PROTECTED, RESPONSE_FIELDS, UPGRADE
from shadowproxy.dataplane.head import (
    BLOCK_BYTES_LIMIT,
    BLOCKS_LIMIT,
    CHUNKED,
    CRLF,
    END_OF_HEAD,
    LINE_BYTES,
    LINE_BYTES_LIMIT,
    LINES_LIMIT,
    SPELLINGS_LIMIT,
    Completion,
    Newcomers,
)
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.response_templates import ResponseTemplate, cut, may_vary
from shadowproxy.dataplane.templates import Templates
from shadowproxy.errors import BadResponse

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
"""RFC 9112 section 4. llhttp lets control characters pass in the reason; nobody else should have to (CVE-2026-34520)."""


class Meaning:
    """What a line says to us: `action` is what its field is (fields.py), the value is without space around it.

    `length` is the number that the value of a Content-Length is, -1 where it is none that bodies have.
    """

    __slots__ = ("action", "length", "value")

    def __init__(self, action: int, value: bytes) -> None:
        self.action = action
        self.value = value
        self.length = int(value) if action == LENGTH and value.isdigit() and len(value) <= 18 else -1

    def __repr__(self) -> str:
        return f"Meaning({self.action}, {self.value.decode('latin-1')!r})"


_INERT: Final = Meaning(0, b"")
"""Nothing: the line passes as it came."""


class ResponseHeads:
    """Reads answers' heads, as strictly as requests: an upstream is a peer like any other."""

    __slots__ = (
        "_blocks",
        "_complete",
        "_count_limit",
        "_is_new",
        "_lines",
        "_meanings",
        "_newcomers",
        "_spellings",
        "_statuses",
        "_templates",
    )

    def __init__(self, *, count_limit: int = 500) -> None:
        self._blocks: dict[bytes, ResponseHead] = {}
        self._complete = Completion()
        self._count_limit = count_limit
        self._is_new = False
        self._meanings: dict[bytes, Meaning] = {}
        self._newcomers = Newcomers()
        self._statuses: dict[bytes, int] = {}
        self._spellings: dict[bytes, int] = {}
        self._lines = Newcomers()
        self._templates: Templates[ResponseTemplate] = Templates()

    def read(self, head: bytes, method: bytes) -> ResponseHead:
        """The answer to a request of `method` whose head is `head`, from the status line to the empty line.

        Raises:
            BadResponse: it is not unambiguous HTTP/1.
        """
        if method != b"HEAD":
            known = self._blocks.get(head)
            if known is not None:
                return known
            template = self._templates.find(head)
            if template is not None:
                response = template.fill(self._templates.values)
                if response is not None:
                    self._keep(head, response)
                    return response
        return self._recall(head, method) or self._read_new(head, method)

    def _keep(self, head: bytes, response: ResponseHead) -> None:
        """Know a head by heart that comes for the second time (rule 5)."""
        if response.length and len(head) <= BLOCK_BYTES_LIMIT and self._newcomers.is_known(hash(head)):
            if len(self._blocks) >= BLOCKS_LIMIT:
                self._blocks.clear()
            self._blocks[head] = response

    def _recall(self, head: bytes, method: bytes) -> ResponseHead | None:
        """The answer, where all lines of its head are familiar (rule 6); None also where one objects to another, so that llhttp is heard first."""
        lines = head.split(CRLF)
        status = self._statuses.get(lines[0])
        if status is None or status < 200 or head[-4:] != END_OF_HEAD or len(head) > BLOCK_BYTES_LIMIT:
            # Of interim answers llhttp knows what may change the protocol.
            return None
        lines.pop()
        lines.pop()
        self._is_new = False
        try:
            response = self._put_together(status, lines, method, is_judged=False)
        except BadResponse:
            return None
        if response is None or method == b"HEAD":
            return response
        if not self._is_new:
            self._keep(head, response)
        templates = self._templates
        templates.review()
        if templates.wants_lesson():
            pieces, template = cut(head, response, self._spellings, templates.varying)
            if template is not None and templates.is_worth_learning(pieces):
                templates.learn(pieces, template)
        return response

    def _read_new(self, head: bytes, method: bytes) -> ResponseHead:
        """The same of any head.

        Raises:
            BadResponse: it is not unambiguous HTTP/1.
        """
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
        status = self._statuses.get(lines[0]) or self._learn(lines[0])
        response = self._put_together(status, lines, method, is_judged=True)
        assert response is not None
        return response

    def _put_together(self, status: int, lines: list[bytes], method: bytes, *, is_judged: bool) -> ResponseHead | None:
        """The answer that `lines` are the head of; None where llhttp has not judged them and one is not familiar.

        Raises:
            BadResponse: they cannot be what an answer says.
        """
        if len(lines) - 1 > self._count_limit:
            raise BadResponse("too_many_fields", f"read {len(lines) - 1} header lines, limit {self._count_limit}")
        response = ResponseHead(status)
        start = lines[0]
        is_http10 = start[7:8] == b"0"
        if is_http10:
            # RFC 9110 section 2.5: the version is the sender's own.
            lines[0] = b"HTTP/1.1" + start[8:]
        if not self._classify(response, lines, is_http10=is_http10, is_judged=is_judged):
            return None
        response.wire = b"\r\n".join([*lines, b""])
        if status < 200 or status == 204 or status == 304 or method == b"HEAD":
            response.length = 0
        return response

    def _classify(self, response: ResponseHead, lines: list[bytes], *, is_http10: bool, is_judged: bool) -> bool:
        """As `RequestHeads._classify`."""
        meanings = self._meanings
        drop: list[int] = []
        tokens = b""
        has_coding = False
        for index in range(1, len(lines)):
            line = lines[index]
            meaning = meanings.get(line)
            if meaning is None:
                name, colon, value = line.partition(b":")
                known = self._spellings.get(name)
                if is_judged:
                    action = known if known is not None else self._learn_name(name)
                elif known is None or not colon or line.translate(LINE_BYTES) != line or (known in FRAMING and not value[1:].isalnum()):
                    return False
                else:
                    action = known
                meaning = _meant(action, value) if action else _INERT
                if not is_judged and not self._note(line, meaning) and may_vary(action):
                    self._templates.note(name)
            action = meaning.action
            value = meaning.value
            if not action:
                continue
            if action == LENGTH:
                if response.announced >= 0 or meaning.length < 0:
                    raise BadResponse("malformed_content_length", "Content-Length must be one number")
                response.announced = response.length = meaning.length
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
        while drop:
            del lines[drop.pop()]
        return True

    @staticmethod
    def _nominated(lines: list[bytes], options: list[bytes], drop: list[int]) -> None:
        names = {token for token in options if token and token not in OPTIONS and token not in PROTECTED and token != b"date"}
        if names:
            for index in range(1, len(lines)):
                if index not in drop and lines[index][: lines[index].find(b":")].lower() in names:
                    drop.append(index)

    def _note(self, line: bytes, meaning: Meaning) -> bool:
        """Know a line by heart that comes for the second time; returns whether it does."""
        if not self._lines.is_known(hash(line)):
            self._is_new = True
            return False
        if len(line) <= LINE_BYTES_LIMIT:
            if len(self._meanings) >= LINES_LIMIT:
                self._meanings.clear()
            self._meanings[line] = meaning
        return True

    def _learn_name(self, name: bytes) -> int:
        """The action of a name in a spelling seen for the first time.

        Raises:
            BadResponse: it is none.
        """
        if not name:
            raise BadResponse("malformed_head", "a field line without a name")
        if len(self._spellings) >= SPELLINGS_LIMIT:
            self._spellings.clear()
        action = self._spellings[name] = RESPONSE_FIELDS.get(name.lower(), 0)
        return action

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


def _meant(action: int, value: bytes) -> Meaning:
    value = value.strip(b" \t")
    return Meaning(action, value.lower() if action in (CONNECTION, CODING) else value)
