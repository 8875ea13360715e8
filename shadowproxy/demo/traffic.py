"""The users of the demonstration's shop.

Sessions begin as a Poisson process whatever the shop does (an open loop: a slow shop
does not get fewer users), and each walks through the shop as people do: look at the
home page and the catalogue, search, open a few products, most of them popular ones, put some in the
cart, sometimes pay. Within a session one request follows another after a pause. Each
session belongs to one user, who is in no other session meanwhile and whom every
request names in `X-User-Id`: the unit by which the proxy samples.

Run as a process it prints one JSON line of figures, as `Figures.to_json` has them,
twice a second and at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import itertools
import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from shadowproxy import logbuckets
from shadowproxy.demo.shop import CATEGORIES, PRODUCTS, released
from shadowproxy.judge import sketch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.judge.sketch import Sketch

REQUESTS_PER_SESSION: Final = 9.15
"""Mean length of a walk: 1 home page, 1 catalogue, 1.5 searches, 3.5 products, 1.05 additions, and for the 69 % with a cart a look at it and 0.6 payments."""

REPORT_S: Final = 0.5
"""Seconds between two lines of figures."""

_ZIPF: Final = 0.9
"""Exponent of popularity: the tenth product is opened an eighth as often as the first."""

_PAUSE_S: Final = 0.25
"""Mean seconds between an answer and the next request of a session."""

_LEAST_PAUSE_S: Final = 0.08
"""Shortest pause: longer than the shadow lags behind, so that both shops see one user's requests in one order."""

_TIMEOUT_S: Final = 10.0
"""When a user gives up on a request."""

BROWSER: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.8,de;q=0.5",
    "Cache-Control": "no-cache",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Origin": "http://shop.example",
    "Referer": "http://shop.example/",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
}
"""What a browser sends with every request, so that heads have a realistic size."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a walk, and the seconds to wait before it."""

    method: str
    path: str
    pause_s: float
    product: int = 0


class Popularity:
    """Products drawn by Zipf's law; which ones are popular is fixed, and not their numbers' order."""

    def __init__(self) -> None:
        self._numbers = [1 + (8 + rank * 11) % PRODUCTS for rank in range(PRODUCTS)]
        self._until = list(itertools.accumulate((rank + 1) ** -_ZIPF for rank in range(PRODUCTS)))

    def draw(self, chance: random.Random) -> int:
        """A product's number."""
        at = chance.random() * self._until[-1]
        return self._numbers[min(bisect.bisect_right(self._until, at), PRODUCTS - 1)]


def walk(chance: random.Random, popularity: Popularity) -> list[Step]:
    """What one session asks for, in order: REQUESTS_PER_SESSION steps on average."""

    def pause() -> float:
        return _LEAST_PAUSE_S + chance.expovariate(1.0 / (_PAUSE_S - _LEAST_PAUSE_S))

    steps = [Step("GET", "/home", 0.0), Step("GET", "/catalogue", pause())]
    steps.extend(Step("GET", f"/search?q={chance.choice(CATEGORIES)[:-1]}", pause()) for _ in range(chance.randint(0, 3)))
    has_cart = False
    for _ in range(chance.randint(2, 5)):
        number = popularity.draw(chance)
        steps.append(Step("GET", f"/products/{number}", pause()))
        if chance.random() < 0.3:
            steps.append(Step("POST", "/cart", pause(), number))
            has_cart = True
    if has_cart:
        steps.append(Step("GET", "/cart", pause()))
        if chance.random() < 0.6:
            steps.append(Step("POST", "/checkout", pause()))
    return steps


@dataclass(slots=True)
class Figures:
    """What the users have seen so far."""

    sessions: int = 0
    sent: int = 0
    answered: int = 0
    failed: int = 0
    latency: Sketch = field(default_factory=dict)

    def count(self, status: int | None, latency_s: float) -> None:
        """One request has ended: with `status`, or with none (a reset, a timeout); 5xx and none are failures."""
        if status is None or status >= 500:
            self.failed += 1
        if status is not None:
            self.answered += 1
            bucket = logbuckets.bucket(round(latency_s * 1e9))
            self.latency[bucket] = self.latency.get(bucket, 0) + 1

    def to_json(self) -> dict[str, float | int | None]:
        """Counts, and the median and 99th percentile in milliseconds (null before the first answer)."""
        p50, p99 = sketch.quantiles(self.latency, (0.5, 0.99))
        return {
            "sessions": self.sessions,
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "p50_ms": None if p50 is None else round(p50 / 1e6, 3),
            "p99_ms": None if p99 is None else round(p99 / 1e6, 3),
        }


class Crowd:
    """Sessions over one shop.

    Args:
        client: the HTTP client; its pool is the users' keep-alive connections.
        target: URL of the shop, without a path.
        rate: requests a second to aim for, over all sessions.
        users: how many different users there are; with all of them busy a session is given up.
        chance: source of arrivals, walks and users.
    """

    def __init__(self, client: aiohttp.ClientSession, target: str, rate: float, users: int, chance: random.Random) -> None:
        self.figures = Figures()
        self._client = client
        self._target = target
        self._session_rate = rate / REQUESTS_PER_SESSION
        self._free = [f"user-{number:05d}" for number in range(users)]
        self._chance = chance
        self._popularity = Popularity()
        self._sessions: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def run(self, seconds: float) -> None:
        """Let sessions arrive for `seconds`, then end them: requests under way are waited for, pauses are not."""
        loop = asyncio.get_running_loop()
        arrival = loop.time()
        end = arrival + seconds
        try:
            while (arrival := arrival + self._chance.expovariate(self._session_rate)) < end:
                await asyncio.sleep(arrival - loop.time())
                self._arrive(arrival)
            await asyncio.sleep(end - loop.time())
        finally:
            self._is_closing = True
            for session in self._resting:
                session.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)

    def _arrive(self, arrival: float) -> None:
        if not self._free:
            return
        place = self._chance.randrange(len(self._free))
        self._free[place], self._free[-1] = self._free[-1], self._free[place]
        self.figures.sessions += 1
        session = asyncio.ensure_future(self._shop(self._free.pop(), arrival))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _shop(self, user: str, due: float) -> None:
        try:
            for step in walk(self._chance, self._popularity):
                due += step.pause_s
                await self._rest(due)
                if self._is_closing:
                    return
                due = await self._ask(user, step, due)
        finally:
            self._free.append(user)

    async def _rest(self, until: float) -> None:
        session = asyncio.current_task()
        assert session is not None
        self._resting.add(session)
        try:
            await asyncio.sleep(until - asyncio.get_running_loop().time())
        finally:
            self._resting.discard(session)

    async def _ask(self, user: str, step: Step, due: float) -> float:
        """Send one request and read its answer whole. Returns when it ended, on the loop's clock."""
        loop = asyncio.get_running_loop()
        body = {"product": step.product} if step.product else None
        self.figures.sent += 1
        status: int | None = None
        try:
            async with self._client.request(step.method, self._target + step.path, json=body, headers={"X-User-Id": user}) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = None
        ended = loop.time()
        # From when it was due, not from when it was sent: a generator that lags must not flatter the shop.
        self.figures.count(status, ended - due)
        return ended


async def drive(target: str, *, rate: float, seconds: float, users: int, seed: int, report: Callable[[Figures], None]) -> Figures:
    """Run a crowd of its own for `seconds`, or until cancelled.

    Args:
        target: URL of the shop, without a path.
        rate: requests a second.
        seconds: how long sessions arrive.
        users: how many different users.
        seed: of everything that is left to chance.
        report: called with the figures every REPORT_S seconds.

    Returns:
        The final figures.
    """
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15.0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar, headers=BROWSER) as client:
        crowd = Crowd(client, target.rstrip("/"), rate, users, random.Random(seed))  # noqa: S311 - load, not secrets
        shopping = asyncio.ensure_future(crowd.run(seconds))
        try:
            while not shopping.done():
                await asyncio.wait([shopping], timeout=REPORT_S)
                report(crowd.figures)
            await shopping
        finally:
            shopping.cancel()
            await asyncio.gather(shopping, return_exceptions=True)
        return crowd.figures


async def _run(options: argparse.Namespace) -> None:
    started = time.monotonic()

    def report(figures: Figures) -> None:
        line = {"elapsed_s": round(time.monotonic() - started, 3), **figures.to_json()}
        print(json.dumps(line), flush=True)  # noqa: T201 - the parent reads figures here

    driving = asyncio.ensure_future(
        drive(options.target, rate=options.rate, seconds=options.seconds, users=options.users, seed=options.seed, report=report)
    )
    release = asyncio.ensure_future(released(leash=options.leash))
    try:
        await asyncio.wait([driving, release], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (driving, release):
            task.cancel()
        results = await asyncio.gather(driving, release, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Send the traffic of a shop's users. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shadowproxy.demo.traffic", description=main.__doc__)
    parser.add_argument("--target", required=True, metavar="URL", help="the shop, or the proxy before it")
    parser.add_argument("--rate", type=float, default=120.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default: %(default)s)")
    parser.add_argument("--users", type=int, default=500, help="different users (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leash", action="store_true", help="end when standard input ends")
    asyncio.run(_run(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
