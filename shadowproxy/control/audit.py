"""The audit log: who changed what, in lines that prove their own order.

Each line is a JSON object that carries in `prev` the SHA-256 of the line before it
(its bytes without the newline; 64 zeros for the first). Removing, changing or reordering a line
breaks the chain at the next one. Values are escaped to printable ASCII, so no input can
forge a line or drive a terminal.

Records are appended by a thread; the newest are also kept in memory, so that reading
them never touches the disk and a broken disk does not hide what happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.lines import LineWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FIRST: Final = "0" * 64
"""What the first line has as `prev`."""

KEPT: Final = 1000
"""Records that can be read back without the file."""

TEXT_LIMIT: Final = 500
"""Characters of one value: whatever a stranger sends, a line stays a line."""

_TAIL_BYTES: Final = 1024 * 1024
_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, and from where."""

    name: str
    source: str


SYSTEM: Final = Actor("system", "local")
"""Changes that nobody asked for over the network: start, stop, signals."""


class Audit:
    """Appends records to one file, chained to what is in it already.

    Args:
        path: the file; None keeps records in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.head = FIRST
        self.records: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._lines: LineWriter | None = None
        self._open_problem = ""
        self._sequence = 0
        if path is not None:
            self._continue(path)

    @property
    def problem(self) -> str:
        """Why records are not reaching the file; empty when they are."""
        return self._open_problem or (self._lines.problem if self._lines else "")

    @property
    def dropped(self) -> int:
        """Records that did not reach the file."""
        return self._lines.dropped if self._lines else 0

    def record(
        self,
        actor: Actor,
        action: str,
        result: str,
        *,
        before: str = "",
        after: str = "",
        detail: str = "",
        request_id: str = "",
    ) -> dict[str, Any]:
        """Append one record. Never blocks.

        Args:
            actor: who asked.
            action: what was asked for, as a stable dotted word (`config.put`, `kill`).
            result: `ok`, `refused`, `failed` or `unchanged`.
            before: digest of what held before, where it applies.
            after: digest of what holds now.
            detail: a sentence for people.
            request_id: id of the HTTP request, where there was one.

        Returns:
            The record as written.
        """
        self._sequence += 1
        entry: dict[str, Any] = {
            "seq": self._sequence,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "actor": printable(actor.name),
            "source": printable(actor.source),
            "action": action,
            "result": result,
        }
        optional = {"before": before, "after": after, "detail": detail, "request_id": request_id}
        entry.update((name, printable(value)) for name, value in optional.items() if value)
        entry["prev"] = self.head
        line = json.dumps(entry, separators=(",", ":")).encode()
        self.head = hashlib.sha256(line).hexdigest()
        self.records.append(entry)
        if self._lines is not None:
            self._lines.offer(line)
        return entry

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` records, newest first."""
        return list(self.records)[::-1][:limit]

    def last_action(self, actions: Iterable[str]) -> str | None:
        """Which of `actions` was last carried out; None when none is remembered."""
        wanted = frozenset(actions)
        for entry in reversed(self.records):
            if entry.get("action") in wanted and entry.get("result") == "ok":
                return str(entry["action"])
        return None

    def close(self) -> None:
        """Write what is queued, within about a second. Blocks."""
        if self._lines is not None:
            self._lines.close()

    def _continue(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
            with os.fdopen(descriptor, "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                tail = file.read()
                if tail and not tail.endswith(b"\n"):
                    file.write(b"\n")  # a crash tore the last line; it stays, as evidence, and the chain goes on behind it
        except OSError as error:
            self._open_problem = f"{path}: {error.strerror}"
            return
        lines = tail.splitlines()
        if size > _TAIL_BYTES:
            del lines[:1]
        if lines:
            self.head = hashlib.sha256(lines[-1]).hexdigest()
        for line in lines[-KEPT:]:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    self.records.append(entry)
        if self.records:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                self._sequence = int(self.records[-1]["seq"])
        self._lines = LineWriter(str(path))


def printable(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` cut to `limit` characters, with everything but printable ASCII escaped."""
    cut = text if len(text) <= limit else text[:limit] + "..."
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(char if " " <= char <= "~" else _escaped(char) for char in cut)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def first_broken_line(path: Path) -> int | None:
    """The number (from 1) of the first line that does not follow from the one before it; None when the chain is whole.

    Raises:
        OSError: the file cannot be read.
    """
    previous = FIRST
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.rstrip(b"\n")
            try:
                follows = json.loads(line)["prev"] == previous
            except (ValueError, KeyError, TypeError):
                follows = False
            if not follows:
                return number
            previous = hashlib.sha256(line).hexdigest()
    return None
