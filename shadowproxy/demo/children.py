"""Processes of the demonstration: started, listened to, and ended without fail.

A child's standard input is a leash: it ends when we end, however we end. On Linux the
kernel also sends SIGTERM to a child whose parent is gone, which reaches the ones that do
not read their input. Children lead process groups of their own, so that a Ctrl-C in the
terminal reaches only us and they are stopped in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import ShadowproxyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LOG_LINES: Final = 8
"""Lines of a failed child's log that its error shows."""

_PR_SET_PDEATHSIG: Final = 1

_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Loaded before any fork: nothing may be imported or locked between fork and exec."""


class DemoError(ShadowproxyError):
    """The demonstration cannot go on."""


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent is gone (prctl(2)); runs between fork and exec."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One process that we started.

    Args:
        name: what errors call it.
        process: the process; its standard output is ours to read.
        log: where its standard error goes.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    def __repr__(self) -> str:
        code = self._process.returncode
        return f"<Child {self.name} pid={self.pid} {'running' if code is None else f'ended with {code}'}>"

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], directory: Path) -> Child:
        """Run this Python with `arguments`; the log is `NAME.log` in `directory`.

        Raises:
            DemoError: the process cannot be started.
        """
        log = directory / f"{name}.log"
        try:
            with log.open("ab") as stderr:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *arguments,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=stderr,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error.strerror}") from None
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    async def line(self, timeout_s: float) -> str | None:
        """The next line of its standard output without the line end; None at its end.

        Raises:
            DemoError: no line came within `timeout_s` seconds.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                received = await self._process.stdout.readline()
        except TimeoutError:
            raise DemoError(f"{self.name} said nothing for {timeout_s:g} s{self.last_words()}") from None
        return received.decode(errors="replace").rstrip("\n") if received else None

    async def announced(self, timeout_s: float) -> str:
        """The first line of its standard output: the URL it listens on.

        Raises:
            DemoError: it ended, or said nothing within `timeout_s` seconds.
        """
        line = await self.line(timeout_s)
        if line is None:
            raise DemoError(f"{self.name} ended at once{self.last_words()}")
        return line

    def last_words(self) -> str:
        """The end of its log, ready to be put behind a sentence; empty when it said nothing."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            return ""
        return ":\n" + "\n".join(f"    {line}" for line in lines) if lines else ""

    async def stop(self, grace_s: float) -> None:
        """End it and wait for its end: SIGTERM, and after `grace_s` seconds SIGKILL to its whole group."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.returncode is None:
            # Not Process.terminate(): it asks after the child first, and if that has just ended, takes its exit status
            # away from asyncio's watcher, which then warns of an unknown child.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        drained = asyncio.ensure_future(self._drain())
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._process.wait()
        finally:
            drained.cancel()
            await asyncio.gather(drained, return_exceptions=True)

    async def _drain(self) -> None:
        # A child that still writes would wait for a reader, and wait() for the pipe's end.
        assert self._process.stdout is not None
        while await self._process.stdout.read(65536):
            pass
