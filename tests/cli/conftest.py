"""A whole proxy between two origins, and commands run against it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def mirrored(live: Origin, shadow: Origin, **changed: Any) -> dict[str, Any]:
    """One listener, one route, everything mirrored. Latency is not judged: two answers out of one busy machine differ by what else it does."""
    judge = {"latency": {"resolution": "1s"}}
    return {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}, "shadow": {"endpoints": [shadow.url]}},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow", "percent": 100, "judge": judge}]}],
        "limits": {"drain_timeout": "5s"},
        **changed,
    }


@pytest.fixture
def live() -> Iterator[Origin]:
    """The live service."""
    origin = Origin("live")
    yield origin
    origin.stop()


@pytest.fixture
def shadow() -> Iterator[Origin]:
    """The shadow service."""
    origin = Origin("shadow")
    yield origin
    origin.stop()


@pytest.fixture
def proxy(live: Origin, shadow: Origin, tmp_path: Path) -> Iterator[SupervisedProxy]:
    """A running proxy with one worker."""
    with SupervisedProxy(mirrored(live, shadow), tmp_path) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path) -> Run:
    """Run `shadowproxy` with arguments, in the directory of the test, finding only instances of the test."""

    def run(*arguments: str, directory: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SHADOWPROXY_")}
        settings = {"XDG_RUNTIME_DIR": str(tmp_path / "runtime"), "COLUMNS": "120", **environment}
        return subprocess.run(
            [sys.executable, "-m", "shadowproxy", *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False,
            env={**clean, **settings},
        )  # fmt: skip

    return run


def served(proxy: SupervisedProxy, count: int) -> None:
    """Send `count` requests through the listener `front` and wait until their pairs are counted."""
    with Client(proxy.address("front")) as client:
        for number in range(count):
            assert client.get(f"/{number}").status == 200
