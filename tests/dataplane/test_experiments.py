"""Experiments in a worker: who is hit, as long as somebody who can stop it is there, and what is counted of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from scipy.stats import binom

from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain
from shadowproxy.dataplane import messages
from shadowproxy.hashspace import point
from tests.dataplane.room import ANSWER, MIRRORED, Room, Side
from tests.experiments.samples import plain

LEASE = 3
LEASE_NS = 2 * 10**9


def armed(*, epoch: int = 1, run: str = "one-1", percent: float | None = None, **changed: Any) -> dict[str, Any]:
    """A run as control arms it; `changed` are parts of the message, `experiment` those of the experiment."""
    experiment = experiment_from_plain(plain(**changed.pop("experiment", {})))
    return {
        "id": run, "epoch": epoch, "lease": LEASE, "lease_ns": LEASE_NS, "percent": experiment.slice.percent if percent is None else percent, "paused": False,
        "dry": True, "workers": 1, "deny": [], "experiment": experiment_to_plain(experiment), **changed,
    }  # fmt: skip


class Lab(Room):
    """A room with experiments: control's side of it is kept in `exposures`."""

    def __init__(self, *routes: dict[str, Any], **settings: Any) -> None:
        self.exposures: list[dict[str, Any]] = []
        super().__init__(*routes, **settings)
        self.due: list[Any] = []
        self.worker.experiments.later = lambda _, action: self.due.append(action)

    def answer(self, message: messages.Message) -> None:
        """Keep what control would hear."""
        if message["type"] == "exposure":
            self.exposures.append(message)
        else:
            super().answer(message)

    def lease(self, seconds: float = 1.9) -> None:
        """Renew the lease, as control does."""
        self.words[messages.LEASE_WORD + LEASE] = time.monotonic_ns() + round(seconds * 1e9)

    def arm(self, *runs: dict[str, Any]) -> None:
        """Arm these runs and no others."""
        self.worker.arrange({"armed": list(runs)})

    def told(self, run: str = "one-1") -> dict[str, Any]:
        """What a run told since the last call, added up."""
        due, self.due = self.due, []
        for action in due:
            action()
        total: dict[str, Any] = {
            "seen": 0,
            "hit": 0,
            "outside": 0,
            "faults": Counter(),
            "unharmed": Counter(),
            "units": Counter(),
            "over": "",
            "fault": Counter(),
            "control": Counter(),
        }
        exposures, self.exposures = self.exposures, []
        for one in (message["experiments"][run] for message in exposures if run in message["experiments"]):
            total["seen"] += one["seen"]
            total["hit"] += one["hit"]
            total["outside"] += one["outside"]
            for key in ("faults", "unharmed", "units"):
                total[key].update(one[key])
            for arm in ("fault", "control"):
                total[arm].update(one[arm]["responses"])
            total["over"] = one["over"] or total["over"]
        return total

    def ask(self, client: Side, upstream: Side, user: str, extra: str = "", method: str = "GET") -> bytes:
        """One request of a user, answered by live."""
        client.says(f"{method} / HTTP/1.1\r\nHost: a\r\nX-User-Id: {user}\r\n{extra}\r\n".encode())
        if upstream.heard:
            upstream.says(ANSWER)
        return client.heard


def lab(**settings: Any) -> tuple[Lab, Side, Side]:
    """A lab with a client and a live endpoint."""
    room = Lab(MIRRORED | {"mirror": []}, **settings)
    return room, room.client(), room.upstream("live")


def test_the_share_is_exact_and_sticky_and_each_request_is_decided_once() -> None:
    """Of 4,000 users as many are in each slice as the exact binomial 99.9 % interval allows; each time the same ones; everything adds up."""
    room, client, live = lab()
    room.arm(armed())
    room.lease(60)
    room.worker.experiments._armed["one-1"]._longest_ns = 10**12
    rounds = []
    for _ in range(2):
        for number in range(4000):
            assert room.ask(client, live, f"user-{number}").endswith(b"ok")
        told = room.told()
        low, high = binom.interval(0.999, 4000, 0.1)
        assert low <= told["seen"] <= high
        assert told["seen"] == told["faults"]["dry_read"] == sum(told["fault"].values())
        assert low <= sum(told["control"].values()) <= high
        assert told["seen"] + sum(told["control"].values()) + told["outside"] == 4000
        rounds.append(told["units"])
    assert rounds[0] == rounds[1]
    assert set(rounds[0].values()) == {1}
    expected = sum(point(b"user-%d" % number, b"one") < 0.1 for number in range(4000))
    assert len(rounds[0]) == expected


def _victim() -> str:
    """A user in the fault slice of `one` at 10 %."""
    return next(f"user-{number}" for number in range(1000) if point(b"user-%d" % number, b"one") < 0.01)


def _reasons(**experiment: Any) -> Counter[str]:
    """Why nothing happens to a user of the slice who asks six times."""
    room, client, live = lab()
    room.arm(armed(experiment=experiment))
    room.lease()
    for _ in range(6):
        room.ask(client, live, _victim(), "X-Envoy-Attempt-Count: 2\r\n")
    told = room.told()
    assert told["seen"] == told["hit"] + sum(told["unharmed"].values())
    reasons: Counter[str] = told["unharmed"]
    return reasons


INJECT = plain()["inject"]
ABORT = {"abort": {"status": 503}}


@pytest.mark.parametrize(
    ("experiment", "unharmed"),
    [
        ({"budget": {"repeats": 2}}, {"repeats": 4}),
        ({"inject": INJECT | {"faults": [ABORT | {"first": 2}]}}, {"first": 4}),
        ({"inject": INJECT | {"faults": [ABORT | {"every": 3}]}}, {"every": 4}),
        ({"inject": INJECT | {"attempts": "first"}}, {"attempt": 6}),
        ({"inject": INJECT | {"per_second": 0.001}}, {"per_second": 5}),
        ({"inject": {"routes": ["all"], "envoy_headers": "any"}}, {"nothing_asked": 6}),
        ({}, {}),
    ],
)
def test_a_request_that_is_spared_is_counted_with_its_reason(experiment: dict[str, Any], unharmed: dict[str, int]) -> None:
    """Limits and conditions each have their counter; with the faults they add up to what was seen."""
    assert _reasons(**experiment) == unharmed


@pytest.mark.parametrize("inject", [{"methods": ["POST"]}, {"path": "/checkout"}, {"fleet": "shadow"}, {"routes": ["other"]}])
def test_what_the_fault_does_not_concern_is_not_seen(inject: dict[str, Any]) -> None:
    """Other methods, paths, fleets and routes: observed, and otherwise left alone."""
    room, client, live = lab()
    room.arm(armed(experiment={"inject": INJECT | inject, "observe": ["all"]}))
    room.lease()
    room.ask(client, live, _victim())
    told = room.told()
    assert (told["seen"], told["fault"]) == (0, {"200": 1})


def test_no_more_units_than_the_budget_has() -> None:
    """With a budget of two users a third is spared; the two stay in."""
    room, client, live = lab()
    users = [f"user-{number}" for number in range(1000) if point(b"user-%d" % number, b"one") < 0.05][:3]
    room.arm(armed(experiment={"budget": {"units": 2}}))
    room.lease()
    for user in users * 2:
        room.ask(client, live, user)
    told = room.told()
    assert (len(told["units"]), told["faults"]["dry_read"], told["unharmed"]["units"]) == (2, 4, 2)


# Leases.


def test_nothing_happens_before_the_lease_has_begun() -> None:
    """A worker that was just armed waits for its lease, and has not given up."""
    room, client, live = lab()
    room.arm(armed())
    room.ask(client, live, _victim())
    assert room.told()["unharmed"] == {"lease": 1}
    room.lease()
    room.ask(client, live, _victim())
    told = room.told()
    assert (told["faults"], told["over"]) == ({"dry_read": 1}, "")


@pytest.mark.parametrize("expiry_s", [-0.001, 0.0, 3600.0])
def test_a_lease_that_has_lapsed_ends_the_run_for_good(expiry_s: float) -> None:
    """Not renewed in time, or by a clock that has jumped ahead: no more faults, whatever is written later."""
    room, client, live = lab()
    room.arm(armed())
    room.lease()
    room.ask(client, live, _victim())
    room.lease(expiry_s)
    room.ask(client, live, _victim())
    told = room.told()
    assert (told["faults"], told["unharmed"], told["over"]) == ({"dry_read": 1}, {"lease": 1}, "lease")
    room.lease()
    room.arm(armed())
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {}


def test_a_tick_sees_the_lapse_without_any_request() -> None:
    """What is held back need not wait for the next request."""
    room, client, live = lab()
    room.arm(armed())
    room.lease()
    room.ask(client, live, _victim())
    room.told()
    room.pass_time(2.0)
    assert room.told()["over"] == "lease"


def test_the_kill_word_holds_before_any_message() -> None:
    """The switch is read before each decision, and ends the run for good."""
    room, client, live = lab()
    room.arm(armed())
    room.lease()
    room.words[messages.KILL_WORD] = 1
    room.ask(client, live, _victim())
    told = room.told()
    assert (told["faults"], told["over"]) == ({}, "killed")
    room.words[messages.KILL_WORD] = 0
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {}


def test_a_zombie_cannot_arm_again() -> None:
    """A run that is over is not armed by a message of its epoch or an older one; a later epoch is another run."""
    room, client, live = lab()
    room.arm(armed(epoch=5))
    room.lease()
    room.arm()
    assert room.told()["over"] == "ended"
    for epoch in (4, 5):
        room.arm(armed(epoch=epoch))
        room.ask(client, live, _victim())
        assert room.told()["faults"] == {}
    room.arm(armed(epoch=6))
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {"dry_read": 1}


def test_a_run_that_cannot_be_read_changes_nothing() -> None:
    """What is armed stays as it is when a message is wrong."""
    room, client, live = lab()
    room.arm(armed())
    room.lease()
    bad = armed(run="two-1")
    bad["experiment"]["slice"]["percent"] = 99.0
    with pytest.raises(Exception, match="control slice"):
        room.arm(armed(), bad)
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {"dry_read": 1}


# Steps and pauses.


def test_a_pause_watches_on_and_breaks_nothing() -> None:
    """While it is paused the slices are counted, and nobody gets the fault."""
    room, client, live = lab()
    room.arm(armed())
    room.lease()
    room.arm(armed(paused=True))
    room.ask(client, live, _victim())
    told = room.told()
    assert (told["faults"], told["unharmed"], told["fault"]) == ({}, {"paused": 1}, {"200": 1})
    room.arm(armed())
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {"dry_read": 1}


def test_a_header_that_a_slice_goes_by_is_read_from_the_next_request_on() -> None:
    """Arming an experiment makes workers look at fields that no route asked for."""
    room, client, live = lab()
    room.ask(client, live, _victim())
    room.arm(armed())
    room.lease()
    room.ask(client, live, _victim())
    assert room.told()["faults"] == {"dry_read": 1}


def test_runs_on_other_routes_cost_a_route_nothing() -> None:
    """Requests of routes that no run names are not even looked at."""
    room, client, live = lab()
    room.arm(armed(experiment={"inject": INJECT | {"routes": ["other"]}}))
    assert set(room.worker.experiments.by_route) == {"other"}
    room.ask(client, live, _victim())
    assert room.told()["outside"] == 0


def test_answers_to_units_with_the_fault_are_sampled() -> None:
    """An expectation's route is looked at: status, fields and body go to control, once."""
    room, client, live = lab()
    room.arm(armed(experiment={"expect": [{"route": "all", "contains": "ok"}]}))
    room.lease()
    room.ask(client, live, _victim())
    room.ask(client, live, "user-outside-of-it")
    for action in room.due:
        action()
    samples = [sample for message in room.exposures for sample in message["experiments"]["one-1"]["samples"]]
    assert [(sample["route"], sample["status"], sample["body"], sample["cut"]) for sample in samples] == [("all", 200, "b2s=", False)]
    assert room.worker.experiments.purse.held == 0


def _statuses(room: Lab) -> list[int]:
    for action in room.due:
        action()
    return [sample["status"] for message in room.exposures for sample in message["experiments"]["one-1"]["samples"]]


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome"])
def test_an_answer_that_never_came_or_broke_off_is_looked_at_as_well(beginning: bytes) -> None:
    """Whoever waits for a fallback and gets a 502 did not get it: a sample without a status, and not one sample less."""
    room, client, live = lab()
    room.arm(armed(experiment={"expect": [{"route": "all"}]}))
    room.lease()
    client.says(f"POST / HTTP/1.1\r\nHost: a\r\nX-User-Id: {_victim()}\r\nContent-Length: 0\r\n\r\n".encode())
    live.says(*([beginning] if beginning else []))
    live.is_lost()
    assert _statuses(room) == [0]
    assert room.worker.experiments.purse.held == 0


def test_an_answer_to_head_tells_nothing_of_a_body() -> None:
    """What has no body by its method is not held against what a body must be."""
    room, client, live = lab()
    room.arm(armed(experiment={"expect": [{"route": "all", "contains": "ok"}]}))
    room.lease()
    client.says(f"HEAD / HTTP/1.1\r\nHost: a\r\nX-User-Id: {_victim()}\r\n\r\n".encode())
    live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert _statuses(room) == []


def test_a_client_that_leaves_is_counted_in_its_arm() -> None:
    """Each request of an arm has one end."""
    room, client, _ = lab()
    room.arm(armed())
    room.lease()
    client.says(f"GET / HTTP/1.1\r\nHost: a\r\nX-User-Id: {_victim()}\r\n\r\n".encode())
    client.is_lost()
    assert room.told()["fault"] == {"client_gone": 1}
