"""The proxy of this repository: one worker, with its features on."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

import shadowproxy
from load.bench.ports import free_port
from load.bench.processes import REPOSITORY, children_of, command_of
from load.bench.proxies.adapter import NotInstalled, Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from load.bench.proxies.adapter import Setup

WORKER = "shadowproxy.dataplane.process"
HOLDOUT_PERCENT = 0.1
"""Small enough to keep the mirror whole, large enough that every request is looked up in the hash space."""


def config(setup: Setup, *, admin: int) -> dict[str, Any]:
    """A config with what a production mirror has on: sticky key, hold-out, header rules on the copy, forwarding headers."""
    fleets: dict[str, Any] = {"live": {"endpoints": [f"http://127.0.0.1:{setup.live}"]}}
    route: dict[str, Any] = {"name": "all", "match": {"path": "/"}, "live": "live"}
    if setup.shadow:
        fleets["shadow"] = {"endpoints": [f"http://127.0.0.1:{setup.shadow}"]}
        mirror: dict[str, Any] = {
            "to": "shadow",
            "percent": 100,
            "holdout": HOLDOUT_PERCENT,
            "key": "header:x-user-id",
            "methods": ["GET", "HEAD", "POST"],
            "body_limit": setup.body_limit,
            "timeout": setup.shadow_timeout_s,
            "headers": {"set": {"x-shadow": "1"}, "remove": ["x-internal"]},
        }
        if not setup.has_breaker:
            mirror["breaker"] = {"failures": 0}
        route["mirror"] = [mirror]
    return {
        "listen": [{"name": "front", "address": f"127.0.0.1:{setup.port}"}],
        "admin": {"address": f"127.0.0.1:{admin}"},
        "workers": 1,
        "state": "sqlite:///state.db",
        "limits": {"idle_timeout": "300s"},
        "fleets": fleets,
        "routes": [route],
    }


class Shadowproxy(Proxy):
    """Control process on the other CPU, one worker on the proxy's."""

    name = "shadowproxy"
    has_control_process = True

    def version(self) -> str:
        """The version of this repository."""
        if importlib.util.find_spec("shadowproxy.__main__") is None:
            raise NotInstalled("shadowproxy has no command line")
        return shadowproxy.__version__

    def command(self, setup: Setup) -> list[str]:
        """Write shadowproxy.yaml."""
        # Through JSON, which turns tuples and paths into what YAML's safe dumper knows.
        plain = json.loads(json.dumps(config(setup, admin=free_port())))
        (setup.directory / "shadowproxy.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
        return [self.interpreter(), "-m", "shadowproxy", "run", "-c", "shadowproxy.yaml"]

    def interpreter(self) -> str:
        """The Python that runs it."""
        return sys.executable

    def data_plane(self, pid: int) -> list[int]:
        """The workers."""
        return [child for child in children_of(pid) if WORKER in command_of(child)]


class Compiled(Shadowproxy):
    """The same source with its data plane compiled, from the environment that `make compiled` makes."""

    name = "shadowproxy-compiled"
    # Not the source tree: it would hide the compiled modules.
    environment = MappingProxyType({"PYTHONPATH": ""})

    def __init__(self, home: Path = REPOSITORY / ".cache" / "compiled") -> None:
        self._home = home

    def version(self) -> str:
        """The version, and whether the source has moved on since it was compiled."""
        modules = sorted(self._home.glob("lib/python*/site-packages/shadowproxy/dataplane/*.so"))
        if not modules:
            raise NotInstalled("there is no compiled build (make compiled)")
        newest = max(path.stat().st_mtime for path in (REPOSITORY / "shadowproxy").rglob("*.py"))
        is_stale = newest > modules[0].stat().st_mtime
        return f"{shadowproxy.__version__}{' of older source' if is_stale else ''}"

    def interpreter(self) -> str:
        """That environment's Python."""
        return str(self._home / "bin" / "python")
