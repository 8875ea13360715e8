"""Tells others of every transition of a run, by a POST of JSON; docs/experiment-probes.md has an example of it.

    notifier.tell(urls, transition)     # returns at once, whatever those who are told do
    await notifier.close()

Each URL has a lane of its own: who hangs holds up nobody else, and transitions arrive in order. A lane holds WAITING transitions, drops
the oldest when another comes, and tells each up to ATTEMPTS times. So one may be told twice (its answer was lost), or never;
the journal is what is complete.

What is told names the run, its owner and what became of it. URLs of probes and notifications, queries, units, header values and
approvals stay here: whoever is told may not be one who may see them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from shadowproxy.control.outgoing import Unanswered, exchange, open_session, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import aiohttp

_log = logging.getLogger("shadowproxy.control")

VERSION: Final = 1
"""Of the payload; rises when a member changes its meaning."""

ATTEMPTS: Final = 3
TIMEOUT_S: Final = 5.0
BACKOFF_S: Final = 1.0
"""Seconds before the second attempt; twice that before the third."""

WAITING: Final = 64
"""Transitions that wait for one URL."""

LANES: Final = 64
"""URLs that are being told at once; with more, further ones are not told."""

GRACE_S: Final = 2.0
"""Seconds that a last transition has to be told when control ends."""

TEXT_LIMIT: Final = 1000
"""Characters of one text of the payload."""

_AGAIN: Final = frozenset({408, 425, 429})
"""Refusals that another attempt may change, beside those from 500 on."""

TOLD: Final = ("id", "name", "owner", "state", "code", "reason", "percent", "epoch", "created", "started", "ended", "units")
"""Members of a run document that are told."""


def payload_of(run: Mapping[str, Any], *, event: str, at: float) -> dict[str, Any]:
    """What is told of a transition.

    Args:
        run: the run document, or as much of it as there is.
        event: what happened, such as `started`, `ramp`, `paused` or `aborted`.
        at: Unix seconds.
    """
    told = {name: _short(run[name]) for name in TOLD if name in run}
    # A member that chat systems show as it is, so that their webhooks need nothing between.
    text = f"Experiment {told.get('name', '?')} ({told.get('id', '?')}): {event}"
    if told.get("reason"):
        text += f", {told['reason']}"
    hypothesis = {str(name): _short(said) for name, said in dict(run.get("hypothesis") or {}).items()}
    return {"version": VERSION, "source": "shadowproxy", "event": event, "time": at, "text": _short(text), **told, "hypothesis": hypothesis}


class Notifier:
    """Tells URLs of transitions, in the background. Needs a running event loop. `tell` never blocks. May drop.

    Args:
        timeout_s: seconds for one attempt.
        backoff_s: seconds before the second attempt; doubled before each further one.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, backoff_s: float = BACKOFF_S) -> None:
        self.told = 0
        """Transitions that somebody took, per URL."""
        self.failed = 0
        """Transitions that were given up after the last attempt."""
        self.dropped = 0
        """Transitions that waited behind too many."""
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._is_closed = False
        self._session: aiohttp.ClientSession | None = None
        self._waiting: dict[str, deque[bytes]] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Notifier told={self.told} failed={self.failed} dropped={self.dropped} lanes={len(self._lanes)}>"

    def tell(self, urls: Iterable[str], transition: Mapping[str, Any]) -> None:
        """Have each of `urls` told, soon.

        Args:
            urls: http or https, of the experiment's `notify`.
            transition: of `payload_of`.
        """
        body = json.dumps(transition, separators=(",", ":")).encode()
        for url in dict.fromkeys(urls):
            if url not in self._lanes:
                if self._is_closed or len(self._lanes) >= LANES:
                    self.dropped += 1
                    continue
                self._waiting[url] = deque()
                self._lanes[url] = asyncio.get_running_loop().create_task(self._run(url), name="notify")
            waiting = self._waiting[url]
            if len(waiting) >= WAITING:
                waiting.popleft()
                self.dropped += 1
            waiting.append(body)

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Tell what waits, for at most `grace_s` seconds, and give up the rest."""
        self._is_closed = True
        lanes = list(self._lanes.values())
        if lanes:
            _, late = await asyncio.wait(lanes, timeout=grace_s)
            for lane in late:
                lane.cancel()
            if late:
                await asyncio.wait(late)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _run(self, url: str) -> None:
        """Tell one URL what waits for it, in order, until nothing does."""
        waiting = self._waiting[url]
        try:
            while waiting:
                problem = await self._attempts(url, waiting.popleft())
                if problem:
                    self.failed += 1
                    _log.warning("an experiment's transition could not be told to %s: %s", _named(url), problem)
                else:
                    self.told += 1
        except asyncio.CancelledError:
            self.failed += 1 + len(waiting)
            raise
        finally:
            del self._lanes[url], self._waiting[url]

    async def _attempts(self, url: str, body: bytes) -> str:
        """Nothing once it was told, else why it was not."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._backoff_s * 2 ** (attempt - 1))
            try:
                status = await self._post(url, body)
            except Unanswered as error:
                problem = str(error)
                continue
            if 200 <= status < 300:
                return ""
            problem = refusal(status)
            if status < 500 and status not in _AGAIN:
                break
        return problem

    async def _post(self, url: str, body: bytes) -> int:
        if self._session is None:
            self._session = open_session()
        fields = {"Content-Type": "application/json"}
        status, _ = await exchange(self._session, "POST", url, timeout_s=self._timeout_s, limit=0, body=body, headers=fields)
        return status


def _short(value: Any) -> Any:
    return value[:TEXT_LIMIT] if isinstance(value, str) else value if isinstance(value, int | float | None) else str(value)[:TEXT_LIMIT]


def _named(url: str) -> str:
    """Scheme and authority: the rest of a webhook's URL is often its secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
