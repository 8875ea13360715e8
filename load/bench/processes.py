"""Child processes that are pinned, measured and always stopped.

Every child leads its own session, so that Ctrl-C reaches only this program, which then stops the
whole group: first politely, then with SIGKILL. Should this program itself be killed, the kernel
asks each child to stop (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PR_SET_PDEATHSIG = 1
CPUCLOCK_SCHED = 2
STOP_S = 5.0
READY_S = 30.0
REPOSITORY = Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """A measurement that could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Cpus:
    """Which CPUs run what."""

    proxy: frozenset[int]
    rest: frozenset[int]

    @property
    def is_shared(self) -> bool:
        """Whether the machine has a single usable CPU, so that load and proxy compete."""
        return self.proxy == self.rest


def share_out(usable: Iterable[int]) -> Cpus:
    """The first usable CPU for the proxy, the others for everything else."""
    first, *others = sorted(usable)
    return Cpus(frozenset({first}), frozenset(others or [first]))


def raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns it. Children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_ns(pid: int) -> int:
    """CPU time of a process, all threads, in nanoseconds.

    The clock id is the one that clock_getcpuclockid(3) computes; /proc/PID/stat has only 10 ms ticks.

    Raises:
        BenchError: there is no such process.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError as error:
        raise BenchError(f"process {pid} is gone: {error}") from None


def memory_bytes(pid: int, field: str) -> int:
    """A line of /proc/PID/status in bytes: `VmRSS` now, `VmHWM` the peak.

    Raises:
        BenchError: there is no such process or line.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise BenchError(f"process {pid} is gone: {error}") from None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} has no {field}")


def reset_peak(pid: int) -> None:
    """Start VmHWM of a process over at its present size (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children_of(pid: int) -> list[int]:
    """Direct children of a process, oldest first."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in sorted(Path(f"/proc/{pid}/task").iterdir()):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def command_of(pid: int) -> list[str]:
    """The argument vector of a process; empty when it is gone."""
    try:
        return [word.decode(errors="replace") for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    except OSError:
        return []


def pin(pid: int, cpus: frozenset[int]) -> None:
    """Bind every thread of a process to `cpus`; threads that it makes later follow."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cpus)


class Child:
    """A running child; a context manager that stops it and all it started."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self.pid} status={self._process.poll()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def last_words(self) -> str:
        """The end of what it printed, at most 2000 characters."""
        return self._log.read_text(errors="replace")[-2000:]

    def complaint(self) -> str:
        """Its last words on one line, for an error message."""
        return " / ".join(line.strip() for line in self.last_words().splitlines()[-4:] if line.strip())[-300:]

    def check(self) -> None:
        """Raise unless it is still running.

        Raises:
            BenchError: it ended; carries its exit status and last words.
        """
        status = self._process.poll()
        if status is not None:
            raise BenchError(f"{self.name} ended with status {status}: {self.complaint()}")

    def wait(self, seconds: float) -> int:
        """Its exit status, once it ended by itself.

        Raises:
            subprocess.TimeoutExpired: it did not within `seconds`.
        """
        return self._process.wait(seconds)

    def stop(self) -> None:
        """End it and its whole process group."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        # Its group may hold workers that outlived it (an nginx worker does, a killed supervisor's may).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def spawn(
    name: str, command: Sequence[str], *, cpus: frozenset[int], directory: Path, environment: Mapping[str, str] | None = None
) -> Child:
    """Start a pinned child whose output goes to a file in `directory`.

    Raises:
        BenchError: the program does not exist or may not be run.
    """
    log = directory / f"{name}.log"
    libc = ctypes.CDLL(None)

    def become() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, cpus)

    inherited = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**inherited, **(environment or {})},
                start_new_session=True,
                preexec_fn=become,  # noqa: PLW1509  this program has one thread, and the pinning must precede the program's first thread
            )
        except OSError as error:
            raise BenchError(f"{name} cannot be started: {error}") from None
    return Child(name, process, log)


def python_module(module: str, *arguments: str) -> list[str]:
    """Command line of one of this repository's modules under this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def wait_until_open(port: int, child: Child, *, seconds: float = READY_S) -> None:
    """Return once something accepts connections at a port.

    Raises:
        BenchError: the child ended, or time is up.
    """
    deadline = time.monotonic() + seconds
    while True:
        child.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        if time.monotonic() > deadline:
            raise BenchError(f"{child.name} does not listen at port {port} after {seconds} s: {child.last_words().strip()}")
        time.sleep(0.02)


def wait_until_answers(port: int, child: Child, *, seconds: float = READY_S) -> None:
    """Return once a GET of / through a port is answered with 200.

    Raises:
        BenchError: the child ended, or time is up.
    """
    deadline = time.monotonic() + seconds
    seen = "no answer"
    while True:
        child.check()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
            if status == http.client.OK:
                return
            seen = f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise BenchError(f"{child.name} is not ready after {seconds} s ({seen}): {child.last_words().strip()}")
        time.sleep(0.05)
