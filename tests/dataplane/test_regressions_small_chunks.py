"""What taking a shadow's answer apart may cost: a share of each tick, however small its chunks are (P1)."""

from __future__ import annotations

import time

import pytest

from shadowproxy.dataplane.framing import SMALL_CHUNK, ChunkedReader
from shadowproxy.dataplane.tee import ANSWER_FREE, CHUNK_COST, READ_PER_TICK, SMALL_CHUNKS_LIMIT
from shadowproxy.errors import BadResponse
from tests.dataplane.stage import GET, OK, Stage, pipe

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL = b"1\r\na\r\n"
LARGE = b"40\r\n" + b"a" * SMALL_CHUNK + b"\r\n"


def test_live_may_send_chunks_of_any_size() -> None:
    """The limits are for what nobody waits for."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    client.data_received(GET)
    live.data_received(HEAD + SMALL * (2 * SMALL_CHUNKS_LIMIT))
    live.data_received(b"0\r\n\r\n")
    assert pipe(client).sent.endswith(b"0\r\n\r\n")
    assert live in live.endpoint.idle


def test_a_shadow_of_endless_tiny_chunks_is_given_up_in_the_middle_of_a_read() -> None:
    """One read of 256 KiB would hold the loop for 60 ms; the copy is a failed one, and live is answered."""
    stage = Stage()
    live, shadow = stage.connection("live"), stage.connection("shadow")
    client = stage.client()
    client.data_received(GET)
    shadow.data_received(HEAD)
    shadow.data_received(SMALL * (SMALL_CHUNKS_LIMIT + 1))
    assert pipe(shadow).is_aborted
    live.data_received(OK)
    assert stage.fates() == {"failed_truncated": 1}


def test_chunks_count_against_the_share_of_a_tick() -> None:
    """Every copy in the middle of an answer is paused when the share is used up, and read on when it is paid back."""
    stage = Stage()
    shadows = [stage.connection("shadow"), stage.connection("shadow")]
    live = [stage.connection("live"), stage.connection("live")]
    for _ in live:
        stage.client().data_received(GET)
    for shadow in shadows:
        shadow.data_received(HEAD + LARGE * (ANSWER_FREE // CHUNK_COST + 1))
    assert not any(pipe(shadow).is_reading_paused for shadow in shadows)
    shadows[0].data_received(LARGE * (2 * READ_PER_TICK // CHUNK_COST))
    assert all(pipe(shadow).is_reading_paused for shadow in shadows)
    now_ns = time.monotonic_ns()
    stage.worker.tick(now_ns, 0)
    assert all(pipe(shadow).is_reading_paused for shadow in shadows)
    stage.worker.tick(now_ns, 0)
    assert not any(pipe(shadow).is_reading_paused for shadow in shadows)
    for shadow in shadows:
        shadow.data_received(b"0\r\n\r\n")
    for connection in live:
        connection.data_received(OK)
    assert stage.fates() == {"paired": 2}


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_reader_counts_chunks_across_reads(pieces: int) -> None:
    """However the bytes are cut, the limit is the same."""
    reader = ChunkedReader(is_request=False, small_limit=10)
    wire = SMALL * 10 + LARGE * 10
    for at in range(0, len(wire), len(wire) // pieces + 1):
        reader.feed(wire[at : at + len(wire) // pieces + 1])
    assert reader.chunks == 20
    with pytest.raises(BadResponse, match="under 64 bytes"):
        reader.feed(SMALL)
