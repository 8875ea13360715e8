"""What a drain cuts off is counted in the worker's last tally, over TLS as over TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.test_tls import Files, https_front
from tests.kit import World, answers, settings
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_request_that_a_drain_cuts_off_has_its_fate_in_the_last_tally(tmp_path: Path, *, is_tls: bool) -> None:
    """Its client was cut off before live answered: the pair is excluded, and nothing is pending."""
    files = Files(tmp_path)
    world = World(settings(listener=https_front(files) if is_tls else {}))
    try:
        world.live.answer = answers.hang()
        client = world.client(tls=files.client() if is_tls else None)
        client.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        world.shadow.wait_for("/a")
        world.proxy.tally_where(lambda tally: tally["mirrors"][MIRROR]["pending"] == 1 and not tally["mirrors"][MIRROR]["in_flight"])
        world.proxy.send({"type": "drain", "seconds": 0.2})
        assert world.proxy.process.wait(15) == 0
        assert world.proxy._ended.wait(15)
        mirror = world.proxy.tally["mirrors"][MIRROR]
        assert {fate: count for fate, count in mirror["fates"].items() if count} == {"client_gone": 1}
        assert mirror["pending"] == 0
    finally:
        world.live.stop()
        world.shadow.stop()
        world.abandon()
