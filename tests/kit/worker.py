"""One real worker process, with the kit in the role of the control process.

    proxy = WorkerProxy(config_text, {"front": listener})
    proxy.address("front")
    proxy.kill(); proxy.resume()
    proxy.settled()            # the tally once nothing is pending
    proxy.stop()               # drains, checks the conservation law and the exit code

After every tally, for every mirror, eligible == sum(fates) + pending must hold (promise P2); the first
tally for which it does not is kept and fails the test at `stop`. So does anything that the worker wrote
about an exception.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config import load_text, to_plain
from shadowproxy.config.arms import arms
from shadowproxy.dataplane import messages
from tests.kit import network, process
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.config.model import Config
    from tests.kit.network import Address

Tally = dict[str, Any]

GAUGES: Final = frozenset(
    {"pending", "range", "breaker", "in_flight", "held", "outstanding", "idle", "open", "is_ejected", "rss_bytes", "cpu_seconds"}
)
"""Keys of a tally that are states, not deltas."""

REDACTION_KEY: Final = "5e" * 32
"""Of pseudonyms in copies that are scrubbed."""

SETTLED_TALLIES: Final = 2
"""Tallies in a row without a change that make a tally settled: what was under way at the first is in the second."""


def merge(into: Tally, tally: Tally) -> None:
    """Add one tally: deltas are added, gauges replaced, access records appended.

    Gauges of the fleets that a tally leaves out keep their last value.
    """
    for key, value in tally.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            into.setdefault(key, []).extend(value)
        elif key in GAUGES or isinstance(value, (str, bool)):
            into[key] = value
        else:
            into[key] = into.get(key, 0) + value


def unconserved(tally: Tally) -> list[str]:
    """Mirrors and routes of a merged tally for which the conservation laws do not hold."""
    found = []
    for key, mirror in tally.get("mirrors", {}).items():
        eligible, fates, pending = mirror.get("eligible", 0), sum(mirror.get("fates", {}).values()), mirror.get("pending", 0)
        if eligible != fates + pending:
            found.append(f"{key}: eligible {eligible} != fates {fates} + pending {pending}: {mirror.get('fates')}")
    for route, tests in tally.get("tests", {}).items():
        ended = sum(tests.get(fate, 0) for fate in ("sunk", "partitioned", "refused", "passed", "pending"))
        if tests.get("seen", 0) != ended:
            found.append(f"{route}: {tests.get('seen', 0)} tagged writes seen != {ended}: {tests}")
    return found


class WorkerProxy:
    """A worker process and the channel to it; running once constructed.

    Args:
        config: YAML text whose listeners have the names of `listeners`.
        listeners: bound and listening sockets by listener name; they stay open, as control keeps them.
        slot: worker slot.
        arguments: further command-line arguments for the interpreter, such as -O.
        told: what else the policy message says: sinks, passport keys.

    Rows of the ledger are kept in `rows` and acknowledged at once, with `ledger_problem`, unless that is None; passports
    are fresh once.
    """

    def __init__(
        self,
        config: str,
        listeners: Mapping[str, socket.socket],
        *,
        slot: int = 0,
        arguments: tuple[str, ...] = (),
        told: Mapping[str, object] | None = None,
    ) -> None:
        self.listeners = dict(listeners)
        self.generation = 0
        self.instance = uuid.uuid4().hex
        self.slots: dict[str, int] = {}
        self.tally: Tally = {}
        self.tallies = 0
        self.refused: list[str] = []
        self.stalls: list[float] = []
        self.broken_law: list[str] = []
        self.told = dict(told or {})
        self.rows: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, int] = {}
        self.nonces: set[tuple[str, str]] = set()
        self.ledger_problem: str | None = ""
        self._applied = 0
        self._done: set[int] = set()
        self._orders = 0
        self._is_killed = False
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Condition()
        self._words = os.memfd_create("words")
        os.ftruncate(self._words, messages.WORDS * 8)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stderr = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - lives as long as the worker
        command = [sys.executable, *arguments, "-m", "shadowproxy.dataplane.process"]
        command += ["--channel", str(theirs.fileno()), "--words", str(self._words), "--slot", str(slot)]
        for name, listener in self.listeners.items():
            command += ["--listener", f"{name}={listener.fileno()}"]
        inherited = [theirs.fileno(), self._words, *(listener.fileno() for listener in self.listeners.values())]
        self.process = subprocess.Popen(command, pass_fds=inherited, stdin=subprocess.DEVNULL, stderr=self._stderr)
        theirs.close()
        self._reader = threading.Thread(target=self._read, name="channel", daemon=True)
        self._reader.start()
        try:
            self.apply(config)
        except BaseException:
            self.abandon()
            raise

    def __repr__(self) -> str:
        return f"<WorkerProxy pid={self.pid} generation={self.generation} tallies={self.tallies}>"

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    def address(self, name: str) -> Address:
        """Where the listener `name` is."""
        return network.address_of(self.listeners[name])

    def send(self, message: messages.Message) -> None:
        """Send one message as control would."""
        self._channel.sendall(messages.encode(message))

    def apply(self, config: str) -> Config:
        """Load `config`, send it as the next policy and wait until it is applied.

        Raises:
            ConfigError: the text is not a config.
            AssertionError: the worker refuses it or ends.
        """
        loaded = load_text(config).config
        for route in loaded.routes:
            for mirror in arms(route):
                self.slots.setdefault(f"{route.name}/{mirror.name}", len(self.slots) + 1)
        self.generation += 1
        self.send({
            "type": "policy", "generation": self.generation, "config": to_plain(loaded), "slots": self.slots, "killed": self._is_killed,
            "instance": self.instance, "redaction_key": REDACTION_KEY,
        } | self.told)  # fmt: skip
        self._await(lambda: self._applied >= self.generation or len(self.refused) > 0, f"generation {self.generation} applied")
        assert not self.refused, self.refused
        return loaded

    def kill(self) -> None:
        """Stop mirroring: set the shared word, send the order, wait for its acknowledgement."""
        self._is_killed = True
        self.set_word(messages.KILL_WORD, 1)
        self._order("kill")

    def resume(self) -> None:
        """Mirror again."""
        self._is_killed = False
        self.set_word(messages.KILL_WORD, 0)
        self._order("resume")

    def set_word(self, index: int, value: int) -> None:
        """Write one shared word."""
        os.pwrite(self._words, struct.pack("=Q", value), index * 8)

    def word(self, index: int) -> int:
        """Read one shared word."""
        (value,) = struct.unpack("=Q", os.pread(self._words, 8, index * 8))
        return int(value)

    def eligible(self, mirror: str) -> int:
        """The shared count of a mirror's eligible requests; `mirror` is "route/mirror"."""
        return self.word(self.slots[mirror])

    def tally_where(self, claim: Callable[[Tally], object], what: str = "") -> Tally:
        """Wait until the merged tally satisfies `claim`, which may ask for what is not there yet; return the tally."""

        def holds() -> bool:
            try:
                return bool(claim(self.tally))
            except KeyError:
                return False

        self._await(holds, what or "the tally satisfies the claim")
        return self.tally

    def settled(self, what: str = "nothing is pending") -> Tally:
        """The merged tally once nothing is pending on any mirror and nothing was counted any more.

        Raises:
            AssertionError: it does not settle, or the conservation law does not hold.
        """
        before: object = None
        seen = self.tallies
        quiet = 0

        def is_settled() -> bool:
            nonlocal before, seen, quiet
            if self.tallies == seen:
                return False
            seen = self.tallies
            mirrors = self.tally.get("mirrors", {})
            now = repr((mirrors, self.tally.get("routes"), self.tally.get("refusals")))
            is_idle = not any(mirror.get("pending") for mirror in mirrors.values())
            quiet = quiet + 1 if is_idle and now == before else 0
            before = now
            return quiet >= SETTLED_TALLIES - 1

        self._await(is_settled, what)
        assert not self.broken_law, self.broken_law
        self._compare_words()
        return self.tally

    def fates(self, mirror: str) -> dict[str, int]:
        """The mirror's fates in the settled tally, without zeros."""
        fates: dict[str, int] = self.settled()["mirrors"].get(mirror, {}).get("fates", {})
        return {fate: count for fate, count in fates.items() if count}

    def stderr(self) -> str:
        """What the worker wrote to its standard error."""
        self._stderr.flush()
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode("utf-8", "replace")

    def stop(self, *, drain_s: float = 5.0) -> Tally:
        """Drain, and check that the worker ended well; return its last tally.

        Raises:
            AssertionError: the conservation law broke, something stayed pending, the worker complained
                or did not end with 0.
        """
        if self.process.poll() is not None and not self._ended.is_set():
            self._ended.wait(network.PATIENCE_S)
        try:
            assert self.process.poll() is None, f"the worker ended by itself with {self.process.returncode}: {self.stderr()}"
            self.send({"type": "drain", "seconds": drain_s})
            code = self.process.wait(network.PATIENCE_S + drain_s)
            self._ended.wait(network.PATIENCE_S)
            assert code == 0, f"the worker ended with {code}: {self.stderr()}"
            assert not self.broken_law, self.broken_law
            pending = {key: mirror["pending"] for key, mirror in self.tally.get("mirrors", {}).items() if mirror.get("pending")}
            assert not pending, f"still pending after the drain: {pending}"
            self._compare_words()
            complaints = self.stderr()
            assert "Traceback" not in complaints, complaints
            assert "exception" not in complaints.lower(), complaints
            assert not self.tally.get("process", {}).get("errors"), f"{self.tally['process']['errors']} errors: {complaints}"
        finally:
            self.abandon()
        return self.tally

    def hang_up(self) -> None:
        """Be gone, as a control process that died."""
        network.wake(self._channel)

    def sigkill(self) -> None:
        """End the worker as the kernel's out-of-memory killer would."""
        self.process.kill()
        self.process.wait()
        self._ended.wait(network.PATIENCE_S)

    def abandon(self) -> None:
        """End the worker and let go of everything but the listeners. Idempotent."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        network.wake(self._channel)
        self._reader.join(network.PATIENCE_S)
        self._channel.close()
        if self._words >= 0:
            os.close(self._words)
            self._words = -1
        self._stderr.close()

    def _compare_words(self) -> None:
        for key, slot in self.slots.items():
            counted = self.tally.get("mirrors", {}).get(key, {}).get("eligible", 0)
            assert self.word(slot) == counted, f"{key}: the shared word says {self.word(slot)} eligible, the tallies {counted}"

    def _order(self, kind: str) -> None:
        self._orders += 1
        number = self._orders
        self.send({"type": kind, "id": number})
        self._await(lambda: number in self._done, f"{kind} acknowledged")

    def _await(self, claim: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            if claim():
                return True
            assert not self._ended.is_set(), f"the worker ended ({self.process.poll()}) while waiting until {what}: {self.stderr()}"
            return False

        with self._lock:
            if self._lock.wait_for(holds, network.PATIENCE_S):
                return
        raise AssertionError(
            f"after {network.PATIENCE_S:g} s still not: {what}; mirrors: {self.tally.get('mirrors')}; stderr: {self.stderr()}"
        )

    def _read(self) -> None:
        decoder = messages.Decoder()
        while True:
            try:
                received = self._channel.recv(1 << 16)
            except OSError:
                received = b""
            with self._lock:
                if not received:
                    self._ended.set()
                for message in decoder.feed(received):
                    self._take(message)
                self._lock.notify_all()
            if not received:
                return

    def _take(self, message: messages.Message) -> None:
        kind = message.pop("type")
        if kind == "tally":
            merge(self.tally, message)
            self.tallies += 1
            if not self.broken_law:
                self.broken_law = unconserved(self.tally)
        elif kind == "applied":
            self._applied = message["generation"]
        elif kind == "refused":
            self.refused.append(message["problem"])
        elif kind == "done":
            self._done.add(message["id"])
        elif kind == "stalled":
            self.stalls.append(message["seconds"])
        elif kind == "ledger":
            assert not set(self.rows) & {row["id"] for row in message["rows"]}, "a row came twice"
            self.rows |= {row["id"]: row for row in message["rows"]}
            if self.ledger_problem is not None:
                self.send({"type": "ledger_done", "ids": [row["id"] for row in message["rows"]], "problem": self.ledger_problem})
        elif kind == "ledger_status":
            self.statuses |= message["statuses"]
        elif kind == "nonces":
            uses = []
            for keyid, nonce, _ in message["nonces"]:
                uses.append("replayed" if (keyid, nonce) in self.nonces else "fresh")
                self.nonces.add((keyid, nonce))
            self.send({"type": "nonces_done", "id": message["id"], "uses": uses})
        elif kind == "ready":
            self._ready.set()


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    eventually(lambda: not process.is_alive(pid), f"process {pid} ended")
