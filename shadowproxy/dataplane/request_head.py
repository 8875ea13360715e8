"""Request heads: see head.py for the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from shadowproxy.dataplane.fields import (
    ACTION,
    BAGGAGE,
    CODING,
    COLLECT,
    CONNECTION,
    DROP,
    EXPECT,
    FORWARDED,
    HOST,
    LENGTH,
    MARK,
    MAX_FORWARDS,
    OPTIONS,
    OURS,
    PROTECTED,
    REFUSE,
    REQUEST_FIELDS,
    SINGLETON,
    TAG,
    TAGS,
    TE,
    TOUCH,
    TRACEPARENT,
    TRACESTATE,
    UPGRADE,
    VIA,
)
from shadowproxy.dataplane.head import (
    BLOCK_BYTES_LIMIT,
    BLOCKS_LIMIT,
    CHUNKED,
    CRLF,
    LENGTH_LIMIT,
    LINE_BYTES_LIMIT,
    LINES_LIMIT,
    SPELLINGS_LIMIT,
    Completion,
    Newcomers,
)
from shadowproxy.errors import BadRequest
from shadowproxy.policy.tags import Tags, baggage_line, plain, tag_line

_AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]{0,5})?")
_PLAIN_START: Final = re.compile(rb"([A-Z-]+) ((/[\x21\x22\x24-\x3e\x40-\x7e]*)(?:\?[\x21\x22\x24-\x7e]*)?) HTTP/1\.1")
METHODS: Final = frozenset(
    (
        b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT "
        b"MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK QUERY"
    ).split()
)
"""Methods that a head which was read before may come with: those that llhttp takes in any HTTP request."""
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)([/?].*)?", re.DOTALL)
# W3C Trace Context section 3.2: no version ff, no ids of zeros, and nothing behind the flags in version 00.
_TRACEPARENT_FORM: Final = re.compile(rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_HTTP_BY_OTHER_NAMES: Final = re.compile(rb"(?i:h2c?|h3|https?(?:/.*)?|tls(?:/.*)?)")
"""Upgrade tokens behind which more HTTP would come: a tunnel of it would pass every route, mirror and rule unseen."""


class RequestHead:
    """What the header fields of a request say. Shared by all requests that sent the same bytes: never changed once read.

    `lines` are the field lines to forward, without connection-level fields and without those that the
    proxy writes itself; `common` is the same, each with CRLF. A request that is tagged as a test has a `tenant`, its tag is among
    `lines` in our spelling, `received` has all lines as they came, and `tagged_by` the names of those that tag it. `length` is the body's: 0 for none, CHUNKED, else
    bytes. `fields` has values by lower-case name for the names that the policy wants; `touched` has name and line
    of those that a copy may leave out or change. `copies` keeps, by mirror, the lines that its copies get.
    """

    __slots__ = (
        "authority", "common", "connection_tokens", "copies", "expects_continue", "fields", "forwarded", "is_http10", "is_keep_alive",
        "length", "lines", "mark", "max_forwards", "received", "tagged_by", "te_trailers", "tenant", "touched", "traceparent", "upgrade", "via",
    )  # fmt: skip

    def __init__(self, lines: list[bytes], *, is_http10: bool) -> None:
        self.is_http10 = is_http10
        self.lines = lines
        self.common = b""
        self.is_keep_alive = not is_http10
        self.length = 0
        self.authority = b""
        self.mark = b""
        self.traceparent = b""
        self.upgrade = b""
        self.max_forwards = -1
        self.expects_continue = False
        self.tenant = b""
        self.received: list[bytes] = _NO_LINES
        self.tagged_by: list[bytes] = _NO_LINES
        self.te_trailers = False
        self.touched: list[tuple[bytes, bytes]] = _NO_PAIRS
        self.forwarded: list[tuple[bytes, bytes]] = _NO_PAIRS
        self.via: list[bytes] = _NO_LINES
        self.connection_tokens: list[bytes] = _NO_LINES
        self.fields: dict[bytes, list[bytes]] = _NO_FIELDS
        self.copies: dict[object, bytes] = {}

    def __repr__(self) -> str:
        return f"RequestHead({self.authority.decode('latin-1')}, length={self.length}, fields={len(self.lines)})"


class Meaning:
    """What a line says to us: `action` is what its field is (fields.py), the name is in lower case, the value without space around it."""

    __slots__ = ("action", "name", "value")

    def __init__(self, action: int, name: bytes, value: bytes) -> None:
        self.action = action
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"Meaning({self.action}, {self.name.decode('latin-1')})"


_INERT: Final = Meaning(0, b"", b"")
"""Nothing: the line passes as it came."""

RequestParts = tuple[bytes, bytes, bytes, RequestHead]
"""Method, target in origin form, path (the target without its query), and the fields."""


# Shared empty values: never changed in place, so that a plain request allocates none.
_NO_LINES: Final[list[bytes]] = []
_NO_PAIRS: Final[list[tuple[bytes, bytes]]] = []
_NO_FIELDS: Final[dict[bytes, list[bytes]]] = {}


class RequestHeads:
    """Reads request heads. One a worker: a whole head is judged in one call, so nothing is kept between heads.

    Args:
        wanted: lower-case names whose values the policy looks at.
        touched: lower-case names of the fields that some mirror's copies do not get as they came.
        tags: reads whose test a request is.
        count_limit: field lines; over it 431.
        line_limit: bytes of the request line; over it 414.
    """

    __slots__ = (
        "_blocks",
        "_complete",
        "_count_limit",
        "_line_limit",
        "_lines",
        "_meanings",
        "_newcomers",
        "_parser",
        "_spellings",
        "_tags",
        "_touched",
        "_wanted",
    )

    def __init__(
        self,
        wanted: frozenset[bytes],
        touched: frozenset[bytes] = frozenset(),
        tags: Tags | None = None,
        *,
        count_limit: int,
        line_limit: int,
    ) -> None:
        self._wanted = wanted
        self._touched = touched
        self._tags = tags if tags is not None else Tags()
        self._count_limit = count_limit
        self._line_limit = line_limit
        self._complete = Completion()
        self._parser = HttpRequestParser(self._complete)
        self._meanings: dict[bytes, Meaning] = {}
        self._blocks: dict[bytes, RequestHead] = {}
        self._newcomers = Newcomers()
        self._spellings: dict[bytes, Meaning] = {}
        self._lines = Newcomers()

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
            return self._read(parts, lines, head, len(start))
        except BadRequest:
            self._parser = HttpRequestParser(self._complete)
            raise

    def recall(self, received: bytes) -> RequestParts | None:
        """The request, where `received` is one whole head whose fields were read before; None says nothing.

        No search for the head's end is needed: fields that were read before end where the head did.
        """
        start_end = received.find(CRLF)
        known = self._blocks.get(received[start_end + 2 :])
        if known is None or start_end > self._line_limit:
            return None
        plain = _PLAIN_START.fullmatch(received, 0, start_end)
        if plain is None:
            return None
        method, target, path = plain.group(1, 2, 3)
        return (method, target, path, known) if method in METHODS else None

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

    def _read(self, parts: list[bytes], lines: list[bytes], whole: bytes, start_bytes: int) -> RequestParts:
        method, target, version = parts
        if start_bytes > self._line_limit:
            raise BadRequest(414, "request_line_too_long", f"read a request line of {start_bytes} bytes, limit {self._line_limit}")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequest(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        is_http10 = version == b"HTTP/1.0"
        if len(lines) > self._count_limit:
            raise BadRequest(431, "too_many_fields", f"read {len(lines)} header lines, limit {self._count_limit}")
        head = RequestHead(lines, is_http10=is_http10)
        self._classify(head, method)
        is_origin_form = target.startswith(b"/")
        target, path = _origin_form(method, target, head)
        head.common = b"\r\n".join([*head.lines, b""])
        if head.length or head.upgrade or b"upgrade" in head.connection_tokens or not head.is_keep_alive:
            # llhttp now expects a body, a tunnel or silence; we frame bodies ourselves (framing.py), so it starts anew.
            self._parser = HttpRequestParser(self._complete)
        if is_origin_form and not is_http10 and not head.upgrade and head.max_forwards < 0:
            block = whole[start_bytes + 2 :]
            if len(block) <= BLOCK_BYTES_LIMIT and self._newcomers.is_known(hash(block)):
                if len(self._blocks) >= BLOCKS_LIMIT:
                    self._blocks.clear()
                self._blocks[block] = head
        return method, target, path, head

    def _classify(self, head: RequestHead, method: bytes) -> None:
        lines = head.lines
        # The look-ups in one go, without a loop of ours: nearly all lines were seen before and mean nothing to us.
        found: list[Meaning | None] = list(map(self._meanings.get, lines))
        special: list[tuple[int, Meaning]] = []
        for index, known in enumerate(found):
            meaning = known if known is not None else self._understand(lines[index])
            if meaning is not _INERT:
                special.append((index, meaning))
        _apply(head, method, special, self._tags)

    def _understand(self, line: bytes) -> Meaning:
        """What a line seen for the first time means.

        Raises:
            BadRequest: it is a Host that is none, whatever comes beside it.
        """
        colon = line.find(b":")
        spelling = self._spellings.get(line[:colon])
        if spelling is None:
            spelling = self._learn(line[:colon])
        action = spelling.action
        meaning = _INERT
        if action:
            value = line[colon + 1 :].strip(b" \t")
            if action & ACTION == HOST and _AUTHORITY.fullmatch(value) is None:
                raise BadRequest(400, "malformed_host", "Host must be a host and optionally a port")
            meaning = Meaning(action, spelling.name, value)
        # A trace's id comes once, or a few times; so may others, which is seen by their not coming again.
        if action & ACTION != TRACEPARENT and len(line) <= LINE_BYTES_LIMIT and self._lines.is_known(hash(line)):
            if len(self._meanings) >= LINES_LIMIT:
                self._meanings.clear()
            self._meanings[line] = meaning
        return meaning

    def _learn(self, name: bytes) -> Meaning:
        """The meaning of a spelling seen for the first time, without a value."""
        lower = name.lower()
        action = REQUEST_FIELDS.get(lower, 0)
        alias = plain(name)
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
        spelling = self._spellings[bytes(name)] = Meaning(action, lower, b"")
        return spelling


def _apply(request: RequestHead, method: bytes, special: list[tuple[int, Meaning]], tags: Tags) -> None:  # a dispatch: one case a field
    """Take from the special lines what they say, and out of `lines` what is not forwarded."""
    lines = request.lines
    drop: list[int] = []
    connection: list[bytes] = []
    states: list[int] = []
    baggage: list[int] = []
    claims: list[tuple[bytes, bytes]] | None = None
    has_host = has_length = has_coding = False
    seen: list[bytes] = []
    for index, meaning in special:
        flagged = meaning.action
        name = meaning.name
        value = meaning.value
        action = flagged & ACTION
        if flagged & COLLECT:
            if request.fields is _NO_FIELDS:
                request.fields = {}
            request.fields.setdefault(name, []).append(value)
        if flagged & TOUCH:
            if request.touched is _NO_PAIRS:
                request.touched = []
            request.touched.append((name, lines[index]))
        if flagged & TAGS:
            if claims is None:
                claims = []
            claims.append((name, value))
        if not action:
            continue
        if action == HOST:
            if has_host:
                raise BadRequest(400, "duplicate_host", "two Host fields")
            has_host = True
            if not value:
                # Two readers could take an empty Host for two things: each leg gets its endpoint's instead.
                drop.append(index)
            request.authority = value
        elif action == CONNECTION:
            drop.append(index)
            connection.append(value.lower())
        elif action == SINGLETON:
            if name in seen:
                raise BadRequest(400, "duplicate_field", f"two {name.decode('latin-1')} fields")
            seen.append(name)
        elif action == LENGTH:
            if has_length or not value.isdigit():
                raise BadRequest(400, "malformed_content_length", "Content-Length must be one number")
            has_length = True
            request.length = int(value) if len(value) < 40 else LENGTH_LIMIT + 1
            if request.length > LENGTH_LIMIT:
                raise BadRequest(400, "malformed_content_length", f"Content-Length is over {LENGTH_LIMIT}")
            if value[0] == 0x30 and len(value) > 1:
                lines[index] = b"Content-Length: %d" % request.length
        elif action == CODING:
            # RFC 9112 section 6.1: anything but one `chunked` is refused, so that no two readers frame it differently.
            if has_coding or value.lower() != b"chunked":
                raise BadRequest(
                    501 if value.lower().endswith(b"chunked") else 400, "unsupported_coding", "Transfer-Encoding must be chunked, once"
                )
            has_coding = True
            drop.append(index)
        elif action == DROP:
            drop.append(index)
        elif action == EXPECT:
            drop.append(index)
            if value.lower() != b"100-continue":
                raise BadRequest(417, "unknown_expectation", "only 100-continue can be expected")
            request.expects_continue = not request.is_http10
        elif action == UPGRADE:
            drop.append(index)
            request.upgrade = value if not request.upgrade else b"%b, %b" % (request.upgrade, value)
        elif action == TE:
            drop.append(index)
            request.te_trailers = request.te_trailers or b"trailers" in [part.strip(b" \t") for part in value.lower().split(b",")]
        elif action == FORWARDED:
            drop.append(index)
            if request.forwarded is _NO_PAIRS:
                request.forwarded = []
            request.forwarded.append((name, value))
        elif action == VIA:
            drop.append(index)
            if request.via is _NO_LINES:
                request.via = []
            request.via.append(value)
        elif action == TRACEPARENT:
            drop.append(index)
            # W3C Trace Context section 3.2: a value that cannot be read, or that comes twice, starts a new trace.
            is_readable = not request.traceparent and _TRACEPARENT_FORM.fullmatch(value) is not None
            request.traceparent = value if is_readable else b"-"
        elif action == TRACESTATE:
            states.append(index)
        elif action == MARK:
            drop.append(index)
            request.mark = b"%b, %b" % (request.mark, value) if request.mark else value or b"-"
        elif action in (TAG, BAGGAGE):
            baggage.append(index)
        elif action == MAX_FORWARDS:
            if request.max_forwards >= 0:
                raise BadRequest(400, "duplicate_field", "two Max-Forwards fields")
            if not value.isdigit() or len(value) > 9:
                raise BadRequest(400, "malformed_max_forwards", "Max-Forwards must be a number")
            request.max_forwards = int(value)
            if method in (b"OPTIONS", b"TRACE") and request.max_forwards > 0:
                lines[index] = b"Max-Forwards: %d" % (request.max_forwards - 1)
        elif action == REFUSE:
            raise BadRequest(400, "obsolete_websocket", "the 2010 WebSocket draft is not spoken here")
    if has_coding:
        if has_length:
            raise BadRequest(400, "length_and_coding", "Content-Length and Transfer-Encoding together")
        if request.is_http10:
            raise BadRequest(400, "coding_in_http10", "Transfer-Encoding in HTTP/1.0")
        request.length = CHUNKED
    if not has_host and not request.is_http10:
        raise BadRequest(400, "missing_host", "HTTP/1.1 requires a Host field")
    if request.length:
        # llhttp sees a tunnel where h11 sees the body first: with a body it is an ordinary request (P5; RFC 9110 section 7.8 lets us).
        request.upgrade = b""
    if connection:
        _apply_connection(request, connection, drop)
    elif request.upgrade:
        request.upgrade = b""
    if states and len(request.traceparent) < 2:
        # W3C Trace Context section 3.3: vendors' state belongs to a trace; a new trace begins without.
        drop += states
    tag_lines: list[bytes] = _NO_LINES if claims is None else _tag(request, tags, claims, baggage, drop)
    drop.sort()
    for index in reversed(drop):
        del lines[index]
    if tag_lines:
        lines += tag_lines


def _tag(request: RequestHead, tags: Tags, claims: list[tuple[bytes, bytes]], said: list[int], drop: list[int]) -> list[bytes]:
    """Whose test it is, if it is one, and the lines that say so in our spelling, in place of `said`, those of the client's that were about it."""
    tenant, tagged_by = tags.judge(claims)
    if tenant is None:
        raise BadRequest(400, "conflicting_tags", "the request is tagged for two tenants")
    if not tenant:
        return _NO_LINES
    lines = request.lines
    request.tenant = tenant
    request.tagged_by = tagged_by
    request.received = list(lines)
    # What a Connection field nominated is left out as always; of the tag and the baggage that are written anew here nothing is.
    drop += [index for index in said if index not in drop]
    baggage = [line[line.find(b":") + 1 :] for index in said if (line := lines[index])[:7].lower() == b"baggage"]
    return [tag_line(tenant), baggage_line(tenant, baggage)]


def _apply_connection(request: RequestHead, values: list[bytes], drop: list[int]) -> None:
    """Connection options, and the fields that they nominate (RFC 9110 section 7.6.1)."""
    tokens = [token for value in values for part in value.split(b",") if (token := part.strip(b" \t"))]
    request.connection_tokens = tokens
    if b"close" in tokens:
        request.is_keep_alive = False
    elif request.is_http10 and b"keep-alive" in tokens:
        request.is_keep_alive = True
    if request.upgrade:
        request.upgrade = _tunnelled(request.upgrade) if b"upgrade" in tokens and not request.is_http10 else b""
    nominated = {token for token in tokens if token not in OPTIONS and not _is_protected(token)}
    if nominated:
        for index, line in enumerate(request.lines):
            if index not in drop and line[: line.find(b":")].lower() in nominated:
                drop.append(index)


def _is_protected(token: bytes) -> bool:
    """Whether a nomination is ignored. With `_` and `.` read as `-`, as in `_learn`: an alias of our names is ours too."""
    alias = plain(token)
    return alias in PROTECTED or alias.startswith(OURS)


def _tunnelled(upgrade: bytes) -> bytes:
    """What may be upgraded to (RFC 9110 section 7.8), without other forms of HTTP; b"" makes it an ordinary request."""
    protocols = [part.strip(b" \t") for part in upgrade.split(b",")]
    return b", ".join(protocol for protocol in protocols if protocol and _HTTP_BY_OTHER_NAMES.fullmatch(protocol) is None)


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
        if not authority or _AUTHORITY.fullmatch(authority) is None:
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
