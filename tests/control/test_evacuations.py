"""Evacuation drills: who may be evacuated, what is measured, and every way in which they end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.arming import Arming
from shadowproxy.control.audit import Actor, Audit
from shadowproxy.control.counts import Counts
from shadowproxy.control.evacuations import KEPT, Evacuations
from shadowproxy.errors import ControlError
from tests.control.conftest import until

if TYPE_CHECKING:
    from shadowproxy.config.model import Config

ANN = Actor("token:ann", "127.0.0.1")
URLS = [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]


def config(labels: dict[int, str] | None = None, **changed: Any) -> Config:
    """A fleet over three zones."""
    zones = labels if labels is not None else {0: "a", 1: "b", 2: "c"}
    fleet = {
        "endpoints": URLS,
        "labels": [{"endpoint": URLS[at], "zone": zone, "region": "eu" if at < 2 else "us"} for at, zone in zones.items()],
    }
    return from_plain({
        "listen": ["127.0.0.1:1234"], "admin": {"address": "127.0.0.1:1235"}, "fleets": {"live": fleet},
        "routes": [{"name": "shop", "live": "live"}], **changed,
    })  # fmt: skip


class Stage:
    """Drills with a clock of their own, and one worker that has reported."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[dict[str, Any]] = []
        self.pids = [11, 12]
        self.counts = Counts()
        self.account = self.counts.open(0)
        self.audit = Audit(None)
        self.drills = Evacuations(
            config(),
            Arming(self.told.append),
            self.counts,
            self.audit,
            lambda: self.pids,
            now=lambda: self.now,
            wall=lambda: 1e9 + self.now,
        )

    def count(self, responses: dict[str, int], outstanding: int = 0, late: int = 0) -> None:
        """What a tally says."""
        fleets = {"live": {URLS[0]: {"outstanding": outstanding, "late": late}, URLS[1]: {}, URLS[2]: {}}}
        self.counts.add(self.account, {"type": "tally", "routes": {"shop": {"responses": responses}}, "fleets": fleets})

    def confirm(self, pid: int) -> None:
        """A worker confirms."""
        self.drills.on_evacuated(cast("Any", SimpleNamespace(pid=pid)), {"under_way": {"live": {URLS[0]: 1}}})

    def begin(self, label: str = "zone", value: str = "a", seconds: float = 0.0) -> dict[str, Any]:
        """Evacuate."""
        return self.drills.start("live", label, value, ANN, seconds=seconds)

    @property
    def evacuated(self) -> list[tuple[str, str]]:
        """What workers were told last."""
        return [(one["label"], one["value"]) for one in self.told[-1]["evacuated"]]


def test_a_drill_is_measured() -> None:
    """When the last worker had confirmed, when nothing was under way, and error rates before, during and after."""
    stage = Stage()
    stage.drills.look()
    stage.now += 10.0
    stage.count({"200": 90, "500": 10, "client_gone": 5}, outstanding=2)
    started = stage.begin()
    assert stage.evacuated == [("zone", "a")]
    assert (started["endpoints"], started["left"]) == ([URLS[0]], URLS[1:])
    assert started["before"] == {"requests": 100, "errors": 10, "error_rate": 0.1}
    assert started["last_new_request_s"] is None
    stage.now += 0.004
    stage.confirm(11)
    stage.now += 0.006
    stage.confirm(12)
    stage.confirm(12)
    stage.now += 1.0
    stage.count({"200": 50}, outstanding=1)
    stage.drills.look()
    (found,) = stage.drills.documents()
    assert (found["last_new_request_s"], found["workers"], found["drained_s"], found["under_way"]) == (
        0.01,
        {"all": 2, "confirmed": 2},
        None,
        1,
    )
    stage.count({"200": 50}, outstanding=0)
    stage.drills.look()
    (over,) = stage.drills.end(ANN)
    assert stage.evacuated == []
    assert (over["drained_s"], over["late"], over["during"]["error_rate"]) == (1.01, 0, 0.0)
    assert (over["is_over"], over["reason"], over["after"]) == (True, "ended by token:ann", None)
    stage.count({"503": 4})
    stage.drills.look()
    assert stage.drills.documents()[0]["after"] == {"requests": 4, "errors": 4, "error_rate": 1.0}
    assert [one["action"] for one in stage.audit.latest(5)] == ["evacuation.end", "evacuation.start"]
    assert stage.drills.end(ANN) == []


def test_late_requests_are_seen() -> None:
    """What went there nevertheless is counted from the start of the drill on, and moves the last new request."""
    stage = Stage()
    stage.count({}, late=7)
    stage.begin()
    for pid in stage.pids:
        stage.confirm(pid)
    stage.now += 2.0
    stage.count({}, late=3)
    stage.drills.look()
    (found,) = stage.drills.documents()
    assert (found["late"], found["last_new_request_s"]) == (3, 2.0)
    assert stage.drills.late["live", URLS[0]] == 10


def test_a_worker_that_ends_need_not_confirm() -> None:
    """Its successor found the drill in its policy."""
    stage = Stage()
    stage.begin()
    stage.confirm(11)
    stage.pids = [11, 13]
    stage.drills.look()
    assert stage.drills.documents()[0]["workers"] == {"all": 1, "confirmed": 1}


def test_a_drill_ends_by_itself() -> None:
    """When its time is over."""
    stage = Stage()
    stage.begin(seconds=30.0)
    stage.now += 29.9
    stage.drills.look()
    assert stage.evacuated
    stage.now += 0.2
    stage.drills.look()
    assert not stage.evacuated
    assert stage.drills.documents()[0]["reason"] == "its time is over"


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("zone", "moon", "no endpoint of live has zone moon"),
        ("cell", "", "no endpoint of live has cell"),
        ("endpoint", URLS[0], "no endpoint of live has endpoint"),
        ("zone", "a", "is evacuated already"),
        ("region", "us", "nothing would be left of live"),
    ],
)
def test_what_makes_no_sense_is_refused(label: str, value: str, said: str) -> None:
    """Nobody there, there twice, or nobody left: zones a and b are evacuated already."""
    stage = Stage()
    stage.begin("zone", "a")
    stage.begin("zone", "b")
    with pytest.raises(ControlError, match=said):
        stage.begin(label, value)
    with pytest.raises(KeyError):
        stage.drills.start("gone", "zone", "a", ANN)
    assert stage.evacuated == [("zone", "a"), ("zone", "b")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({1: "b", 2: "c"}, "the config has no such endpoints any more"), ({0: "a", 1: "a", 2: "a"}, "the config leaves no other endpoints")],
)
def test_a_config_that_leaves_no_place_ends_it(changed: dict[int, str], said: str) -> None:
    """A zone that is gone, or that is everything."""
    stage = Stage()
    stage.begin()
    stage.drills.follow(config())
    assert stage.evacuated
    stage.drills.follow(config(changed))
    assert not stage.evacuated
    assert stage.drills.documents()[0]["reason"] == said


def test_one_fleet_s_drills_end_alone_and_old_ones_are_forgotten() -> None:
    """And what is kept is bounded."""
    stage = Stage()
    stage.begin()
    assert stage.drills.end(ANN, fleet="other") == []
    assert len(stage.drills.end(ANN, fleet="live")) == 1
    for _ in range(KEPT + 5):
        stage.begin()
        stage.drills.end(ANN)
    assert len(stage.drills.documents()) == KEPT
    assert repr(stage.drills) == "<Evacuations []>"


async def test_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a look that fails is not the last."""
    monkeypatch.setattr("shadowproxy.control.evacuations.LOOK_S", 0.005)
    stage = Stage()
    stage.begin(seconds=1.0)
    endpoints = stage.counts.endpoints
    stage.counts.endpoints = lambda: cast("Any", None)  # type: ignore[method-assign]
    task = asyncio.ensure_future(stage.drills.keep())
    try:
        await asyncio.sleep(0.02)
        stage.counts.endpoints = endpoints  # type: ignore[method-assign]
        stage.now += 2.0
        await until(lambda: not stage.evacuated, "it ends")
    finally:
        task.cancel()
