"""Control's part in the ledger: workers' rows become durable, and each worker is told which of its rows are.

Workers write ahead: a tagged write is carried out only after control has said that its row is durable. Rows and answers pass
through here without waiting; the disk is waited for by the ledger's own thread. What was committed together is told
together, one message a worker.

Whether test traffic is ruled or not, tagged writes are recorded: a write that was refused for want of a rule is what somebody
will look for. The file is made with the first row; a config that has rules for writes opens it at once, so that a place
that cannot be written to is known before the first of them is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane.outcome import LOST
from shadowproxy.sinks.ledger import Ledger
from shadowproxy.sinks.ledger_file import TO_UNDO
from shadowproxy.sinks.ledger_query import FATES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shadowproxy.config.model import Config
    from shadowproxy.control.counts import Counts
    from shadowproxy.control.worker import Worker
    from shadowproxy.dataplane.messages import Message

_log = logging.getLogger("shadowproxy.control")

SETTLE_S: Final = 3.0
"""Longest wait for workers to report what they knew when rows were counted: ten times what it takes one that is well."""

REMEMBERED: Final = 4096
"""Targets whose redaction is remembered: bots walk the same paths all day."""

_DURABLE: Final = ("sunk", *TO_UNDO)
"""Fates that a write meets only after its row is durable; what is refused may have none, as when the ledger was down."""

_PLAIN: Final = re.compile(r"(?:/(?:[A-Za-z][A-Za-z-]{0,15}|[0-9]{1,8}))*/?")


class Redaction:
    """A redaction of targets that answers at once where nothing can be secret, or where it has been asked before.

    To look through a target takes 30 us, more than everything else that is done for its row.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._known: dict[str, str] = {}

    def __call__(self, target: str) -> str:
        """`target` without its secrets."""
        # Words and short numbers between slashes: no name of a secret is followed by a value, and no secret looks so.
        if _PLAIN.fullmatch(target):
            return target
        said = self._known.get(target)
        if said is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            said = self._known[target] = self._redact(target)
        return said


class Bookkeeping:
    """The ledger of one instance.

    Args:
        config: the first config.
        place: the file, where the config names none.
        counts: what has been counted of tagged writes.
    """

    def __init__(self, config: Config, place: Path, counts: Counts) -> None:
        self.counts = counts
        self.has_moved = False
        """Whether the file has been another since the start."""
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._told: deque[tuple[Worker, Counter[str], list[str], str]] = deque()
        self._closing: set[asyncio.Future[None]] = set()
        self._redact: Callable[[str], str] = str
        self.ledger = self._new(config)

    def __repr__(self) -> str:
        return f"<Bookkeeping {self.ledger!r}>"

    def follow(self, config: Config, redact: Callable[[str], str]) -> None:
        """Keep the ledger that `config` asks for, without the secrets that `redact` takes out of targets. Never blocks."""
        self._redact = Redaction(redact)
        limits = config.tenancy.ledger
        if self._path(config) == self.ledger.path:
            self.ledger.configure(limits.retention, limits.max_size, self._redact)
        else:
            self.has_moved = True
            self._closing.add(self._loop.run_in_executor(None, self.ledger.close))
            self.ledger = self._new(config)
        if has_rules(config):
            self.ledger.open()

    def on_rows(self, worker: Worker, message: Message) -> None:
        """Rows of a worker, which is told when they are durable.

        Raises:
            KeyError, TypeError, AttributeError: the message cannot be read; it is not answered.
        """
        rows: list[dict[str, Any]] = message["rows"]
        routes = Counter(row["route"] for row in rows)
        self.ledger.submit(rows, lambda ids, problem: self._told.append((worker, routes, ids, problem)))

    def on_statuses(self, _: Worker, message: Message) -> None:
        """How writes were answered: a status, or a status and the Location of what was created. Raises as `on_rows`."""
        for row, answer in message["statuses"].items():
            status, location = answer if isinstance(answer, list) else (answer, "")
            self.ledger.update(row, int(status), location)

    async def close(self) -> None:
        """Write what is queued, and let go of the file."""
        await asyncio.gather(*self._closing, asyncio.to_thread(self.ledger.close))

    async def mark(self, ids: list[str]) -> str:
        """Note that writes have been undone; why not, or empty once that is durable."""
        answer: asyncio.Future[str] = self._loop.create_future()
        self.ledger.mark(ids, lambda _, problem: self._soon(_answer, answer, problem))
        return await answer

    def law(self) -> list[dict[str, Any]]:
        """The law of tagged writes, by route."""
        counts = self.counts
        return [
            {
                "route": route,
                "seen": totals.seen,
                "pending": counts.pending_writes(route),
                "fates": {fate: totals.fates[fate] for fate in (*FATES, LOST)},
                "is_conserved": counts.is_write_law_kept(route),
            }
            for route, totals in sorted(counts.writes.items())
        ]

    async def check(self) -> dict[str, Any]:
        """The law, compared with the rows that are there. Takes about a second, and may be asked under load.

        What was counted as done before the rows were counted must have a row, and what has a row must have been counted two
        reports later (of which the first may have been on its way). Where a worker is silent the latter is not asked.

        Raises:
            StateError: the file cannot be read.
        """
        before = {one["route"]: one for one in self.law()}
        rows: dict[str, Counter[str]] = {}
        for (route, fate), count in (await asyncio.to_thread(self.ledger.totals)).items():
            rows.setdefault(route, Counter())[fate] = count
        is_settled = await self._settled()
        after = {one["route"]: one for one in self.law()}
        law = []
        for route in sorted({*after, *rows}):
            known = after.get(route) or {"route": route, "seen": 0, "pending": 0, "fates": {}, "is_conserved": True}
            found = rows.get(route, Counter())
            problems = (
                [] if known["is_conserved"] else [f"{known['seen']} seen are not the sum of the fates and {known['pending']} pending"]
            )
            if not self.has_moved:
                problems += _compared(before.get(route, {}).get("fates", {}), known["seen"] if is_settled else None, found)
            law.append({**known, "rows": {fate: found[fate] for fate in FATES}, "problems": problems})
        return {
            "routes": law,
            "is_compared": not self.has_moved,
            "is_kept": not any(one["problems"] for one in law),
            "ledger": self.state(),
        }

    async def _settled(self) -> bool:
        """Whether all workers have told what they knew by now; waits until they have, within SETTLE_S."""
        owed = {account: account.reports + 2 for account in self.counts.accounts}
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if all(account.is_closed or account.reports >= reports for account, reports in owed.items()):
                return True
            await asyncio.sleep(0.05)
        return False

    def state(self) -> dict[str, Any]:
        """Whether the ledger works, and what is in it."""
        ledger = self.ledger
        return {
            "is_up": not ledger.problem,
            "problem": ledger.problem or None,
            "path": ledger.path,
            "bytes": ledger.size_bytes(),
            "recorded": ledger.figures.committed,
            "refused": ledger.figures.refused,
            "waiting": ledger.waiting,
            "removed": dict(sorted(ledger.retention.removed.total.items())),
            "removed_unscrubbed": ledger.retention.removed.unscrubbed,
            "set_aside": ledger.aside or None,
        }

    def _new(self, config: Config) -> Ledger:
        limits = config.tenancy.ledger
        return Ledger(self._path(config), limits.retention, limits.max_size, redact=self._redact, settled=lambda: self._soon(self._deliver))

    def _path(self, config: Config) -> str:
        return config.tenancy.ledger.path or str(self._place)

    def _deliver(self) -> None:
        """Tell every worker of its rows: one message a worker for all that was committed together."""
        answers: dict[tuple[Worker, str], list[str]] = {}
        while self._told:
            worker, routes, ids, problem = self._told.popleft()
            if not problem:
                self.counts.add_recorded(worker.account, routes)
            answers.setdefault((worker, problem), []).extend(ids)
        for (worker, problem), ids in answers.items():
            worker.send({"type": "ledger_done", "ids": ids, "problem": problem})

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(call, *arguments)


def has_rules(config: Config) -> bool:
    """Whether some route lets tagged writes go anywhere."""
    return any(
        rule.sink or rule.partition is not None or rule.rule == "live" for rule in (route.test_traffic.writes for route in config.routes)
    )


def _answer(future: asyncio.Future[str], problem: str) -> None:
    if not future.done():
        future.set_result(problem)


def _compared(fates: dict[str, int], seen: int | None, rows: Counter[str]) -> list[str]:
    """What does not add up between counters and rows of one route. `seen` is None when it is not known whether that is all."""
    problems = [
        f"{fates[fate]} were counted as {fate}, the ledger has {rows[fate]} of them" for fate in _DURABLE if fates.get(fate, 0) > rows[fate]
    ]
    if seen is not None and rows.total() > seen:
        problems.append(f"the ledger has {rows.total()} rows, {seen} writes were seen")
    return problems
