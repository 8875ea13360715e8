"""Child processes: announced, listened to, and ended without fail."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shadowproxy.demo.children import Child, DemoError

_WAIT_ON_STDIN = "import sys; print('http://here'); sys.stdin.read()"
_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
_DEAF = "import signal, time; print('up'); time.sleep(600)"


def _is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_child_announces_itself_and_ends_when_stopped(tmp_path: Path) -> None:
    """The first line is what it announces; stop waits for its end."""
    child = await Child.start("shop", ["-c", _WAIT_ON_STDIN], tmp_path)
    assert await child.announced(30) == "http://here"
    assert child.is_running
    assert "shop" in repr(child)
    await child.stop(30)
    assert not child.is_running
    assert not _is_alive(child.pid)
    assert "ended with" in repr(child)


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """After the grace period the whole group gets SIGKILL."""
    child = await Child.start("stubborn", ["-c", _STUBBORN], tmp_path)
    assert await child.announced(30) == "up"
    await child.stop(0.1)
    assert not _is_alive(child.pid)


async def test_a_child_that_writes_without_end_can_be_stopped(tmp_path: Path) -> None:
    """A full pipe does not keep stop waiting."""
    child = await Child.start("chatty", ["-c", "import itertools\nfor n in itertools.count(): print('x' * 4096)"], tmp_path)
    await child.announced(30)
    await child.stop(30)
    assert not _is_alive(child.pid)


async def test_a_child_that_fails_is_quoted(tmp_path: Path) -> None:
    """What it said on standard error is in the error."""
    child = await Child.start("shop", ["-c", "raise SystemExit('no such shop')"], tmp_path)
    with pytest.raises(DemoError, match=r"(?s)shop ended at once:\n    no such shop"):
        await child.announced(30)
    await child.stop(30)


async def test_a_silent_child_is_an_error_not_a_wait(tmp_path: Path) -> None:
    """No line within the time given is a DemoError that says how long was waited."""
    child = await Child.start("mute", ["-c", "import sys; sys.stdin.read()"], tmp_path)
    with pytest.raises(DemoError, match=r"mute said nothing for 0\.05 s"):
        await child.line(0.05)
    await child.stop(30)


async def test_what_cannot_be_started_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing interpreter is a DemoError with the system's reason."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(DemoError, match="shop cannot be started: No such file"):
        await Child.start("shop", ["-c", ""], tmp_path)


async def test_last_words_are_empty_without_a_log(tmp_path: Path) -> None:
    """A log that was removed meanwhile is no error."""
    child = await Child.start("shop", ["-c", _WAIT_ON_STDIN], tmp_path)
    assert child.last_words() == ""
    (tmp_path / "shop.log").unlink()
    assert child.last_words() == ""
    await child.stop(30)


def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the parent ends a child that reads its leash, and on Linux one that does not."""
    parent = f"""
import asyncio, pathlib
from shadowproxy.demo.children import Child
async def main():
    for name, code in (("reads", {_WAIT_ON_STDIN!r}), ("deaf", {_DEAF!r})):
        child = await Child.start(name, ["-c", code], pathlib.Path({str(tmp_path)!r}))
        await child.announced(30)
        print(child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert all(_is_alive(pid) for pid in pids)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 30
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_is_alive(pid) for pid in pids)


async def test_ctrl_c_in_the_terminal_does_not_reach_children(tmp_path: Path) -> None:
    """A child leads a process group of its own, so that we stop it and not the terminal."""
    child = await Child.start("shop", ["-c", _WAIT_ON_STDIN], tmp_path)
    await child.announced(30)
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    await asyncio.gather(child.stop(30))
