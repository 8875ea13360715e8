"""Request heads: see head.py for the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from shadowproxy.dataplane.fields import ACTION, COLLECT, DROP, FRAMING, MARK, REQUEST_FIELDS, TAG, TAGS, TOUCH, TRACEPARENT
from shadowproxy.dataplane.head import (
    BLOCK_BYTES_LIMIT,
    BLOCKS_LIMIT,
    CRLF,
    END_OF_HEAD,
    LINE_BYTES,
    LINE_BYTES_LIMIT,
    LINES_LIMIT,
    SPELLINGS_LIMIT,
    STARTS_LIMIT,
    Completion,
    Newcomers,
)
from shadowproxy.dataplane.request_lines import AUTHORITY, INERT, Meaning, RequestHead, apply, understand
from shadowproxy.dataplane.request_templates import RequestTemplate, cut, may_vary
from shadowproxy.dataplane.templates import Templates
from shadowproxy.errors import BadRequest
from shadowproxy.policy.tags import Tags, plain

_PLAIN_START: Final = re.compile(rb"([A-Z-]+) ((/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?[\x21\x22\x24-\x7e]*)?) HTTP/1\.1")
METHODS: Final = frozenset(
    (
        b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT "
        b"MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK QUERY"
    ).split()
)
"""Methods that a head which was read before may come with: those that llhttp takes in any HTTP request."""
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)([/?].*)?", re.DOTALL)

RequestParts = tuple[bytes, bytes, bytes, RequestHead]
"""Method, target in origin form, path (the target without its query), and the fields."""


class RequestHeads:
    """Reads request heads. One a worker: a whole head is judged in one call, so nothing is kept between heads.

    Args:
        wanted: lower-case names whose values the policy looks at.
        touched: lower-case names of the fields that some mirror's copies do not get as they came.
        tags: reads whose test a request is.
        count_limit: field lines; over it 431.
        line_limit: bytes of the request line; over it 414.
        bytes_limit: bytes of a head that `recall` may take, which nobody has measured.
    """

    __slots__ = (
        "_blocks", "_bytes_limit", "_complete", "_count_limit", "_is_new", "_line_limit", "_lines", "_meanings", "_newcomers", "_parser",
        "_spellings", "_starts", "_tags", "_templates", "_touched", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        wanted: frozenset[bytes],
        touched: frozenset[bytes] = frozenset(),
        tags: Tags | None = None,
        *,
        count_limit: int,
        line_limit: int,
        bytes_limit: int = BLOCK_BYTES_LIMIT,
    ) -> None:
        self._wanted = wanted
        self._touched = touched
        self._tags = tags if tags is not None else Tags()
        self._count_limit = count_limit
        self._line_limit = line_limit
        self._bytes_limit = min(bytes_limit, BLOCK_BYTES_LIMIT)
        self._is_new = False
        self._complete = Completion()
        self._parser = HttpRequestParser(self._complete)
        self._meanings: dict[bytes, Meaning] = {}
        self._blocks: dict[bytes, RequestHead] = {}
        self._newcomers = Newcomers()
        self._spellings: dict[bytes, Meaning] = {}
        self._lines = Newcomers()
        self._starts: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        self._templates: Templates[RequestTemplate] = Templates()

    def read(self, head: bytes) -> RequestParts:
        """The request whose head is `head`, from the request line to the empty line.

        Raises:
            BadRequest: with the status and reason to answer.
        """
        known = self.recall(head)
        if known is not None:
            return known
        lines = self._judge(head)
        start = lines[0]
        # The request line, and the empty line at the end.
        del lines[0], lines[-1]
        parts = start.split(b" ")
        try:
            if len(parts) != 3:
                raise BadRequest(400, "malformed_request_line", "a request line is METHOD target HTTP/1.1, one space between each")
            return self._read(parts, lines, len(start))
        except BadRequest:
            self._parser = HttpRequestParser(self._complete)
            raise

    def recall(self, received: bytes) -> RequestParts | None:
        """The request, where `received` is one whole head of familiar lines (rules 5 and 6); None says nothing.

        No search for the head's end is needed: none of these lines is empty.
        """
        if received[-4:] != END_OF_HEAD:
            return None
        start, _, block = received.partition(CRLF)
        head = self._blocks.get(block)
        if len(start) > self._line_limit or (head is None and len(received) > self._bytes_limit):
            return None
        asked = self._starts.get(start) or self._asked(start)
        if asked is None:
            return None
        if head is None:
            head = self._fill_in(block) or self._put_together(asked[0], block)
            if head is None:
                return None
        return *asked, head

    def _asked(self, start: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Method, target and path of a request line that is as plain as nearly all are."""
        plain = _PLAIN_START.fullmatch(start)
        if plain is None or plain[1] not in METHODS:
            return None
        asked = (plain[1], plain[2], plain[3])
        if len(start) <= LINE_BYTES_LIMIT and self._lines.is_known(hash(start)):
            if len(self._starts) >= STARTS_LIMIT:
                self._starts.clear()
            self._starts[start] = asked
        return asked

    def _fill_in(self, block: bytes) -> RequestHead | None:
        """The fields of `block`, where it fits a template (rule 7)."""
        templates = self._templates
        template = templates.find(block)
        if template is None:
            return None
        head = template.fill(templates.values)
        if head is not None and not template.has_trace:
            self._keep(block, head)
        return head

    def _keep(self, block: bytes, head: RequestHead) -> None:
        """Know a head by heart that comes for the second time (rule 5)."""
        if len(block) <= BLOCK_BYTES_LIMIT and self._newcomers.is_known(hash(block)):
            if len(self._blocks) >= BLOCKS_LIMIT:
                self._blocks.clear()
            self._blocks[block] = head

    def _put_together(self, method: bytes, block: bytes) -> RequestHead | None:
        """The fields of `block`, where all lines are familiar; None also where one objects to another, so that llhttp is heard first."""
        lines = block.split(CRLF)
        lines.pop()
        lines.pop()
        if len(lines) > self._count_limit:
            return None
        head = RequestHead(lines, is_http10=False)
        self._is_new = False
        try:
            if not self._classify(head, method, is_judged=False):
                return None
        except BadRequest:
            return None
        head.common = b"\r\n".join([*head.lines, b""])
        if not (self._is_new or head.upgrade or head.max_forwards >= 0):
            self._keep(block, head)
        self._learn_template(block, head)
        return head

    def _learn_template(self, block: bytes, head: RequestHead) -> None:
        """What `block`, which fitted no template, tells about them."""
        templates = self._templates
        templates.review()
        if len(block) > BLOCK_BYTES_LIMIT or not templates.wants_lesson():
            return
        pieces, template = cut(block, head, self._spellings, templates.varying)
        if template is not None and templates.is_worth_learning(pieces):
            templates.learn(pieces, template)

    def _judge(self, head: bytes) -> list[bytes]:
        """The verdict of llhttp; returns the head's lines, the empty one at its end included.

        Raises:
            BadRequest: it is no head, or ends elsewhere.
        """
        complete = self._complete
        complete.heads = 0
        try:
            self._parser.feed_data(head)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            self._parser = HttpRequestParser(complete)
            raise _refusal(error, head) from None
        if complete.heads != 1:
            self._parser = HttpRequestParser(complete)
            raise BadRequest(400, "malformed_head", "the head does not end where its empty line is")
        # llhttp has checked that CR and LF only come as CRLF; this keeps it true if a version of it should not (P5):
        # splitlines takes either for an end of line, and then less than two bytes a line are missing.
        lines = head.splitlines()
        if sum(map(len, lines)) + 2 * len(lines) != len(head) or lines[-1]:
            self._parser = HttpRequestParser(complete)
            raise BadRequest(400, "bare_cr_or_lf", "CR and LF must come together")
        return lines

    def _read(self, parts: list[bytes], lines: list[bytes], start_bytes: int) -> RequestParts:
        method, target, version = parts
        if start_bytes > self._line_limit:
            raise BadRequest(414, "request_line_too_long", f"read a request line of {start_bytes} bytes, limit {self._line_limit}")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequest(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        is_http10 = version == b"HTTP/1.0"
        if len(lines) > self._count_limit:
            raise BadRequest(431, "too_many_fields", f"read {len(lines)} header lines, limit {self._count_limit}")
        head = RequestHead(lines, is_http10=is_http10)
        self._classify(head, method, is_judged=True)
        target, path = _origin_form(method, target, head)
        head.common = b"\r\n".join([*head.lines, b""])
        if head.length or head.upgrade or b"upgrade" in head.connection_tokens or not head.is_keep_alive:
            # llhttp now expects a body, a tunnel or silence; we frame bodies ourselves (framing.py), so it starts anew.
            self._parser = HttpRequestParser(self._complete)
        return method, target, path, head

    def _classify(self, head: RequestHead, method: bytes, *, is_judged: bool) -> bool:
        """Understand all lines.

        Args:
            head: gets what they say.
            method: the request's.
            is_judged: whether llhttp has seen the head. If not, a line that is not familiar ends it.

        Returns:
            Whether the head was read to its end.

        Raises:
            BadRequest: they cannot be what a request says.
        """
        meanings = self._meanings
        special: list[tuple[int, Meaning]] = []
        for index, line in enumerate(head.lines):
            meaning = meanings.get(line)
            if meaning is None:
                name, colon, value = line.partition(b":")
                spelling = self._spellings.get(name)
                if is_judged:
                    if spelling is None:
                        spelling = self._learn(name)
                elif spelling is None or not colon or line.translate(LINE_BYTES) != line:
                    return False
                elif spelling.action & ACTION in FRAMING and not value[1:].isalnum():
                    # About space around what ends a body llhttp has rules of its own.
                    return False
                meaning = understand(spelling, value) if spelling.action else INERT
                if not is_judged and not self._note(line, meaning) and may_vary(spelling.action):
                    self._templates.note(name)
            if meaning is not INERT:
                special.append((index, meaning))
        apply(head, method, special, self._tags)
        return True

    def _note(self, line: bytes, meaning: Meaning) -> bool:
        """Know a line by heart that comes for the second time; returns whether it does."""
        if not self._lines.is_known(hash(line)):
            self._is_new = True
            return False
        # A trace's id comes once, or a few times; so may others, which is seen by their not coming again.
        if meaning.action & ACTION != TRACEPARENT and len(line) <= LINE_BYTES_LIMIT:
            if len(self._meanings) >= LINES_LIMIT:
                self._meanings.clear()
            self._meanings[line] = meaning
        return True

    def _learn(self, name: bytes) -> Meaning:
        """The meaning of a spelling seen for the first time, without a value."""
        if not name:
            # llhttp has seen to it; were an empty line ever familiar, two heads could pass for one (P5).
            raise BadRequest(400, "malformed_head", "a field line without a name")
        lower = name.lower()
        action = REQUEST_FIELDS.get(lower, 0)
        alias = plain(lower)
        if not action:
            if alias == b"x-test-traffic":
                action = TAG
            elif alias == b"x-shadow-mirror":
                action = MARK
            elif alias.startswith((b"x-shadow-", b"x-fault-")):
                action = DROP
        if alias in self._tags.names:
            action |= TAGS
        if lower in self._wanted:
            action |= COLLECT
        if lower in self._touched:
            action |= TOUCH
        if len(self._spellings) >= SPELLINGS_LIMIT:
            self._spellings.clear()
        spelling = self._spellings[name] = Meaning(action, lower, b"")
        return spelling


def _origin_form(method: bytes, target: bytes, head: RequestHead) -> tuple[bytes, bytes]:
    """The target in origin form, and its path (RFC 9112 section 3.2)."""
    if method == b"CONNECT":
        # Whatever its target looks like: what follows a 2xx to it would be a tunnel upstream.
        raise BadRequest(501, "connect", "CONNECT is not served")
    if not target.startswith(b"/"):
        if target == b"*":
            if method != b"OPTIONS":
                raise BadRequest(400, "malformed_target", "only OPTIONS takes the target *")
            return target, target
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise BadRequest(400, "malformed_target", "a target is a path or an absolute http URL")
        authority = absolute[1].rpartition(b"@")[2]
        if not authority or AUTHORITY.fullmatch(authority) is None:
            raise BadRequest(400, "malformed_host", "the target's authority must be a host and optionally a port")
        _replace_host(head, authority)
        rest = absolute[2] or b"/"
        target = rest if rest.startswith(b"/") else b"/" + rest
    if not target.isascii() or b"#" in target:
        raise BadRequest(400, "malformed_target", "a target is ASCII without a fragment")
    return target, target.partition(b"?")[0]


def _replace_host(request: RequestHead, authority: bytes) -> None:
    """RFC 9112 section 3.2.2: the target's authority counts, whatever Host says."""
    request.authority = authority
    line = b"Host: " + authority
    request.touched = [touched for touched in request.touched if touched[0] != b"host"]
    request.touched.append((b"host", line))
    for index, old in enumerate(request.lines):
        if old[:5].lower() == b"host:":
            request.lines[index] = line
            return
    request.lines.insert(0, line)


def _refusal(error: HttpParserError, head: bytes) -> BadRequest:
    """The answer to a head that llhttp refuses: its own words, which name the rule and quote nothing of the input."""
    reason = str(error).split("b'")[0][:120] or "malformed head"
    method = head.partition(b" ")[0]
    if "method" in reason.lower() and method.isalpha() and method.isupper():
        return BadRequest(501, "unknown_method", reason)
    return BadRequest(400, "malformed_head", reason)


class HeadProbe:
    """Judges a head that arrives in pieces, so that a malformed one is refused at its first wrong byte."""

    __slots__ = ("_feed",)

    def __init__(self) -> None:
        self._feed: Callable[[bytes], None] = HttpRequestParser(Completion()).feed_data

    def feed(self, piece: bytes) -> None:
        """Read on.

        Raises:
            BadRequest: no continuation can make this a request.
        """
        try:
            self._feed(piece)
        except HttpParserUpgrade:
            return
        except HttpParserError as error:
            raise _refusal(error, b"") from None
