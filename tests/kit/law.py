"""What may stand on an upstream wire, and the readers that must agree on it.

Promise P5: what goes upstream, live or shadow, is unambiguous HTTP/1. Ambiguous means that two
readers could read two things, so this module reads every connection three times:

1.  `read_strictly`, written from RFC 9112 and stricter than the RFC: exact CRLF, exact single spaces,
    no obs-fold, one Content-Length or exactly `chunked`, no chunk extension, fields of legal bytes only;
2.  h11;
3.  llhttp, through httptools.

`violations` is empty where all three see the same requests. A connection that ends inside a message
is lawful (the proxy gave the leg up); that message is then incomplete for every reader.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import Final

import h11
import httptools

Field = tuple[bytes, bytes]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD_LINE: Final = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\x21-\x7e\x80-\xff \t]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,16}")
_INCOMPLETE: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Message:
    """One request as one reader read it. Field names are lower case; a list keeps the order on the wire."""

    method: bytes = b""
    target: bytes = b""
    fields: list[Field] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    is_complete: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Values of the field `name` (lower case), in order."""
        return [value for known, value in self.fields if known == name]

    def asks_for_tunnel(self) -> bool:
        """Whether bytes behind this message may be another protocol."""
        wants_upgrade = any(b"upgrade" in value.lower() for value in self.values(b"connection"))
        return self.method == b"CONNECT" or (wants_upgrade and bool(self.values(b"upgrade")))


class Unlawful(Exception):
    """Bytes that no proxy may send: what and where."""


def violations(raw: bytes) -> list[str]:
    """Everything wrong or ambiguous in one upstream connection's bytes; empty when all readers agree.

    Args:
        raw: all bytes from the proxy on one connection, from its first on.
    """
    try:
        strict = read_strictly(raw)
    except Unlawful as problem:
        return [f"unlawful: {problem}"]
    found: list[str] = []
    for name, reader in (("h11", read_with_h11), ("llhttp", read_with_llhttp)):
        try:
            read = reader(raw)
        except (h11.RemoteProtocolError, httptools.HttpParserError) as problem:
            found.append(f"{name} refuses it: {problem!r}")
            continue
        complete = [message for message in read if message.is_complete]
        lawful = [message for message in strict if message.is_complete]
        if len(complete) != len(lawful):
            found.append(f"{name} reads {len(complete)} requests where there are {len(lawful)}: {raw[-2000:]!r}")
        found += [f"{name} reads {theirs} where there is {ours}" for theirs, ours in zip(complete, lawful, strict=False) if theirs != ours]
    return found


def read_strictly(raw: bytes) -> list[Message]:
    """Requests on the wire, the last one possibly incomplete; stops at a tunnel.

    Raises:
        Unlawful: a byte that has no business there.
    """
    messages: list[Message] = []
    at = 0
    while at < len(raw):
        end = raw.find(b"\r\n\r\n", at)
        head = raw[at:] if end < 0 else raw[at:end]
        _check_line_ends(head if end >= 0 else head.removesuffix(b"\r"))
        if end < 0:
            messages.append(Message())
            break
        message = _read_head(head)
        messages.append(message)
        at = _read_body(raw, end + 4, message)
        if message.asks_for_tunnel():
            break
    return messages


def read_with_h11(raw: bytes) -> list[Message]:
    """The same, by h11.

    Raises:
        h11.RemoteProtocolError: h11 refuses the bytes.
    """
    messages: list[Message] = []
    rest = raw
    while rest:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_INCOMPLETE)
        parser.receive_data(rest)
        message = Message()
        messages.append(message)
        while not message.is_complete:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                return messages
            if isinstance(event, h11.Request):
                message.method, message.target, message.fields = bytes(event.method), bytes(event.target), _plain(event.headers)
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.trailers = _plain(event.headers)
                message.is_complete = True
        if message.asks_for_tunnel():
            break
        rest = bytes(parser.trailing_data[0])
    return messages


def read_with_llhttp(raw: bytes) -> list[Message]:
    """The same, by llhttp in its strict mode.

    Raises:
        httptools.HttpParserError: llhttp refuses the bytes.
    """
    seen = _Listener()
    parser = httptools.HttpRequestParser(seen)
    seen.parser = parser
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(raw)
    return seen.messages


class _Listener:
    """httptools calls these; the names are its own."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: httptools.HttpRequestParser
        self._is_past_head = False

    def on_message_begin(self) -> None:
        self.messages.append(Message())
        self._is_past_head = False

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self.messages[-1]
        (message.trailers if self._is_past_head else message.fields).append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self._is_past_head = True
        self.messages[-1].method = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].is_complete = True


def _plain(headers: h11._headers.Headers) -> list[Field]:
    return [(bytes(name), bytes(value)) for name, value in headers]


def _check_line_ends(head: bytes) -> None:
    for line in head.split(b"\r\n"):
        for illegal in (b"\r", b"\n", b"\0"):
            if illegal in line:
                raise Unlawful(f"bare {illegal!r} in {line!r}")


def _read_head(head: bytes) -> Message:
    request_line, *lines = head.split(b"\r\n")
    start = _REQUEST_LINE.fullmatch(request_line)
    if start is None:
        raise Unlawful(f"request line {request_line!r}")
    message = Message(start[1], start[2])
    for line in lines:
        parts = _FIELD_LINE.fullmatch(line)
        if parts is None:
            raise Unlawful(f"field line {line!r}")
        message.fields.append((parts[1].lower(), parts[2]))
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if lengths and codings:
        raise Unlawful("Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or any(not length.isdigit() for length in lengths):
        raise Unlawful(f"Content-Length {lengths}")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise Unlawful(f"Transfer-Encoding {codings}")
    if len(message.values(b"host")) != 1:
        raise Unlawful(f"Host {message.values(b'host')}")
    return message


def _read_body(raw: bytes, at: int, message: Message) -> int:
    """Read the body that begins at `at`; where the next message begins (the end of `raw` where it is incomplete)."""
    if not message.values(b"transfer-encoding"):
        length = int((message.values(b"content-length") or [b"0"])[0])
        message.body = raw[at : at + length]
        message.is_complete = len(message.body) == length
        return at + length
    while True:
        end = raw.find(b"\r\n", at)
        size_line = raw[at:end] if end >= 0 else raw[at:].removesuffix(b"\r")
        if (size_line or end >= 0) and _CHUNK_SIZE.fullmatch(size_line) is None:
            raise Unlawful(f"chunk size line {size_line!r}")
        if end < 0:
            return len(raw)
        size = int(size_line, 16)
        if size == 0:
            return _read_trailers(raw, end + 2, message)
        payload = raw[end + 2 : end + 2 + size]
        message.body += payload
        at = end + 2 + size
        if raw[at : at + 2] != b"\r\n"[: len(raw[at : at + 2])]:
            raise Unlawful(f"chunk of {size} bytes ends with {raw[at : at + 2]!r}")
        if len(raw) < at + 2:
            return len(raw)
        at += 2


def _read_trailers(raw: bytes, at: int, message: Message) -> int:
    while True:
        end = raw.find(b"\r\n", at)
        if end < 0:
            return len(raw)
        line = raw[at:end]
        at = end + 2
        if not line:
            message.is_complete = True
            return at
        parts = _FIELD_LINE.fullmatch(line)
        if parts is None or parts[1].lower() in (b"content-length", b"transfer-encoding", b"host"):
            raise Unlawful(f"trailer line {line!r}")
        message.trailers.append((parts[1].lower(), parts[2]))
