r"""A room with an experiment in it, and with time that passes only when the test says so.

    with FaultRoom({"delay": "200ms"}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        assert live.heard == b""
        room.pass_ms(200)
        assert live.heard
        assert room.faults() == {"delay": 1}

Every request is in the slice. Timers of injections run when `pass_ms` reaches them. At the end of the room no injection
may be left, nor a timer of one.
"""

# ruff: noqa: D102  a fake loop has asyncio's methods, which asyncio documents

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import itertools
import time
from typing import TYPE_CHECKING, Any, Self

import yaml

from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_text
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.inject import Injection
from tests.dataplane.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from shadowproxy.dataplane.experiments import Armed

LEASE_NS = 2 * 10**9


class Timer:
    """What a fake loop gives for a call to come."""

    def __init__(self, action: Callable[..., object] | None, args: tuple[Any, ...]) -> None:
        self.action = action
        self.args = args

    def cancel(self) -> None:
        self.action = None
        self.args = ()


class First:
    """Stands for the sequence that spreads requests over the hash space: all of them are at its beginning."""

    def next(self) -> float:
        return 0.0


class FakeLoop:
    """A loop with a clock that stands still. `pending` has the calls to come that were not cancelled."""

    def __init__(self) -> None:
        self.now_ns = 10**15
        self._order = itertools.count()
        self._timers: list[tuple[int, int, Timer]] = []

    def call_later(self, delay: float, action: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(action, args)
        heapq.heappush(self._timers, (self.now_ns + round(delay * 1e9), next(self._order), timer))
        return timer

    def call_soon(self, action: Callable[..., object], *args: Any) -> Timer:
        return self.call_later(0.0, action, *args)

    @property
    def pending(self) -> list[str]:
        return [timer.action.__qualname__ for _, _, timer in self._timers if timer.action is not None]

    def advance(self, nanoseconds: int) -> None:
        until_ns = self.now_ns + nanoseconds
        while self._timers and self._timers[0][0] <= until_ns:
            due_ns, _, timer = heapq.heappop(self._timers)
            self.now_ns = max(self.now_ns, due_ns)
            if timer.action is not None:
                action, args = timer.action, timer.args
                timer.cancel()
                action(*args)
        self.now_ns = until_ns


def experiment(*faults: dict[str, Any], inject: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """An experiment in its plain form, in which half of the hash space gets these faults on the route `all`."""
    plain = {
        "name": "drill",
        "owner": "somebody",
        "hypothesis": {"fault": "it breaks", "expect": "it holds", "impact": "none"},
        "inject": {"routes": ["all"], "faults": list(faults), **(inject or {})},
        "slice": {"percent": 50},
        "duration": "1h",
        "guards": [{"metric": "error_rate", "above": 99}],
        **parts,
    }
    return experiment_to_plain(load_experiment_text(yaml.safe_dump(plain)))


class FaultRoom(Room):
    """See the module's text.

    Args:
        faults: of the experiment, as its file says them.
        inject: the other settings of its part `inject`.
        parts: its other parts.
        settings: of the room.
    """

    def __init__(
        self, *faults: dict[str, Any], inject: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, **parts: Any
    ) -> None:
        self.loop = FakeLoop()
        self._real = asyncio.get_running_loop, time.monotonic_ns
        self._plain = experiment(*faults, inject=inject, **parts)
        self._settings = settings or {}
        self.told: list[messages.Message] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self._restore)
            asyncio.get_running_loop = lambda: self.loop  # type: ignore[assignment,return-value]
            time.monotonic_ns = lambda: self.loop.now_ns
            super().__init__({"name": "all", "live": "live"}, **self._settings)
            self.worker.experiments.weyl = First()  # type: ignore[assignment]
            self.arm(1)
            gc.disable()
            undo.pop_all()
        return self

    def _restore(self) -> None:
        asyncio.get_running_loop, time.monotonic_ns = self._real
        gc.enable()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self._restore()
        if kind is None:
            assert not self.run.injections
            assert not [name for name in self.loop.pending if "tell" not in name], self.loop.pending
            # Nothing but reference counts has freed them: there were no cycles.
            assert not [alive for alive in gc.get_objects() if isinstance(alive, Injection)]

    @property
    def run(self) -> Armed:
        """The run, as the worker knows it."""
        return self.worker.experiments._armed["drill-1"]

    def arm(self, workers: int, **more: Any) -> None:
        """Arm the experiment, with a lease that lasts; `more` are further members of the message."""
        run = {"id": "drill-1", "epoch": 1, "lease": 0, "lease_ns": LEASE_NS, "percent": 50.0, "dry": False, "workers": workers, "deny": []}
        self.renew()
        self.worker.arrange({"armed": [{**run, "experiment": self._plain, **more}]})

    def renew(self) -> None:
        """Do as control does while a run is to go on."""
        self.words[messages.LEASE_WORD] = self.loop.now_ns + LEASE_NS

    def answer(self, message: messages.Message) -> None:
        super().answer(message)
        if message["type"] == "exposure":
            self.told.append(message["experiments"]["drill-1"])

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass, with the lease renewed."""
        left_ns = round(milliseconds * 1e6)
        while left_ns > 0:
            self.renew()
            step_ns = min(left_ns, 10**9)
            self.loop.advance(step_ns)
            left_ns -= step_ns
        self.renew()
        self.worker.tick(self.loop.now_ns, 0)

    def release(self) -> None:
        """The run is over."""
        self.worker.experiments.end("ended")

    def exposures(self) -> list[messages.Message]:
        """All that control was told of the run."""
        self.loop.advance(round(messages.EXPOSURE_S * 1e9))
        return self.told

    def _told(self, what: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for exposure in self.exposures():
            for name, count in exposure[what].items():
                total[name] = total.get(name, 0) + count
        return total

    def faults(self) -> dict[str, int]:
        """Faults by kind that control was told of."""
        return self._told("faults")

    def unharmed(self) -> dict[str, int]:
        """Requests in the slice that got no fault, by reason."""
        return self._told("unharmed")

    def arm_of(self, name: str = "fault") -> dict[str, Any]:
        """What control was told of the fault arm: responses and what was made up."""
        merged: dict[str, Any] = {"responses": {}, "injected": {}}
        for exposure in self.exposures():
            for what, counts in merged.items():
                for key, count in exposure[name][what].items():
                    counts[key] = counts.get(key, 0) + count
        return merged
