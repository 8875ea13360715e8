"""The proxies that are compared: one adapter each, all set to do the same work."""

from __future__ import annotations

from load.bench.proxies.adapter import Instance, NotInstalled, Proxy, Setup
from load.bench.proxies.envoy import Envoy
from load.bench.proxies.floor import Floor
from load.bench.proxies.nginx import Nginx
from load.bench.proxies.shadowproxy import Compiled, Shadowproxy
from load.bench.proxies.traefik import Traefik

__all__ = ["OURS", "PEERS", "PROXIES", "Instance", "NotInstalled", "Proxy", "Setup", "Shadowproxy", "choose"]

OURS = ("shadowproxy", "shadowproxy-compiled")
"""The one source, run as it is and with its data plane compiled; the first is what `make` sets up."""

PEERS = ("nginx", "envoy", "traefik")

PROXIES: dict[str, Proxy] = {proxy.name: proxy for proxy in (Shadowproxy(), Compiled(), Nginx(), Envoy(), Traefik(), Floor())}


def choose(names: str) -> list[Proxy]:
    """Adapters of a comma-separated list, in the order of PROXIES; an empty list means all.

    Raises:
        ValueError: a name is none of theirs.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := sorted(wanted - set(PROXIES)):
        raise ValueError(f"no proxy {', '.join(unknown)}; there are {', '.join(PROXIES)}")
    return [proxy for proxy in PROXIES.values() if not wanted or proxy.name in wanted]
