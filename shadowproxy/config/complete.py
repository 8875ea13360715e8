"""Fills in the names that a config leaves out, once, so that nobody has to derive them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowproxy.config.model import Config, Route


def complete(config: Config) -> Config:
    """Return `config` with every name given.

    A listener is called like its address, a mirror like its fleet, a route `route-N` with N from
    1; a mirror's salt is its route's name.
    """
    return replace(
        config,
        listen=tuple(replace(listener, name=listener.name or listener.address) for listener in config.listen),
        routes=tuple(_complete_route(route, number) for number, route in enumerate(config.routes, 1)),
    )


def _complete_route(route: Route, number: int) -> Route:
    name = route.name or f"route-{number}"
    mirrors = tuple(replace(mirror, name=mirror.name or mirror.to, salt=mirror.salt or name) for mirror in route.mirror)
    return replace(route, name=name, mirror=mirrors)
