"""The process that takes secrets out of copies for one worker, so that the worker's event loop never does (docs/decisions/0006).

It is given one socket and nothing else: key and rules come over it, so neither is in an argument or the environment. It
serves one job after the other, keeps nothing of any, and ends when its worker does.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from typing import Final

from shadowproxy.dataplane import scrubframes
from shadowproxy.dataplane.scrubframes import DONE, JOB, REFUSED, SETUP, Decoder, Frame
from shadowproxy.errors import Unreadable
from shadowproxy.redaction import Rules, Scrubber, Sendable

READ_BYTES: Final = 256 * 1024

NICENESS: Final = 10
"""Copies can wait where live cannot: on a busy machine the workers come first."""


class Scrubbing:
    """Carries out frames."""

    def __init__(self) -> None:
        self._scrubber: Scrubber | None = None

    def __repr__(self) -> str:
        return f"Scrubbing({'ready' if self._scrubber is not None else 'without a key'})"

    def answer(self, frame: Frame) -> bytes:
        """What is sent back; b"" for nothing."""
        if frame.kind == SETUP:
            setup = json.loads(frame.parts[0])
            rules = Rules(tuple(setup["headers"]), tuple(setup["fields"]), tuple(setup["keep"]))
            self._scrubber = Scrubber(rules, bytes.fromhex(setup["key"]), body_limit=int(setup["body_limit"]))
            return b""
        try:
            if frame.kind != JOB or self._scrubber is None:
                raise Unreadable("not set up")
            target, fields, body = frame.parts
            done = self._scrubber.sendable(Sendable(target.decode("latin-1"), _fields(fields), body))
            lines = "".join(f"{name}: {value}\r\n" for name, value in done.fields)
            return scrubframes.encode(DONE, frame.number, done.target.encode("latin-1"), lines.encode("latin-1"), done.body)
        except (Unreadable, ValueError) as error:
            return scrubframes.encode(REFUSED, frame.number, str(error)[:200].encode("latin-1", "replace"))


def _fields(lines: bytes) -> tuple[tuple[str, str], ...]:
    """Names and values of header lines."""
    parts = [line.partition(":") for line in lines.decode("latin-1").split("\r\n") if line]
    return tuple((name, value.strip(" \t")) for name, _, value in parts)


def serve(channel: socket.socket) -> None:
    """Carry out frames until the socket ends."""
    decoder, scrubbing = Decoder(), Scrubbing()
    while received := channel.recv(READ_BYTES):
        for frame in decoder.feed(received):
            channel.sendall(scrubbing.answer(frame))


def main(arguments: list[str] | None = None) -> int:
    """Serve one worker, which passes the socket (see scrubframes).

    Returns:
        0 when the worker is gone.
    """
    parser = argparse.ArgumentParser(prog="shadowproxy.dataplane.scrubprocess")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with its worker, which has copies to finish when all are told to stop
    os.nice(NICENESS)
    gc.freeze()
    with socket.socket(fileno=options.channel) as channel, contextlib.suppress(ConnectionError):
        serve(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
