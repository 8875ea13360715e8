"""P4: faults die by themselves. A whole proxy under load, and every way in which a run, or who runs it, can end.

What is measured is from the moment when something happens until the last answer that was broken on purpose has arrived,
which is later than the last fault. The promises are 100 ms after an abort and one lease (2 s) after control is gone; the bounds here are
wider, because test machines stall. The numbers are printed (pytest -s).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.adversity.kill_latency import percentile
from tests.control.governed import plain
from tests.kit import Client, Origin, SupervisedProxy, answers
from tests.kit.process import eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.network import Address

LEASE_S: Final = 2.0
SLACK_S: Final = 2.0
"""What a busy test machine may add."""

ABORT_BOUND_S: Final = 2.0
"""Twenty times the promise."""

QUIET_S: Final = 0.5
"""How long after the end of a run it is looked for a fault that comes late."""

BROKEN: Final = 503
"""What faults answer; nobody else does."""

FAKETIME: Final = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""Where Debian has it, on any kind of machine."""


class Load:
    """Users that ask one after another, and when each broken answer arrived.

    Args:
        address: of the proxy.
        users: clients at a time; the first asks as one who is never hit.
    """

    def __init__(self, address: Address, users: int = 4) -> None:
        self.address = address
        self.broken: list[float] = []
        self.answered = 0
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=("spared" if n == 0 else "hit",)) for n in range(users)]
        for thread in self._threads:
            thread.start()

    def last(self, since: float) -> float:
        """Seconds from `since` to the last broken answer; 0 when none came after it."""
        return max([0.0, *(at - since for at in list(self.broken))])

    def stop(self) -> None:
        """Ask no more."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, user: str) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(Exception), Client(self.address) as client:  # the proxy may be dead
                while not self._is_over.is_set():
                    status = client.get(f"/{user}", ("x-user-id", user)).status
                    self.answered += 1
                    if status == BROKEN:
                        assert user == "hit"
                        self.broken.append(time.monotonic())
                    self._is_over.wait(0.003)
            self._is_over.wait(0.02)


class Stage:
    """An origin, a proxy of two workers, load on it, and experiments on the user `hit`."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.live = Origin("live")
        config = {
            "listen": [{"name": "front"}],
            "workers": 2,
            "fleets": {"live": {"endpoints": [self.live.url], "eject": {"failures": 0}}},
            "routes": [{"name": "all", "live": "live"}],
            "limits": {"drain_timeout": "5s"},
            "experiments": {"lease": f"{LEASE_S}s", "kill_file": str(directory / "stop")},
        }
        self.proxy = SupervisedProxy(config, directory, environment=environment)
        self.load = Load(self.proxy.address("front"))

    def begin(self, **changed: Any) -> dict[str, Any]:
        """Begin a run, and wait for its first faults."""
        broken = len(self.load.broken)
        experiment = plain(
            inject={"routes": ["all"], "faults": [{"abort": {"status": BROKEN}, "every": 2}]},
            slice={"percent": 1, "key": "header:x-user-id", "pinned": ["hit"]},
            guards=[{"metric": "error_rate", "above": 5, "window": "1s", "least": 1}],
        )
        reply = self.proxy.api("POST", "/api/v1/experiments", {"experiment": experiment | changed})
        assert reply.status == 201, reply.body
        eventually(lambda: len(self.load.broken) > broken + 3, "faults happen")
        run: dict[str, Any] = reply.json()
        return run

    def ended(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run once it has ended."""

        def over() -> dict[str, Any]:
            found: dict[str, Any] = self.proxy.api("GET", f"/api/v1/experiments/{run['id']}").json()
            return found if found["ended"] else {}

        return eventually(over, "the run has ended")

    def serves(self) -> None:
        """Live goes on."""
        answered = self.load.answered
        eventually(lambda: self.load.answered > answered + 10, "live is served")

    def close(self, *, is_clean: bool = True) -> None:
        """End everything; without a check when control was killed."""
        self.load.stop()
        if is_clean:
            self.proxy.stop()
        else:
            self.proxy.abandon()
        self.live.stop()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A running one."""
    opened = Stage(tmp_path)
    try:
        yield opened
    except BaseException:
        opened.close(is_clean=False)
        raise
    opened.close(is_clean=opened.proxy.process.poll() is None)


def told(what: str, seconds: list[float]) -> None:
    """Print a distribution."""
    values = sorted(1000 * one for one in seconds)
    print(
        f"{what}: p50 {percentile(values, 0.5):.0f} ms, p99 {percentile(values, 0.99):.0f} ms, most {values[-1]:.0f} ms, {len(values)} times"
    )


@pytest.mark.parametrize("tries", [pytest.param(4, id="few"), pytest.param(40, id="many", marks=pytest.mark.deep)])
@pytest.mark.parametrize("store", ["works", "gone"])
def test_from_a_guards_condition_to_the_last_fault(stage: Stage, tmp_path: Path, tries: int, store: str) -> None:
    """The upstream begins to fail for the slice: from that moment on, with the store there or not."""
    if store == "gone":
        for file in tmp_path.glob("state.db*"):
            file.unlink()
        (tmp_path / "state.db").mkdir()
    taken = []
    for _ in range(tries):
        run = stage.begin()
        began = time.monotonic()
        stage.live.on("/hit", answers.ok(status=500))
        document = stage.ended(run)
        time.sleep(QUIET_S / 2)
        taken.append(stage.load.last(began))
        assert (document["state"], document["code"]) == ("aborted", "guard_error_rate"), document["reason"]
        stage.live.on("/hit", answers.ok())
        eventually(lambda: stage.live.seen("/hit"), "the upstream is well again")
    told(f"condition true to last fault, store {store}", taken)
    assert max(taken) < ABORT_BOUND_S
    stage.serves()


def test_from_an_order_to_the_last_fault(stage: Stage, tmp_path: Path) -> None:
    """A stop, a journal that is not there any more, and the kill switch in each form. Live is served all the time."""
    for how in ("stop", "journal", "kill", "SIGUSR2", "file"):
        run = stage.begin()
        began = time.monotonic()
        if how in {"kill", "stop"}:
            path = "/api/v1/kill" if how == "kill" else f"/api/v1/experiments/{run['id']}/stop"
            assert stage.proxy.api("POST", path, {}).status == 200
            began = time.monotonic()  # what was sent before the answer may still be on its way
        elif how == "SIGUSR2":
            os.kill(stage.proxy.pid, signal.SIGUSR2)
        elif how == "file":
            (tmp_path / "stop").touch()
        else:
            (tmp_path / "state.experiments.jsonl").unlink()
        document = stage.ended(run)
        time.sleep(QUIET_S)
        told(f"{how} to last fault", [stage.load.last(began)])
        assert stage.load.last(began) < ABORT_BOUND_S
        expected = {"stop": ("aborted", "stopped"), "journal": ("aborted", "journal")}.get(how, ("killed", "kill_switch"))
        assert (document["state"], document["code"]) == expected
        stage.serves()
        (tmp_path / "stop").unlink(missing_ok=True)
        assert stage.proxy.api("POST", "/api/v1/resume", {}).status == 200


def test_control_that_is_killed_takes_its_faults_with_it_and_none_comes_back(stage: Stage, tmp_path: Path) -> None:
    """SIGKILL: no fault after the lease, none after the restart on the same state; the run is closed, the next has a higher epoch."""
    run = stage.begin()
    workers = stage.proxy.workers()
    began = time.monotonic()
    stage.proxy.process.kill()
    stage.proxy.process.wait()
    eventually(lambda: not any(is_alive(pid) for pid in workers), "no worker is left")
    time.sleep(QUIET_S)
    told("control SIGKILLed to last fault", [stage.load.last(began)])
    assert stage.load.last(began) < LEASE_S + SLACK_S
    stage.load.stop()
    again = SupervisedProxy(stage.proxy.config, tmp_path)
    load = Load(again.address("front"))
    try:
        found = eventually(lambda: again.api("GET", f"/api/v1/experiments/{run['id']}").json(), "the run is known")
        eventually(lambda: again.api("GET", f"/api/v1/experiments/{run['id']}").json()["code"] == "restart", "it is closed")
        eventually(lambda: load.answered > 50, "live is served")
        assert not load.broken
        experiment = found["experiment"] | {"duration": 5}
        assert again.api("POST", "/api/v1/experiments", {"experiment": experiment}).status == 201
        eventually(lambda: again.api("GET", f"/api/v1/experiments/{run['name']}").json()["epoch"] > 1, "a higher epoch")
    finally:
        load.stop()
        again.stop()


def test_control_that_is_frozen_loses_its_leases_for_good(stage: Stage) -> None:
    """SIGSTOP: faults end within the lease and what is held back goes on, while live is served; SIGCONT brings nothing back."""
    run = stage.begin()
    began = time.monotonic()
    os.kill(stage.proxy.pid, signal.SIGSTOP)
    try:
        time.sleep(LEASE_S + 1.0)
        frozen_until = time.monotonic()
        told("control SIGSTOPped to last fault", [stage.load.last(began)])
        assert stage.load.last(began) < LEASE_S + SLACK_S
        stage.serves()
    finally:
        os.kill(stage.proxy.pid, signal.SIGCONT)
    document = stage.ended(run)
    assert (document["state"], document["code"]) == ("expired", "lease")
    time.sleep(2 * QUIET_S)
    assert stage.load.last(frozen_until) == 0.0, "a zombie cannot re-arm"
    assert stage.proxy.api("GET", "/api/v1/experiments").json()["experiments"][0]["state"] == "expired"


def test_what_is_held_back_goes_on(stage: Stage) -> None:
    """Requests that wait out a minute's delay are answered by the upstream as soon as the run is over, however it ended."""
    fault = {"routes": ["all"], "faults": [{"delay": "60s", "every": 2}]}
    experiment = plain(inject=fault, slice={"percent": 1, "key": "header:x-user-id", "pinned": ["hit"]})
    for how in ("stop", "kill", "frozen"):
        assert stage.proxy.api("POST", "/api/v1/resume", {}).status == 200
        reply = stage.proxy.api("POST", "/api/v1/experiments", {"experiment": experiment})
        assert reply.status == 201, reply.body
        run = reply.json()
        seen = _once_quiet(stage)
        began = time.monotonic()
        if how == "frozen":
            os.kill(stage.proxy.pid, signal.SIGSTOP)
        else:
            path = "/api/v1/kill" if how == "kill" else f"/api/v1/experiments/{run['id']}/stop"
            assert stage.proxy.api("POST", path, {}).status == 200
        try:
            eventually(lambda seen=seen: len(stage.live.seen("/hit")) > seen, "they go on")  # type: ignore[misc]
            told(f"{how} to the release of what was held", [time.monotonic() - began])
            assert time.monotonic() - began < (LEASE_S if how == "frozen" else 0.0) + SLACK_S
        finally:
            os.kill(stage.proxy.pid, signal.SIGCONT)
        stage.ended(run)


def _once_quiet(stage: Stage) -> int:
    """How many requests of those who are hit the upstream has seen, once all of them wait."""
    before = -1

    def is_quiet() -> bool:
        nonlocal before
        time.sleep(0.2)
        now = len(stage.live.seen("/hit"))
        is_same, before = now == before, now
        return is_same

    eventually(is_quiet, "all who are hit wait")
    return before


@pytest.mark.skipif(
    FAKETIME is None,
    reason="libfaketime is not installed (Debian package faketime): that leases and workers refuse a clock that jumps is tested "
    "with made-up times, that a whole proxy does is not",
)
@pytest.mark.parametrize("clock", ["wall", "all"])
def test_a_clock_that_jumps_prolongs_nothing(tmp_path: Path, clock: str) -> None:
    """The wall clock an hour ahead means nothing to a lease; with the monotonic clock too, faults are over at once. Never does one stay."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    if clock == "wall":
        environment["DONT_FAKE_MONOTONIC"] = "1"
    stage = Stage(tmp_path, **environment)
    try:
        run = stage.begin()
        began = time.monotonic()
        offset.write_text("+1h")
        if clock == "wall":
            broken = len(stage.load.broken)
            eventually(lambda: len(stage.load.broken) > broken + 50, "it goes on")
            assert stage.proxy.api("POST", f"/api/v1/experiments/{run['id']}/stop", {}).status == 200
            began = time.monotonic()
        document = stage.ended(run)
        time.sleep(QUIET_S)
        told(f"{clock} clock jumps to last fault", [stage.load.last(began)])
        assert stage.load.last(began) < LEASE_S + SLACK_S
        assert document["state"] in {"aborted", "expired", "completed"}
    except BaseException:
        stage.close(is_clean=False)
        raise
    stage.close(is_clean=False)
