"""Evidence in the store: written as it grows, taken up again at the next start.

The rules of this file:

* every SAVE_S seconds, at once when a verdict changes or evidence begins anew, and at a clean stop, each mirror whose evidence
  has changed is written whole: one row, at most ROW_LIMIT bytes;
* rows are slots, numbered from 0 without a gap; what a mirror leaves that is gone is overwritten by another, so there are
  never more than there ever were mirrors at once;
* the event loop copies counts, one mirror at a time; another thread makes the text and the store's own writes it. Whatever
  it takes, at least REST times as long is waited before the next round;
* a store that does not work, and a row that cannot be read, cost themselves and a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import StateError

if TYPE_CHECKING:
    from shadowproxy.control.judging import Case, Judging
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

SAVE_S: Final = 5.0
"""Seconds between rounds: what a process that is killed can lose of its evidence."""

REST: Final = 20
"""How many times as long as a round took is waited before the next: with many mirrors, writing takes at most a twentieth of the time."""

ROW_LIMIT: Final = 1024 * 1024
"""Bytes of one mirror's evidence: ten times what histograms of the widest spread and a full curve take."""

_KEY: Final = "evidence."
_FREE: Final = ""


class EvidenceStore:
    """Keeps the evidence of one instance over restarts. Used from one event loop."""

    def __init__(self, judging: Judging, store: Store) -> None:
        self._judging = judging
        self._store = store
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._stale: list[int] = []
        self._written: dict[str, tuple[object, ...]] = {}
        self._too_large: set[str] = set()
        self._turned = asyncio.Event()
        self._round = asyncio.Lock()
        self._is_begun = False
        self._is_read = False
        judging.on_turn = self._turned.set

    def __repr__(self) -> str:
        return f"<EvidenceStore {len(self._written)} of {len(self._slots)} mirrors written>"

    async def restore(self) -> None:
        """Hand what the last run left to the judging, before workers report. Never raises; a store that cannot be read has nothing."""
        try:
            await self._read(is_start=True)
        except StateError as error:
            _log.warning("evidence of the last run is lost, the store cannot be read: %s", error)
        self._is_begun = True

    async def keep(self) -> None:
        """Write what changes, for as long as the task runs."""
        while True:
            started = time.monotonic()
            await self.save()
            rest = REST * (time.monotonic() - started)
            await asyncio.sleep(rest)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, SAVE_S - rest)):
                    await self._turned.wait()

    async def save(self) -> bool:
        """Write every mirror whose evidence has changed since it was written. Never raises; before `restore` it does nothing.

        Returns:
            Whether the store has everything as it was when the call began.
        """
        async with self._round:
            self._turned.clear()
            if not self._is_begun:
                return False
            try:
                if not self._is_read:
                    await self._read(is_start=False)
                cases = list(self._judging.cases)
                await self._give_up({case.key for case in cases})
                for case in cases:
                    is_worth_a_row = case.evidence.eligible or case.previous is not None or case.key in self._slots
                    if is_worth_a_row and self._written.get(case.key) != self._judging.mark(case):
                        await self._write(case)
            except StateError as error:
                _log.debug("evidence is not written: %s", error)  # why not is in the status
                return False
        return True

    async def _read(self, *, is_start: bool) -> None:
        """Look through the rows that there are. Later than at the start they only tell which slots there are: other evidence has begun."""
        self._slots, self._free, self._stale = {}, [], []
        slot = 0
        while (text := await self._store.get(f"{_KEY}{slot}")) is not None:
            key = self._taken_up(text) if is_start else None
            if key is not None:
                self._slots[key] = slot
            elif text == _FREE:
                self._free.append(slot)
            else:
                self._stale.append(slot)
            slot += 1
            await asyncio.sleep(0)
        self._written = {case.key: self._judging.mark(case) for case in self._judging.cases if case.key in self._slots}
        self._is_read = True

    def _taken_up(self, text: str) -> str | None:
        """The mirror that goes on with what the row says; None when none does."""
        if text == _FREE:
            return None
        try:
            snapshot: Any = json.loads(text)
            key = str(snapshot["key"])
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            _log.warning("a row of evidence cannot be read and is dropped: %s", type(error).__name__)
            return None
        return key if key not in self._slots and self._judging.resume(snapshot) else None

    async def _write(self, case: Case) -> None:
        mark, snapshot = self._judging.mark(case), self._judging.snapshot(case)
        text = await asyncio.to_thread(json.dumps, snapshot, separators=(",", ":"))
        if len(text) > ROW_LIMIT:
            if case.key not in self._too_large:
                self._too_large.add(case.key)
                _log.warning("evidence of %s is not kept over restarts: %d bytes, limit %d", case.key, len(text), ROW_LIMIT)
            text = _FREE
        slot = self._slots.get(case.key)
        if slot is None:
            slot = self._slots[case.key] = self._free.pop() if self._free else len(self._slots)
        await self._store.put(f"{_KEY}{slot}", text)
        self._written[case.key] = mark

    async def _give_up(self, keys: set[str]) -> None:
        """Free the slots of mirrors that are gone, and of rows that nothing went on with."""
        for key in [key for key in self._slots if key not in keys]:
            self._stale.append(self._slots.pop(key))
            self._written.pop(key, None)
        while self._stale:
            await self._store.put(f"{_KEY}{self._stale[-1]}", _FREE)
            self._free.append(self._stale.pop())
