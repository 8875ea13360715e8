"""What a process uses, read from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.kit.network import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


def rss_bytes(pid: int) -> int:
    """Resident memory, in bytes."""
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE")


def peak_rss_bytes(pid: int) -> int:
    """The highest resident memory so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def open_descriptors(pid: int) -> dict[int, str]:
    """Open file descriptors and what each one is."""
    found: dict[int, str] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:  # closed between the listing and the look
            continue
    return found


def open_sockets(pid: int) -> int:
    """How many sockets a process holds."""
    return sum(target.startswith("socket:") for target in open_descriptors(pid).values())


def cpu_seconds(pid: int) -> float:
    """User and system time so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Direct child processes."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def eventually(claim: Callable[[], Value], what: str = "", *, patience_s: float = PATIENCE_S) -> Value:
    """The first truthy value of `claim`, asked every few milliseconds.

    Args:
        claim: asked again until it holds; its last value is in the failure.
        what: the promise, for the failure's text.
        patience_s: seconds before giving up.

    Raises:
        AssertionError: it never held.
    """
    deadline = time.monotonic() + patience_s
    pause_s = 0.001
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience_s:g} s still not: {what or claim}; last seen: {value!r}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)
