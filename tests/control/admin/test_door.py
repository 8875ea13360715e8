"""Connections to the admin API are bounded, and a new one always gets in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowproxy.control.admin.door import CONNECTIONS
from tests.control.conftest import until

if TYPE_CHECKING:
    from tests.control.conftest import Api


async def test_silent_connections_cannot_lock_the_operator_out(api: Api) -> None:
    """With more silent connections than are allowed, the kill switch works, and the oldest were cut."""
    where = api.supervisor.admin_address
    silent = [await asyncio.open_connection(where.host, where.port) for _ in range(CONNECTIONS + 20)]
    assert (await api("POST", "/api/v1/kill"))[0] == 200
    assert api.supervisor.admin_connections <= CONNECTIONS
    for reader, _ in silent[:20]:
        try:
            assert await reader.read(1) == b""
        except ConnectionResetError:
            continue
    for _, writer in silent:
        writer.close()
    await until(lambda: api.supervisor.admin_connections <= 2, "closed connections are forgotten")
