"""The floor: `load.bench.pump`."""

from __future__ import annotations

import importlib.metadata

from load.bench.processes import python_module
from load.bench.proxies.adapter import Proxy, Setup


class Floor(Proxy):
    """The same socket operations over uvloop, and nothing else."""

    name = "floor"

    def version(self) -> str:
        """What it stands on."""
        return f"uvloop {importlib.metadata.version('uvloop')}"

    def command(self, setup: Setup) -> list[str]:
        """Nothing to write."""
        shadow = ["--shadow", str(setup.shadow)] if setup.shadow else []
        return python_module("load.bench.pump", "--port", str(setup.port), "--live", str(setup.live), *shadow)
