"""What a tagged write created can be undone: its row learns where it is."""

from __future__ import annotations

import pytest

from tests.kit import World, settings
from tests.kit.answers import raw

CREATED = b"HTTP/1.1 201 Created\r\nLOCATION:  /orders/17\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("rule", "expected"), [({"rule": "live"}, [201, "/orders/17"]), ({"partition": {"headers": {"X-T": "1"}}}, [201, "/orders/17"])]
)
def test_the_ledger_learns_where_it_is(rule: dict[str, object], expected: list[object]) -> None:
    """From the Location of the answer, where live or a partition gave one."""
    plain = settings()
    plain["routes"][0]["test_traffic"] = {"writes": rule}
    with World(plain) as world:
        world.live.answer = raw(CREATED)
        with world.client() as client:
            assert client.request("POST", "/orders", ("X-Test-Traffic", "bot")).status == 201
        world.proxy.tally_where(lambda _: bool(world.proxy.statuses))
        said: list[object] = list(world.proxy.statuses.values())
        assert said == [expected]
