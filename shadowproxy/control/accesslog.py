"""The access log: one JSON line a sampled request, never waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shadowproxy.control.lines import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.config.model import AccessLog


class AccessWriter:
    """Writes the `access` records of tallies to where the config says, from a thread.

    Records are escaped to ASCII JSON, so that nothing a client sends can forge or split a line.
    """

    def __init__(self, settings: AccessLog) -> None:
        self.redact: Callable[[str], str] = _path
        """Takes the secrets out of a target before it is written."""
        self._lines: LineWriter | None = None
        self._written = 0
        self._dropped = 0
        self.configure(settings)

    @property
    def written(self) -> int:
        """Lines written since control started."""
        return self._written + (self._lines.written if self._lines else 0)

    @property
    def dropped(self) -> int:
        """Lines dropped because the sink was blocked or broken."""
        return self._dropped + (self._lines.dropped if self._lines else 0)

    @property
    def problem(self) -> str:
        """Why the sink does not work at the moment; empty when it does."""
        return self._lines.problem if self._lines else ""

    def configure(self, settings: AccessLog) -> None:
        """Follow a new config; the same path opens the file again (after a rotation). Never blocks."""
        if not settings.path:
            self._retire()
        elif self._lines is None:
            self._lines = LineWriter(settings.path)
        elif self._lines.path == settings.path:
            self._lines.reopen()
        else:
            self._retire()
            self._lines = LineWriter(settings.path)

    def write(self, records: Sequence[dict[str, Any]]) -> None:
        """Queue `records`, whose targets are redacted in place. Never blocks. May drop."""
        if self._lines is not None:
            for record in records:
                if "target" in record:
                    record["target"] = self.redact(record["target"])
                self._lines.offer(json.dumps(record, separators=(",", ":")).encode())

    def close(self) -> None:
        """Write what is queued, within about a second. Blocks."""
        if self._lines is not None:
            self._lines.close()

    def _retire(self) -> None:
        if self._lines is not None:
            self._written += self._lines.written
            self._dropped += self._lines.dropped
            self._lines.end()
            self._lines = None


def _path(target: str) -> str:
    """What is written until it is known what is secret."""
    return target.partition("?")[0]
