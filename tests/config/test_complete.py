"""Names that a config leaves out."""

from __future__ import annotations

from shadowproxy.config.complete import complete
from shadowproxy.config.model import Config, Listener, Mirror, Route


def test_names_are_filled_in() -> None:
    """Listeners are called like their address, mirrors like their fleet, routes by number; given names stay."""
    mirror = Mirror(to="shadow")
    config = complete(
        Config(
            listen=(Listener(address="a:1"), Listener(address="a:2", name="b")),
            fleets={},
            routes=(
                Route(live="l", mirror=(mirror, Mirror(to="s", name="n", salt="x"))),
                Route(live="l", name="r", mirror=(mirror,)),
                Route(live="l"),
            ),
        ),
    )
    assert [listener.name for listener in config.listen] == ["a:1", "b"]
    assert [route.name for route in config.routes] == ["route-1", "r", "route-3"]
    assert [(m.name, m.salt) for m in config.routes[0].mirror] == [("shadow", "route-1"), ("n", "x")]
    assert config.routes[1].mirror[0].salt == "r"


def test_completing_twice_changes_nothing() -> None:
    """A complete config stays as it is."""
    config = complete(Config(listen=(Listener(address="a:1"),), fleets={}, routes=(Route(live="l", mirror=(Mirror(to="s"),)),)))
    assert complete(config) == config
