"""Heads: whatever the proxy accepts, h11 reads alike; what h11 and the rules refuse, it refuses."""

from __future__ import annotations

import h11
from hypothesis import assume, given
from hypothesis import strategies as st

from shadowproxy.dataplane.head import CHUNKED
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.errors import BadRequest
from tests.data.http1_cases import CASES
from tests.strategies import Request, mutated, requests


def _reader() -> RequestHeads:
    return RequestHeads(frozenset(), count_limit=200, line_limit=16384)


def _head_of(raw: bytes) -> bytes:
    """The bytes up to and with the first empty line; b"" where there is none."""
    while raw.startswith(b"\r\n"):
        raw = raw[2:]
    end = raw.find(b"\r\n\r\n")
    return raw[: end + 4] if end >= 0 else b""


OWN_HEADS = [head for _, _, raw in CASES if (head := _head_of(raw)) and len(head) < 2000]
heads = st.sampled_from(OWN_HEADS) | requests().map(lambda request: _head_of(request.wire))


def _verdict(reader: RequestHeads, head: bytes) -> tuple[object, ...]:
    """What a reader makes of a head, in terms that can be compared."""
    try:
        method, target, path, read = reader.read(head)
    except BadRequest as error:
        return "refused", error.status, error.code
    return "read", method, target, path, read.length, tuple(read.lines), read.is_keep_alive, read.upgrade


def _with_h11(head: bytes) -> h11.Request | None:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    try:
        parser.receive_data(head)
        event = parser.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


@given(requests())
def test_lawful_heads_are_read(request_: Request) -> None:
    """Every lawful head is accepted, with method, target and field lines as they were sent, in order."""
    head = _head_of(request_.wire)
    method, target, _, read = _reader().read(head)
    assert method.decode() == request_.method
    assert target.decode("latin-1") == request_.target
    sent = [line for line in head.split(b"\r\n")[1:-2] if not line.lower().startswith((b"transfer-encoding", b"content-length"))]
    assert [line for line in read.lines if not line.lower().startswith(b"content-length")] == sent
    if b"chunked" in head.lower().rpartition(b"transfer-encoding:")[2].partition(b"\r\n")[0]:
        assert read.length in (CHUNKED, len(request_.body))


@given(mutated(heads))
def test_what_is_accepted_h11_reads_alike(raw: bytes) -> None:
    """A damaged head is refused, or h11 accepts it as it stands and finds the same request and the same framing."""
    head = _head_of(raw)
    assume(head)
    try:
        method, target, _, read = _reader().read(head)
    except BadRequest:
        return
    other = _with_h11(head)
    assert other is not None, head
    assert bytes(other.method) == method
    if bytes(other.target).startswith(b"/"):
        assert bytes(other.target) == target
    fields = [(bytes(name), bytes(value)) for name, value in other.headers]
    lengths = [value for name, value in fields if name == b"content-length"]
    if read.length == CHUNKED:
        assert (b"transfer-encoding", b"chunked") in [(name, value.lower()) for name, value in fields]
        assert not lengths
    else:
        assert read.length == int((lengths or [b"0"])[0])
        assert not any(name == b"transfer-encoding" for name, _ in fields)


@given(mutated(heads))
def test_forwarded_lines_are_the_clients_own(raw: bytes) -> None:
    """No line is forwarded that the client did not send, but for Host from the target and a normalised length."""
    head = _head_of(raw)
    assume(head)
    try:
        _, _, _, read = _reader().read(head)
    except BadRequest:
        return
    sent = set(head.split(b"\r\n"))
    for line in read.lines:
        assert line in sent or line.lower().startswith((b"host:", b"content-length:", b"max-forwards:")), line
        assert b"\r" not in line
        assert b"\n" not in line
        assert b"\0" not in line


@given(st.lists(mutated(heads, most=2) | heads, min_size=2, max_size=4))
def test_a_verdict_does_not_depend_on_the_heads_before(raws: list[bytes]) -> None:
    """One reader serves all connections of a worker: what one client sent must not change what another is told."""
    shared = _reader()
    for raw in raws:
        head = _head_of(raw)
        if head:
            assert _verdict(shared, head) == _verdict(_reader(), head)


def test_no_own_case_changes_the_verdict_on_the_next() -> None:
    """The same, for every pair of an own case and a plain request."""
    plain = b"GET /plain HTTP/1.1\r\nHost: h\r\nX-N: %d\r\n\r\n"
    shared = _reader()
    for number, head in enumerate(OWN_HEADS):
        _verdict(shared, head)
        assert _verdict(shared, plain % number)[0] == "read", head
