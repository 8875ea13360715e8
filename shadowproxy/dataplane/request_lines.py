"""What the field lines of a request say: the rules of head.py from the third on, line by line and then together."""

from __future__ import annotations

import re
from typing import Final

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
from shadowproxy.dataplane.head import CHUNKED, CRLF, LENGTH_LIMIT
from shadowproxy.errors import BadRequest
from shadowproxy.policy.tags import Tags, baggage_line, plain, tag_line

AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]{0,5})?")
# W3C Trace Context section 3.2: no version ff, no ids of zeros, and nothing behind the flags in version 00.
_TRACEPARENT_FORM: Final = re.compile(rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_TRACEPARENT_SHAPE: Final = b"00-%b-%b-00" % (b"0" * 32, b"0" * 16)
_HEX_DIGITS: Final = bytes(0x30 if byte in b"0123456789abcdef" else 0x2D if byte == 0x2D else 0 for byte in range(256))
_NO_TRACE: Final = b"0" * 32
_HTTP_BY_OTHER_NAMES: Final = re.compile(rb"(?i:h2c?|h3|https?(?:/.*)?|tls(?:/.*)?)")
"""Upgrade tokens behind which more HTTP would come: a tunnel of it would pass every route, mirror and rule unseen."""

# Shared empty values: never changed in place, so that a plain request allocates none.
_NO_LINES: Final[list[bytes]] = []
_NO_PAIRS: Final[list[tuple[bytes, bytes]]] = []
_NO_FIELDS: Final[dict[bytes, list[bytes]]] = {}


class RequestHead:
    """What the header fields of a request say. Shared by all requests that sent the same bytes: never changed once read.

    `lines` are the field lines to forward, without connection-level fields and without those that the
    proxy writes itself; `common` is the same, each with CRLF. A request that is tagged as a test has a `tenant`, its tag is among
    `lines` in our spelling, `received` has all lines as they came, and `tagged_by` the names of those that tag it. `length` is the body's: 0 for none, CHUNKED, else
    bytes. `fields` has values by lower-case name for the names that the policy wants; `touched` has name and line
    of those that a copy may leave out or change. `copies` keeps, by mirror, the lines that its copies get.
    """

    __slots__ = (
        "_lines", "authority", "common", "connection_tokens", "copies", "expects_continue", "fields", "forwarded", "is_http10", "is_keep_alive",
        "length", "mark", "max_forwards", "received", "tagged_by", "te_trailers", "tenant", "touched", "traceparent", "upgrade", "via",
    )  # fmt: skip

    def __init__(self, lines: list[bytes] | None, *, is_http10: bool) -> None:
        self.is_http10 = is_http10
        self._lines = lines
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

    @property
    def lines(self) -> list[bytes]:
        """The field lines to forward. Where the head was not read line by line, they are taken out of `common` for the few who ask."""
        if self._lines is None:
            self._lines = self.common.split(CRLF)
            self._lines.pop()
        return self._lines

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


INERT: Final = Meaning(0, b"", b"")
"""Nothing: the line passes as it came."""


def understand(spelling: Meaning, value: bytes) -> Meaning:
    """What a line means that is not known by heart; `value` is what follows the colon.

    Raises:
        BadRequest: it is a Host that is none, whatever comes beside it.
    """
    value = value.strip(b" \t")
    if spelling.action & ACTION == HOST and AUTHORITY.fullmatch(value) is None:
        raise BadRequest(400, "malformed_host", "Host must be a host and optionally a port")
    return Meaning(spelling.action, spelling.name, value)


def apply(request: RequestHead, method: bytes, special: list[tuple[int, Meaning]], tags: Tags) -> None:  # a dispatch: one case a field
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
            is_readable = not request.traceparent and is_traceparent(value)
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
    while drop:
        del lines[drop.pop()]
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


def is_traceparent(value: bytes) -> bool:
    """Whether a value can be read as a traceparent (W3C Trace Context section 3.2). Nearly all have this form, which a pattern takes long to see."""
    if value.translate(_HEX_DIGITS) == _TRACEPARENT_SHAPE:
        return value[:2] != b"ff" and value[3:35] != _NO_TRACE and value[36:52] != _NO_TRACE[:16]
    return _TRACEPARENT_FORM.fullmatch(value) is not None


def _is_protected(token: bytes) -> bool:
    """Whether a nomination is ignored. With `_` and `.` read as `-`, as in `_learn`: an alias of our names is ours too."""
    alias = plain(token)
    return alias in PROTECTED or alias.startswith(OURS)


def _tunnelled(upgrade: bytes) -> bytes:
    """What may be upgraded to (RFC 9110 section 7.8), without other forms of HTTP; b"" makes it an ordinary request."""
    protocols = [part.strip(b" \t") for part in upgrade.split(b",")]
    return b", ".join(protocol for protocol in protocols if protocol and _HTTP_BY_OTHER_NAMES.fullmatch(protocol) is None)
