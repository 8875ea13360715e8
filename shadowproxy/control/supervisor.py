"""The control process of one instance: starts everything, and ends everything.

Order of a start: claim the state, read token and kill switch, bind every address, open the
admin API, start the workers. Order of a stop: stop listening, drain the workers (bounded), close the
admin API, the store and the logs. What fails before the workers run ends the start with
one line; what fails later is logged, counted, and leaves live traffic alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy import __version__
from shadowproxy.config.addresses import HostPort, is_loopback, parse_host_port
from shadowproxy.control.accesslog import AccessWriter
from shadowproxy.control.admin.app import build_app
from shadowproxy.control.admin.door import Door
from shadowproxy.control.arming import Arming
from shadowproxy.control.audit import SYSTEM, Actor, Audit
from shadowproxy.control.calendars import Calendars
from shadowproxy.control.captures import Captures, plans_of
from shadowproxy.control.cells import Cells
from shadowproxy.control.counts import Counts
from shadowproxy.control.crew import Crew
from shadowproxy.control.equipment import Equipment, Told
from shadowproxy.control.evacuations import Evacuations
from shadowproxy.control.evidencestore import EvidenceStore
from shadowproxy.control.exemplars import Exemplars
from shadowproxy.control.experiments import Governor
from shadowproxy.control.exposures import Exposures
from shadowproxy.control.judging import Judging
from shadowproxy.control.killfile import KillFile
from shadowproxy.control.killswitch import KillSwitch
from shadowproxy.control.leaks import Leaks
from shadowproxy.control.ledger import Bookkeeping
from shadowproxy.control.listeners import Listeners, bind_one, bound_address
from shadowproxy.control.lookback import LookBacks
from shadowproxy.control.notify import Notifier
from shadowproxy.control.passports import Passports
from shadowproxy.control.places import Places, Token
from shadowproxy.control.reload import Reloader
from shadowproxy.control.rollouts import Rollouts
from shadowproxy.control.sinkhouse import SinkHouse
from shadowproxy.control.traffic import RecentTraffic
from shadowproxy.errors import ControlError, ShadowproxyError
from shadowproxy.redaction import Rules, Scrubber, load_key
from shadowproxy.store import open_store, path_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from shadowproxy.config.model import Config
    from shadowproxy.control.counts import Account
    from shadowproxy.control.lines import LineWriter
    from shadowproxy.control.rollout_case import Case
    from shadowproxy.control.worker import Worker
    from shadowproxy.dataplane.messages import Message
    from shadowproxy.redaction import Scrubbed

_log = logging.getLogger("shadowproxy.control")

WORKER_COMMAND: Final = (sys.executable, "-m", "shadowproxy.dataplane.process")

CLEAN: Final = 0
CUT_SHORT: Final = 1
"""Exit status when a second signal ended what was in flight."""


class Supervisor:
    """One running instance.

    Args:
        config: an accepted config.
        file: where it came from; None when it has no file.
        command: the worker program; tests put their own in its place.
        log: the writer of control's own log, for its counters.
    """

    def __init__(
        self, config: Config, file: Path | None = None, *, command: Sequence[str] = WORKER_COMMAND, log: LineWriter | None = None
    ) -> None:
        self.counts = Counts()
        self.listeners = Listeners()
        self.started_at = time.time()
        self.auth_failures = 0
        self.instance = secrets.token_hex(8)
        self.is_stopping = False
        self._is_cut_short = False
        self._has_ended = False
        self._started = time.monotonic()
        self._log = log
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._admin_socket: socket.socket | None = None
        self._door: Door | None = None
        self.store = open_store(config.state)
        self.places = Places(Path(path_of(config.state)))
        self.places.lock()
        self.audit = Audit(self.places.audit)
        self.access = AccessWriter(config.access_log)
        self.judging = Judging(config, self.counts)
        self.evidence = EvidenceStore(self.judging, self.store)
        self.passports = Passports(config, self.started_at)
        self.sinks = SinkHouse(self.places.sinks)
        self.exposures = Exposures(self.places.exposures, config.experiments.remember)
        self.leaks = Leaks()
        self.books = Bookkeeping(config, self.places.ledger, self.counts)
        self.arming = Arming(lambda message: self.crew.broadcast(message))  # noqa: PLW0108  the crew is made of it
        self.crew = Crew(
            command,
            self.listeners,
            self.counts,
            self.instance,
            on_access=self.access.write,
            on_tally=self._take_tally,
            on_captured=self._judge_bodies,
            on_message={
                "nonces": self.passports.on_nonces,
                "ledger": self.books.on_rows,
                "ledger_status": self.books.on_statuses,
                "exposure": self._take_exposure,
                "remembered": lambda worker, message: self.look_backs.on_message(worker, message),  # noqa: PLW0108  as below
                "looked_back": lambda worker, message: self.look_backs.on_message(worker, message),  # noqa: PLW0108  as below
                "evacuated": lambda worker, message: self.evacuations.on_evacuated(worker, message),  # noqa: PLW0108  it is made of the crew
            },
            tell=lambda config: (
                self.passports.tell(config) | self.sinks.tell(config) | self._key_for(config) | {"experiments": self.arming.state()}
            ),
            on_start=lambda worker: self.governor.show_leases(worker.words),
        )
        self.configs = Reloader(config, file, crew=self.crew, listeners=self.listeners, audit=self.audit, on_change=self._follow)
        self._redaction_key = b""
        self.scrubber: Scrubber | None = None
        self.captures: Captures | None = None
        self.exemplars = Exemplars(self.store, _rules_of(config).digest)
        self.judging.findings.exemplars = self.exemplars.ids
        self.judging.findings.fields = self._fields_of
        self.notifier = Notifier()
        self.calendars = Calendars(config.experiments.blockouts)
        self.traffic = RecentTraffic(self.counts, time.monotonic)
        self.cells = Cells(self.counts, lambda: self.config, time.monotonic)
        self.look_backs = LookBacks(lambda: self.crew.workers, lambda: self.config)
        self.governor = self._make_governor(config)
        self.rollouts = Rollouts(
            config, self.store, self.audit, self.arming, is_killed=lambda: self.crew.is_killed, on_event=self._note_rollout
        )
        self.evacuations = Evacuations(config, self.arming, self.counts, self.audit, lambda: [worker.pid for worker in self.crew.workers])
        self.switch = KillSwitch(self.crew, self.store, self.audit, self._on_kill)
        self.kill_file = KillFile(self._kill_by_file)
        self.token: Token | None = None

    def __repr__(self) -> str:
        return f"<Supervisor pid={os.getpid()} generation={self.configs.generation} {self.crew!r}>"

    @property
    def config(self) -> Config:
        """The config in force."""
        return self.configs.config

    @property
    def is_ready(self) -> bool:
        """Whether at least one worker serves, and no stop was asked for."""
        return not self.is_stopping and self.crew.is_ready

    @property
    def uptime_seconds(self) -> float:
        """How long this process has run."""
        return time.monotonic() - self._started

    @property
    def log_dropped(self) -> int:
        """Lines of the log that a blocked stderr did not take."""
        return self._log.dropped if self._log else 0

    @property
    def admin_connections(self) -> int:
        """How many connections to the admin API are open."""
        return self._door.open_connections if self._door else 0

    @property
    def admin_address(self) -> HostPort:
        """Where the admin API listens."""
        assert self._admin_socket is not None
        return bound_address(self._admin_socket)

    @property
    def admin_url(self) -> str:
        """Where commands reach the admin API; loopback when it listens everywhere."""
        where = self.admin_address
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 compared with, not bound
        return f"http://{HostPort(everywhere.get(where.host, where.host), where.port)}"

    async def run(self) -> int:
        """Start, serve until stopped, drain, and return the exit status.

        Raises:
            ControlError: it cannot start; nothing is left running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self.kill_by_signal)
        try:
            await self.start()
            await self._stop.wait()
        finally:
            await self.end()
        return CUT_SHORT if self._is_cut_short else CLEAN

    async def start(self) -> None:
        """Bring everything up.

        Raises:
            ControlError: an address, the token, the redaction key or the first policy cannot be used.
        """
        config = self.config
        if not config.admin.token_file and not is_loopback(parse_host_port(config.admin.address).host):
            raise ControlError(f"admin {config.admin.address} can be reached from other machines: name a token file (admin.token_file)")
        self.token = self.places.load_token(config.admin.token_file)
        self._redaction_key = load_key(self.places.redaction_key)
        self.scrubber = Scrubber(_rules_of(config), self._redaction_key)
        self.access.redact = self.scrubber.target
        self.leaks.follow(self.scrubber.target)
        self.books.follow(config, self.scrubber.target)
        self._open_captures(self.scrubber)
        self.exposures.note_mirrors(config, time.time())
        await self.switch.restore()
        self._spawn(self.governor.restore())
        await self.rollouts.restore()
        for case in self.rollouts.cases.values():
            self._note_rollout(case, "restore")
        await self.evidence.restore()
        self._admin_socket = bind_one(config.admin.address, "admin")
        self.listeners.open(config.listen, config.workers)
        # What aiohttp would log is what strangers send; exceptions of ours are logged by the application.
        quiet = logging.getLogger("shadowproxy.admin.http")
        quiet.setLevel(logging.CRITICAL)
        self._runner = web.AppRunner(build_app(self), access_log=None, logger=quiet, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        self._door = Door(self._runner)
        await self._door.open(self._admin_socket)
        self._announce(self.token)
        self._spawn(self.calendars.keep())
        self._spawn(self.exemplars.keep())
        self._spawn(self.evidence.keep())
        self._spawn(self.rollouts.keep())
        self._spawn(self.evacuations.keep())
        self.audit.record(SYSTEM, "start", "ok", after=self.configs.digest, detail=f"pid {os.getpid()}, version {__version__}")
        self.sinks.follow(config)
        self.kill_file.follow(config.experiments.kill_file)
        await self.crew.start(config, self.configs.generation)
        if self.crew.is_ready:
            _log.info("ready: %d worker%s", config.workers, "s" * (config.workers > 1))
        elif not self.is_stopping:
            _log.critical("no worker is ready")

    def stop(self) -> None:
        """Drain and end; called again, end at once. Never blocks."""
        if self.is_stopping:
            _log.critical("second signal: ending without finishing what is in flight")
            self._is_cut_short = True
            self.crew.end_now()
            return
        self.is_stopping = True
        self.governor.shut_down()
        self.crew.stop_replacing()
        _log.info("stopping: requests in flight have %g s", self.config.limits.drain_timeout)
        self._stop.set()

    def kill_by_signal(self) -> None:
        """Pull the kill switch, as SIGUSR2 does. Never blocks."""
        self._spawn(self._kill(Actor("SIGUSR2", "local")))

    async def end(self) -> None:
        """Take everything down, in an order that loses nothing. Idempotent."""
        if self._has_ended:
            return
        self._has_ended = True
        self.is_stopping = True
        self.governor.shut_down()
        self.kill_file.close()
        self.listeners.close()
        self.judging.close(self.config.limits.drain_timeout)
        await self.crew.drain(self.config.limits.drain_timeout)
        await self.sinks.end()
        await self.governor.close()
        await self.notifier.close()
        for task in list(self._tasks):
            task.cancel()
        if self._door is not None:
            self._door.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._admin_socket is not None:
            self._admin_socket.close()
        self.audit.record(SYSTEM, "stop", "ok", before=self.configs.digest)
        if self.captures is not None:
            await asyncio.to_thread(self.captures.close)
        await self.exemplars.flush()
        await self.evidence.save()
        await self.rollouts.close()
        await self.store.close()
        await self.books.close()
        await self.exposures.close()
        await asyncio.to_thread(self.audit.close)
        await asyncio.to_thread(self.access.close)
        self.places.withdraw()
        _log.info("stopped")

    def _hang_up(self) -> None:
        self._spawn(self._reload())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        try:
            await self.configs.reload(SYSTEM)
        except ShadowproxyError:
            return  # said, counted and audited by the reloader
        except Exception:  # noqa: BLE001 a bug in one reload must not end the process or vanish
            _log.exception("reload failed")

    def _follow(self, config: Config) -> None:
        if self.passports.refresh(config):
            self.crew.repeat_policy()
        self.crew.rotation_problem = self.passports.problem or self.crew.rotation_problem
        self.access.configure(config.access_log)
        self.calendars.follow(config.experiments.blockouts)
        self.governor.follow(config)
        self.rollouts.follow(config)
        self.evacuations.follow(config)
        self.kill_file.follow(config.experiments.kill_file)
        self.sinks.follow(config)
        self.judging.configure(config)
        self.exposures.note_mirrors(config, time.time())
        rules = _rules_of(config)
        if self.scrubber is not None and rules != self.scrubber.rules:
            self.scrubber = self.scrubber.under(rules)
            self.access.redact = self.scrubber.target
            self.leaks.follow(self.scrubber.target)
            self.exemplars.follow(rules.digest)
            if self.captures is not None:
                self.captures.use(self.scrubber)
        if self.captures is not None:
            self.captures.follow(plans_of(config))
        if self.scrubber is not None:
            self.books.follow(config, self.scrubber.target)

    def _open_captures(self, scrubber: Scrubber) -> None:
        loop = asyncio.get_running_loop()
        self.captures = Captures(scrubber, lambda *pair: _soon(loop, self._keep_exemplar, *pair))
        self.captures.follow(plans_of(self.config))
        self.judging.findings.bodies = self.captures.log_e
        self.judging.findings.restart = self.captures.restart

    def _make_governor(self, config: Config) -> Governor:
        told = Told(self.exposures, self.notifier, lambda: self.config.experiments.deny)
        equipment = Equipment(
            is_killed=lambda: self.crew.is_killed,
            closures=self.calendars.closures,
            traffic=self.traffic.of,
            look_back=self.look_backs.ask,
            cells=lambda run: self.cells.beside(run.experiment, is_dry=run.is_dry),
            rollouts=lambda: frozenset(route for route, case in self.rollouts.cases.items() if case.is_open),
            on_event=told.event,
            on_units=told.units,
        )
        return Governor(
            config,
            self.places.journal,
            lambda: (worker.words for worker in self.crew.workers),
            arming=self.arming,
            store=self.store,
            audit=self.audit,
            equipment=equipment,
        )

    def _on_kill(self, actor: Actor) -> None:
        self.governor.kill(f"the kill switch was pulled by {actor.name} from {actor.source}")
        self.rollouts.kill()
        self.judging.leave_out_under_way()

    def _note_rollout(self, case: Case, event: str) -> None:
        self.exposures.note_case(case, time.time(), deny=self.config.experiments.deny)
        # A rollout needs no journal, and what is wrong with one is told by experiments.
        if not self.governor.journal.problem:
            self.governor.journal.append(f"rollout/{case.id}", "rollout", {"event": event, "document": case.document()})

    def _kill_by_file(self, path: str) -> None:
        if not self.crew.is_killed:
            self._spawn(self._kill(Actor("kill_file", path)))

    async def _kill(self, actor: Actor) -> None:
        await self.switch.set(actor, is_killed=True)

    def _take_exposure(self, _: Worker, message: Message) -> None:
        self.governor.on_exposure(message)
        self.rollouts.on_exposure(message)

    def _take_tally(self, account: Account, tally: Message) -> None:
        self.judging.add(account, tally)
        self.leaks.add(tally)
        self.traffic.note()
        self.cells.note()

    def _judge_bodies(self, pairs: list[dict[str, Any]]) -> None:
        pairs = self.judging.take_captured(pairs)
        if self.captures is not None:
            self.captures.offer(pairs)

    def _keep_exemplar(self, pair: Scrubbed, fields: Sequence[Mapping[str, Any]], scrubber: Scrubber) -> None:
        # What went through a scrubber with other rules may hold what is secret by now.
        if scrubber is self.scrubber:
            self.exemplars.offer(pair, fields)

    def _fields_of(self, mirror: str) -> list[dict[str, object]]:
        """The fields of a mirror for its verdict; the example of a reported one is an exemplar that can be looked at."""
        fields = self.captures.fields(mirror) if self.captures is not None else []
        for one in fields:
            kept = self.exemplars.ids(mirror, path=str(one["path"]), limit=1) if one["is_reported"] else []
            one["example"] = kept[0] if kept else None
        return fields

    def _key_for(self, config: Config) -> dict[str, Any]:
        """The key of the pseudonyms, for workers that need it and no others."""
        is_needed = any(mirror.scrub for route in config.routes for mirror in route.mirror)
        return {"redaction_key": self._redaction_key.hex()} if is_needed else {}

    def _announce(self, token: Token) -> None:
        facts: dict[str, Any] = {
            "pid": os.getpid(),
            "version": __version__,
            "admin": self.admin_url,
            "token_file": str(token.path),
            "config_file": str(self.configs.file) if self.configs.file else "",
            "started": self.started_at,
        }
        self.places.announce(facts)
        config = self.config
        _log.info("shadowproxy %s, pid %d, config %s", __version__, os.getpid(), self.configs.file or "(none)")
        for listener in config.listen:
            scheme = "https" if listener.tls else "http"
            _log.info("listening on %s://%s (%s)", scheme, self.listeners.address(listener), listener.name)
        _log.info("admin %s, token in %s", self.admin_url, token.path)
        if not is_loopback(self.admin_address.host):
            _log.warning("the admin API can be reached from other machines, without TLS: %s", self.admin_address)
        for warning in (token.warning, self.places.warning, self.audit.problem, self.store.problem):
            if warning:
                _log.critical("%s", warning)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: Any) -> None:
    """Have the loop make a call, from another thread; nothing when the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


def _rules_of(config: Config) -> Rules:
    return Rules(config.redaction.headers, config.redaction.fields, config.redaction.keep)
