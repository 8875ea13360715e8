"""Control's own log: lines on stderr, written by a thread, one event a line.

A blocked terminal or journal drops lines and counts them; it never holds up the event
loop. Control characters are escaped, so that nothing that came over the network can forge
a line or drive a terminal.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from shadowproxy.control.audit import printable
from shadowproxy.control.lines import STDERR, LineWriter

NAME: Final = "shadowproxy"

_MESSAGE_LIMIT: Final = 4000


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.gmtime(record.created)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(record.msecs):03d}Z"
        text = f"{stamp} {record.levelname.lower()} {printable(record.getMessage(), _MESSAGE_LIMIT)}"
        if record.exc_info:
            text += "".join(f"\n    {printable(line)}" for line in self.formatException(record.exc_info).splitlines())
        return text


class LineHandler(logging.Handler):
    """Hands formatted records to a LineWriter. Never blocks. May drop."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self.lines = lines
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record."""
        try:
            self.lines.offer(self.format(record).encode())
        except Exception:  # noqa: BLE001 a log call must not raise into what it reports on
            self.handleError(record)


def log_to_stderr(level: int = logging.INFO) -> LineWriter:
    """Send the log of this process to stderr, and return its writer."""
    lines = LineWriter(STDERR)
    logger = logging.getLogger(NAME)
    logger.setLevel(level)
    logger.propagate = False
    logger.handlers = [LineHandler(lines)]
    logging.getLogger("aiohttp").handlers = [LineHandler(lines)]
    return lines
