"""What a fault does to bytes on their way, without I/O: when they may pass, which of them are changed, what a head then says.

A Pacer takes payload and gives it back in pieces as they become due; whoever uses it brings the clock and sets timers.
Chance is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from shadowproxy.dataplane.head import CRLF
from shadowproxy.dataplane.response_lines import ResponseHead

QUANTA_PER_S: Final = 20
"""A limited body goes out in so many pieces a second."""

PIECES_LIMIT: Final = 10_000
"""Pieces that one body is cut into; what comes behind them goes as a whole. Each costs a round of the loop, which is everybody's."""

MASK_BYTES: Final = 4096
"""Period of the pattern by which a large share of a body is changed: 4 KiB cost 1 ms to draw, once a run, and are then laid over any body in C."""

RARE: Final = 0.01
"""Up to this share each byte that is changed is drawn by itself."""

NS_PER_S: Final = 10**9


class Pacer:
    """Payload that waits for its time.

    With a `rate` in bytes a second, the nth byte is due n / rate after the first could have begun. With a `size`, pieces of so many bytes
    are due `every_ns` one after the other, the first at once. With both, the later counts.
    """

    __slots__ = ("_buffer", "_every_ns", "_floor_ns", "_last_ns", "_pieces", "_rate", "_size")

    def __init__(self, rate: int, size: int, every_ns: int, now_ns: int) -> None:
        self._buffer = bytearray()
        self._rate = rate
        self._size = size
        self._every_ns = every_ns
        self._last_ns = now_ns
        self._floor_ns = now_ns
        self._pieces = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def __repr__(self) -> str:
        return f"Pacer(held={len(self._buffer)}, pieces={self._pieces})"

    def put(self, payload: bytes, now_ns: int) -> None:
        """More payload. Time in which there was none to give is not made up for."""
        if not self._buffer:
            self._floor_ns = now_ns
        self._buffer += payload

    def due_ns(self) -> int:
        """When the next piece is due; only where there is one."""
        due_ns = self._floor_ns
        if self._rate:
            due_ns = max(due_ns, self._last_ns) + self._next_size() * NS_PER_S // self._rate
        if self._size and self._pieces:
            due_ns = max(due_ns, self._last_ns + self._every_ns)
        return due_ns

    def take(self, now_ns: int) -> bytes:
        """What is due, empty for nothing: one piece where pieces have a size, all that is due otherwise."""
        taken = bytearray()
        while self._buffer and (due_ns := self.due_ns()) <= now_ns:
            size = self._next_size()
            taken += self._buffer[:size]
            del self._buffer[:size]
            self._last_ns = due_ns
            self._floor_ns = due_ns
            self._pieces += 1
            if self._size:
                break
        return bytes(taken)

    def rest(self) -> bytes:
        """All there is, due or not."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _next_size(self) -> int:
        if self._size:
            return len(self._buffer) if self._pieces >= PIECES_LIMIT else min(self._size, len(self._buffer))
        return min(max(1, self._rate // QUANTA_PER_S), len(self._buffer))


def draw_mask(share: float, chance: Callable[[], float]) -> bytes:
    """A pattern to lay over bodies: what is not 0 changes the byte under it, which is that share of it."""
    keys = [chance() for _ in range(MASK_BYTES)]
    struck = sorted(range(MASK_BYTES), key=keys.__getitem__)[: round(share * MASK_BYTES)]
    mask = bytearray(MASK_BYTES)
    for place in struck:
        mask[place] = 1 + int(chance() * 255)
    return bytes(mask)


class Corruption:
    """Changes a share of the bytes of one body, each to another value: by `mask` from any place in it, where there is one."""

    __slots__ = ("_at", "_chance", "_mask", "_share", "changed")

    def __init__(self, share: float, chance: Callable[[], float], mask: bytes) -> None:
        self._share = share
        self._chance = chance
        self._mask = mask
        self.changed = 0
        # Distance to the next byte that is changed, or the place in the mask.
        self._at = int(chance() * MASK_BYTES) if mask else self._gap()

    def __repr__(self) -> str:
        return f"Corruption({self._share}, changed={self.changed})"

    def apply(self, payload: bytes) -> bytes:
        """The payload, damaged; as long as it was."""
        if not payload:
            return payload
        return self._lay_over(payload) if self._mask else self._pick(payload)

    def _lay_over(self, payload: bytes) -> bytes:
        size = len(payload)
        start = self._at
        pattern = (self._mask[start:] + self._mask * (size // MASK_BYTES + 1))[:size]
        self._at = (start + size) % MASK_BYTES
        self.changed += size - pattern.count(0)
        return (int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")

    def _pick(self, payload: bytes) -> bytes:
        if self._at >= len(payload):
            self._at -= len(payload)
            return payload
        damaged = bytearray(payload)
        while self._at < len(damaged):
            damaged[self._at] ^= 1 + int(self._chance() * 255)
            self.changed += 1
            self._at += 1 + self._gap()
        self._at -= len(damaged)
        return bytes(damaged)

    def _gap(self) -> int:
        """Bytes that are left alone before the next: geometrically distributed."""
        return int(math.log(1.0 - self._chance()) / math.log1p(-self._share))


def altered_head(head: ResponseHead, removed: frozenset[bytes], added: bytes, length: int) -> ResponseHead:
    """What `head` says with other fields: heads are shared, so it gets one of its own.

    Args:
        head: as it came.
        removed: names in lower case of the fields to leave out.
        added: whole lines, each with CRLF.
        length: of the body, as `ResponseHead.length`; a length that was announced is corrected where it differs.
    """
    other = ResponseHead(head.status)
    other.length = length
    other.announced = head.announced
    other.is_reusable = head.is_reusable
    other.has_date = head.has_date
    other.upgrade = head.upgrade
    if length != head.length:
        other.announced = length
        removed |= {b"content-length"}
        added += b"Content-Length: %d\r\n" % length
    wire = head.wire
    if removed:
        lines = wire.split(CRLF)
        wire = CRLF.join([lines[0], *(line for line in lines[1:] if line.partition(b":")[0].lower() not in removed)])
    other.wire = wire + added
    return other


def field_of(head: ResponseHead, name: bytes) -> bytes:
    """The value of a field of an answer, `name` in lower case; empty where it is not there."""
    for line in head.wire.split(CRLF):
        said, _, value = line.partition(b":")
        if said.lower() == name:
            return value.strip(b" \t")
    return b""
