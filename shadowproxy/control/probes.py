"""Probes: numbers from elsewhere that experiments are guarded by, asked as long as a run lasts.

    prober = Prober(experiment)
    reasons = await prober.look()         # sentences why the system is not well, as far as that is known within LOOK_S
    reasons = await prober.prepare()      # the same for certain; the run begins only without any
    Conductor(..., steady=prober.steady)
    prober.values()                       # {name: number, or None while it is not known}: the `probes` of a tick
    await prober.check()                  # the steady state once more, after the run
    await prober.close()

A probe that cannot be asked, or answers anything but one finite number, has no value: None, at once and not when it has
been so for a while. What that means for a run is for its guards to say.

Of a Prometheus the baseline is asked, for the time before now or the same hour of past weeks (`experiments.steady`). Of a JSON document
nobody has kept the past, so `prepare` watches it for as long as its baseline is long; `look` cannot, and says nothing of such a bound.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from shadowproxy.config.declare import Percent
from shadowproxy.config.experiment import ProbeKind
from shadowproxy.control.outgoing import Unanswered, exchange, open_session, refusal
from shadowproxy.experiments import steady as steadiness
from shadowproxy.experiments.jsonpath import ABSENT, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from shadowproxy.config.experiment import Experiment, Probe, Steady
    from shadowproxy.experiments.steady import Baseline, Bounds, Point, Window

_log = logging.getLogger("shadowproxy.control")

ANSWER_LIMIT: Final = 256 * 1024
"""Bytes of an answer to a probe. It is read in the event loop that must end a fault within a tenth of a second: this much takes 3 ms."""

KEPT: Final = 1000
"""Values of a probe that are kept for its baseline: of a long one, the last."""

LOOK_S: Final = 5.0
"""How long whoever wants to begin, or plans, waits for what probes answer."""

_SAID: Final = 200
"""Characters of another program's error text that are repeated."""


class Prober:
    """The probes of one run.

    Args:
        experiment: which has them, and says what is well.
        clock: Unix seconds, which Prometheus understands.
    """

    def __init__(self, experiment: Experiment, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._session = open_session()
        self._watches = {probe.name: _Watch(probe, self._session, clock) for probe in experiment.probes}
        self._steadies = experiment.steady_state
        self._bounds: list[Bounds] = [steadiness.bounds_of(steady, None) for steady in self._steadies]

    def __repr__(self) -> str:
        return f"<Prober {self.values()}>"

    @property
    def steady(self) -> dict[str, dict[str, Any]]:
        """{probe: {"baseline", "low", "high"}} of the steady state, None for what is not known or not asked."""
        merged: dict[str, Bounds] = {}
        for steady, bounds in zip(self._steadies, self._bounds, strict=True):
            before = merged.get(steady.probe)
            merged[steady.probe] = bounds if before is None else steadiness.narrowed(before, bounds)
        return {probe: bounds.to_plain() for probe, bounds in merged.items()}

    def values(self) -> dict[str, float | None]:
        """What each probe is now; None when that is not known."""
        return {name: watch.value for name, watch in self._watches.items()}

    def problems(self) -> dict[str, str]:
        """{probe: why its value is not known, a sentence} of those whose value is not."""
        return {name: watch.problem for name, watch in self._watches.items() if watch.problem}

    async def look(self) -> list[str]:
        """Ask once, and say why the system is not well, as far as that is known within LOOK_S; nothing if all of that is well."""
        found = await asyncio.gather(*(self._look(steady) for steady in self._steadies))
        return list(dict.fromkeys(sentence for one in found for sentence in one))

    async def _look(self, steady: Steady) -> list[str]:
        watch = self._watches[steady.probe]
        if watch.probe.kind is not ProbeKind.PROMETHEUS:
            steady = replace(steady, within=Percent(0.0))
        try:
            async with asyncio.timeout(LOOK_S):
                _, (baseline, problem) = await asyncio.gather(watch.ask(), self._baseline(steady))
        except TimeoutError:
            return []  # for `prepare` to say
        return steadiness.objections(steady, steadiness.bounds_of(steady, baseline), watch.value, watch.problem or problem)

    async def prepare(self) -> list[str]:
        """Begin to ask, take the baselines, and say why the system is not well; nothing if it is.

        Takes as long as the longest baseline of a JSON probe with `within`, else one answer. May be cancelled.
        """
        for watch in self._watches.values():
            watch.start()
        taken = await asyncio.gather(*(self._baseline(steady) for steady in self._steadies))
        self._bounds = [steadiness.bounds_of(steady, baseline) for steady, (baseline, _) in zip(self._steadies, taken, strict=True)]
        await asyncio.gather(*(self._watches[steady.probe].known.wait() for steady in self._steadies))
        return self._objections([problem for _, problem in taken])

    async def check(self) -> list[str]:
        """Ask every probe of the steady state anew, and say why the system is not well; nothing if it is."""
        await asyncio.gather(*(self._watches[name].ask() for name in {steady.probe for steady in self._steadies}))
        return self._objections([""] * len(self._steadies))

    async def close(self) -> None:
        """Ask nothing more."""
        for watch in self._watches.values():
            await watch.stop()
        await self._session.close()

    def _objections(self, problems: list[str]) -> list[str]:
        found: dict[str, None] = {}
        for steady, bounds, problem in zip(self._steadies, self._bounds, problems, strict=True):
            watch = self._watches[steady.probe]
            found |= dict.fromkeys(steadiness.objections(steady, bounds, watch.value, watch.problem or problem))
        return list(found)

    async def _baseline(self, steady: Steady) -> tuple[Baseline | None, str]:
        """The baseline, and why there is none."""
        watch = self._watches[steady.probe]
        if not steady.within:
            return None, ""
        if watch.probe.kind is not ProbeKind.PROMETHEUS:
            await asyncio.sleep(steady.baseline)
            return steadiness.baseline_of(watch.since(self._clock() - steady.baseline)), watch.problem
        try:
            if steady.seasonal:
                weeks = [await watch.series(window) for window in steadiness.seasonal_windows(self._clock())]
                seasonal = steadiness.seasonal_baseline(weeks)
                if seasonal is not None:
                    return seasonal, ""
            return steadiness.baseline_of(await watch.series(steadiness.recent_window(steady, self._clock()))), ""
        except Unanswered as error:
            return None, str(error)


class _Watch:
    """One probe, asked again and again; a question at a time."""

    def __init__(self, probe: Probe, session: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self.probe = probe
        self.value: float | None = None
        self.problem = "it has not been asked yet"
        self.known = asyncio.Event()
        """Set once it was asked, whatever came of it."""
        self._session = session
        self._clock = clock
        self._path = parse(probe.json)
        self._kept: deque[Point] = deque(maxlen=KEPT)
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_on(), name=f"probe {self.probe.name}")
            self._asking.add_done_callback(self._ended)

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _ended(self, asking: asyncio.Task[None]) -> None:
        """Whatever ends the questions, the last value does not stay."""
        self.value, self.problem = None, "it is not asked any more"
        self.known.set()
        if not asking.cancelled() and (error := asking.exception()) is not None:
            _log.error("probe %s is not asked any more: %r", self.probe.name, error)

    def since(self, moment: float) -> list[Point]:
        return [point for point in self._kept if point[0] >= moment]

    async def ask(self) -> None:
        """Have the value of now, or none and the reason."""
        try:
            value = await (self._of_prometheus() if self.probe.kind is ProbeKind.PROMETHEUS else self._of_document())
        except Unanswered as error:
            if not self.problem or not self.known.is_set():
                _log.warning("probe %s has no value: %s", self.probe.name, error)
            self.value, self.problem = None, str(error)
        else:
            self.value, self.problem = value, ""
            self._kept.append((self._clock(), value))
        self.known.set()

    async def series(self, window: Window) -> list[Point]:
        """What the query was over `window`; nothing where Prometheus knows nothing.

        Raises:
            Unanswered: it does not say, or of more than one series.
        """
        asked = {"query": self.probe.query, "start": f"{window.start:.3f}", "end": f"{window.end:.3f}", "step": f"{window.step:.3f}"}
        found = await self._prometheus("query_range", asked)
        try:
            results = found["result"]
            if len(results) > 1:
                raise Unanswered(f"the query has {len(results)} results, and must have one: aggregate it, as in sum(...)")
            return [(float(moment), float(value)) for moment, value in results[0]["values"]] if results else []
        except (KeyError, TypeError, ValueError):
            raise Unanswered("its answer is not that of a Prometheus") from None

    async def _ask_on(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.ask()
            # A question that took longer than `every` is not made up for.
            due = max(due + self.probe.every, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _of_document(self) -> float:
        status, body = await self._get(self.probe.url)
        if status != 200:
            raise Unanswered(refusal(status))
        found = self._path.find(_json(body))[0]
        if found is ABSENT:
            raise Unanswered(f"there is nothing at {self._path}")
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise Unanswered(f"at {self._path} is no number")
        return _finite(found)

    async def _of_prometheus(self) -> float:
        found = await self._prometheus("query", {"query": self.probe.query})
        try:
            if found["resultType"] == "scalar":
                return _finite(found["result"][1])
            if found["resultType"] != "vector":
                raise Unanswered(f"the query gives a {str(found['resultType'])[:20]}, and must give a scalar or a vector of one")
            results = found["result"]
            if len(results) != 1:
                raise Unanswered(
                    f"the query has {len(results)} results, and must have one: aggregate it, as in sum(...)"
                    if results
                    else "the query has no result"
                )
            return _finite(results[0]["value"][1])
        except (KeyError, TypeError, IndexError):
            raise Unanswered("its answer is not that of a Prometheus with one number") from None

    async def _prometheus(self, endpoint: str, asked: dict[str, str]) -> dict[str, Any]:
        """The `data` of an answer of its HTTP API, version 1."""
        status, body = await self._get(f"{self.probe.url.rstrip('/')}/api/v1/{endpoint}?{urlencode(asked)}")
        try:
            said = _json(body)
        except Unanswered:
            raise Unanswered(refusal(status) if status != 200 else "its answer is no JSON") from None
        if not isinstance(said, dict) or said.get("status") != "success" or status != 200:
            text = said.get("error") if isinstance(said, dict) else None
            raise Unanswered(f"it answered {status}: {str(text)[:_SAID]}" if text else refusal(status))
        found = said.get("data")
        if not isinstance(found, dict):
            raise Unanswered("its answer is not that of a Prometheus")
        return found

    async def _get(self, url: str) -> tuple[int, bytes]:
        accept = {"Accept": "application/json"}
        return await exchange(self._session, "GET", url, timeout_s=self.probe.timeout, limit=ANSWER_LIMIT, headers=accept)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unanswered("its answer is no JSON") from None


def _finite(value: Any) -> float:
    """`value`, a number or its text, as a number that can be compared."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Unanswered(f"{str(value)[:40]!r} is no number") from None
    if not isfinite(number):
        raise Unanswered(f"its value is {number}")
    return number
