"""Hypothesis strategies for HTTP/1: messages that are right, and messages that are nearly right.

`requests` draws whole, lawful requests as values with a `wire` form in one of many spellings. `mutated`
takes bytes and damages them in the ways that parsers are known to be wrong about. `splits` cuts bytes
into segments.
"""

from __future__ import annotations

import itertools
import string
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

TOKEN_CHARACTERS: Final = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
TARGET_CHARACTERS: Final = "!$%&'()*+,-./:;=@_~[]{}|\\^`\"<>" + string.digits + string.ascii_letters
RESERVED_NAMES: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "upgrade", "expect", "max-forwards", "via", "forwarded", "traceparent", "tracestate", "baggage", "content-type", "content-location", "content-range", "etag",
        "server", "user-agent", "sec-websocket-key1", "x-real-ip", "authorization", "cookie", "date",
    }
)  # fmt: skip
"""Names that the proxy gives a meaning: plain field lines do not use them."""

NASTY: Final = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"=", b'"', b"\\", b"#", b"?", b"/", b"@", b"\x01", b"\x0b", b"\x0c", b"\x1b", b"\x7f", b"\x80", b"\xff",
    b"\xc4\xb1", b"0", b"-1", b"+1", b"0x1", b"_", b"1e3", b"99999999999999999999", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"Host: evil\r\n", b"Content-Length: 3\r\n", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding\t: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n", b"Trailer: Host\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", b" HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"CONNECT ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip
"""What mutations insert: separators, line ends in every wrong form, and pieces that frame."""


@dataclass(frozen=True, slots=True)
class Request:
    """One lawful request: what every reader must read, and how it is spelt on the wire."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    wire: bytes


def tokens(maximum: int = 12) -> st.SearchStrategy[str]:
    """Field names and methods by RFC 9110 section 5.6.2."""
    return st.text(TOKEN_CHARACTERS, min_size=1, max_size=maximum)


def names() -> st.SearchStrategy[str]:
    """Field names that mean nothing to the proxy, under any of its aliases."""

    def is_plain(name: str) -> bool:
        plain = name.lower().replace("_", "-").replace(".", "-")
        return (
            plain not in RESERVED_NAMES
            and name.lower() not in RESERVED_NAMES
            and not plain.startswith(("x-shadow", "x-fault", "x-forwarded", "x-test"))
        )

    return tokens().filter(is_plain)


def values() -> st.SearchStrategy[str]:
    """Field values as Latin-1 text: visible characters and obs-text, with blanks inside only."""
    return st.text([chr(code) for code in [9, *range(0x20, 0x7F), *range(0x80, 0x100)]], max_size=30).map(lambda value: value.strip(" \t"))


def targets() -> st.SearchStrategy[str]:
    """Origin-form targets, spelt in any way that is not ambiguous."""
    part = st.text(TARGET_CHARACTERS, max_size=20)
    return st.builds(
        lambda path, query: "/" + path + ("" if query is None else "?" + query),
        part,
        st.none() | st.text(TARGET_CHARACTERS + "?", max_size=20),
    )


def blanks() -> st.SearchStrategy[str]:
    """Optional whitespace around a field value."""
    return st.sampled_from(["", " ", "  ", "\t", " \t "])


def chunked_bodies(payload: bytes, trailers: tuple[tuple[str, str], ...] = ()) -> st.SearchStrategy[bytes]:
    """`payload` in the chunked coding: any division, sizes in any spelling, extensions of every form."""
    extension = st.sampled_from(["", ";a", ";a=b", '; a="b c"', ';x="\\""', ";a;b=c"])

    @st.composite
    def draw(draw: st.DrawFn) -> bytes:
        edges = [0, *sorted(draw(st.lists(st.integers(1, max(len(payload) - 1, 1)), max_size=4, unique=True))), len(payload)]
        pieces = [piece for start, end in itertools.pairwise(edges) if (piece := payload[start:end])]
        coded = b""
        for piece in pieces:
            size = draw(st.sampled_from(["%x", "%X", "00%x"])) % len(piece)
            coded += f"{size}{draw(extension)}\r\n".encode() + piece + b"\r\n"
        coded += f"{draw(st.sampled_from(['0', '000']))}{draw(extension)}\r\n".encode()
        return coded + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1") + b"\r\n"

    return draw()


@st.composite
def requests(draw: st.DrawFn, *, methods: tuple[str, ...] = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")) -> Request:
    """A lawful HTTP/1.1 request on a connection that goes on."""
    method, target = draw(st.sampled_from(methods)), draw(targets())
    fields = tuple(draw(st.lists(st.tuples(names(), values()), max_size=6)))
    lines = [f"{name}:{draw(blanks())}{value}{draw(blanks())}" for name, value in fields]
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["Host: h", "host:h:80", "HOST: \th "])))
    body = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    coded = b""
    if framing == "none":
        body = b""
    elif framing == "length":
        coded = body
        lines.insert(draw(st.integers(0, len(lines))), f"Content-Length: {len(body)}")
    else:
        coded = draw(chunked_bodies(body))
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:Chunked"])))
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")
    return Request(method, target, fields, body, head + coded)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes], *, most: int = 3) -> bytes:
    """Bytes with one to `most` damages: something nasty inserted, a byte changed or removed, a piece repeated or cut off."""
    raw = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(raw)))
        kind = draw(st.sampled_from(["insert", "insert", "insert", "replace", "remove", "repeat", "cut", "case"]))
        if kind == "insert":
            raw[at:at] = draw(st.sampled_from(NASTY))
        elif kind == "replace" and at < len(raw):
            raw[at] = draw(st.integers(0, 255))
        elif kind == "remove":
            del raw[at : at + draw(st.integers(1, 4))]
        elif kind == "repeat":
            raw[at:at] = raw[at : at + draw(st.integers(1, 40))]
        elif kind == "cut":
            del raw[at:]
        elif kind == "case":
            raw[at : at + 8] = raw[at : at + 8].swapcase()
    return bytes(raw)


@st.composite
def splits(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """`raw` in segments."""
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(raw)), max_size=6))), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges) if start < end]


@dataclass(frozen=True, slots=True)
class Answer:
    """One lawful answer to a GET, and how it is spelt on the wire. An answer without framing ends with its connection."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    wire: bytes


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """A lawful final answer to a GET."""
    status = draw(st.sampled_from([200, 201, 204, 206, 301, 304, 404, 500, 503, 599]))
    fields = tuple(draw(st.lists(st.tuples(names(), values()), max_size=5)))
    lines = [f"{name}:{draw(blanks())}{value}{draw(blanks())}" for name, value in fields]
    body = b"" if status in (204, 304) else draw(st.binary(max_size=60))
    framing = "none" if status in (204, 304) else draw(st.sampled_from(["length", "chunked", "until the end"]))
    coded = body
    if framing == "length":
        lines.insert(draw(st.integers(0, len(lines))), f"Content-Length: {len(body)}")
    elif framing == "chunked":
        coded = draw(chunked_bodies(body))
        lines.insert(draw(st.integers(0, len(lines))), "Transfer-Encoding: chunked")
    reason = draw(st.sampled_from(["OK", "", "Not\tFound \xe9"]))
    return Answer(status, fields, body, "\r\n".join([f"HTTP/1.1 {status} {reason}", *lines, "", ""]).encode("latin-1") + coded)
