"""A tagged request until it may go on: in which order what happens, and what is left when something goes wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane.admission import LEAKS_LIMIT, Admissions
from shadowproxy.dataplane.worker import SINK_PATIENCE
from tests.dataplane.room import Room, Side
from tests.kit.worker import merge

if TYPE_CHECKING:
    from shadowproxy.dataplane import messages

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PARTITION: dict[str, Any] = {"name": "all", "live": "live", "test_traffic": {"writes": {"partition": {"fleet": "shadow"}}}}
LIVE: dict[str, Any] = {
    "name": "all", "live": "live", "test_traffic": {"writes": "live"}, "mirror": [{"to": "shadow", "percent": 100, "methods": ["GET", "POST"]}],
}  # fmt: skip


def post(*lines: bytes, length: int = 3, body: bytes = b"a=1", target: bytes = b"/a") -> bytes:
    """A tagged write."""
    return b"\r\n".join(
        [b"POST " + target + b" HTTP/1.1", b"Host: h", b"X-Test-Traffic: bot", b"Content-Length: %d" % length, *lines, b"", body]
    )


class Held(Room):
    """A room in which control says nothing until it is told to."""

    def __init__(self, *routes: dict[str, Any], **settings: Any) -> None:
        self.told: list[messages.Message] = []
        self.total: dict[str, Any] = {}
        super().__init__(*(routes or (PARTITION,)), **settings)

    def answer(self, message: messages.Message) -> None:
        """Keep it."""
        self.told.append(message)
        self.rows += message.get("rows", [])

    def done(self, problem: str = "") -> None:
        """All rows are durable, or cannot be made so."""
        self.worker.admissions.on_ledger_done({"ids": [row["id"] for row in self.rows], "problem": problem})

    @property
    def held(self) -> int:
        """Bytes that are counted as held."""
        return self.worker.admissions.held

    def counts(self) -> dict[str, int]:
        """The route's counters of tagged writes since the beginning, whose law is checked, without zeros."""
        merge(self.total, self.worker.report()["tests"]["all"])
        counts = {name: count for name, count in self.total.items() if name != "answers" and count}
        assert counts["seen"] == sum(counts.values()) - counts["seen"]
        return counts

    def statuses(self) -> list[int]:
        """How writes were answered, as control is told."""
        self.told.clear()
        self.worker.admissions.flush_statuses()
        return [status for message in self.told for status in message["statuses"].values()]


def status(side: Side) -> int:
    """Of the answer that a client has just heard; 0 for none."""
    heard = side.heard
    return int(heard.split(b" ")[1]) if heard else 0


def test_nothing_is_sent_before_the_row_is_durable() -> None:
    """The row first, then the write, then the answer; the row says all there is to say."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post(target=b"/a?b=1"))
    assert partition.heard == b""
    (row,) = room.rows
    assert {name: row[name] for name in row if name not in {"id", "time", "trace"}} == {
        "tenant": "bot", "listener": "front", "route": "all", "method": "POST", "host": "h", "target": "/a?b=1",
        "digest": hashlib.sha256(b"a=1").hexdigest(), "body_bytes": 3, "fate": "partitioned", "reason": "", "to": "shadow", "origin": "tag",
        "client": "192.0.2.1",
    }  # fmt: skip
    room.done()
    sent = partition.heard
    assert sent.endswith(b"\r\n\r\na=1")
    assert row["trace"].encode() in sent
    assert client.heard == b""
    partition.says(OK)
    assert status(client) == 200
    assert room.statuses() == [200]


def test_a_body_is_held_until_it_is_whole_and_counted_until_it_is_answered() -> None:
    """Also while whoever it goes to takes its time, as it is held for that too."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post(length=6, body=b"a="))
    assert (room.held, room.rows) == (2, [])
    client.says(b"12", b"34")
    assert room.held == 6
    assert (room.rows[0]["digest"], room.rows[0]["body_bytes"]) == (hashlib.sha256(b"a=1234").hexdigest(), 6)
    room.done()
    assert room.held == 6
    assert partition.heard.endswith(b"\r\n\r\na=1234")
    partition.says(OK)
    assert room.held == 0


def test_chunks_and_trailers_go_on() -> None:
    """As one chunk, with the trailers that may go on."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    head = b"PUT /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.says(head + b"1\r\na\r\n", b"2\r\nbc\r\n", b"0\r\nX-Sum: 1\r\n\r\n")
    room.done()
    assert partition.heard.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    partition.says(OK)
    assert (status(client), room.held) == (200, 0)


LIMITS = {"tenancy": {"body_limit": 5000, "memory": 6000}}


def test_a_body_over_the_limit_is_refused() -> None:
    """By its announced length before it comes, and before it is asked for; or when there is too much of it. Nothing of it stays."""
    room = Held(**LIMITS)
    for wire in (post(length=5001, body=b""), post(b"Expect: 100-continue", length=5001, body=b"")):
        client = room.client()
        client.says(wire)
        heard = client.heard
        assert heard.startswith(b"HTTP/1.1 413 ")
        assert b"tagged_body_too_large" in heard
    client = room.client()
    client.says(b"POST / HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.says(b"%x\r\n%b\r\n" % (4000, b"x" * 4000))
    assert room.held == 4000
    client.says(b"%x\r\n%b\r\n" % (1001, b"x" * 1001))
    assert (status(client), room.held, room.rows) == (413, 0, [])
    client = room.client()
    client.says(post(length=5000, body=b"x" * 5000))
    assert room.held == 5000


def test_all_bodies_together_are_bounded() -> None:
    """Beyond `memory` 503, at the head where the length says so, and later where it does not; what is answered makes room."""
    room = Held(**LIMITS)
    first, second, third = room.client(), room.client(), room.client()
    partition = room.upstream("shadow")
    first.says(post(length=4000, body=b"x" * 4000))
    second.says(post(length=2001, body=b""))
    assert status(second) == 503
    third.says(
        b"POST / HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (2001, b"x" * 2001)
    )
    assert (status(third), room.held) == (503, 4000)
    room.done()
    fourth = room.client()
    fourth.says(post(length=2001, body=b""))
    assert status(fourth) == 503
    partition.says(OK)
    fifth = room.client()
    fifth.says(post(length=4000, body=b"x" * 2000))
    # Half of it is there, and counts once.
    fifth.says(b"x" * 2000)
    assert (room.held, len(room.rows)) == (4000, 2)


def test_the_body_is_asked_for_once_and_waited_for() -> None:
    """100 at once, as nobody upstream is asked yet; then the client has as long as for any body, and is not told 100 again."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post(b"Expect: 100-continue", body=b""))
    assert client.heard == b"HTTP/1.1 100 Continue\r\n\r\n"
    room.pass_time(5)
    assert client.heard == b""
    client.says(b"a=1")
    room.done()
    assert partition.heard.endswith(b"\r\n\r\na=1")
    partition.says(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.heard.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_stops_in_its_body_is_408() -> None:
    """And lets go of what it had sent."""
    room = Held()
    client = room.client()
    client.says(post(length=9))
    room.pass_time(31)
    assert (status(client), room.held, room.rows) == (408, 0, [])


@pytest.mark.parametrize("route", [PARTITION, LIVE, {"name": "all", "live": "live"}])
def test_a_row_that_cannot_be_written(route: dict[str, Any]) -> None:
    """503, and nothing is sent; counted as refused."""
    room = Held(route)
    client, partition, live = room.client(), room.upstream("shadow"), room.upstream("live")
    client.says(post())
    room.done("disk full")
    heard = client.heard
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"ledger_unavailable" in heard
    assert partition.heard + live.heard == b""
    assert room.held == 0
    assert room.counts() == {"seen": 1, "refused": 1}


def test_control_that_says_nothing() -> None:
    """503 after five seconds; what it says later changes nothing, and is not sent twice."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post())
    room.pass_time(4.5)
    assert client.heard == b""
    assert room.counts() == {"seen": 1, "pending": 1}
    room.pass_time(5.5)
    assert status(client) == 503
    room.done()
    assert partition.heard == b""
    assert room.counts() == {"seen": 1, "refused": 1}
    assert room.statuses() == [503]
    # The connection goes on, with requests of its own.
    client.says(post())
    room.done()
    assert partition.heard != b""


@pytest.mark.parametrize("sent", [b"", b"a"])
def test_a_client_that_leaves_in_its_body(sent: bytes) -> None:
    """Nothing was decided: no row, and nothing is held."""
    room = Held()
    client = room.client()
    client.says(post(body=sent))
    client.is_lost()
    assert (room.held, room.rows) == (0, [])


def test_a_client_that_leaves_before_the_row_is_durable() -> None:
    """The row stands and says so; nothing is sent."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post())
    client.is_lost()
    assert room.held == 0
    room.done()
    assert partition.heard == b""
    assert room.statuses() == [499]
    assert room.counts() == {"seen": 1, "partitioned": 1}


def test_a_client_that_leaves_while_it_is_answered() -> None:
    """The partition's connection is reset, and the row says so."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post())
    room.done()
    client.is_lost()
    assert partition.is_over
    assert (room.held, room.statuses()) == (0, [499])


def test_answers_that_are_cut_short_have_a_status() -> None:
    """What the client was told, and its bytes are let go."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(post())
    room.done()
    partition.says(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nab")
    partition.is_lost()
    assert client.is_over
    assert (room.held, room.statuses()) == (0, [201])


def test_a_destination_that_is_down() -> None:
    """503 with a code of its own, and live hears nothing."""
    room = Held()
    client, partition, live = room.client(), room.upstream("shadow"), room.upstream("live")
    client.says(post())
    room.done()
    partition.is_lost(ConnectionResetError())
    heard = client.heard
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"test_destination_unavailable" in heard
    assert (live.heard, room.held, room.statuses()) == (b"", 0, [503])


def test_a_destination_that_hangs() -> None:
    """503 when its patience is over; until then its bytes are counted, and live hears nothing."""
    room = Held({**PARTITION, "test_traffic": {"writes": {"sink": "s"}}}, sinks={"s": {}})
    client, live, sink = room.client(), room.upstream("live"), room.upstream("sink:s")
    client.says(post())
    room.done()
    assert sink.heard.endswith(b"a=1")
    room.pass_time(SINK_PATIENCE - 1)
    assert (client.heard, room.held) == (b"", 3)
    room.pass_time(SINK_PATIENCE + 1)
    assert (status(client), live.heard, room.held) == (503, b"", 0)
    assert sink.is_over


def test_a_sink_that_control_does_not_know_yet() -> None:
    """Is down, like any other that is: 503."""
    room = Held({**PARTITION, "test_traffic": {"writes": {"sink": "s"}}}, sinks={"s": {}}, told={})
    client, live = room.client(), room.upstream("live")
    client.says(post())
    room.done()
    assert (status(client), live.heard, room.statuses()) == (503, b"", [503])


def test_a_tunnel_has_a_status() -> None:
    """101, once the partition has said so."""
    room = Held()
    client, partition = room.client(), room.upstream("shadow")
    client.says(b"GET / HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
    assert room.rows[0]["method"] == "GET"
    room.done()
    partition.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
    assert room.statuses() == [101]


def test_what_began_under_a_policy_is_judged_by_it() -> None:
    """A reload while a body comes: the routes that were in force decide, by the fields that they look at; a destination that is gone is 503."""
    other = {"name": "rest", "live": "live", "test_traffic": {"writes": "live"}}
    by_field = {"name": "all", "live": "live", "match": {"headers": {"x-beta": "1"}}, "test_traffic": {"writes": "refuse"}}
    room = Held()
    client, partition, live = room.client(), room.upstream("shadow"), room.upstream("live")
    client.says(post(b"X-Beta: 1", body=b""))
    room.configure(by_field, other)
    client.says(b"a=1")
    room.done()
    assert partition.heard.endswith(b"a=1")
    partition.says(OK)
    assert status(client) == 200
    client.says(post(b"X-Beta: 1", body=b""), b"a=1")
    room.done()
    assert status(client) == 409
    room.configure(PARTITION)
    client.says(post(body=b""))
    room.configure(other, fleets={"live": {"endpoints": ["http://127.0.0.1:9001"]}})
    client.says(b"a=1")
    room.done()
    assert status(client) == 503
    assert live.heard == b""


def test_a_mirror_that_a_reload_took_away_gets_nothing_more() -> None:
    """Of a write by rule that was held meanwhile; live gets it."""
    room = Held(LIVE)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(post())
    room.configure({**LIVE, "mirror": []})
    room.done()
    assert live.heard.endswith(b"a=1")
    assert shadow.heard == b""


def test_tagged_requests_to_live_are_mirrored_with_their_tag() -> None:
    """A read, and a write by rule; what goes to a partition is not copied."""
    room = Held(LIVE)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(b"GET /a HTTP/1.1\r\nHost: h\r\nX_Test_Traffic: bot\r\n\r\n")
    for leg in (live, shadow):
        assert b"\r\nX-Test-Traffic: bot\r\nbaggage: synthetic_request=true,test_tenant=bot\r\n" in leg.heard
        leg.says(OK)
    client.says(post())
    room.done()
    assert live.heard.endswith(b"a=1")
    assert shadow.heard.endswith(b"a=1")
    live.says(OK)
    shadow.says(OK)
    assert room.fates()["paired"] == 2
    room.configure({**LIVE, **PARTITION})
    client.says(post())
    room.done()
    assert b"X-Shadow-Mirror" not in shadow.heard
    assert live.heard == b""


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (post(target=b"/nobody"), 404),
        (post(b"Via: " + b", ".join([b"1.1 shadowproxy"] * 8)), 508),
        (b"OPTIONS /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nMax-Forwards: 0\r\n\r\n", 200),
        (b"TRACE /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\nMax-Forwards: 0\r\n\r\n", 405),
    ],
)
def test_answers_of_our_own_come_before_rules(wire: bytes, code: int) -> None:
    """As for any request; they are no tagged writes."""
    room = Held({**PARTITION, "match": {"path": "/a"}})
    client = room.client()
    client.says(wire)
    assert status(client) == code
    assert (room.held, room.rows, room.worker.report()["tests"]) == (0, [], {})


def test_a_read_is_neither_written_down_nor_counted() -> None:
    """It goes to live at once."""
    room = Held()
    client, live = room.client(), room.upstream("live")
    client.says(b"GET /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: 1\r\n\r\n")
    assert live.heard != b""
    live.says(OK)
    assert status(client) == 200
    assert (room.rows, room.statuses()) == ([], [])


EGRESS: dict[str, Any] = {"listen": [{"name": "front", "address": "127.0.0.1:1234", "egress": {"lost_tags": "retag"}}]}
PARENT = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def call(*lines: bytes) -> bytes:
    """An outgoing call without a tag."""
    return b"\r\n".join([b"POST /charge HTTP/1.1", b"Host: payments", b"User-Agent: cart/1", b"Content-Length: 1", *lines, b"", b"1"])


@pytest.mark.parametrize("action", ["retag", "refuse", "report"])
def test_calls_that_lost_their_tag(action: str) -> None:
    """Tagged again, refused, or passed as any other; in each case control is told who it was."""
    egress = {"listen": [{"name": "front", "address": "127.0.0.1:1234", "egress": {"lost_tags": action}}]}
    room = Held(PARTITION, **egress, access_log={"path": "stdout", "sample": 1.0})
    client, live, partition = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(b"GET / HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: bot\r\n" + PARENT + b"\r\n\r\n")
    live.says(OK)
    live.heard, client.heard  # noqa: B018  what is asked for is forgotten
    client.says(call(PARENT))
    room.done()
    heard = live.heard, partition.heard
    assert [bool(wire) for wire in heard] == {"retag": [False, True], "refuse": [False, False], "report": [True, False]}[action]
    if action == "retag":
        assert b"X-Test-Traffic: bot\r\n" in heard[1]
        assert room.rows[0]["origin"] == "trace"
        partition.says(OK)
    elif action == "report":
        assert b"X-Test-Traffic" not in heard[0]
        live.says(OK)
    assert status(client) == {"retag": 200, "refuse": 409, "report": 200}[action]
    report = room.worker.report()
    (leak,) = report["leaks"]
    assert (leak["service"], leak["tenant"], leak["action"], leak["path"], leak["host"]) == ("cart", "bot", action, "/charge", "payments")
    if action != "refuse":
        assert [record["tagged"] for record in report["access"]] == [True, action == "retag"]


def test_a_shadow_s_call_is_a_test_and_teaches_no_trace() -> None:
    """By its mark; the trace that it shares with a user's request does not make a test of that."""
    room = Held(PARTITION, **EGRESS)
    client, live, partition = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(call(PARENT, b"X-Shadow-Mirror: all/shadow;by=1"))
    room.done()
    assert b"X-Test-Traffic: shadow\r\n" in partition.heard
    assert (room.rows[0]["origin"], room.rows[0]["tenant"]) == ("mark", "shadow")
    partition.says(OK)
    client.heard  # noqa: B018  as above
    client.says(call(PARENT))
    assert b"X-Test-Traffic" not in live.heard


def test_leaks_are_bounded() -> None:
    """Beyond a number a report they are only counted."""
    shared = Admissions(0, lambda message: None, None)
    for number in range(LEAKS_LIMIT + 3):
        shared.leak({"number": number})
    report = shared.report()
    assert (len(report["leaks"]), report["leaks_dropped"]) == (LEAKS_LIMIT, 3)
    assert shared.report()["leaks"] == []


def test_ids_are_unique_and_in_the_order_of_time() -> None:
    """Those of two workers of one slot, too."""
    shared = Admissions(3, lambda message: None, None)
    ids = [shared.next_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:16] for one in ids] == sorted(one[:16] for one in ids)


def test_rows_of_one_round_go_in_one_message() -> None:
    """However many there are."""
    room = Held()
    later: list[Any] = []
    room.worker.admissions.soon = later.append
    for _ in range(3):
        room.client().says(post())
    assert len(later) == 1
    later[0]()
    (message,) = [told for told in room.told if told["type"] == "ledger"]
    assert len(message["rows"]) == 3


def test_repr_says_where_it_goes() -> None:
    """For whoever debugs."""
    room = Held()
    client = room.client()
    client.says(post(body=b""))
    exchange: Any = client.connection.exchange  # type: ignore[union-attr]
    assert repr(exchange.admission).endswith("tag, undecided)")
    client.says(b"a=1")
    assert repr(exchange.admission).endswith("tag, shadow)")
