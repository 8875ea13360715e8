"""The wheel: no deadline is lost, whatever order things come in."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane.deadlines import TICK_NS, Deadlines


class Thing:
    """Something that can time out."""

    def __init__(self) -> None:
        self.deadline_ns = 0
        self.watched_tick = 0
        self.expired = 0

    def on_deadline(self, now_ns: int) -> None:
        """Count."""
        self.expired += 1


@pytest.mark.parametrize("ticks_ago", [0, 1, 2, 50])
def test_a_deadline_that_has_passed_when_it_is_set_fires_at_the_next_tick(ticks_ago: int) -> None:
    """A total timeout that ran out while the client was blocked still ends the leg once it reads on."""
    now_ns = 1000 * TICK_NS
    wheel = Deadlines(now_ns)
    thing = Thing()
    wheel.advance(now_ns)
    wheel.set(thing, now_ns - ticks_ago * TICK_NS)
    wheel.advance(now_ns + TICK_NS)
    assert thing.expired == 1
    wheel.set(thing, now_ns + 3 * TICK_NS)
    for tick in range(2, 6):
        wheel.advance(now_ns + tick * TICK_NS)
    assert thing.expired == 2
    assert len(wheel) == 0
