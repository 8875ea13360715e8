"""The one hash space: every share of traffic is a range of it.

A *unit* (a user, a tenant, a session, a request id) has one point in [0, 1), and
is in a share iff its point is in the share's range. So a share of 1 % is inside
one of 5 %, ranges that do not overlap hold different units, and membership can be
computed anywhere, offline, from the documented formula::

    point(unit, salt) = int.from_bytes(blake2b(unit, digest_size=8, key=salt), "big") / 2**64

Python rounds that quotient to the nearest double, so a range end is exact to 2**-53
(the last 2**10 of 2**64 digests round to 1.0, which is clamped to the largest double
below it to keep the interval half-open).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

SALT_LIMIT: Final = 64
"""Bytes of salt that blake2b's key takes."""

_SCALE: Final = float(2**64)
_LARGEST: Final = 1.0 - 2.0**-53


def point(unit: bytes, salt: bytes) -> float:
    """The place of `unit` in the hash space of `salt`.

    Args:
        unit: what is sampled as a whole, any length.
        salt: up to 64 bytes; shares with one salt are nested, with different ones independent.

    Returns:
        A double in [0, 1).

    Raises:
        ValueError: `salt` is longer than 64 bytes.
    """
    return point_at(digest(unit, salt))


def digest(unit: bytes, salt: bytes) -> int:
    """The 64 bits that `point` is made of: what stands for a unit wherever the unit itself must not be kept.

    Raises:
        ValueError: `salt` is longer than 64 bytes.
    """
    return int.from_bytes(blake2b(unit, digest_size=8, key=salt).digest(), "big")


def point_at(digest: int) -> float:
    """The place, in [0, 1), of a unit with this digest."""
    return min(digest / _SCALE, _LARGEST)


def salt_of(name: str) -> bytes:
    """The salt that a name stands for: its UTF-8 bytes, or their blake2b-512 digest where those are over 64 bytes."""
    raw = name.encode()
    return raw if len(raw) <= SALT_LIMIT else blake2b(raw).digest()


class Weyl:
    """Points for requests without a unit: the golden-ratio sequence.

    Over any n consecutive draws the share below p is p to within O(log n / n), which
    a random generator reaches only within O(1 / sqrt(n)): "25 %" of 1,000 requests is 250.
    `start` in [0, 1) is where the sequence begins; give each worker its own.
    """

    __slots__ = ("_at",)

    STEP = 0.6180339887498949

    def __init__(self, start: float) -> None:
        self._at = start % 1.0

    def __repr__(self) -> str:
        return f"Weyl(at={self._at:.6f})"

    def next(self) -> float:
        """The next point, in [0, 1)."""
        at = self._at + self.STEP
        if at >= 1.0:
            at -= 1.0
        self._at = at
        return at
