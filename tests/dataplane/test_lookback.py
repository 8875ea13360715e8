"""What an experiment would have touched of the requests that a worker remembers."""

from __future__ import annotations

import base64
import time
from array import array
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.dataplane import lookback
from shadowproxy.dataplane.capture import BURST_S
from shadowproxy.hashspace import point
from tests.dataplane.room import MIRRORED, Side
from tests.dataplane.test_experiments import Lab, armed

Plain = dict[str, Any]


class Past(Lab):
    """A lab that is asked for what has been. `due` has what the worker does later."""

    def __init__(self, *routes: Plain, **settings: Any) -> None:
        self.answers: list[Plain] = []
        super().__init__(*(routes or (MIRRORED | {"mirror": []},)), **settings)
        self.steps: list[Any] = []
        self.worker.look_backs.later = lambda seconds, action: self.steps.append(action) if seconds < 1 else None

    def answer(self, message: Plain) -> None:
        """Keep what a look back tells."""
        if message["type"] in {"remembered", "looked_back"}:
            self.answers.append(message)
        else:
            super().answer(message)

    def look_back(self, number: int = 1, *, skip: int = 0, percents: tuple[float, ...] = (), **changed: Any) -> Plain:
        """The answer about all but the oldest `skip` requests; `changed` as of `armed`."""
        looked = self.worker.look_backs
        run = armed(**changed)
        looked.set_aside({"id": number})
        times = array("Q", base64.b64decode(self.answers.pop()["times"]))
        looked.begin({
            "id": number, "since": times[skip] if skip < len(times) else 0, "percents": list(percents or (run["percent"],)),
            "experiment": run["experiment"], "deny": run["deny"], "endpoints": None,
        })  # fmt: skip
        while self.steps:
            self.steps.pop(0)()
        return self.answers.pop()


def ask_all(room: Past, asked: list[tuple[str, str]]) -> tuple[Side, Side]:
    """One request each, of a user by a method."""
    client, live = room.client(), room.upstream("live")
    for user, method in asked:
        assert room.ask(client, live, user, method=method).endswith(b"ok" if method != "HEAD" else b"")
    return client, live


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.tuples(st.sampled_from([f"u{number}" for number in range(12)]), st.sampled_from(["GET", "POST", "PUT"])), max_size=60),
    percent=st.sampled_from([5.0, 20.0, 49.0]),
    changed=st.fixed_dictionaries(
        {},
        optional={
            "inject": st.sampled_from([
                {"routes": ["all"], "faults": [{"abort": {"status": 503}}], "methods": ["POST"]},
                {"routes": ["all"], "faults": [{"abort": {"status": 503}}], "path": "/other"},
            ]),
            "budget": st.sampled_from([{"repeats": 1}, {"units": 2}, {}]),
        },
    ),
    deny=st.lists(st.sampled_from(["u1", "u2", "u3"]), unique=True),
)  # fmt: skip
def test_it_is_what_a_dry_run_would_have_counted(asked: list[tuple[str, str]], percent: float, changed: Plain, deny: list[str]) -> None:
    """The same requests under an armed dry run and looked at afterwards: the same number touched, the same writes, the same units, limits and all."""
    room = Past()
    experiment = {"slice": {"percent": percent, "key": "header:x-user-id"}, **changed}
    room.arm(armed(experiment=experiment, deny=deny))
    room.lease()
    ask_all(room, asked)
    told = room.told()
    answer = room.look_back(experiment=experiment, deny=deny)
    (step,) = answer["steps"]
    assert answer["problem"] == ""
    assert answer["requests"] == answer["of_routes"] == len(asked)
    assert (step["seen"], step["reads"], step["writes"]) == (told["seen"], told["faults"]["dry_read"], told["faults"]["dry_write"])
    assert sorted(step["units"]) == sorted(told["units"])
    assert step["control"] == sum(told["control"].values())


def test_a_step_is_a_part_of_the_next_and_the_denied_are_told() -> None:
    """Of two shares the smaller touches no more; a unit on a deny list is touched by neither, and told."""
    room = Past()
    users = [f"u{number}" for number in range(200)]
    ask_all(room, [(user, "GET") for user in users])
    denied = next(user for user in users if point(user.encode(), b"one") < 0.1)
    answer = room.look_back(percents=(1.0, 10.0), deny=[denied])
    first, full = answer["steps"]
    assert full["reads"] == sum(point(user.encode(), b"one") < 0.1 for user in users) - 1
    assert first["reads"] == sum(point(user.encode(), b"one") < 0.01 and user != denied for user in users)
    assert set(first["units"]) <= set(full["units"])
    assert answer["denied"] == 1


def test_requests_by_themselves_are_shared_out_as_they_would_be() -> None:
    """Without a unit each request has a draw: 10 % of 200 are 20, and there are no units to count."""
    room = Past()
    ask_all(room, [("u", "GET")] * 200)
    (step,) = room.look_back(experiment={"slice": {"percent": 10, "key": ""}})["steps"]
    assert abs(step["reads"] - 20) <= 2
    assert step["units"] == []


def test_only_what_came_since_and_only_its_routes() -> None:
    """The oldest are left out, other routes are looked at and not touched, and what is too long to tell is told."""
    shop = {"name": "shop", "live": "live", "match": {"path": "/shop"}}
    room = Past(shop, MIRRORED | {"mirror": []})
    client, live = ask_all(room, [("u", "GET")] * 4)
    for extra in ("", "X-Long: " + "x" * 2048 + "\r\n"):
        client.says(f"GET /shop HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
        assert live.heard
        live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    answer = room.look_back(skip=1, experiment={"slice": {"percent": 10, "pinned": ["u"], "key": "header:x-user-id"}})
    assert (answer["requests"], answer["of_routes"], answer["too_long"]) == (5, 3, 1)
    assert answer["steps"][0]["reads"] == 3
    assert answer["first"] <= time.monotonic_ns()


def test_live_traffic_has_its_turns() -> None:
    """A few heads at a time: between two turns requests are served, and what they add is not looked at."""
    room = Past()
    client, live = ask_all(room, [("u", "GET")] * (2 * lookback.HEADS_AT_ONCE + 1))
    looked = room.worker.look_backs
    looked.set_aside({"id": 7})
    run = armed()
    question = {"id": 7, "since": 0, "percents": [10.0], "experiment": run["experiment"], "deny": [], "endpoints": None}
    looked.begin(question)
    turns = 0
    while room.steps:
        turns += 1
        assert room.ask(client, live, "late").endswith(b"ok")
        room.steps.pop(0)()
    assert turns == 2
    assert room.answers[-1]["requests"] == 2 * lookback.HEADS_AT_ONCE + 1
    looked.begin(question)
    assert room.answers[-1]["requests"] == 0, "an answer lets go of what was set aside"


def test_limits_by_the_second_are_those_of_their_time() -> None:
    """One a second of ten that came a second apart are all ten; of ten that came together only what is saved up. Nobody waits for that."""
    for apart_ns, touched in ((1_100_000_000, 10), (0, round(BURST_S))):
        room = Past()
        for number in range(10):
            head = b"GET / HTTP/1.1\r\nHost: a\r\nX-User-Id: u\r\n\r\n"
            room.worker.recent.note((head, time.monotonic_ns() + number * apart_ns, b"192.0.2.1", "front"))
        inject = {"routes": ["all"], "faults": [{"delay": "1s"}], "per_second": 1}
        answer = room.look_back(experiment={"inject": inject, "slice": {"percent": 10, "pinned": ["u"], "key": "header:x-user-id"}})
        assert answer["steps"][0]["reads"] == touched


def test_nobody_remembers_anything_at_first() -> None:
    """A worker that has just begun says so: no request, and nothing touched."""
    room = Past()
    answer = room.look_back()
    assert (answer["requests"], answer["first"], answer["steps"][0]["reads"]) == (0, 0, 0)


def test_questions_that_cannot_be_answered_are_told_so() -> None:
    """An experiment that is none, one that was overtaken by another question: a problem, and the worker serves on."""
    room = Past()
    client, live = ask_all(room, [("u", "GET")])
    looked = room.worker.look_backs
    looked.set_aside({"id": 1})
    looked.set_aside({"id": 2})
    looked.begin({"id": 1})
    assert "not kept" in room.answers[-1]["problem"]
    for question in ({"id": 2}, {"id": 2, "since": 0, "percents": [1.0], "experiment": {"name": "x"}, "deny": [], "endpoints": None}):
        looked.begin(question)
        assert room.answers[-1]["problem"]
    assert room.ask(client, live, "u").endswith(b"ok")


def test_nothing_of_it_touches_what_is_armed() -> None:
    """A run of the same experiment that is armed counts the same before and after, and the requests of the worker are its own."""
    room = Past()
    room.arm(armed())
    room.lease()
    ask_all(room, [(f"u{number}", "GET") for number in range(50)])
    room.told()
    room.look_back()
    told = room.told()
    assert (told["seen"], told["outside"], dict(told["units"])) == (0, 0, {})
