"""What a worker and its scrubber's process say: whole, byte by byte, and refused when it is nonsense."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.scrubframes import DONE, FRAME_LIMIT, HEAD, JOB, REFUSED, SETUP, Decoder, Frame, encode

FRAMES = st.lists(
    st.builds(
        Frame,
        st.sampled_from([SETUP, JOB, DONE, REFUSED]),
        st.integers(0, 2**64 - 1),
        st.tuples(*[st.binary(max_size=20)] * 3),
    ),
    max_size=5,
)


@given(frames=FRAMES, step=st.integers(1, 50))
def test_what_is_written_is_read_however_it_arrives(frames: list[Frame], step: int) -> None:
    """In pieces of any size."""
    wire = b"".join(encode(frame.kind, frame.number, *frame.parts) for frame in frames)
    decoder = Decoder()
    assert [frame for at in range(0, len(wire), step) for frame in decoder.feed(wire[at : at + step])] == frames
    assert repr(decoder) == "Decoder(0 bytes)"


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (HEAD.pack(FRAME_LIMIT + 1, 1, JOB), "are allowed"),
        (HEAD.pack(7, 1, JOB), "are allowed"),
        (HEAD.pack(10, 1, JOB) + struct.pack(">II", 2, 1) + b"xx", "parts of 2 and 1 bytes in a frame of 10"),
    ],
)
def test_nonsense_is_refused(wire: bytes, why: str) -> None:
    """Before anything is kept of it."""
    with pytest.raises(ValueError, match=why):
        Decoder().feed(wire)


def test_a_frame_has_a_limit() -> None:
    """Whoever would write a larger one is told so."""
    with pytest.raises(ValueError, match="limit"):
        encode(JOB, 1, b"", b"", bytes(FRAME_LIMIT))
