"""Promise P3 through a real worker: not one tagged write reaches live unless a rule says so, and not one untagged request anything else.

The corpus of tests/data/tag_cases.py is crossed with rules, listeners, deliveries and whatever can fail. tests/kit/tagged.py checks what recorders saw.
"""

from __future__ import annotations

import base64
import os
import time
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shadowproxy.passports import Request, mint
from tests.data import doubtful_requests
from tests.data.tag_cases import BAGGAGE, CASES, REFUSED, SEVERAL, TAGGED, UNTAGGED, VALUES, Case
from tests.kit import answers
from tests.kit.client import Client
from tests.kit.process import eventually
from tests.kit.tagged import (
    HOST,
    ID,
    LIVE,
    PARTITION,
    PARTITION_FAULTS,
    RULES,
    SINK,
    SINK_FAULTS,
    Ask,
    TaggedWorld,
    ask,
    id_of,
    problems,
    wire,
)
from tests.kit.wire import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.data.doubtful_requests import Doubtful

DEEP: Final = os.environ.get("DEEP") == "1"
PLAIN: Final = Case(TAGGED, "canary-7", ("X-Test-Traffic: canary-7",), TAGGED, "canary-7")
NONE: Final = Case(UNTAGGED, "", (), UNTAGGED, "")
TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e{:04x}-00f067aa0ba902b7-01"
SOUND: Final = ("unruled", "refuse", "live", "sink", "both", "keeps", "fleet", "path", "header", "host", "query", "treat")
KEY: Final = b"k" * 32


@pytest.fixture(scope="module")
def shared() -> Iterator[TaggedWorld]:
    """A worker of any listener, for tests that leave it as it was."""
    listeners: dict[str, dict[str, Any]] = {
        "trusting": {"trusted_proxies": ["127.0.0.0/8"]},
        "ranges": {"trust": {"mode": "cidrs", "cidrs": ["127.0.0.7/32"]}},
        "signed": {"trust": "signed"},
        "out": {"egress": {}},
        "out-all": {"egress": {"calls": "all"}},
        "out-refuse": {"egress": {"lost_tags": "refuse"}},
        "out-report": {"egress": {"lost_tags": "report"}},
    }
    told = {"passport_keys": {"k1": base64.b64encode(KEY).decode()}}
    tenancy = {"passports": {"keys": {"k1": {"file": "unread"}}}}
    with TaggedWorld(listeners=listeners, told=told, tenancy=tenancy) as made:
        yield made


@pytest.fixture
def world(shared: TaggedWorld) -> Iterator[TaggedWorld]:
    """The same, clean; what was sent is checked at the end."""
    yield shared
    shared.forget()


@pytest.mark.parametrize("has_dialects", [False, True])
def test_every_spelling_by_every_rule(*, has_dialects: bool) -> None:
    """Each case of the corpus, by rules in turn (all with DEEP=1), as write and as read; heads that are remembered get the same verdict."""
    turns = cycle(SOUND)
    with TaggedWorld(has_dialects=has_dialects) as world:
        for case in CASES:
            # The same field lines several times: the third time on, the head is known by its bytes.
            routes = SOUND if DEEP else ["unruled", "sink", next(turns), next(turns), *(() if has_dialects else [next(turns)])]
            for route in routes:
                world.send(ask(case, route, has_dialects=has_dialects))
            world.send(ask(case, next(turns), is_write=False, has_dialects=has_dialects))
        assert len(CASES) >= 200


def test_every_spelling_when_destinations_fail(world: TaggedWorld) -> None:
    """Refused, reset, closed, slow, failing, dying in an answer, malformed: a tagged write is answered 5xx, or cut short, and goes nowhere else."""
    faults = cycle([*SINK_FAULTS, *(fault for fault in PARTITION_FAULTS if fault != "test-hanging")])
    for case in CASES:
        for _ in range(11 if DEEP else 2):
            route = next(faults)
            status = world.send(ask(case, route))
            if case.verdict == TAGGED:
                assert status == (
                    201 if route in {"dying", "test-dying"} else 200 if route == "slow" else 500 if route == "failing" else 503
                ) or (route in {"dying", "test-dying"} and not status)


def test_destinations_that_hang(world: TaggedWorld) -> None:
    """A partition that says nothing is 503 after its own patience, for every tagged write of many at once."""
    sent = [world.begin(ask(case, "test-hanging")) for case in (PLAIN, *SEVERAL, NONE)]
    for asked, client in sent:
        status = world.end(asked, client)
        assert status == {TAGGED: 503, REFUSED: 400, UNTAGGED: 200}[asked.verdict]


def _doubtful(doubtful: Doubtful, case: Case, *, is_write: bool, **options: Any) -> Ask:
    method, target, lines, body = doubtful
    route = target.split("?")[0].split("/")[1]
    extra = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return Ask(case.verdict, case.tenant, route, is_write, wire(method, target, case.block, body, extra=extra), method=method, **options)


@pytest.mark.parametrize("listener", ["front", "trusting"])
def test_what_servers_differ_about_writes(world: TaggedWorld, listener: str) -> None:
    """What some server could take for a write does not get to live, whatever a rule for reads says; what must be a read does."""
    for doubtful in doubtful_requests.TREATED_AS_READS:
        assert world.send(_doubtful(doubtful, PLAIN, is_write=False, listener=listener)) == 200, doubtful
    for doubtful in doubtful_requests.TREATED_AS_WRITES:
        assert world.send(_doubtful(doubtful, PLAIN, is_write=True, listener=listener)) == 201, doubtful
        assert world.send(_doubtful(doubtful, NONE, is_write=True, listener=listener)) == 200, doubtful


@pytest.mark.parametrize("listener", ["front", "trusting"])
def test_nothing_leaves_a_partition(world: TaggedWorld, listener: str) -> None:
    """No path, field or parameter leads out of a partition at the live fleet, behind a trusted proxy neither."""
    for doubtful in doubtful_requests.LEAVING_A_PATH:
        sent = _doubtful(doubtful, PLAIN, is_write=True, listener=listener)
        assert world.send(sent) == 409, doubtful
        (row,) = world.rows_of(world.next_number - 1)
        assert (row["fate"], row["reason"]) == ("refused", "path_escapes_partition")
        assert world.send(_doubtful(doubtful, NONE, is_write=True, listener=listener)) == 200, doubtful
    for doubtful in (*doubtful_requests.STAYING_IN_A_PATH, *doubtful_requests.TELLING_LIVE):
        assert world.send(_doubtful(doubtful, PLAIN, is_write=True, listener=listener)) == 200, doubtful
    for doubtful in doubtful_requests.TELLING_LIVE:
        assert world.send(_doubtful(doubtful, NONE, is_write=True, listener=listener)) == 200, doubtful


FRAMINGS: Final = ("length", "chunked", "none", "http10", "absolute", "upgrade", "override", "get")


def _framed(framing: str, case: Case, route: str, body: bytes) -> Ask:
    """A write in one of several forms; `get` is a read."""
    target = f"/{route}/orders"
    plain = Ask(case.verdict, case.tenant, route, framing != "get", b"")
    if framing == "length":
        return replace(plain, wire=wire("PUT", target, case.block, body), method="PUT")
    if framing == "chunked":
        coded = b"%x;x=1\r\n%b\r\n" % (len(body), body) if body else b""
        return replace(
            plain, wire=wire("POST", target, case.block, extra=b"Transfer-Encoding: chunked\r\n") + coded + b"0\r\nX-Sum: 1\r\n\r\n"
        )
    if framing == "none":
        return replace(plain, wire=wire("DELETE", target, case.block), method="DELETE")
    if framing == "http10":
        return replace(plain, wire=wire("POST", target, case.block, body, version="1.0"), version="1.0")
    if framing == "absolute":
        return replace(plain, wire=wire("POST", f"http://{HOST}{target}", case.block, body))
    if framing == "upgrade":
        return replace(plain, wire=wire("GET", target, case.block, extra=b"Connection: Upgrade\r\nUpgrade: chat\r\n"), method="GET")
    if framing == "override":
        return replace(plain, wire=wire("GET", target, case.block, extra=b"X-HTTP-Method-Override: DELETE\r\n"), method="GET")
    return replace(plain, wire=wire("GET", target, case.block), method="GET")


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Any case by any rule in any form, cut into any segments, by a client that may leave at any byte."""
    route = draw(st.sampled_from([route for route in RULES if route not in {"treat", "test-hanging"}]))
    made = _framed(draw(st.sampled_from(FRAMINGS)), draw(st.sampled_from(CASES)), route, draw(st.binary(max_size=40)))
    length = len(made.wire)
    splits = draw(
        st.just(())
        | st.lists(st.integers(1, length), max_size=6).map(tuple)
        | (st.just(tuple(range(1, length))) if length < 400 else st.just(()))
    )
    return replace(made, splits=splits, leaves=draw(st.just(-1) | st.just(-1) | st.integers(0, length)))


@given(st.lists(asks(), min_size=1, max_size=6))
@hypothesis_settings(max_examples=3000 if DEEP else 120)
def test_whatever_is_sent_however_it_is_sent(shared: TaggedWorld, several: list[Ask]) -> None:
    """Several requests at a time, in any form and segmentation, by clients some of which leave: each goes where it must, or nowhere."""
    begun = [shared.begin(one) for one in several]
    for sent, client in begun:
        shared.end(sent, client)
    shared.forget()


@given(st.lists(st.tuples(st.sampled_from(CASES), st.sampled_from(SOUND), st.booleans()), min_size=2, max_size=6))
@hypothesis_settings(max_examples=1000 if DEEP else 60)
def test_pipelined_requests_do_not_lend_each_other_their_tags(shared: TaggedWorld, several: list[tuple[Case, str, bool]]) -> None:
    """Requests in one segment of one connection are each judged by their own lines; behind a refused one nothing more is."""
    data = b""
    for case, route, is_write in several:
        sent = replace(ask(case, route, is_write=is_write), number=shared.next_number, status=[])
        shared.asked.append(sent)
        data += sent.wire.replace(ID, b"%d" % sent.number)
    with Client(shared.proxy.address("front")) as client:
        client.send(data)
        client.half_close()
        client.remainder()
    shared.forget()


TAGGING_TRAILERS: Final = (
    "X-Test-Traffic: true", "x_test.traffic: canary-7", "X-TEST-TRAFFIC: false", "baggage: synthetic_request=true", "Baggage: a=1, Synthetic_Request = 1",
)  # fmt: skip


@pytest.mark.parametrize("trailer", TAGGING_TRAILERS)
@pytest.mark.parametrize("case", [NONE, PLAIN])
def test_a_tag_behind_the_body_comes_too_late(world: TaggedWorld, trailer: str, case: Case) -> None:
    """A request is refused whose trailers are about tags, and nobody gets it whole; with its head in another segment live may have begun to read it."""
    head = wire("POST", "/sink/orders", case.block, extra=b"Transfer-Encoding: chunked\r\n")
    end = b"0\r\n" + trailer.encode() + b"\r\n\r\n"
    at_once = Ask(REFUSED, "", "sink", is_write=True, wire=head + b"1\r\na\r\n" + end)
    assert world.send(at_once) == 400
    apart = Ask(case.verdict, case.tenant, "sink", is_write=True, wire=head + b"1\r\na\r\n" + end, splits=(len(head), len(head) + 6))
    _, client = world.begin(apart)
    with client:
        assert client.response("POST").status == 400
    assert not [seen for origin in (world.live, world.sink) for seen in origin.requests if seen.is_complete]


def test_only_trusted_addresses_may_tag(world: TaggedWorld) -> None:
    """On a listener with ranges a tag from elsewhere is 403 in every spelling, untagged requests pass, and forwarding fields change nothing."""
    forged = b"X-Forwarded-For: 127.0.0.7\r\nForwarded: for=127.0.0.7\r\nX-Real-IP: 127.0.0.7\r\n"
    for case in CASES if DEEP else (*VALUES, *SEVERAL, *BAGGAGE[::3]):
        trusted = ask(case, "sink", listener="ranges", source="127.0.0.7")
        world.send(trusted)
        verdict = REFUSED if case.verdict == TAGGED else case.verdict
        status = world.send(
            replace(trusted, verdict=verdict, source="127.0.0.8", wire=wire("POST", "/sink/orders", case.block, b"a=1", extra=forged))
        )
        assert status == (403 if case.verdict == TAGGED else 400 if case.verdict == REFUSED else 200)


def _signed(world: TaggedWorld, case: Case, spoil: str = "") -> Ask:
    """A write with a passport, spoilt in one way."""
    number = world.next_number
    target, body, method = f"/sink/orders?id={number}", b"a=1", b"POST"
    now = int(time.time())
    times = {"expired": (now - 100, now - 50), "not yet": (now + 100, now + 200), "for too long": (now, now + 3000)}
    created, expires = times.get(spoil, (now - 1, now + 60))
    others = [
        (name.lower().encode(), value.strip(" \t").encode("latin-1")) for line in case.lines for name, _, value in [line.partition(":")]
    ]
    request = Request(
        b"PUT" if spoil == "method" else method, b"http", b"other.example" if spoil == "authority" else HOST.encode(),
        (target + "&x=1" if spoil == "target" else target).encode(), others,
    )  # fmt: skip
    added = mint(
        request, b"b=2" if spoil == "body" else body, keyid="k2" if spoil == "unknown key" else "k1", key=b"x" * 32 if spoil == "key" else KEY,
        nonce="same" if spoil == "replayed" else f"n-{number}-{time.time_ns()}", created=created, expires=expires, tenant="canary-7",
        also=[] if spoil in {"uncovered", "alias"} else sorted({name.decode() for name, _ in others if name == b"baggage"}),
    )  # fmt: skip
    lines = [f"{name}: {value}" for name, value in added]
    if spoil == "alias":
        lines = [line.replace("X-Test-Traffic", "X_Test_Traffic") for line in lines]
    if spoil == "tag":
        lines = [line.replace("canary-7", "canary-8") for line in lines]
    if spoil == "two":
        lines += [line.replace("test=", "test2=") for line in lines if line.startswith("Signature")]
    if spoil == "no signature":
        lines = [line for line in lines if not line.startswith("Signature:")]
    if spoil == "unsigned":
        lines = [line for line in lines if not line.startswith("Signature")]
    if spoil == "foreign":
        lines = [line.replace('tag="shadowproxy"', 'tag="other"') for line in lines]
    if spoil == "duplicate tag":
        lines.append("x_test_traffic: canary-7")
    block = "".join(f"{line}\r\n" for line in (*case.lines, *lines)).encode("latin-1")
    sent = Ask(TAGGED if not spoil else REFUSED, "canary-7", "sink", is_write=True, wire=b"", listener="signed")
    return replace(sent, wire=wire("POST", "/sink/orders", block, body))


SPOILT: Final = (
    "expired", "not yet", "for too long", "method", "authority", "target", "body", "unknown key", "key", "alias", "tag", "two", "no signature", "unsigned",
    "foreign", "duplicate tag",
)  # fmt: skip


def test_only_passports_make_tags_count_where_they_are_asked_for(world: TaggedWorld) -> None:
    """A good one passes once; a bad, replayed, foreign or missing one is 403 whatever the spelling: neither a test nor normal traffic."""
    assert world.send(_signed(world, NONE)) == 201
    assert world.sink.requests[-1].all("Signature") == []
    for spoil in SPOILT:
        assert world.send(_signed(world, NONE, spoil)) == 403, spoil
    foreign = Case(TAGGED, "", ("baggage: synthetic_request=true,a=1",), TAGGED, "")
    assert world.send(_signed(world, foreign)) == 201
    assert world.send(_signed(world, foreign, "uncovered")) == 403
    once = _signed(world, NONE)
    assert world.send(once) == 201
    for case in CASES if DEEP else (*VALUES, *SEVERAL, *BAGGAGE[::3]):
        status = world.send(replace(ask(case, "sink", listener="signed"), verdict=REFUSED if case.verdict == TAGGED else case.verdict))
        assert status == (403 if case.verdict == TAGGED else 400 if case.verdict == REFUSED else 200)


def test_a_passport_works_once(world: TaggedWorld) -> None:
    """The second use of one is 403, with the same request byte for byte."""
    sent = replace(_signed(world, NONE), wire=_signed(world, NONE).wire.replace(ID, b"%d" % world.next_number))
    assert world.send(sent) == 201
    with Client(world.proxy.address("signed")) as client:
        client.send(sent.wire)
        assert client.response("POST").status == 403


def test_calls_of_shadows_and_lost_tags(world: TaggedWorld) -> None:
    """At egress listeners calls count as tests by tag, mark, listener or trace; others pass, also where a lost tag is only reported."""
    shadow = Case(TAGGED, "shadow", (), TAGGED, "shadow")
    for number, case in enumerate(CASES if DEEP else CASES[::4]):
        if "X-Shadow-Mirror" in str(case.lines):
            # A mark is no tag, and here it counts.
            continue
        world.send(ask(case, "sink", listener="out"))
        as_shadow = shadow if case.verdict == UNTAGGED else case
        world.send(replace(ask(case, "sink", listener="out-all"), verdict=as_shadow.verdict, tenant=as_shadow.tenant))
        marked = replace(case, lines=(*case.lines, "x_shadow.mirror: next;by=else"))
        world.send(replace(ask(marked, "path", listener="out"), verdict=as_shadow.verdict, tenant=as_shadow.tenant))
        if any("trace" in line.lower() for line in case.lines):
            continue
        trace = f"traceparent: {TRACE.format(number)}"
        known = Case(TAGGED, "canary-7", ("X-Test-Traffic: canary-7", trace), TAGGED, "canary-7")
        for listener in ("out", "out-refuse", "out-report"):
            assert world.send(ask(Case(UNTAGGED, "", (trace,), UNTAGGED, ""), "sink", listener=listener)) == 200
        assert world.send(ask(known, "sink", is_write=False)) == 200
        lost = replace(case, lines=(*case.lines, trace))
        if case.verdict == UNTAGGED:
            assert world.send(replace(ask(lost, "sink", listener="out"), verdict=TAGGED, tenant="canary-7")) == 201
            assert world.send(replace(ask(lost, "sink", listener="out-refuse"), verdict=REFUSED)) == 409
            assert world.send(ask(lost, "sink", listener="out-report")) == 200
    leaks = world.proxy.tally_where(lambda tally: tally["leaks"])["leaks"]
    assert {leak["action"] for leak in leaks} == {"retag", "refuse", "report"}


def test_no_row_no_write(world: TaggedWorld) -> None:
    """With a ledger that cannot write, tagged writes are 503 and reach nobody; reads and untagged requests do not notice."""
    world.proxy.ledger_problem = "disk full"
    try:
        for case in CASES if DEEP else CASES[::5]:
            for route in ("sink", "path", "live", "unruled", "fleet"):
                status = world.send(ask(case, route))
                assert status == {TAGGED: 503, UNTAGGED: 200, REFUSED: status}[case.verdict]
            assert world.send(ask(case, "sink", is_write=False)) == (400 if case.verdict == REFUSED else 200)
        tagged = {sent.number for sent in world.asked if sent.verdict == TAGGED and sent.is_write}
        assert not tagged & {id_of(seen.target) for origin in (world.live, world.sink, world.partition) for seen in origin.requests}
    finally:
        world.proxy.ledger_problem = ""


def test_a_silent_ledger(world: TaggedWorld) -> None:
    """A row that is not acknowledged in five seconds is 503; acknowledged later it changes nothing, and clients that left meanwhile sent nothing."""
    world.proxy.ledger_problem = None
    try:
        sent = [world.begin(ask(case, route)) for case in (PLAIN, NONE, *SEVERAL) for route in ("sink", "path", "live", "unruled")]
        eventually(lambda: len(world.proxy.rows) >= 4 * (1 + sum(case.verdict == TAGGED for case in SEVERAL)), "rows are asked for")
        leaving = [world.begin(ask(PLAIN, "sink")) for _ in range(5)]
        eventually(lambda: all(world.rows_of(gone.number) for gone, _ in leaving), "rows of those who leave")
        for _, client in leaving:
            client.abort()
        for asked, client in sent:
            assert world.end(asked, client) == {TAGGED: 503, UNTAGGED: 200, REFUSED: 400}[asked.verdict]
        world.proxy.send({"type": "ledger_done", "ids": list(world.proxy.rows), "problem": ""})
        world.proxy.ledger_problem = ""
        assert world.send(ask(PLAIN, "sink")) == 201
        tagged = {asked.number for asked, _ in (*sent, *leaving) if asked.verdict == TAGGED}
        assert not tagged & {id_of(seen.target) for origin in (world.live, world.sink, world.partition) for seen in origin.requests}
    finally:
        world.proxy.ledger_problem = ""


def test_a_late_ledger(world: TaggedWorld) -> None:
    """Until its row is durable a write has reached nobody; then it goes on, unless its client has left."""
    world.proxy.ledger_problem = None
    try:
        asked, client = world.begin(ask(PLAIN, "sink"))
        gone, leaver = world.begin(ask(PLAIN, "path"))
        eventually(lambda: world.rows_of(asked.number) and world.rows_of(gone.number), "both rows")
        leaver.abort()
        assert world.send(ask(NONE, "sink")) == 200
        assert not world.sink.requests
        rows = {id_of(row["target"]): key for key, row in world.proxy.rows.items()}
        eventually(lambda: world.proxy.tally["clients"]["open"] <= 1 + len(rows), "the worker has seen it leave")
        world.proxy.send({"type": "ledger_done", "ids": list(rows.values()), "problem": ""})
        assert world.end(asked, client) == 201
        eventually(lambda: world.proxy.statuses.get(rows[gone.number]) == 499, "the row of the client that left says so")
        assert world.proxy.statuses.get(rows[asked.number], 201) == 201
        assert not [seen for seen in world.live.requests if id_of(seen.target) == gone.number]
    finally:
        world.proxy.ledger_problem = ""


def test_a_read_asks_the_sink_first(world: TaggedWorld) -> None:
    """Where a sink keeps what was written, it is asked before live; live answers only what the sink has nothing about, and never while it is down."""
    assert world.send(ask(PLAIN, "keeps", is_write=False)) == 200
    assert [len(world.sink.requests), len(world.live.requests)] == [1, 1]
    world.sink.queue(answers.ok(b"mine"), answers.chunked([b"mi", b"ne"]))
    for _ in range(2):
        with Client(world.proxy.address("front")) as client:
            assert client.get("/keeps/orders", ("X-Test-Traffic", "canary-7")).body == b"mine"
    world.sink.queue(answers.reset(), answers.reset())
    with Client(world.proxy.address("front")) as client:
        assert client.get("/keeps/orders", ("X-Test-Traffic", "canary-7")).status == 503
    assert len(world.live.requests) == 1
    world.sink.requests[1:] = []


def test_the_check_can_fail() -> None:
    """Records as a worker with defects would leave them: each of the claims is noticed to be broken."""
    fields = (("Host", HOST), ("X-Test-Traffic", "canary-7"), ("baggage", "synthetic_request=true,test_tenant=canary-7"))

    def seen(target: str = "/sink/orders?id=0", fields: Any = fields) -> Seen:
        return Seen(0, "POST", target, "1.1", fields)

    row = {"target": "/sink/orders?id=0", "fate": "sunk", "tenant": "canary-7"}
    tagged = replace(ask(PLAIN, "sink"), status=[201])
    untagged = replace(ask(NONE, "sink"), status=[200])
    partition = replace(ask(PLAIN, "path"), status=[200])
    path_row = {**row, "fate": "partitioned"}
    well: list[tuple[Ask, dict[str, list[Seen]], list[dict[str, Any]]]] = [
        (tagged, {SINK: [seen()]}, [row]),
        (untagged, {LIVE: [seen(fields=fields[:1])]}, []),
        (partition, {LIVE: [seen("/t/canary-7/path/orders?id=0")]}, [path_row]),
        (partition, {PARTITION: [seen()]}, [path_row]),
    ]
    for sent, records, rows in well:
        assert problems([sent], records, rows) == []
    broken: list[tuple[Ask, dict[str, list[Seen]], list[dict[str, Any]]]] = [
        (tagged, {LIVE: [seen()]}, [row]),  # a tagged write at live
        (tagged, {SINK: [seen()], LIVE: [seen()]}, [row]),  # and at live
        (tagged, {SINK: [seen(), seen()]}, [row]),  # twice
        (tagged, {SINK: [seen()]}, []),  # without a row
        (tagged, {SINK: [seen()]}, [row, row]),  # two rows
        (tagged, {}, [row]),  # answered, and nowhere
        (tagged, {SINK: [seen(fields=fields[:2])]}, [row]),  # without baggage
        (tagged, {SINK: [seen(fields=(*fields, ("x_test_traffic", "0")))]}, [row]),  # an alias is left
        (tagged, {SINK: [seen()]}, [{**row, "tenant": "other"}]),
        (tagged, {SINK: [seen()]}, [{**row, "fate": "passed"}]),
        (untagged, {SINK: [seen(fields=fields[:1])]}, []),  # an untagged write in a sink
        (untagged, {LIVE: [seen(fields=fields[:1])]}, [row]),  # a row of no test
        (partition, {LIVE: [seen("/path/orders?id=0")]}, [path_row]),  # out of its partition
        (partition, {LIVE: [seen("/t/other/path/orders?id=0")]}, [path_row]),  # in another's
        (replace(tagged, verdict=REFUSED, status=[400]), {SINK: [seen()]}, []),
        (replace(tagged, verdict=REFUSED, status=[200]), {}, []),
        (replace(tagged, route="unruled", status=[200]), {}, [{**row, "fate": "refused"}]),
        (untagged, {LIVE: [seen("/other", fields[:1])]}, []),  # nobody's
    ]
    for sent, records, rows in broken:
        assert problems([sent], records, rows), (sent, records, rows)
