"""What every integration promises, as conversations with real sockets at both ends.

A server's test makes a `Front`: a service that serves these targets and calls the origin for each of them:

    /call?id=..      calls `/call?id=..` and answers
    /stream?id=..    answers in three pieces and calls before each of them
    /later?id=..     answers, and calls when the answer has been sent
    /tenant          answers with the tenant in force, `-` for none
    /fail            fails

A client's test makes a `Call`: a function that gets an address with some header fields of its own.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from shadowproxy.propagate import NOTHING, Carried, carrying, extract, tagged
from tests.kit import Client, Origin, answers
from tests.propagate.fields import PARENT, TRACE

if TYPE_CHECKING:
    from tests.kit import Response, Seen
    from tests.kit.network import Address
    from tests.kit.origin import Turn

Call = Callable[[str, Mapping[str, str]], None]
"""One GET with fields of the caller's own, redirects followed."""

CARRYING: Final = ("X-Test-Traffic", "baggage", "traceparent", "tracestate", "X-Shadow-Mirror")
TAGGED: Final = (
    ("x-TEST-traffic", "canary-7"),
    ("baggage", "user=4711;p=1"),
    ("Baggage", "plan=a%20b"),
    ("traceparent", PARENT),
    ("tracestate", "v=1"),
    ("X-Shadow-Mirror", "shadow;by=1"),
)
CROWD: Final = 8
"""Requests that are in flight at once."""


@dataclass(frozen=True)
class Front:
    """A service under test, and the origin that it calls."""

    address: Address
    origin: Origin


def url_of(origin: Origin, target: str) -> str:
    """The address of a target at an origin."""
    host, port = origin.address
    return f"http://{host}:{port}{target}"


def is_child(traceparent: str) -> bool:
    """Whether it is another span of the trace of PARENT."""
    return re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", traceparent) is not None and traceparent != PARENT


def assert_carries_all(seen: Seen) -> None:
    """A call made for TAGGED: each field once, ours and other people's baggage, and a span of its own."""
    assert seen.one("X-Test-Traffic") == "canary-7"
    assert seen.one("baggage") == "synthetic_request=true,test_tenant=canary-7,user=4711;p=1,plan=a%20b"
    assert is_child(seen.one("traceparent"))
    assert seen.one("tracestate") == "v=1"
    assert seen.one("X-Shadow-Mirror") == "shadow;by=1"


def assert_carries_nothing(seen: Seen) -> None:
    """A call that nobody tagged, traced or gave baggage to."""
    assert not [name for name in CARRYING if seen.has(name)]


# ---- servers ------------------------------------------------------------------------------------


class Visitor:
    """A client that keeps one connection for as long as the server does."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, target: str, *fields: tuple[str, str]) -> Response:
        """A GET and its answer."""
        if self._client is None:
            self._client = Client(self._front.address)
        answer = self._client.get(target, *fields)
        if answer.version == "1.0" or answer.all("Connection") == ["close"]:
            self._client.close()
            self._client = None
        return answer


def what_comes_in_goes_out(front: Front) -> None:
    """Tag, foreign baggage of several fields, trace under a new span, tracestate and mark."""
    with Visitor(front) as client:
        assert client.get("/call?id=1", *TAGGED).status == 200
    assert_carries_all(front.origin.wait_for("/call"))


def baggage_alone_tags(front: Front) -> None:
    """A tag that came as baggage goes on as a header too."""
    with Visitor(front) as client:
        client.get("/call?id=1", ("baggage", "synthetic_request=true,a=1"))
    seen = front.origin.wait_for("/call")
    assert seen.one("X-Test-Traffic") == "true"
    assert seen.one("baggage") == "synthetic_request=true,a=1"


def untagged_stays_untagged(front: Front) -> None:
    """A request without any of the fields makes calls without any; a tag that says no is none."""
    with Visitor(front) as client:
        client.get("/call?id=1")
        client.get("/call?id=2", ("X-Test-Traffic", "false"))
    assert_carries_nothing(front.origin.wait_for("/call", 1))
    assert_carries_nothing(front.origin.wait_for("/call", 2))


def nothing_is_left_for_the_next_request(front: Front) -> None:
    """On one kept-alive connection, after answers of every kind and after a failure."""
    with Visitor(front) as client:
        for path in ("/call", "/stream", "/later", "/tenant"):
            assert client.get(f"{path}?id=1", *TAGGED).status == 200
            assert client.get("/tenant").body == b"-"
            assert client.get("/tenant", ("X-Test-Traffic", "other")).body == b"other"
            assert client.get("/tenant").body == b"-"
    with Visitor(front) as client:
        assert client.get("/fail", *TAGGED).status == 500
    with Visitor(front) as client:
        assert client.get("/tenant").body == b"-"


def streamed_answers_carry_on(front: Front) -> None:
    """The calls made while an answer is under way, and they are spans of their own."""
    with Visitor(front) as client:
        assert client.get("/stream?id=1", *TAGGED).body == b"abc"
    front.origin.wait_for("/stream", 3)
    for seen in front.origin.seen("/stream"):
        assert_carries_all(seen)
    assert len({seen.one("traceparent") for seen in front.origin.seen("/stream")}) == 3


def work_after_the_answer_carries_on(front: Front) -> None:
    """What a handler leaves to be done when the answer has been sent."""
    with Visitor(front) as client:
        assert client.get("/later?id=1", *TAGGED).status == 200
    assert_carries_all(front.origin.wait_for("/later"))


def tenants_never_mix(front: Front) -> None:
    """Requests of many tenants that are all in flight at once, and untagged ones among them: each call names its own."""
    for path, calls in (("/call", 1), ("/stream", 3)):
        together = threading.Barrier(CROWD, timeout=30)

        def answer(turn: Turn, together: threading.Barrier = together) -> None:
            turn.read_body()
            together.wait()
            answers.ok()(turn)

        front.origin.on(path, answer)

        def ask(number: int, path: str = path) -> None:
            tag = [("X-Test-Traffic", f"tenant-{number}")] if number % 4 else []
            with Visitor(front) as client:
                client.get(f"{path}?id={number}", *tag)

        with ThreadPoolExecutor(CROWD) as crowd:
            list(crowd.map(ask, range(CROWD)))
        seen = front.origin.seen(path)
        assert len(seen) == CROWD * calls
        for request in seen:
            number = int(request.target.partition("id=")[2])
            if number % 4:
                assert request.one("X-Test-Traffic") == f"tenant-{number}"
            else:
                assert_carries_nothing(request)


SERVER_PROMISES: Final = (
    what_comes_in_goes_out, baggage_alone_tags, untagged_stays_untagged, nothing_is_left_for_the_next_request, streamed_answers_carry_on,
    work_after_the_answer_carries_on, tenants_never_mix,
)  # fmt: skip


# ---- clients ------------------------------------------------------------------------------------


def calls_carry_what_is_in_force(call: Call, origin: Origin) -> None:
    """All of it, each call as a span of its own, and nothing outside."""
    with carrying(extract(TAGGED)):
        call(url_of(origin, "/down"), {})
        call(url_of(origin, "/down"), {})
    call(url_of(origin, "/down"), {})
    first, second, third = origin.seen("/down")
    assert_carries_all(first)
    assert_carries_all(second)
    assert first.one("traceparent") != second.one("traceparent")
    assert_carries_nothing(third)


def fields_of_the_caller_are_merged(call: Call, origin: Origin) -> None:
    """Its own come once, under any spelling; its baggage wins; its other fields are untouched."""
    own = {"x-test-traffic": "mine", "BAGGAGE": "plan=mine", "x-shadow-mirror": "own;by=2", "Accept-Language": "eo"}
    with carrying(extract(TAGGED)):
        call(url_of(origin, "/down"), given := dict(own))
    assert given == own
    (seen,) = origin.seen("/down")
    assert seen.one("X-Test-Traffic") == "mine"
    assert seen.one("baggage") == "synthetic_request=true,test_tenant=mine,plan=mine,user=4711;p=1"
    assert seen.one("X-Shadow-Mirror") == "own;by=2"
    assert seen.one("Accept-Language") == "eo"


def spans_of_tracers_are_kept(call: Call, origin: Origin) -> None:
    """A traceparent of the caller's own stays, alone, also when the call is redirected."""
    origin.on("/from", answers.ok(status=307, fields=[("Location", "/to")]))
    other = f"00-{'c' * 32}-{'d' * 16}-00"
    with carrying(extract(TAGGED)):
        call(url_of(origin, "/from"), {"traceparent": other})
    assert [seen.one("traceparent") for seen in (*origin.seen("/from"), *origin.seen("/to"))] == [other, other]
    assert not origin.seen("/to")[0].has("tracestate")


def redirected_calls_carry_it_again(call: Call, origin: Origin) -> None:
    """Each hop has every field once, and is a span of its own."""
    origin.on("/one", answers.ok(status=302, fields=[("Location", "/two")]))
    origin.on("/two", answers.ok(status=307, fields=[("Location", "/three")]))
    with carrying(extract(TAGGED)):
        call(url_of(origin, "/one"), {})
    hops = [*origin.seen("/one"), *origin.seen("/two"), *origin.seen("/three")]
    assert len(hops) == 3
    for seen in hops:
        assert_carries_all(seen)
    assert len({seen.one("traceparent") for seen in hops}) == 3


def untagged_traces_go_on(call: Call, origin: Origin) -> None:
    """Trace and baggage of untagged traffic are carried, and no tag is made up; a caller may tag one call by itself."""
    with carrying(Carried(traceparent=PARENT, baggage=("a=1",))):
        call(url_of(origin, "/down"), {})
        call(url_of(origin, "/down"), {"X-Test-Traffic": "bot"})
    plain, bot = origin.seen("/down")
    assert is_child(plain.one("traceparent"))
    assert plain.one("baggage") == "a=1"
    assert not plain.has("X-Test-Traffic")
    assert (bot.one("X-Test-Traffic"), bot.one("baggage")) == ("bot", "synthetic_request=true,test_tenant=bot,a=1")


def what_is_in_force_may_change(call: Call, origin: Origin) -> None:
    """One client serves all tenants in turn, on the connections that it keeps."""
    for tenant in ("a", "b", ""):
        with tagged(tenant) if tenant else carrying(NOTHING):
            call(url_of(origin, "/down"), {})
    assert [seen.all("X-Test-Traffic") for seen in origin.seen("/down")] == [["a"], ["b"], []]


CLIENT_PROMISES: Final = (
    calls_carry_what_is_in_force, fields_of_the_caller_are_merged, spans_of_tracers_are_kept, redirected_calls_carry_it_again,
    untagged_traces_go_on, what_is_in_force_may_change,
)  # fmt: skip
