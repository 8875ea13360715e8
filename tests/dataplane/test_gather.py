"""One write, one or many buffers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shadowproxy.dataplane.gather import GATHER_BYTES, write


class Transport:
    """Keeps what each call was given."""

    def __init__(self) -> None:
        self.writes: list[tuple[bytes, ...]] = []

    def write(self, wire: bytes) -> None:
        """One buffer."""
        self.writes.append((wire,))

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Several."""
        self.writes.append(tuple(parts))


@pytest.mark.parametrize("size", [0, 1, GATHER_BYTES - 1, GATHER_BYTES, GATHER_BYTES + 1])
def test_head_and_payload_leave_in_one_write(size: int) -> None:
    """Whatever the size: one call, the same bytes, and a large payload is not copied."""
    transport = Transport()
    payload = b"x" * size
    write(cast("Any", transport), b"head", payload)
    (parts,) = transport.writes
    assert b"".join(parts) == b"head" + payload
    assert (parts[-1] is payload) == (size >= GATHER_BYTES)
