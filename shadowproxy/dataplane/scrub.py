"""Copies without secrets: mirrors with `scrub` send a shadow pseudonyms instead of personal data (docs/decisions/0006).

*   Taking secrets out costs up to a thousand times what forwarding costs, so a process of its own does it: the worker hands a
    copy over after live was sent, and goes on. Nothing of it can delay live but two system calls. (P1)
*   What is not scrubbed is not sent: no answer in time, no process, a request that it cannot look through, a body too
    large; each copy then ends in a counter of its own. (P2)
*   A copy is held whole until it is scrubbed; what is held counts as every copy's bytes do, and what was handed over is
    bounded by JOBS_LIMIT and JOBS_BYTES. (P6)
*   The shadow's time begins when the scrubbed copy is sent, so that what scrubbing takes is nobody's latency.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, cast

from shadowproxy.config.model import SCRUBBED_BODY_LIMIT
from shadowproxy.dataplane import outcome, scrubframes
from shadowproxy.dataplane.head import CHUNKED, CRLF
from shadowproxy.dataplane.scrubframes import DONE, JOB, SETUP, Decoder, Frame
from shadowproxy.dataplane.tee import Copy, Tee, copied_lines

if TYPE_CHECKING:
    from shadowproxy.config.model import Redaction
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.tally import Pair
    from shadowproxy.dataplane.worker import Worker

COMMAND: Final = (sys.executable, "-m", "shadowproxy.dataplane.scrubprocess")

JOBS_LIMIT: Final = 512
"""Copies handed over and not answered: a third of a second's work, at 1,500 small requests a second."""

JOBS_BYTES: Final = 8 * 1024 * 1024

LATE_NS: Final = 10**9
"""A copy that is not scrubbed by then is given up: it would hold up the pairs behind it."""

STUCK_NS: Final = 10 * 10**9
"""A process that is busy with one copy for so long is replaced."""

FIRST_PAUSE_NS: Final = 10**9
LONGEST_PAUSE_NS: Final = 30 * 10**9
"""Before a process that has ended is replaced; doubles while it does nothing but end."""


class Job:
    """One copy that was handed over. `copy` is None once it was given up."""

    __slots__ = ("copy", "since_ns", "size")

    def __init__(self, copy: ScrubbedCopy, since_ns: int, size: int) -> None:
        self.copy: ScrubbedCopy | None = copy
        self.since_ns = since_ns
        self.size = size

    def __repr__(self) -> str:
        return f"Job({self.copy!r}, {self.size} bytes)"


class Scrubber:
    """A worker's scrubbing process, and what was handed over to it. There is none while no mirror scrubs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._setup = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: list[subprocess.Popen[bytes]] = []
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[object] | None = None
        self._decoder = Decoder()
        self._jobs: dict[int, Job] = {}
        self._number = 0
        self._bytes = 0
        self._retry_ns = 0
        self._pause_ns = FIRST_PAUSE_NS

    def __repr__(self) -> str:
        state = "off" if not self._setup else "ready" if self._transport is not None else "away"
        return f"Scrubber({state}, {len(self._jobs)} jobs, {self._bytes} bytes)"

    def configure(self, key: str, redaction: Redaction, *, is_wanted: bool) -> None:
        """Scrub by these rules from now on; what was handed over before is done by the old ones.

        Args:
            key: of the pseudonyms, in hex.
            redaction: which names are secret.
            is_wanted: whether any mirror scrubs.

        Raises:
            ValueError: one does, and there is no key.
        """
        if is_wanted and not key:
            raise ValueError("a mirror scrubs its copies, and there is no redaction key")
        setup = b""
        if is_wanted:
            rules = {"headers": redaction.headers, "fields": redaction.fields, "keep": redaction.keep}
            setup = scrubframes.encode(SETUP, 0, json.dumps({"key": key, **rules, "body_limit": SCRUBBED_BODY_LIMIT}).encode())
        if setup == self._setup:
            return
        self._setup = setup
        if not setup:
            self.close()
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(setup)
        elif self._process is None:
            self._open()

    def close(self) -> None:
        """Let the process end; what was handed over is not sent."""
        if self._transport is not None:
            self._transport.close()

    def copy(self, tee: Tee, exchange: Exchange, forwarded: bytes) -> ScrubbedCopy:
        """The copy of a request, to be scrubbed before it is sent; see Tee.offer."""
        head, policy = exchange.head, tee.policy
        common = head.copies.get(policy)
        if common is None:
            common = head.copies[policy] = copied_lines(head, policy, tee.fleet.endpoints[0].authority)
        assert exchange.trace is not None
        te = b"TE: trailers\r\nConnection: TE\r\n" if head.te_trailers else b""
        ours = b"".join((exchange.trace.copy_line(), te, tee.mark, CRLF))
        deadline_ns = exchange.arrived_ns + policy.pair_timeout_ns + LATE_NS
        return ScrubbedCopy(tee, tee.tally.open(exchange.arrived_ns, deadline_ns), exchange, common + forwarded, ours)

    def submit(self, copy: ScrubbedCopy, target: bytes, lines: bytes, body: bytes) -> bool:
        """Hand a copy over. Never blocks.

        Returns:
            False when there is no process, or too much waits for it.
        """
        size = len(target) + len(lines) + len(body)
        transport = self._transport
        if transport is None or transport.is_closing() or len(self._jobs) >= JOBS_LIMIT or self._bytes + size > JOBS_BYTES:
            return False
        self._number += 1
        self._jobs[self._number] = Job(copy, time.monotonic_ns(), size)
        self._bytes += size
        transport.write(scrubframes.encode(JOB, self._number, target, lines, body))
        return True

    def tick(self, now_ns: int) -> None:
        """Once a tick: give up what is late, replace what is stuck or gone."""
        for job in self._jobs.values():
            waited_ns = now_ns - job.since_ns
            if waited_ns < LATE_NS:
                break
            copy, job.copy = job.copy, None
            if copy is not None:
                copy.abandon(outcome.SHED_SCRUB)
            if waited_ns > STUCK_NS and self._process is not None:
                self._process.kill()
        if self._ended:
            self._ended = [process for process in self._ended if process.poll() is None]
        if self._setup and self._process is None and now_ns >= self._retry_ns:
            self._open()

    def _open(self) -> None:
        """Start a process; one that cannot be started is tried again later, and nothing is sent meanwhile."""
        try:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 our own program, no shell
                    [*COMMAND, "--channel", str(theirs.fileno())], stdin=subprocess.DEVNULL, stdout=2, pass_fds=(theirs.fileno(),)
                )
        except OSError as error:
            self._worker.caught(error)
            self._rest()
            return
        self._opening = asyncio.get_running_loop().create_task(self._connect(ours))

    async def _connect(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=channel)  # type: ignore[type-var]  # a protocol by its methods

    def _rest(self) -> None:
        self._retry_ns = time.monotonic_ns() + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)

    # As a protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours; the process reads it once it is up."""
        self._transport = opened = cast("asyncio.Transport", transport)
        self._decoder = Decoder()
        opened.write(self._setup)
        if not self._setup:
            opened.close()

    def data_received(self, data: bytes) -> None:
        """Answers, in the order of the jobs."""
        try:
            frames = self._decoder.feed(data)
        except ValueError as error:
            self._worker.caught(error)
            if self._transport is not None:
                self._transport.abort()
            return
        for frame in frames:
            self._answered(frame)

    def eof_received(self) -> bool:
        """The process is gone."""
        return False

    def pause_writing(self) -> None:
        """JOBS_BYTES bounds what waits for the process."""

    def resume_writing(self) -> None:
        """See pause_writing."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone, and with it what was handed over."""
        self._transport = None
        process, self._process = self._process, None
        if process is not None:
            self._ended.append(process)
        jobs, self._jobs = self._jobs, {}
        self._bytes = 0
        for job in jobs.values():
            if job.copy is not None:
                job.copy.abandon(outcome.SHED_SCRUB)
        self._rest()

    def _answered(self, frame: Frame) -> None:
        job = self._jobs.pop(frame.number, None)
        if job is None:
            return
        self._bytes -= job.size
        self._pause_ns = FIRST_PAUSE_NS
        copy = job.copy
        if copy is None:
            return
        try:
            if frame.kind == DONE:
                copy.on_scrubbed(*frame.parts)
            else:
                copy.abandon(outcome.SHED_UNSCRUBBABLE)
        except Exception as error:  # noqa: BLE001  promise P1 by construction: whatever is wrong with a copy, live goes on
            self._worker.caught(error)
            copy.abandon(outcome.SHED_ERROR)


class ScrubbedCopy(Copy):
    """A mirrored leg whose request is held whole, scrubbed elsewhere, and then sent as every copy is."""

    __slots__ = ("_handed_ns", "_is_chunked", "_lines", "_ours", "_pieces", "_target")

    def __init__(self, tee: Tee, pair: Pair, exchange: Exchange, lines: bytes, ours: bytes) -> None:
        """A copy in the making.

        Args:
            tee: the mirror at work.
            pair: of this copy and live.
            exchange: the live side, read for the request only.
            lines: what comes from the client, each line with CRLF: to be scrubbed.
            ours: what we add behind it, with the empty line.
        """
        super().__init__(tee, pair, exchange, b"")
        self._target = exchange.target
        self._lines = lines
        self._ours = ours
        self._is_chunked = exchange.head.length == CHUNKED
        self._pieces: list[bytes] = []
        self._handed_ns = 0

    def start(self, payload: bytes, *, is_end: bool) -> None:
        """Hold what has come of the body; with all of it, hand the copy over."""
        self.tee.copies.add(self)
        if not is_end:
            # Live's clock runs while the client sends, the shadow's does not.
            self.pair.is_untimed = True
        self._hold(payload, is_end=is_end)

    def send(self, wire: bytes, size: int, *, is_end: bool) -> None:
        """More of the request's body. May drop the copy; never blocks."""
        if self._has_ended:
            return
        payload = wire
        if self._is_chunked:
            at = wire.find(CRLF) + 2
            payload = wire[at : at + size]
        self._hold(payload, is_end=is_end)

    def _hold(self, payload: bytes, *, is_end: bool) -> None:
        tee = self.tee
        worker = tee.worker
        if worker.words[0]:
            # Control has pulled the switch; its message has not been read yet.
            self.abandon(outcome.KILLED)
            return
        if payload:
            self._pieces.append(payload)
            self._held += len(payload)
            worker.tee_held += len(payload)
        if self._held > tee.policy.body_limit:
            self.abandon(outcome.TOO_LARGE)
        elif self._held > SCRUBBED_BODY_LIMIT:
            self.abandon(outcome.SHED_UNSCRUBBABLE)
        elif worker.tee_held > worker.limits.tee_memory:
            self.abandon(outcome.SHED_MEMORY)
        elif is_end:
            body = b"".join(self._pieces)
            self._pieces = []
            self._handed_ns = time.monotonic_ns()
            if not worker.scrubber.submit(self, self._target, self._lines, body):
                self.abandon(outcome.SHED_SCRUB)

    def on_scrubbed(self, target: bytes, lines: bytes, body: bytes) -> None:
        """The request without secrets: send it, as soon as a connection is there."""
        if self._has_ended:
            return
        tee = self.tee
        if tee.worker.words[0]:
            self.abandon(outcome.KILLED)
            return
        now_ns = time.monotonic_ns()
        # What the client took counts for both legs, what scrubbing took for neither.
        self._started_ns += now_ns - self._handed_ns
        self._wire = b"".join((self.method, b" ", target, b" HTTP/1.1\r\n", lines, self._ours))
        tee.worker.tee_held += len(body) - self._held
        self._held = len(body)
        self._queued = [body] if body else None
        self._is_request_done = True
        self.waits_until_ns = now_ns + min(tee.fleet.connect_ns, tee.policy.timeout_ns)
        if not tee.fleet.dispatch(self, now_ns):
            self._end(0, fate=outcome.SHED_NO_ENDPOINT)

    def _end(self, ended: int, *, digest: int | None = None, fate: int = -1, now_ns: int = 0) -> None:
        self._pieces = []
        super()._end(ended, digest=digest, fate=fate, now_ns=now_ns)
