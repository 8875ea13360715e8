"""What a worker and its scrubber's process say to each other, over one Unix stream socket.

A frame is a head of HEAD.size bytes (length of what follows, number, kind) and its parts: SIZES says how long the
first two are, the third is the rest. The worker speaks first (`SETUP`); frames are carried out in order.

Worker to process
    SETUP     parts: JSON {key: hex, headers, fields, keep: [names], body_limit: bytes}, "", ""
    JOB       parts: target, header lines each with CRLF, body

Process to worker
    DONE      parts: as of JOB, without secrets; Content-Length is right
    REFUSED   parts: why nothing of it may be sent, "", ""
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

SETUP: Final = 0
JOB: Final = 1
DONE: Final = 2
REFUSED: Final = 3

HEAD: Final = struct.Struct(">IQB")
SIZES: Final = struct.Struct(">II")

FRAME_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one frame: a head of 1 MiB and a body of 1 MiB, each of them longer after than before, fit several times."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One of them, taken apart."""

    kind: int
    number: int
    parts: tuple[bytes, bytes, bytes]


def encode(kind: int, number: int, first: bytes, second: bytes = b"", third: bytes = b"") -> bytes:
    """One frame.

    Raises:
        ValueError: it would be over FRAME_LIMIT.
    """
    size = SIZES.size + len(first) + len(second) + len(third)
    if size > FRAME_LIMIT:
        raise ValueError(f"frame of {size} bytes, limit {FRAME_LIMIT}")
    return b"".join((HEAD.pack(size, number, kind), SIZES.pack(len(first), len(second)), first, second, third))


class Decoder:
    """Frames out of a byte stream; keeps at most one incomplete frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"Decoder({len(self._buffer)} bytes)"

    def feed(self, received: bytes) -> list[Frame]:
        """The frames that `received` completes, in order.

        Raises:
            ValueError: a frame is over FRAME_LIMIT, or its parts are longer than it.
        """
        self._buffer += received
        frames: list[Frame] = []
        while len(self._buffer) >= HEAD.size:
            size, number, kind = HEAD.unpack_from(self._buffer)
            if not SIZES.size <= size <= FRAME_LIMIT:
                raise ValueError(f"frame of {size} bytes, from {SIZES.size} to {FRAME_LIMIT} are allowed")
            end = HEAD.size + size
            if len(self._buffer) < end:
                break
            first, second = SIZES.unpack_from(self._buffer, HEAD.size)
            at = HEAD.size + SIZES.size
            if at + first + second > end:
                raise ValueError(f"parts of {first} and {second} bytes in a frame of {size}")
            whole = bytes(self._buffer[at:end])
            del self._buffer[:end]
            frames.append(Frame(kind, number, (whole[:first], whole[first : first + second], whole[first + second :])))
        return frames
