"""The kill switch as a file: as soon as it exists, everything stops.

For whoever can reach a disk and nothing else: a script, a deployment tool, a person on the machine. A thread looks, because a
file system that hangs must not hold up the event loop; it looks as long as the file may appear, so that a resume with the
file still there does not last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S: Final = 0.05
"""How often it is looked for."""


class KillFile:
    """Looks for a file, in a thread of its own while there is one to look for.

    Args:
        on_found: called in the event loop with the path, at each look that finds the file.
    """

    def __init__(self, on_found: Callable[[str], None]) -> None:
        self._on_found = on_found
        self._path = ""
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<KillFile {self._path!r}>"

    def follow(self, path: str) -> None:
        """Look for `path` from now on; for nothing if it is empty. Never blocks."""
        self._path = path
        if path and self._thread is None:
            self._thread = threading.Thread(target=self._look, name="kill file", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Look no longer. Never blocks."""
        self._is_closing = True
        self._wake.set()

    def _look(self) -> None:
        while not self._is_closing:
            path = self._path
            if path and os.path.lexists(path):
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._found, path)
            self._wake.wait(LOOK_S if path else None)
            self._wake.clear()

    def _found(self, path: str) -> None:
        if path == self._path and not self._is_closing:
            self._on_found(path)
