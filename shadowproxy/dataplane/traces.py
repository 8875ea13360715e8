"""The traces that are known to be tests, in memory that all workers share.

A call that comes to an egress listener without its tag is a leak if its trace is one of these. The table forgets:
a slot is overwritten by the next trace that falls on it, so it has the last few thousand, and needs no lock. A slot
carries a hash of what it holds; one that is read while another worker writes it does not match and counts as empty.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

from shadowproxy.dataplane.messages import TRACES_BYTES

SLOT: Final = 96
"""Bytes of one trace: hash (8), tenant's length (1), tenant (64), and the trace id (16)."""

SLOTS: Final = TRACES_BYTES // SLOT
"""Traces that are remembered at most."""

_TENANT_LIMIT: Final = 64
_EMPTY: Final = bytes(SLOT)


class Traces:
    """The table; `memory` has TRACES_BYTES bytes, which other processes may write too."""

    __slots__ = ("_memory",)

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def add(self, trace_id: bytes, tenant: bytes) -> None:
        """Remember that the trace is `tenant`'s test. `trace_id` is 32 hexadecimal digits."""
        key = bytes.fromhex(trace_id.decode())
        places = _places(key)
        # Where it stands already, so that a trace has one tenant; else where nothing does.
        known = (at for at in places if self._read(at, key) is not None)
        free = (at for at in places if self._memory[at : at + SLOT] == _EMPTY)
        at = next(known, next(free, places[0]))
        body = bytes([len(tenant)]) + tenant.ljust(_TENANT_LIMIT, b"\0") + key
        self._memory[at : at + SLOT] = (xxh3_64_intdigest(body).to_bytes(8, "big") + body).ljust(SLOT, b"\0")

    def find(self, trace_id: bytes) -> bytes | None:
        """The tenant whose test the trace is; None where it is not known to be one."""
        key = bytes.fromhex(trace_id.decode())
        for at in _places(key):
            tenant = self._read(at, key)
            if tenant is not None:
                return tenant
        return None

    def _read(self, at: int, key: bytes) -> bytes | None:
        slot = bytes(self._memory[at : at + SLOT])
        body = slot[8 : 9 + _TENANT_LIMIT + 16]
        if body[1 + _TENANT_LIMIT :] != key or xxh3_64_intdigest(body) != int.from_bytes(slot[:8], "big"):
            return None
        return body[1 : 1 + body[0]]


def _places(key: bytes) -> tuple[int, int]:
    """Where a trace may stand: one of two slots."""
    index = xxh3_64_intdigest(key) % SLOTS
    return index * SLOT, (index ^ 1) * SLOT
