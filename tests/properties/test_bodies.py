"""Chunked bodies: any division of any body is read as h11 reads it, and damage is refused wherever the bytes are cut."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.framing import ChunkedReader, chunk, last_chunk
from shadowproxy.errors import BadRequest, BadResponse
from tests.strategies import chunked_bodies, mutated, splits

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

Reading = tuple[str, bytes, tuple[bytes, ...], bytes]


def _read(pieces: list[bytes]) -> Reading:
    """State, payload, trailers and what came behind, by our reader."""
    reader = ChunkedReader(is_request=True)
    payload = b""
    for number, piece in enumerate(pieces):
        try:
            payload += reader.feed(piece)
        except BadRequest:
            return "refused", b"", (), b""
        if reader.is_done:
            return "done", payload, tuple(reader.trailers), reader.rest + b"".join(pieces[number + 1 :])
    return "unfinished", payload, (), b""


def _read_with_h11(body: bytes) -> tuple[str, bytes, bytes]:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    parser.receive_data(HEAD + body)
    payload = b""
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Data):
                payload += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return "done", payload, bytes(parser.trailing_data[0])
            elif event is h11.NEED_DATA:
                return "unfinished", payload, b""
    except h11.RemoteProtocolError:
        return "refused", b"", b""


payloads = st.binary(max_size=80)


@given(
    payloads.flatmap(lambda payload: st.tuples(st.just(payload), chunked_bodies(payload, (("X-A", "1"),)))),
    st.binary(max_size=20),
    st.data(),
)
def test_lawful_bodies_are_read_however_they_are_cut(body: tuple[bytes, bytes], behind: bytes, data: st.DataObject) -> None:
    """Payload, trailers and what follows come out whole from any sequence of segments."""
    payload, coded = body
    assert _read(data.draw(splits(coded + behind))) == ("done", payload, (b"X-A: 1",), behind)


@given(mutated(payloads.flatmap(chunked_bodies)), st.data())
def test_a_damaged_body_is_read_as_a_whole_or_not_at_all(coded: bytes, data: st.DataObject) -> None:
    """The verdict on a body does not depend on where it is cut."""
    whole = _read([coded])
    bytewise = _read([coded[at : at + 1] for at in range(len(coded))])
    split = _read(data.draw(splits(coded)))
    assert bytewise == split
    if whole != bytewise:
        # An unfinished line may be refused early or late, but not read differently.
        assert {whole[0], bytewise[0]} <= {"refused", "unfinished"}


@given(mutated(payloads.flatmap(chunked_bodies)))
def test_what_is_accepted_h11_reads_alike(coded: bytes) -> None:
    """A damaged body that we accept has the same payload and the same end for h11."""
    state, payload, _, rest = _read([coded])
    if state == "done":
        assert _read_with_h11(coded) == ("done", payload, rest)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.sampled_from([[], [b"X-A: 1"], [b"X-A: 1", b"X-B: 2"]]))
def test_what_is_written_is_read_back(pieces: list[bytes], trailers: list[bytes]) -> None:
    """Our own chunks are lawful."""
    coded = b"".join(map(chunk, pieces)) + last_chunk(trailers)
    assert _read([coded]) == ("done", b"".join(pieces), tuple(trailers), b"")
    assert _read_with_h11(coded) == ("done", b"".join(pieces), b"")


@given(mutated(payloads.flatmap(chunked_bodies)))
def test_an_upstreams_body_is_read_as_strictly(coded: bytes) -> None:
    """The same bytes get the same verdict from either side; only the exception differs."""
    reader = ChunkedReader(is_request=False)
    try:
        payload = reader.feed(coded)
    except BadResponse:
        assert _read([coded])[0] == "refused"
    else:
        assert payload == _read([coded])[1]
