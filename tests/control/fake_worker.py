"""A worker that only speaks the protocol of messages.py, for tests of what control does with bad ones.

fake_worker.py MODE --channel FD --words FD --slot N --listener NAME=FD ...

MODE is one of
    good      applies, confirms, reports, drains
    mute      never confirms kill or resume, nor says what it remembers
    exit      exits at once with status 3
    refuse    refuses every policy
    refuse2   refuses every policy but the first
    silent    applies its first policy and then says nothing
    stubborn  ignores drain
    garbage   sends bytes that are no frame once it has applied a policy
    unknown   sends a message of a type that nobody knows, and a tally that is none

A good worker reports, in its first tally after each policy, 3 eligible requests of every mirror of which 2
have a fate and 1 is pending, and has counted 5 in the shared word: a death loses 3.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import sys
import time
from typing import Any

from shadowproxy.dataplane import messages


class FakeWorker:
    """Blocking, one select loop."""

    def __init__(self, mode: str, arguments: list[str]) -> None:
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.mode = mode
        self.channel = socket.socket(fileno=int(options["--channel"]))
        self.words = memoryview(mmap.mmap(int(options["--words"]), messages.WORDS * 8)).cast("Q")
        self.decoder = messages.Decoder()
        self.applied = 0
        self.owed: list[str] = []
        self.pending: dict[str, int] = {}
        self.is_over = False

    def send(self, message: messages.Message) -> None:
        """Send one message."""
        self.channel.sendall(messages.encode(message))

    def run(self) -> int:
        """Obey until drained or alone; the exit status."""
        if self.mode == "exit":
            return 3
        self.send({"type": "ready", "pid": os.getpid()})
        while not self.is_over:
            readable, _, _ = select.select([self.channel], [], [], 0.05)
            if readable:
                received = self.channel.recv(1 << 16)
                if not received:
                    return 0
                for message in self.decoder.feed(received):
                    self.obey(message)
            if self.applied and self.mode != "silent":
                self.report()
        return 0

    def obey(self, message: messages.Message) -> None:
        """Do what one message asks."""
        match message["type"]:
            case "policy":
                self.apply(message)
            case "kill" | "resume" if self.mode != "mute":
                self.send({"type": "done", "id": message["id"]})
            case "recent" if self.mode != "mute":
                self.send({"type": "remembered", "id": message["id"], "times": ""})
            case "drain" if self.mode != "stubborn":
                self.finish()
                self.is_over = True

    def apply(self, message: messages.Message) -> None:
        """Take a policy, or refuse it."""
        if self.mode == "refuse" or (self.mode == "refuse2" and self.applied):
            self.send({"type": "refused", "generation": message["generation"], "problem": "this worker refuses"})
            return
        self.applied = message["generation"]
        self.owed = list(message["slots"])
        for slot in message["slots"].values():
            self.words[slot] += 5
        self.send({"type": "applied", "generation": self.applied})
        if self.mode == "garbage":
            self.channel.sendall(b"\0\0\0\4nope")
        if self.mode == "unknown":
            self.send({"type": "surprise"})
            self.send({"type": "tally", "mirrors": 7})

    def finish(self) -> None:
        """The last report: what was counted in the word and not reported, and what was pending, ends now."""
        mirrors = {
            key: {"eligible": 2 * pending, "pending": 0, "fates": {"client_gone": 3 * pending}} for key, pending in self.pending.items()
        }
        self.send({"type": "tally", "mirrors": mirrors})

    def report(self) -> None:
        """One tally: 3 more eligible requests of each mirror that the last policy named."""
        for key in self.owed:
            self.pending[key] = self.pending.get(key, 0) + 1
        mirrors: dict[str, Any] = {
            key: {"eligible": 3, "pending": self.pending[key], "fates": {"paired": 1, "not_sampled": 1}, "matrix": {"200,503": 1}, "range": 1.0,
                  "breaker": "closed", "in_flight": 1, "held": 7, "live_last": {"690": 1}, "shadow_last": {"700": 1}, "holdout_last": {"680": 1}}
            for key in self.owed
        }  # fmt: skip
        self.owed = []
        process = {"cpu_seconds": time.process_time(), "rss_bytes": 1 << 20, "lag_ns": {"0": 1}, "errors": 0}
        self.send({"type": "tally", "mirrors": mirrors, "process": process, "clients": {"open": 0}})


if __name__ == "__main__":
    sys.exit(FakeWorker(sys.argv[1], sys.argv[2:]).run())
