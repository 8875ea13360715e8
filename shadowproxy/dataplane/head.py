"""HTTP/1 heads: from bytes to what the proxy must know, and to the bytes that it sends on.

The rules of this file:

1.  llhttp, in its strict mode, judges the grammar; a head that it refuses is refused. It runs
    without header callbacks (0.5 us a head instead of 3): because it has established that lines
    end in CRLF and are not folded, the head can then be split at CRLF, one line a field.
2.  What is forwarded is the client's own lines, byte for byte and in order. Lines are left out or
    added, never rewritten. (FWD-08, FWD-11, FWD-12)
3.  On top of llhttp we refuse what two readers could read differently: a second Host,
    Content-Length or other singleton, Transfer-Encoding that is not exactly `chunked`, a `#` or a
    byte over 0x7E in the target, any version but 1.0 and 1.1.
4.  Fields that belong to a connection are removed (RFC 9110 section 7.6.1), then ours are added, so
    a client's Connection field cannot remove ours. (HBH-05)
5.  Fields repeat: one client sends the same ones with every request, one endpoint with every answer of a
    second. What was read once is kept by its bytes (BLOCKS_LIMIT heads), with the verdict on it; a repeated
    head costs one look-up instead of a parse (0.5 us instead of 4). Only the request line is then judged, by
    a pattern that is stricter than llhttp.
6.  Names are looked up in a table as they were sent; a spelling that was not seen before is
    classified once, under its lower-case form with `_` and `.` read as `-` for our own names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from shadowproxy.errors import BadRequest, BadResponse

END_OF_HEAD: Final = b"\r\n\r\n"
CRLF: Final = b"\r\n"

UNTIL_CLOSE: Final = -2
"""Body length of an answer that ends with its connection."""

CHUNKED: Final = -1
"""Body length of a chunked message."""

LENGTH_LIMIT: Final = 2**63 - 1

# What a field name means to the proxy. 0: nothing, the line passes as it is.
_HOST = 1
_LENGTH = 2
_CODING = 3
_CONNECTION = 4
_DROP = 5
_EXPECT = 6
_UPGRADE = 7
_TE = 8
_FORWARDED = 9
_VIA = 10
_TRACEPARENT = 11
_MARK = 12
_TAG = 13
_SINGLETON = 14
_MAX_FORWARDS = 15
_REFUSE = 16
_CREDENTIAL = 17
_DATE = 18
_BAGGAGE = 19
_TRACESTATE = 20
_COLLECT = 32
"""Bit: the policy looks at this field."""

_REQUEST_FIELDS: Final[dict[bytes, int]] = {
    b"host": _HOST,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authenticate": _DROP,
    b"proxy-authorization": _DROP,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    b"te": _TE,
    b"forwarded": _FORWARDED,
    b"x-forwarded-for": _FORWARDED,
    b"x-forwarded-host": _FORWARDED,
    b"x-forwarded-proto": _FORWARDED,
    b"x-forwarded-port": _FORWARDED,
    b"x-real-ip": _FORWARDED,
    b"via": _VIA,
    b"traceparent": _TRACEPARENT,
    b"tracestate": _TRACESTATE,
    b"x-test-traffic": _TAG,
    b"baggage": _BAGGAGE,
    b"max-forwards": _MAX_FORWARDS,
    b"authorization": _CREDENTIAL,
    b"cookie": _CREDENTIAL,
    # Fields of which a second line means that two readers may take different ones.
    b"content-type": _SINGLETON,
    b"content-location": _SINGLETON,
    b"content-range": _SINGLETON,
    b"etag": _SINGLETON,
    b"server": _SINGLETON,
    b"user-agent": _SINGLETON,
    # The 2010 WebSocket draft sent eight bytes after the head without announcing them: unframed data.
    b"sec-websocket-key1": _REFUSE,
}

_RESPONSE_FIELDS: Final[dict[bytes, int]] = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"upgrade": _UPGRADE,
    b"date": _DATE,
}

PROTECTED: Final = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie", b"content-type", b"via", b"traceparent", b"tracestate",
        b"baggage", b"forwarded", b"x-real-ip", b"x-request-id", b"x-test-traffic",
    }
)  # fmt: skip
"""End-to-end fields that a Connection field cannot remove: the nomination is ignored (HBH-05, HBH-06)."""

_OURS: Final = (b"x-forwarded-", b"x-shadow-", b"x-fault-")

BLOCKS_LIMIT: Final = 1024
"""Heads that one reader keeps; when it is full it starts anew."""

BLOCK_BYTES_LIMIT: Final = 4096
"""A longer head is not kept. Together 4 MiB a worker, whatever clients send."""

SPELLINGS_LIMIT: Final = 4096
"""Spellings of names kept by one reader: far over what clients use, and a bound on what one can make us hold."""

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
_UNTAGGED: Final = frozenset({b"", b"0", b"false"})
SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"})
"""Methods without side effects, hence reads (RFC 9110 section 9.2.1 and the registry of methods)."""


class RequestHead:
    """What the header fields of a request say. Shared by all requests that sent the same bytes: never changed once read.

    `lines` are the field lines to forward, without connection-level fields and without those that the
    proxy writes itself; `common` is the same, each with CRLF. `length` is the body's: 0 for none, CHUNKED, else
    bytes. `fields` has values by lower-case name for the names that the policy wants. `credentials` are those
    of `lines` that carry any. `copies` keeps, by mirror, the lines that its copies get.
    """

    __slots__ = (
        "authority", "common", "connection_tokens", "copies", "credentials", "expects_continue", "fields", "forwarded", "is_http10", "is_keep_alive",
        "is_tagged", "length", "lines", "mark", "max_forwards", "te_trailers", "traceparent", "upgrade", "via",
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
        self.is_tagged = False
        self.te_trailers = False
        self.credentials: list[bytes] = _NO_LINES
        self.forwarded: list[tuple[bytes, bytes]] = _NO_PAIRS
        self.via: list[bytes] = _NO_LINES
        self.connection_tokens: list[bytes] = _NO_LINES
        self.fields: dict[bytes, list[bytes]] = _NO_FIELDS
        self.copies: dict[object, bytes] = {}

    def __repr__(self) -> str:
        return f"RequestHead({self.authority.decode('latin-1')}, length={self.length}, fields={len(self.lines)})"


RequestParts = tuple[bytes, bytes, bytes, RequestHead]
"""Method, target in origin form, path (the target without its query), and the fields."""


# Shared empty values: never changed in place, so that a plain request allocates none.
_NO_LINES: Final[list[bytes]] = []
_NO_PAIRS: Final[list[tuple[bytes, bytes]]] = []
_NO_FIELDS: Final[dict[bytes, list[bytes]]] = {}


class _Complete:
    """llhttp's only callback: was the head complete when its last byte had been read?"""

    __slots__ = ("heads",)

    def __init__(self) -> None:
        self.heads = 0

    def on_headers_complete(self) -> None:
        self.heads += 1


class RequestHeads:
    """Reads request heads. One a worker: a whole head is judged in one call, so nothing is kept between heads.

    Args:
        wanted: lower-case names whose values the policy looks at.
        count_limit: field lines; over it 431.
        line_limit: bytes of the request line; over it 414.
    """

    __slots__ = ("_blocks", "_complete", "_count_limit", "_line_limit", "_parser", "_spellings", "_wanted")

    def __init__(self, wanted: frozenset[bytes], *, count_limit: int, line_limit: int) -> None:
        self._wanted = wanted
        self._count_limit = count_limit
        self._line_limit = line_limit
        self._complete = _Complete()
        self._parser = HttpRequestParser(self._complete)
        self._spellings: dict[bytes, int] = {}
        self._blocks: dict[bytes, RequestHead] = {}

    def read(self, head: bytes) -> RequestParts:
        """The request whose head is `head`, from the request line to the empty line.

        Raises:
            BadRequest: with the status and reason to answer.
        """
        known = self.recall(head)
        if known is not None:
            return known
        start_end = head.find(CRLF)
        start = head[:start_end]
        block = head[start_end + 2 :]
        self._judge(head)
        parts = start.split(b" ")
        if len(parts) != 3:
            raise BadRequest(400, "malformed_request_line", "a request line is METHOD target HTTP/1.1, one space between each")
        try:
            return self._read(parts, block, start_end)
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

    def _judge(self, head: bytes) -> None:
        """llhttp's verdict, and that the head's lines are what a split at CRLF gives.

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
        # llhttp has checked that CR and LF only come as CRLF; this keeps it true if a version of it should not (P5).
        if not head.count(b"\n") == head.count(b"\r") == head.count(CRLF):
            self._parser = HttpRequestParser(complete)
            raise BadRequest(400, "bare_cr_or_lf", "CR and LF must come together")

    def _read(self, parts: list[bytes], block: bytes, start_bytes: int) -> RequestParts:
        method, target, version = parts
        if start_bytes > self._line_limit:
            raise BadRequest(414, "request_line_too_long", f"read a request line of {start_bytes} bytes, limit {self._line_limit}")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequest(505, "unsupported_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        is_http10 = version == b"HTTP/1.0"
        lines = block.split(CRLF)
        del lines[-2:]
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
        if is_origin_form and not is_http10 and not head.upgrade and head.max_forwards < 0 and len(block) <= BLOCK_BYTES_LIMIT:
            if len(self._blocks) >= BLOCKS_LIMIT:
                self._blocks.clear()
            self._blocks[block] = head
        return method, target, path, head

    def _classify(self, head: RequestHead, method: bytes) -> None:
        special: list[tuple[int, int, bytes, bytes]] = []
        spellings = self._spellings
        index = -1
        for line in head.lines:
            index += 1
            name = line[: line.find(b":")]
            action = spellings.get(name)
            if action is None:
                action = self._learn(name)
            if action:
                special.append((index, action, name, line))
        _apply(head, method, special)

    def _learn(self, name: bytes) -> int:
        """The meaning of a spelling seen for the first time."""
        lower = name.lower()
        action = _REQUEST_FIELDS.get(lower, 0)
        if not action:
            plain = lower.replace(b"_", b"-").replace(b".", b"-")
            if plain == b"x-test-traffic":
                action = _TAG
            elif plain == b"x-shadow-mirror":
                action = _MARK
            elif plain.startswith((b"x-shadow-", b"x-fault-")):
                action = _DROP
        if lower in self._wanted:
            action |= _COLLECT
        if len(self._spellings) >= SPELLINGS_LIMIT:
            self._spellings.clear()
        self._spellings[bytes(name)] = action
        return action


def _apply(request: RequestHead, method: bytes, special: list[tuple[int, int, bytes, bytes]]) -> None:  # a dispatch: one case a field
    """Take from the special lines what they say, and out of `lines` what is not forwarded."""
    lines = request.lines
    drop: list[int] = []
    connection: list[bytes] = []
    states: list[int] = []
    has_host = has_length = has_coding = False
    seen: list[bytes] = []
    for index, flagged, name, line in special:
        value = line[len(name) + 1 :].strip(b" \t")
        action = flagged & ~_COLLECT
        if flagged & _COLLECT:
            if request.fields is _NO_FIELDS:
                request.fields = {}
            request.fields.setdefault(name.lower(), []).append(value)
        if action == _HOST:
            if has_host:
                raise BadRequest(400, "duplicate_host", "two Host fields")
            has_host = True
            if not value:
                # Two readers could take an empty Host for two things: each leg gets its endpoint's instead.
                drop.append(index)
            if _AUTHORITY.fullmatch(value) is None:
                raise BadRequest(400, "malformed_host", "Host must be a host and optionally a port")
            request.authority = value
        elif action == _CONNECTION:
            drop.append(index)
            connection.append(value.lower())
        elif action == _CREDENTIAL:
            if request.credentials is _NO_LINES:
                request.credentials = []
            request.credentials.append(line)
        elif action == _SINGLETON:
            lower = name.lower()
            if lower in seen:
                raise BadRequest(400, "duplicate_field", f"two {lower.decode('latin-1')} fields")
            seen.append(lower)
        elif action == _LENGTH:
            if has_length or not value.isdigit():
                raise BadRequest(400, "malformed_content_length", "Content-Length must be one number")
            has_length = True
            request.length = int(value) if len(value) < 40 else LENGTH_LIMIT + 1
            if request.length > LENGTH_LIMIT:
                raise BadRequest(400, "malformed_content_length", f"Content-Length is over {LENGTH_LIMIT}")
            if value[0] == 0x30 and len(value) > 1:
                lines[index] = b"Content-Length: %d" % request.length
        elif action == _CODING:
            # RFC 9112 section 6.1: anything but one `chunked` is refused, so that no two readers frame it differently.
            if has_coding or value.lower() != b"chunked":
                raise BadRequest(
                    501 if value.lower().endswith(b"chunked") else 400, "unsupported_coding", "Transfer-Encoding must be chunked, once"
                )
            has_coding = True
            drop.append(index)
        elif action == _DROP:
            drop.append(index)
        elif action == _EXPECT:
            drop.append(index)
            if value.lower() != b"100-continue":
                raise BadRequest(417, "unknown_expectation", "only 100-continue can be expected")
            request.expects_continue = not request.is_http10
        elif action == _UPGRADE:
            drop.append(index)
            request.upgrade = value if not request.upgrade else b"%b, %b" % (request.upgrade, value)
        elif action == _TE:
            drop.append(index)
            request.te_trailers = request.te_trailers or b"trailers" in [part.strip(b" \t") for part in value.lower().split(b",")]
        elif action == _FORWARDED:
            drop.append(index)
            if request.forwarded is _NO_PAIRS:
                request.forwarded = []
            request.forwarded.append((name.lower(), value))
        elif action == _VIA:
            drop.append(index)
            if request.via is _NO_LINES:
                request.via = []
            request.via.append(value)
        elif action == _TRACEPARENT:
            drop.append(index)
            # W3C Trace Context section 3.2: a value that cannot be read, or that comes twice, starts a new trace.
            is_readable = not request.traceparent and _TRACEPARENT_FORM.fullmatch(value) is not None
            request.traceparent = value if is_readable else b"-"
        elif action == _TRACESTATE:
            states.append(index)
        elif action == _MARK:
            drop.append(index)
            request.mark = b"%b, %b" % (request.mark, value) if request.mark else value or b"-"
        elif action == _TAG:
            request.is_tagged = request.is_tagged or value.lower() not in _UNTAGGED
        elif action == _BAGGAGE:
            request.is_tagged = request.is_tagged or _is_tagged_baggage(value)
        elif action == _MAX_FORWARDS:
            if request.max_forwards >= 0:
                raise BadRequest(400, "duplicate_field", "two Max-Forwards fields")
            if not value.isdigit() or len(value) > 9:
                raise BadRequest(400, "malformed_max_forwards", "Max-Forwards must be a number")
            request.max_forwards = int(value)
            if method in (b"OPTIONS", b"TRACE") and request.max_forwards > 0:
                lines[index] = b"Max-Forwards: %d" % (request.max_forwards - 1)
        elif action == _REFUSE:
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
    drop.sort(reverse=True)
    for index in drop:
        del lines[index]


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
    nominated = {token for token in tokens if token not in _OPTIONS and token not in PROTECTED and not token.startswith(_OURS)}
    if nominated:
        for index, line in enumerate(request.lines):
            if index not in drop and line[: line.find(b":")].lower() in nominated:
                drop.append(index)


def _tunnelled(upgrade: bytes) -> bytes:
    """What may be upgraded to (RFC 9110 section 7.8), without other forms of HTTP; b"" makes it an ordinary request."""
    protocols = [part.strip(b" \t") for part in upgrade.split(b",")]
    return b", ".join(protocol for protocol in protocols if protocol and _HTTP_BY_OTHER_NAMES.fullmatch(protocol) is None)


_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


def _is_tagged_baggage(value: bytes) -> bool:
    """Whether a W3C baggage value says `synthetic_request=true` (DESIGN section 7)."""
    if b"synthetic_request" not in value:
        return False
    for member in value.split(b","):
        key, _, rest = member.partition(b"=")
        if key.strip(b" \t") == b"synthetic_request" and rest.partition(b";")[0].strip(b" \t").lower() not in _UNTAGGED:
            return True
    return False


def _origin_form(method: bytes, target: bytes, head: RequestHead) -> tuple[bytes, bytes]:
    """The target in origin form, and its path (RFC 9112 section 3.2)."""
    if not target.startswith(b"/"):
        if target == b"*":
            if method != b"OPTIONS":
                raise BadRequest(400, "malformed_target", "only OPTIONS takes the target *")
            return target, target
        if method == b"CONNECT":
            raise BadRequest(501, "connect", "CONNECT is not served")
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

    __slots__ = ("_blocks", "_complete", "_count_limit", "_spellings")

    def __init__(self, *, count_limit: int = 500) -> None:
        self._blocks: dict[bytes, ResponseHead] = {}
        self._complete = _Complete()
        self._count_limit = count_limit
        self._spellings: dict[bytes, int] = {}

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
        lines = head.split(CRLF)
        del lines[-2:]
        start = lines[0]
        if (
            complete.heads != 1
            or not head.count(b"\n") == head.count(b"\r") == len(lines) + 1
            or len(start) < 12
            or not start[9:12].isdigit()
            or not b"100" <= start[9:12] <= b"599"
        ):
            raise BadResponse("malformed_head", "not an HTTP/1 head")
        if len(lines) - 1 > self._count_limit:
            raise BadResponse("too_many_fields", f"read {len(lines) - 1} header lines, limit {self._count_limit}")
        if not start.startswith(b"HTTP/1."):
            raise BadResponse("unsupported_version", "only HTTP/1 is spoken here")
        response = ResponseHead(int(start[9:12]))
        is_http10 = start[7:8] == b"0"
        if is_http10:
            # RFC 9110 section 2.5: the version is the sender's own.
            lines[0] = b"HTTP/1.1" + start[8:]
        self._classify(response, lines, is_http10=is_http10)
        response.wire = b"\r\n".join([*lines, b""])
        if response.status < 200 or response.status in (204, 304) or method == b"HEAD":
            response.length = 0
        elif len(head) <= BLOCK_BYTES_LIMIT:
            if len(self._blocks) >= BLOCKS_LIMIT:
                self._blocks.clear()
            self._blocks[head] = response
        return response

    def _classify(self, response: ResponseHead, lines: list[bytes], *, is_http10: bool) -> None:
        spellings = self._spellings
        drop: list[int] = []
        tokens = b""
        has_coding = False
        for index in range(1, len(lines)):
            line = lines[index]
            name = line[: line.find(b":")]
            action = spellings.get(name)
            if action is None:
                action = self._learn(name)
            if not action:
                continue
            value = line[len(name) + 1 :].strip(b" \t")
            if action == _LENGTH:
                if response.announced >= 0 or not value.isdigit() or len(value) > 18:
                    raise BadResponse("malformed_content_length", "Content-Length must be one number")
                response.announced = response.length = int(value)
                if response.status < 200 or response.status == 204:
                    # FRM-09: no length in a 204, nor in an interim answer.
                    drop.append(index)
            elif action == _DATE:
                response.has_date = True
            else:
                drop.append(index)
                if action == _CONNECTION:
                    tokens = tokens + b"," + value.lower() if tokens else value.lower()
                elif action == _CODING:
                    if has_coding or value.lower() != b"chunked" or is_http10:
                        raise BadResponse("unsupported_coding", "Transfer-Encoding must be chunked, once, in HTTP/1.1")
                    has_coding = True
                elif action == _UPGRADE:
                    response.upgrade = value
        if has_coding:
            if response.announced >= 0:
                raise BadResponse("length_and_coding", "Content-Length and Transfer-Encoding together")
            response.length = CHUNKED
        if tokens or is_http10:
            options = [part.strip(b" \t") for part in tokens.split(b",")]
            response.is_reusable = b"close" not in options and (not is_http10 or b"keep-alive" in options)
            if options not in ([b"keep-alive"], [b"close"]):
                self._nominated(lines, options, drop)
        for place in sorted(drop, reverse=True):
            del lines[place]

    @staticmethod
    def _nominated(lines: list[bytes], options: list[bytes], drop: list[int]) -> None:
        names = {token for token in options if token and token not in _OPTIONS and token not in PROTECTED and token != b"date"}
        if names:
            for index in range(1, len(lines)):
                if index not in drop and lines[index][: lines[index].find(b":")].lower() in names:
                    drop.append(index)

    def _learn(self, name: bytes) -> int:
        action = _RESPONSE_FIELDS.get(name.lower(), 0)
        if len(self._spellings) >= SPELLINGS_LIMIT:
            self._spellings.clear()
        self._spellings[bytes(name)] = action
        return action


class HeadProbe:
    """Judges a head that arrives in pieces, so that a malformed one is refused at its first wrong byte."""

    __slots__ = ("_feed",)

    def __init__(self) -> None:
        self._feed: Callable[[bytes], None] = HttpRequestParser(_Complete()).feed_data

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
