"""Chunked bodies: whole, byte by byte, and against h11."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane import framing
from shadowproxy.dataplane.framing import TRAILERS_DROPPED, TRAILERS_REFUSED, ChunkedReader, chunk, last_chunk
from shadowproxy.errors import BadRequest, BadResponse, MessageError

BODIES = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
TRAILERS = st.lists(st.sampled_from([b"X-A: 1", b"x-b:", b"Digest: sha=\xe9 x"]), max_size=3)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b'; a="b;\\"c"', b";a=1;b"])


def _wire(pieces: list[bytes], extension: bytes, trailers: list[bytes]) -> bytes:
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return body + b"0" + extension + b"\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


def _read(cut: list[bytes]) -> tuple[bytes, list[bytes], bytes] | None:
    """Payload, trailers and rest of a body in pieces; None where it is refused or unfinished."""
    reader = ChunkedReader(is_request=True)
    payload, rest = b"", b""
    for piece in cut:
        if reader.is_done:
            rest += piece
            continue
        try:
            payload += reader.feed(piece)
        except BadRequest:
            return None
        rest = reader.rest
    return (payload, reader.trailers, rest) if reader.is_done else None


def _cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges)]


@given(BODIES, EXTENSIONS, TRAILERS, st.sampled_from([b"", b"GET / HTTP/1.1", b"\r\n"]), st.lists(st.integers(0, 500), max_size=6))
def test_a_body_is_read_alike_however_it_comes(
    pieces: list[bytes], extension: bytes, trailers: list[bytes], rest: bytes, places: list[int]
) -> None:
    """Whole, byte by byte, and at any split: the same payload, trailers and rest."""
    wire = _wire(pieces, extension, trailers) + rest
    expected = (b"".join(pieces), trailers, rest)
    assert _read([wire]) == expected
    assert _read([bytes([byte]) for byte in wire]) == expected
    assert _read(_cut(wire, places)) == expected


@given(BODIES, EXTENSIONS, st.integers(0, 200), st.binary(min_size=1, max_size=2), st.lists(st.integers(0, 500), max_size=4))
def test_a_damaged_body_is_judged_alike_however_it_comes(
    pieces: list[bytes], extension: bytes, place: int, damage: bytes, places: list[int]
) -> None:
    """And what we accept h11 accepts, with the same payload: no two readers frame it differently."""
    wire = _wire(pieces, extension, [])
    place %= len(wire)
    wire = wire[:place] + damage + wire[place + 1 :]
    found = _read([wire])
    assert _read([bytes([byte]) for byte in wire]) == found
    assert _read(_cut(wire, places)) == found
    if found is not None:
        assert _as_h11(wire) == found[0]


def _as_h11(wire: bytes) -> bytes:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    server.next_event()
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    return body


@given(BODIES, TRAILERS)
def test_what_is_written_can_be_read(pieces: list[bytes], trailers: list[bytes]) -> None:
    """`chunk` and `last_chunk` are the reader's inverse."""
    wire = b"".join(map(chunk, pieces)) + last_chunk(trailers)
    assert _read([wire]) == (b"".join(pieces), trailers, b"")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"+1\r\n", "malformed_chunk"),
        (b"0x1\r\n", "malformed_chunk"),
        (b" 1\r\n", "malformed_chunk"),
        (b"1 \r\n", "malformed_chunk"),
        (b"1\n", "malformed_chunk"),
        (b"\r\n", "malformed_chunk"),
        (b"1;\r\n", "malformed_chunk"),
        (b"1;a=\r\n", "malformed_chunk"),
        (b"11111111111111111\r\n", "malformed_chunk"),
        (b"8000000000000000\r\n", "malformed_chunk"),
        (b"1\r\nab\r\n", "malformed_chunk"),
        (b"1\r\na\n", "malformed_chunk"),
        (b"1;" + b"a" * 2000, "malformed_chunk"),
        (b"0\r\nno colon\r\n", "malformed_trailer"),
        (b"0\r\n: x\r\n", "malformed_trailer"),
        (b"0\r\n folded\r\n", "malformed_trailer"),
        (b"0\r\nA: b\n\r\n", "bare_cr_or_lf"),
        (b"0\r\nA: b\rc", "bare_cr_or_lf"),
        *((b"0\r\n" + name.title() + b": 1\r\n", "forbidden_trailer") for name in sorted(TRAILERS_REFUSED)),
    ],
)
@pytest.mark.parametrize("is_request", [True, False])
def test_malformed_framing_is_refused(wire: bytes, code: str, is_request: bool) -> None:
    """The exception says whose bytes they were."""
    kind: type[MessageError] = BadRequest if is_request else BadResponse
    with pytest.raises(kind) as refusal:
        ChunkedReader(is_request=is_request).feed(wire)
    assert refusal.value.code == code
    assert refusal.value.status == (400 if is_request else 502)


def test_extensions_and_trailers_are_bounded() -> None:
    """In bytes a body, and both numbers are said (CVE-2023-39326)."""
    reader = ChunkedReader(is_request=True)
    with pytest.raises(BadRequest, match=r"read \d+ bytes of chunk extensions, limit 16384"):
        reader.feed(b"1;abcdefgh\r\nx\r\n" * framing.EXTENSIONS_LIMIT)
    reader = ChunkedReader(is_request=True)
    with pytest.raises(BadRequest, match="trailers are over 16384 bytes") as refusal:
        reader.feed(b"0\r\n" + b"A: b\r\n" * framing.TRAILERS_LIMIT)
    assert refusal.value.status == 431
    reader = ChunkedReader(is_request=True)
    with pytest.raises(BadRequest, match="trailers are over"):
        reader.feed(b"0\r\nA: " + b"b" * framing.TRAILERS_LIMIT)


@pytest.mark.parametrize("name", sorted(TRAILERS_DROPPED))
def test_trailers_that_come_too_late_are_left_out(name: bytes) -> None:
    """Those beside them stay."""
    assert _read([b"0\r\n%b: x\r\nX-A: 1\r\n\r\n" % name]) == (b"", [b"X-A: 1"], b"")


def test_a_tag_in_trailers_is_refused() -> None:
    """Of a request, as a field in any spelling or as baggage; an answer's baggage means nothing, and is left out."""
    for trailer in (b"X_Test.Traffic: 0", b"baggage: synthetic_request=true", b"Baggage: a=1,SYNTHETIC_REQUEST=1"):
        with pytest.raises(BadRequest):
            ChunkedReader(is_request=True).feed(b"0\r\n" + trailer + b"\r\n\r\n")
    for is_request, trailer in ((True, b"baggage: a=1"), (False, b"baggage: synthetic_request=true")):
        reader = ChunkedReader(is_request=is_request)
        reader.feed(b"0\r\n" + trailer + b"\r\n\r\n")
        assert (reader.is_done, reader.trailers) == (True, [])


def test_a_reader_shows_where_it_is() -> None:
    """The state, and what is left of a chunk."""
    reader = ChunkedReader(is_request=True)
    states = []
    for piece in (b"", b"3\r\na", b"bc", b"\r\n0\r\n", b"\r\n"):
        reader.feed(piece)
        states.append(repr(reader))
    assert states == [
        f"ChunkedReader(state={state}, left={left})"
        for state, left in [("size", 0), ("data", 2), ("data end", 0), ("trailers", 0), ("done", 0)]
    ]
