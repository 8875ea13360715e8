"""P2: every request that a mirror could copy ends in exactly one counter, whatever happens meanwhile.

A script of steps runs against a worker: requests begin, finish and break off; mirrors come, change and go;
the kill switch is pulled and released; live and shadow misbehave; the worker is killed and replaced. What
the test itself knows of each request is compared with what was counted:

*   at every tally of every worker: eligible == sum(fates) + pending (the kit checks each one);
*   a mirror's shared word is the number of requests that began while it was configured, also after SIGKILL;
*   when all is over nothing is pending, and what a killed worker had not reported is the word minus its fates;
*   the fates that a request's form decides alone are counted exactly.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.kit import Truncated, WorkerProxy, World, answers, settings
from tests.kit.client import wire
from tests.kit.process import eventually

if TYPE_CHECKING:
    from tests.kit import Client
    from tests.kit.origin import Answer, Turn
    from tests.kit.world import Plain

BODY_LIMIT: Final = 65536

LIVE: Final[dict[str, Answer]] = {
    "ok": answers.ok(b"live"),
    "echo": answers.echo(),
    "late": answers.ok(b"live", pause_s=0.03),
    "close": answers.close(),
    "cut": answers.raw_then_close(answers.head(200, [("Content-Length", "9")]) + b"abc"),
}

SHADOW: Final[dict[str, Answer]] = {
    "ok": answers.ok(b"live"),
    "other": answers.ok(b"shadow", status=500),
    "large": answers.ok(bytes(300_000)),
    "late": answers.ok(b"live", pause_s=0.05),
    "hang": answers.hang(),
    "unread": answers.raw_then_close(answers.head(200, [("Content-Length", "0"), ("Connection", "close")])),
    "early": answers.early(answers.head(200, [("Content-Length", "0")]), then_close=True),
    "reset": answers.reset(),
    "cut": answers.raw_then_reset(answers.head(200, [("Content-Length", "9")]) + b"abc"),
    "garbage": answers.raw(b"\x00\x01\x02\r\n\r\n"),
}

TEXT: Final = b"a note from alice@shop.example, with a lot of words behind it which say nothing that anybody keeps secret\n"
"""What a scrubber looks through, as it does not through noise."""

BODIES: Final = {"none": 0, "small": 500, "large": 3 * BODY_LIMIT}


@dataclass(frozen=True)
class Begin:
    """A request whose head is sent, with all of its body or all but its end."""

    method: str
    body: str
    is_chunked: bool
    live: str
    shadow: str
    user: int
    is_whole: bool


@dataclass(frozen=True)
class Finish:
    """An open request is sent to its end, and answered."""

    which: int


@dataclass(frozen=True)
class BreakOff:
    """The client of an open request leaves."""

    which: int
    is_reset: bool


@dataclass(frozen=True)
class Mirror:
    """Settings of one mirror."""

    percent: float = 100.0
    holdout: float = 0.0
    is_sticky: bool = False
    methods: tuple[str, ...] = ("GET", "POST", "PUT")
    in_flight: int = 256
    breaker: int = 0
    is_scrubbed: bool = False


@dataclass(frozen=True)
class Reload:
    """A new policy: these mirrors, by name."""

    mirrors: dict[str, Mirror]


@dataclass(frozen=True)
class Switch:
    """The kill switch is pulled or released."""

    is_killed: bool


@dataclass(frozen=True)
class Sigkill:
    """The worker dies on the spot and is replaced."""


Step = Begin | Finish | BreakOff | Reload | Switch | Sigkill

mirrors = st.builds(
    Mirror,
    percent=st.sampled_from([100.0, 100.0, 50.0, 0.0]),
    holdout=st.sampled_from([0.0, 0.0, 50.0, 100.0]),
    is_sticky=st.booleans(),
    methods=st.sampled_from([("GET", "POST", "PUT"), ("GET",), ("POST",)]),
    in_flight=st.sampled_from([256, 256, 2]),
    breaker=st.sampled_from([0, 0, 2]),
    is_scrubbed=st.booleans(),
)
begins = st.builds(
    Begin,
    method=st.sampled_from(["GET", "POST", "PUT"]),
    body=st.sampled_from(sorted(BODIES)),
    is_chunked=st.booleans(),
    live=st.sampled_from(sorted(LIVE)),
    shadow=st.sampled_from(sorted(SHADOW)),
    user=st.integers(0, 5),
    is_whole=st.booleans(),
)
steps = st.lists(
    st.one_of(
        begins,
        begins,
        begins,
        st.builds(Finish, st.integers(0, 7)),
        st.builds(Finish, st.integers(0, 7)),
        st.builds(BreakOff, st.integers(0, 7), st.booleans()),
        st.builds(Reload, st.dictionaries(st.sampled_from(["first", "second"]), mirrors)),
        st.builds(Switch, st.booleans()),
        st.just(Sigkill()),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Open:
    """A request under way."""

    begin: Begin
    client: Client
    rest: bytes
    body: bytes


@dataclass
class Known:
    """What must have been counted for one mirror by the worker of the moment."""

    eligible: int = 0
    by_fate: dict[str, int] = field(default_factory=dict)


class Script:
    """Runs steps, and knows what they must have come to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened: list[Open] = []
        self.mirrors: dict[str, Mirror] = {}
        self.known: dict[str, Known] = {}
        self._numbers = itertools.count()
        self._is_killed = False
        self.reload({"first": Mirror()})

    def run(self, step: Step) -> None:
        """Carry out one step; steps about requests that are not there do nothing."""
        if isinstance(step, Begin):
            self.begin(step)
        elif isinstance(step, Finish) and self.opened:
            self.finish(self.opened.pop(step.which % len(self.opened)))
        elif isinstance(step, BreakOff) and self.opened:
            client = self.opened.pop(step.which % len(self.opened)).client
            client.abort() if step.is_reset else client.close()
        elif isinstance(step, Reload):
            self.reload(step.mirrors)
        elif isinstance(step, Switch):
            self._is_killed = step.is_killed
            self.world.proxy.kill() if step.is_killed else self.world.proxy.resume()
        elif isinstance(step, Sigkill):
            self.replace_worker()

    def begin(self, begin: Begin) -> None:
        """Send, and wait until live has the head: from then on it is known under which policy it began."""
        path = f"/{begin.live}/{begin.shadow}/{next(self._numbers)}"
        size = BODIES[begin.body]
        body = os.urandom(size) if begin.user % 2 else (TEXT * (size // len(TEXT) + 1))[:size]
        user = ("X-User", str(begin.user))
        if begin.is_chunked:
            pieces = [body[at : at + 20_000] for at in range(0, len(body), 20_000)]
            framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            head = wire(begin.method, path, user, ("Transfer-Encoding", "chunked"))
        else:
            framed = body
            head = wire(begin.method, path, user, ("Content-Length", str(len(body))))
        sent = len(framed) if begin.is_whole else len(framed) // 2
        client = self.world.client()
        client.send(head + framed[:sent])
        self.world.live.wait_begun(path)
        self.opened.append(Open(begin, client, framed[sent:], body))
        for name, mirror in self.mirrors.items():
            known = self.known.setdefault(f"all/{name}", Known())
            known.eligible += 1
            fate = self._certain_fate(mirror, begin)
            known.by_fate[fate] = known.by_fate.get(fate, 0) + 1

    def _certain_fate(self, mirror: Mirror, begin: Begin) -> str:
        """The fate that follows from the request and the policy alone, "" where there is none."""
        if begin.method not in mirror.methods:
            return "method"
        if not begin.is_chunked and BODIES[begin.body] > BODY_LIMIT:
            return "too_large"
        if mirror.percent == 0.0:
            return "not_sampled"
        return ""

    def finish(self, opened: Open) -> None:
        """The rest of the request, and its answer: what live made of it, untouched by mirrors."""
        begin, client = opened.begin, opened.client
        client.send(opened.rest)
        try:
            response = client.response(begin.method)
        except Truncated:
            assert begin.live == "cut"
            return
        finally:
            client.close()
        if begin.live == "close":
            assert response.status == 502
        else:
            assert response.status == 200
            assert response.body == (opened.body if begin.live == "echo" else b"live")

    def reload(self, wanted: dict[str, Mirror]) -> None:
        """Replace all mirrors."""
        self.mirrors = wanted
        self.world.apply(config(wanted))

    def replace_worker(self) -> None:
        """SIGKILL: the words must account for all that the dead worker did not report."""
        proxy = self.world.proxy
        # Live has the head a moment before the mirrors are offered it, in the same callback.
        eventually(lambda: all(proxy.eligible(key) >= known.eligible for key, known in self.known.items()), "every request was offered")
        proxy.sigkill()
        for opened in self.opened:
            opened.client.close()
        self.opened.clear()
        assert not proxy.broken_law, proxy.broken_law
        for key, known in self.known.items():
            fates = proxy.tally.get("mirrors", {}).get(key, {}).get("fates", {})
            lost = proxy.eligible(key) - sum(fates.values())
            assert proxy.eligible(key) == known.eligible
            assert 0 <= lost <= known.eligible
            for fate, count in known.by_fate.items():
                assert not fate or fates.get(fate, 0) <= count
        proxy.abandon()
        self.known = {}
        self.world.proxy = WorkerProxy(self.world.text(config(self.mirrors)), proxy.listeners)
        if self._is_killed:
            self.world.proxy.kill()

    def end(self) -> None:
        """Finish what is open, settle, and compare to the last number."""
        while self.opened:
            self.finish(self.opened.pop())
        tally = self.world.proxy.settled()
        for key, known in self.known.items():
            mirror = tally["mirrors"][key]
            assert self.world.proxy.eligible(key) == known.eligible
            assert mirror["pending"] == 0
            assert sum(mirror["fates"].values()) == known.eligible, (mirror["fates"], known)
            assert mirror["fates"].get("method", 0) == known.by_fate.get("method", 0)
            assert mirror["fates"].get("too_large", 0) >= known.by_fate.get("too_large", 0)
            assert mirror["fates"].get("not_sampled", 0) >= known.by_fate.get("not_sampled", 0)
            failures = sum(count for fate, count in mirror["fates"].items() if fate.startswith("failed_"))
            assert sum(mirror["matrix"].values()) == mirror["fates"].get("paired", 0) + failures
            assert sum(mirror["bodies"].values()) == sum(mirror["matrix"].values())
        eventually(
            lambda: not any(mirror["in_flight"] or mirror["held"] for mirror in self.world.proxy.tally["mirrors"].values()),
            "no copy is left",
        )


def config(wanted: dict[str, Mirror]) -> Plain:
    """The config with these mirrors, all to the one shadow fleet."""
    plain = settings(live={"header_timeout": "5s"}, shadow={"max_connections": 16})
    plain["routes"][0]["mirror"] = [
        {
            "to": "shadow",
            "name": name,
            "percent": mirror.percent,
            "holdout": mirror.holdout,
            "key": "header:x-user" if mirror.is_sticky else "",
            "methods": list(mirror.methods),
            "in_flight": mirror.in_flight,
            "breaker": {"failures": mirror.breaker, "period": "50ms"},
            "body_limit": BODY_LIMIT,
            "timeout": "200ms",
            "scrub": mirror.is_scrubbed,
        }
        for name, mirror in wanted.items()
    ]
    return plain


def by_segment(scripts: dict[str, Answer], at: int) -> Answer:
    """The answer that the path names."""

    def answer(turn: Turn) -> None:
        with contextlib.suppress(ConnectionError):
            scripts[turn.request.target.split("/")[at]](turn)

    return answer


def check(script: list[Step]) -> None:
    """Run a script on a world of its own."""
    with World(config({})) as world:
        world.live.answer = by_segment(LIVE, 1)
        world.shadow.answer = by_segment(SHADOW, 2)
        running = Script(world)
        for step in script:
            running.run(step)
        running.end()


IS_DEEP: Final = os.environ.get("DEEP") == "1"


@pytest.mark.slow
@pytest.mark.timeout(7200 if IS_DEEP else 120)
@hypothesis_settings(max_examples=300 if IS_DEEP else 15)
@given(script=steps)
def test_every_request_ends_in_one_counter(script: list[Step]) -> None:
    """The law, under anything that steps can be put together to."""
    check(script)


def test_a_script_of_everything() -> None:
    """Every kind of step, body, fault and fate once, in an order that overlaps them: the law does not depend on luck."""
    everything: list[Step] = [
        Begin(method, body, is_chunked, live, shadow, number % 6, is_whole)
        for number, (method, body, is_chunked, live, shadow, is_whole) in enumerate(
            zip(
                itertools.cycle(["GET", "POST", "PUT"]),
                itertools.cycle(["none", "small", "large", "small"]),
                itertools.cycle([False, True]),
                itertools.cycle(sorted(LIVE)),
                sorted(SHADOW) * 5,
                itertools.cycle([True, True, False]),
                strict=False,
            )
        )
    ]
    changes: list[Any] = [
        Reload({"first": Mirror(percent=50.0, is_sticky=True), "second": Mirror(holdout=50.0)}),
        Finish(0),
        Switch(is_killed=True),
        Finish(3),
        BreakOff(2, is_reset=True),
        Switch(is_killed=False),
        Reload({"second": Mirror(in_flight=2, methods=("GET",))}),
        BreakOff(1, is_reset=False),
        Reload({"first": Mirror(breaker=2)}),
        Reload({"first": Mirror(is_scrubbed=True), "second": Mirror(is_scrubbed=True, in_flight=2)}),
        Finish(1),
        Finish(5),
        Sigkill(),
    ]
    interleaved = [step for at, begin in enumerate(everything) for step in (begin, *changes[at % len(changes) : at % len(changes) + 1])]
    check(interleaved)
