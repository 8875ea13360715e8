"""EXP: Expect, interim answers, early answers, upgrades (RFC 9110 sections 7.8, 10.1.1 and 15.2)."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.kit import World, answers, settings
from tests.kit.client import wire
from tests.kit.origin import Answer, Turn
from tests.kit.process import eventually

if TYPE_CHECKING:
    from tests.conftest import MakeWorld

EXPECTING = b"POST /expect HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.requirement("EXP-01")
@pytest.mark.parametrize("answer", [answers.interim(answers.head(100)), answers.ok()])
def test_a_client_that_expects_100_gets_it(world: World, answer: Answer) -> None:
    """100 comes before the body is sent, whether live says it or keeps silent; both legs then get the body."""
    world.live.answer = answer
    with world.client() as client:
        client.send(EXPECTING)
        interim = client.receive()
        assert interim.startswith(b"HTTP/1.1 100 ")
        assert interim.endswith(b"\r\n\r\n")
        client.send(b"body")
        reply = client.response()
        assert reply.status == 200
        assert not reply.interim, "one 100 is enough"
    for leg in world.legs("/expect"):
        assert leg.body == b"body"


@pytest.mark.requirement("EXP-01")
def test_a_body_that_does_not_wait_needs_no_100(world: World) -> None:
    """A body that comes with its Expect is forwarded at once."""
    world.live.answer = answers.echo()
    with world.client() as client:
        client.send(EXPECTING + b"body")
        assert client.response().body == b"body"
        assert client.get("/next").body == b""
    for leg in world.legs("/expect"):
        assert leg.body == b"body"


@pytest.mark.requirement("EXP-01")
@pytest.mark.parametrize("expectation", ["magic", "100-continue, magic", "200-ok"])
def test_an_unknown_expectation_is_417(world: World, expectation: str) -> None:
    """What cannot be promised is refused, and nothing goes upstream."""
    world.refuses(f"POST /unknown HTTP/1.1\r\nHost: h\r\nExpect: {expectation}\r\nContent-Length: 0\r\n\r\n".encode(), 417)
    assert world.untouched("/unknown")


@pytest.mark.requirement("EXP-01")
def test_http_1_0_expects_nothing(world: World) -> None:
    """An Expect from HTTP/1.0 is ignored: that client cannot read a 100."""
    with world.client() as client:
        client.send(b"POST /old HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        everything = client.remainder()
    assert everything.startswith(b"HTTP/1.1 200")
    for leg in world.legs("/old"):
        assert leg.body == b"body"


@pytest.mark.requirement("EXP-02")
@pytest.mark.parametrize("body", [b"", SMUGGLED])
def test_a_final_answer_instead_of_100_ends_the_exchange(world: World, body: bytes) -> None:
    """417 or 403 instead of 100 is relayed; the body is no request, and both connections end."""
    world.live.answer = answers.early(answers.head(403, [("Content-Length", "2")]) + b"no", then_close=False)
    with world.client() as client:
        client.send(EXPECTING.replace(b"Length: 4", b"Length: 400").replace(b"/expect", b"/instead"))
        answer = client.response()
        assert (answer.status, answer.body) == (403, b"no")
        assert answer.one("Connection") == "close"
        if body:
            client.send(body)
        client.expect_end()
    assert world.untouched("/instead")
    begun = world.live.wait_begun("/instead")
    eventually(lambda: not world.live.connections[begun.connection].is_open, "the upstream connection ends")


@pytest.mark.requirement("EXP-02")
def test_a_mirror_learns_that_the_body_never_came(world: World) -> None:
    """After a final answer instead of 100 the copy is given up: it never becomes a complete request."""
    world.live.answer = answers.early(answers.head(403, [("Content-Length", "0")]))
    with world.client() as client:
        client.send(EXPECTING.replace(b"/expect", b"/learns"))
        assert client.response().status == 403
    eventually(
        lambda: all(not world.shadow.connections[seen.connection].is_open for seen in world.shadow.seen("/learns")), "the copy is over"
    )
    assert not any(seen.is_complete for seen in world.shadow.seen("/learns"))


@pytest.mark.requirement("EXP-03")
def test_interim_answers_are_relayed(world: World) -> None:
    """103 and 102 come before the final answer, with their fields; a 100 that nobody asked for does not."""
    world.live.answer = answers.interim(
        answers.head(100), answers.head(103, [("Link", "</a.css>"), ("Connection", "x-hop"), ("X-Hop", "1")]), answers.head(102)
    )
    with world.client() as client:
        answer = client.get("/hints")
        assert answer.status == 200
        assert [head.status for head in answer.interim] in ([103, 102], [])
        for head in answer.interim:
            assert not head.has("X-Hop")
        assert client.get("/next").status == 200


@pytest.mark.requirement("EXP-03")
def test_interim_answers_of_a_shadow_reach_nobody(world: World) -> None:
    """Whatever interim answers a shadow gives, the client sees none."""
    world.shadow.answer = answers.interim(*[answers.head(103)] * 10)
    with world.client() as client:
        assert client.get("/quiet").interim == []
    world.legs("/quiet")


@pytest.mark.requirement("EXP-03")
def test_a_storm_of_interim_answers_ends(make_world: MakeWorld) -> None:
    """Interim answers without end are an error on either leg, and the other leg does not notice."""

    def storm(turn: Turn) -> None:
        turn.read_body()
        while turn.connection.is_open:
            turn.send(answers.head(103) * 50)

    world = make_world()
    world.live.on("/live", storm)
    world.shadow.on("/shadow", storm)
    with world.client() as client:
        assert client.get("/live").status == 502
    with world.client() as client:
        assert client.get("/shadow").status == 200
    mirror = world.proxy.tally_where(lambda tally: sum(tally["mirrors"]["all/shadow"]["matrix"].values()) == 2)["mirrors"]["all/shadow"]
    assert mirror["matrix"] == {"malformed,200": 1, "200,malformed": 1}


@pytest.mark.requirement("EXP-04")
@pytest.mark.parametrize("then_close", [False, True])
def test_an_early_answer_is_relayed_and_ends_the_connection(world: World, then_close: bool) -> None:
    """An answer before the body is complete reaches the client whole; neither connection is used again."""
    body = b"x" * 100000
    world.live.on("/early", answers.early(answers.head(413, [("Content-Length", "8")]) + b"too long", then_close=then_close))
    with world.client() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + body)
        answer = client.response()
        assert (answer.status, answer.body) == (413, b"too long")
        assert answer.one("Connection") == "close"
    begun = world.live.wait_begun("/early")
    with world.client() as client:
        assert client.get("/next").status == 200
    assert world.live.wait_for("/next").connection != begun.connection, "the upstream connection is not reused"


@pytest.mark.requirement("EXP-04")
def test_an_early_answer_whose_body_still_comes_is_not_a_request(world: World) -> None:
    """The rest of the body, though it looks like a request, is discarded."""
    world.live.on("/early", answers.early(answers.head(200, [("Content-Length", "0")])))
    with world.client() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n")
        assert client.response().status == 200
        client.send(SMUGGLED)
        client.expect_end()
    assert not world.live.seen("/smuggled")
    assert world.untouched("/early", "/smuggled")


@pytest.mark.requirement("EXP-04")
def test_an_early_answer_of_a_shadow_does_not_stop_live(world: World) -> None:
    """A shadow that answers before it has read the body, and closes, leaves the live body whole."""
    world.shadow.on("/halfway", answers.early(answers.head(200, [("Content-Length", "0")]), then_close=True))
    with world.client() as client:
        client.send(b"POST /halfway HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf")
        world.shadow.wait_begun("/halfway")
        client.send(b"half")
        assert client.response().status == 200
    assert world.live.wait_for("/halfway").body == b"halfhalf"


def _upgrade(path: str, behind: bytes = b"") -> bytes:
    return wire("GET", path, ("Connection", "Upgrade"), ("Upgrade", "echo")) + behind


@pytest.mark.requirement("EXP-05")
def test_a_101_nobody_asked_for_is_502(world: World) -> None:
    """An unsolicited 101 is an error, on live for the client and on a shadow for nobody."""
    world.live.on("/unasked", answers.tunnel())
    world.shadow.on("/shadow", answers.tunnel())
    with world.client() as client:
        assert client.get("/unasked").status == 502
    with world.client() as client:
        assert client.get("/shadow").status == 200
        assert client.get("/next").status == 200


@pytest.mark.requirement("EXP-05")
@pytest.mark.parametrize("status", [200, 400, 426])
def test_only_101_opens_a_tunnel(world: World, status: int) -> None:
    """Another answer to an upgrade is an answer: bytes behind the request go nowhere (CVE-2024-23326)."""
    world.live.on("/up", answers.ok(b"no", status=status))
    with world.client() as client:
        client.send(_upgrade("/up", SMUGGLED))
        answer = client.response(upgrade="echo")
        assert (answer.status, answer.body) == (status, b"no")
        client.send(b"\0\1\2")
        client.remainder()
    assert not world.live.seen("/smuggled")
    seen = world.live.seen("/up")[0]
    assert b"smuggled" not in world.live.connections[seen.connection].raw


@pytest.mark.requirement("EXP-05")
def test_nothing_passes_before_101(world: World) -> None:
    """Bytes behind an upgrade request wait for the 101 (CVE-2026-2833)."""
    is_checked = threading.Event()

    def late(turn: Turn) -> None:
        turn.read_body()
        assert is_checked.wait(10)
        turn.send(answers.head(101, [("Connection", "Upgrade"), ("Upgrade", "echo")]))
        while received := turn.receive():
            turn.send(received)
        turn.close()

    world.live.on("/late", late)
    with world.client() as client:
        client.send(_upgrade("/late", b"eager"))
        client.send(b" beaver")
        seen = world.live.wait_begun("/late")
        with world.client() as other:
            other.get("/meanwhile")
        assert b"eager" not in world.live.connections[seen.connection].raw
        is_checked.set()
        assert client.response(upgrade="echo").status == 101
        assert client.receive_exactly(12) == b"eager beaver"


@pytest.mark.requirement("EXP-06")
@pytest.mark.parametrize("answer", [answers.ok(), answers.ok(status=403), answers.tunnel()])
def test_a_connection_that_was_asked_to_upgrade_is_not_pooled(world: World, answer: Answer) -> None:
    """Whatever came of an upgrade, its upstream connection carries no other request."""
    world.live.on("/once", answer)
    with world.client() as client:
        client.send(_upgrade("/once"))
        client.response(upgrade="echo")
    with world.client() as client:
        for _ in range(3):
            client.get("/other")
    used = world.live.seen("/once")[0].connection
    assert all(request.connection != used for request in world.live.seen("/other"))


@pytest.mark.requirement("EXP-06")
def test_connect_is_refused(world: World) -> None:
    """CONNECT opens nothing; what follows it is not a request."""
    world.refuses(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n" + SMUGGLED, 400, 405, 501)
    assert world.untouched("/smuggled")


@pytest.mark.requirement("EXP-07")
def test_a_tunnel_carries_bytes_both_ways(make_world: MakeWorld) -> None:
    """Large and small, in any direction, unchanged; the shadow gets nothing, and the mirror counts an upgrade."""
    world = make_world()
    world.live.answer = answers.tunnel()
    sent = bytes(range(256)) * 4000
    with world.client() as client:
        client.send(_upgrade("/tunnel"))
        answer = client.response(upgrade="echo")
        assert answer.status == 101
        assert answer.one("Upgrade") == "echo"
        writer = threading.Thread(target=client.send, args=(sent,))
        writer.start()
        assert client.receive_exactly(len(sent)) == sent
        writer.join()
    live = world.live.wait_begun("/tunnel")
    assert live.one("Connection").lower() == "upgrade"
    assert live.one("Upgrade") == "echo"
    assert world.fates() == {"upgrade": 1}
    assert not world.shadow.connections


@pytest.mark.requirement("EXP-07")
def test_a_half_close_passes_through_a_tunnel(world: World) -> None:
    """The end of one direction is passed on, and the other direction goes on."""

    def after_the_end(turn: Turn) -> None:
        got = b""
        while received := turn.receive():
            got += received
        turn.send(b"got " + got)

    world.live.on("/half", answers.tunnel("echo", after_the_end))
    with world.client() as client:
        client.send(_upgrade("/half"))
        client.response(upgrade="echo")
        client.send(b"all")
        client.half_close()
        assert client.remainder() == b"got all"


@pytest.mark.requirement("EXP-07")
def test_the_end_of_live_ends_the_tunnel(world: World) -> None:
    """When live closes, the client's side ends with everything that was sent before."""
    world.live.on("/bye", answers.tunnel("echo", lambda turn: turn.send(b"bye" * 30000)))
    with world.client() as client:
        client.send(_upgrade("/bye"))
        client.response(upgrade="echo")
        assert client.remainder() == b"bye" * 30000


@pytest.mark.requirement("EXP-07")
@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_leaves_a_tunnel_closes_it(world: World, is_reset: bool) -> None:
    """Live's connection ends when the client goes, by FIN or by RST."""
    world.live.on("/leave", answers.tunnel("echo", Turn.hang))
    with world.client() as client:
        client.send(_upgrade("/leave"))
        client.response(upgrade="echo")
        if is_reset:
            client.abort()
    seen = world.live.wait_begun("/leave")
    eventually(lambda: not world.live.connections[seen.connection].is_open, "the tunnel's upstream connection ends")


@pytest.mark.requirement("EXP-07")
def test_an_upgrade_with_a_body_is_an_ordinary_request(world: World) -> None:
    """Readers disagree on where such a body ends, so the upgrade is not passed on and the request is mirrored like any other."""
    with world.client() as client:
        client.send(wire("POST", "/body", ("Connection", "Upgrade"), ("Upgrade", "echo"), body=b"{}"))
        assert client.response().status == 200
    for leg in world.legs("/body"):
        assert leg.body == b"{}"
        assert not leg.has("Upgrade")


@pytest.mark.requirement("EXP-07")
def test_an_unread_tunnel_holds_back_its_sender(make_world: MakeWorld) -> None:
    """A tunnel has backpressure: a client that does not read stops live's writes instead of filling the proxy."""
    world = make_world(settings())
    sent = 0

    def flood(turn: Turn) -> None:
        nonlocal sent
        while True:
            turn.send(b"x" * 65536)
            sent += 65536

    world.live.on("/flood", answers.tunnel("echo", flood))
    with world.client(receive_buffer=4096) as client:
        client.send(_upgrade("/flood"))
        assert client.response(upgrade="echo").status == 101

        def has_stopped() -> bool:
            before = sent
            return not threading.Event().wait(0.3) and sent == before > 0

        eventually(has_stopped, "live's writes stop")
        assert sent < 64 * 1024 * 1024
        client.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.requirement("EXP-05")
def test_an_upgrade_whose_live_leg_fails_is_502(world: World) -> None:
    """Refused or reset before the 101: an ordinary error."""
    world.live.queue(answers.reset(), answers.reset())
    with world.client() as client:
        client.send(_upgrade("/fails"))
        assert client.response(upgrade="echo").status == 502
