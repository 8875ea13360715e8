"""What a proxy still holds of things that are over: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kit.process import eventually, open_sockets
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from tests.kit import World


def sockets_at_rest(world: World) -> int:
    """Sockets of a worker that has not seen a client yet: what it will be left with when all is over, the idle pools aside."""
    return open_sockets(world.proxy.pid)


def check_released(world: World, sockets_before: int) -> None:
    """Assert that nothing is left of clients, legs and copies: no count, no held byte, no socket but the idle pools'.

    The gauges are those of the last tally: ask when the tally is settled.
    """

    def left() -> str:
        tally = world.proxy.tally
        mirror = tally["mirrors"][MIRROR]
        gauges = {
            "clients": tally["clients"]["open"],
            "in_flight": mirror["in_flight"],
            "held": mirror["held"],
            "outstanding": _pooled(world, "outstanding"),
            "sockets": open_sockets(world.proxy.pid) - _pooled(world, "idle") - sockets_before,
        }
        return ", ".join(f"{name} {count}" for name, count in gauges.items() if count)

    eventually(lambda: not left(), "nothing is left")


def _pooled(world: World, gauge: str) -> int:
    return sum(int(endpoint[gauge]) for fleet in world.proxy.tally["fleets"].values() for endpoint in fleet.values())
