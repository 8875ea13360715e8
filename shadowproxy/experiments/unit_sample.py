"""How many different units there were: exact while they are few, and from an even sample of them beyond.

A unit is known by its 64-bit digest (`hashspace.digest`), which is as good as random in its low bits. Beyond the limit only digests that
end in one zero bit are kept, then in two, and so on, and each stands for as many others. So memory is bounded, the
estimate is unbiased, and sets of several workers add up whatever order they come in.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

LIMIT: Final = 16384
"""Digests kept: 128 KiB written down in a few milliseconds, and an error of about 1 % beyond."""


class UnitSample:
    """Different units, by their digests.

    Args:
        limit: how many digests are kept, 1 or more.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: set[int] = set()
        self._level = 0

    def __repr__(self) -> str:
        return f"UnitSample({self.count}{'' if self.is_exact else ' estimated'})"

    def add(self, digest: int) -> bool:
        """Count a unit; returns whether it is one of the sample that was not known. Evenly thinned, for those who count such units."""
        if digest & ((1 << self._level) - 1) or digest in self._kept:
            return False
        self._kept.add(digest)
        while len(self._kept) > self._limit:
            self._level += 1
            mask = (1 << self._level) - 1
            self._kept = {one for one in self._kept if not one & mask}
        return True

    @property
    def is_exact(self) -> bool:
        """Whether `count` is no estimate."""
        return not self._level

    @property
    def count(self) -> int:
        """How many different units were added."""
        return len(self._kept) << self._level

    def to_plain(self) -> dict[str, Any]:
        """All of it, as JSON can say."""
        packed = struct.pack(f">{len(self._kept)}Q", *sorted(self._kept))
        return {"level": self._level, "kept": base64.b64encode(packed).decode()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any], limit: int = LIMIT) -> UnitSample:
        """The way back.

        Raises:
            KeyError, ValueError: `plain` is nothing that `to_plain` returned.
        """
        packed = base64.b64decode(plain["kept"], validate=True)
        if len(packed) % 8:
            raise ValueError(f"{len(packed)} bytes are no whole number of digests")
        made = cls(limit)
        made._level = int(plain["level"])
        made._kept = set(struct.unpack(f">{len(packed) // 8}Q", packed))
        return made
