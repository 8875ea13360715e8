"""FRM: where messages begin and end (RFC 9112 sections 6, 7 and 9). The verdicts of test_vectors.py show most refusals; here is what must pass."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.kit import Truncated, World, answers
from tests.kit.client import chunked_wire, wire
from tests.kit.process import eventually

if TYPE_CHECKING:
    from tests.conftest import MakeWorld
    from tests.kit.origin import Answer, Turn

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def _post(path: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode("latin-1") + body


@pytest.mark.requirement("FRM-01")
@pytest.mark.parametrize(
    "lines", [("Content-Length: 5", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked", "Content-Length: 5")]
)
def test_length_beside_coding_is_refused(world: World, lines: tuple[str, str]) -> None:
    """Content-Length with Transfer-Encoding, in either order, is 400, and what follows is not a request."""
    world.refuses(_post("/both", *lines, body=b"0\r\n\r\n" + SMUGGLED))
    assert world.untouched("/both", "/smuggled")


@pytest.mark.requirement("FRM-02")
@pytest.mark.parametrize(
    "lines", [("Content-Length: 3", "Content-Length: 4"), ("Content-Length: 3, 4",), ("Content-Length: 3", "content-length: 04")]
)
def test_differing_lengths_are_refused(world: World, lines: tuple[str, ...]) -> None:
    """Two lengths that differ are 400."""
    world.refuses(_post("/lengths", *lines, body=b"abcd"))
    assert world.untouched("/lengths")


@pytest.mark.requirement("FRM-02")
@pytest.mark.parametrize("lines", [("Content-Length: 3", "Content-Length: 3"), ("Content-Length: 3, 3",)])
def test_equal_lengths_are_one_or_refused(world: World, lines: tuple[str, ...]) -> None:
    """A repeated length is collapsed or refused; it never goes on as it came."""
    answer = world.ask(_post("/repeated", *lines, body=b"abc"))
    if answer.status == 200:
        for leg in world.legs("/repeated"):
            assert leg.one("Content-Length") == "3"
    else:
        assert answer.status == 400
        assert world.untouched("/repeated")


@pytest.mark.requirement("FRM-03")
@pytest.mark.parametrize("length", ["+3", "-3", "0x3", "3_0", "3 0", "", "3.0", "\xb3", "18446744073709551617", "9" * 30, "9" * 5000])
def test_a_length_is_digits(world: World, length: str) -> None:
    """Anything but digits, and any overflow, is 400."""
    world.refuses(_post("/digits", f"Content-Length: {length}", body=b"abc"))
    assert world.untouched("/digits")


@pytest.mark.requirement("FRM-03")
def test_leading_zeros_are_normalised_or_refused(world: World) -> None:
    """A length with leading zeros reaches both legs as a plain number, or nobody."""
    answer = world.ask(_post("/zeros", "Content-Length: 0003", body=b"abc"))
    assert answer.status == 200
    for leg in world.legs("/zeros"):
        assert leg.one("Content-Length") == "3"
        assert leg.body == b"abc"


@pytest.mark.requirement("FRM-04")
@pytest.mark.parametrize(
    "coding", ["chunked, gzip", "gzip", "identity", "gzip, chunked", "chunked, chunked", "xchunked", "", "chunked;a=b"]
)
def test_only_chunked_is_a_coding(world: World, coding: str) -> None:
    """A final coding that is not chunked, an unknown one, or chunked twice: 400 or 501."""
    world.refuses(_post("/coding", f"Transfer-Encoding: {coding}", body=b"0\r\n\r\n"), 400, 501)
    assert world.untouched("/coding")


@pytest.mark.requirement("FRM-04")
def test_a_coding_in_http_1_0_is_refused(world: World) -> None:
    """Transfer-Encoding in HTTP/1.0 is faulty framing."""
    world.refuses(b"POST /old HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert world.untouched("/old")


@pytest.mark.requirement("FRM-05")
@pytest.mark.parametrize("size", [b"3;a=b", b'3;a="b;c"', b"3;a", b"03", b"0000000000003"])
def test_chunk_extensions_are_dropped(world: World, size: bytes) -> None:
    """Extensions are read and never forwarded (the world checks every chunk-size line that goes upstream)."""
    with world.client() as client:
        client.send_bytewise(_post("/extension", "Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0;x=y\r\n\r\n"))
        assert client.response().status == 200
    for leg in world.legs("/extension"):
        assert leg.body == b"abc"


@pytest.mark.requirement("FRM-05")
def test_chunk_extensions_are_bounded(world: World) -> None:
    """A body of little more than extensions is refused, however it is cut into chunks (CVE-2023-39326)."""
    start = _post("/bounded", "Transfer-Encoding: chunked")
    with world.client() as client:
        client.send(start + b"".join(b"1;%b\r\nx\r\n" % (b"e" * 500) for _ in range(1000)))
        assert client.response().status in (400, 413, 431)
    assert world.untouched("/bounded")


@pytest.mark.requirement("FRM-06")
def test_trailers_stay_trailers(world: World) -> None:
    """Trailers reach both legs as trailers, never among the fields."""
    with world.client() as client:
        client.send(chunked_wire("POST", "/trailers", pieces=[b"abc"], trailers="X-Sum: 3\r\nX-Role: admin\r\n"))
        assert client.response().status == 200
    for leg in world.legs("/trailers"):
        assert not leg.has("X-Role")
        assert leg.trailers in ((), (("X-Sum", "3"), ("X-Role", "admin")))


@pytest.mark.requirement("FRM-06")
@pytest.mark.parametrize(
    "trailer",
    ["Content-Length: 3", "Transfer-Encoding: chunked", "Host: h", "Authorization: Basic eA==", "Cookie: a=b", "X-Test-Traffic: 0"],
)
def test_trailers_that_frame_route_or_authorise_are_refused(world: World, trailer: str) -> None:
    """Fields that say how to read a request, where it goes or who sent it cannot come last."""
    world.refuses(_post("/forbidden", "Transfer-Encoding: chunked", body=f"0\r\n{trailer}\r\n\r\n".encode()))
    assert world.untouched("/forbidden")


@pytest.mark.requirement("FRM-06")
def test_trailers_are_limited(world: World) -> None:
    """Endless trailers are refused (CVE-2026-22815)."""
    world.refuses(
        _post("/endless", "Transfer-Encoding: chunked", body=b"0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000))), 400, 431
    )
    assert world.untouched("/endless")


@pytest.mark.requirement("FRM-06")
def test_trailers_of_an_answer_reach_the_client(world: World) -> None:
    """A chunked answer keeps its trailers."""
    world.live.answer = answers.chunked([b"abc"], trailers=[("X-Sum", "3")])
    with world.client() as client:
        assert client.get("/back", ("TE", "trailers")).trailers == (("X-Sum", "3"),)


BODILESS = [
    ("HEAD", answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")),
    ("HEAD", answers.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
    ("HEAD", answers.raw(b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n")),
    ("GET", answers.raw(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")),
    ("GET", answers.raw(b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    ("GET", answers.raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
]


@pytest.mark.requirement("FRM-07")
@pytest.mark.parametrize(("method", "answer"), BODILESS)
def test_answers_without_body_keep_the_connections_in_sync(world: World, method: str, answer: Answer) -> None:
    """Whatever length HEAD, 204 and 304 announce, none follows: the next answers on the same connections are right."""
    world.live.on("/none", answer)
    world.shadow.on("/none", answer)
    world.live.on("/next", answers.ok(b"next"))
    with world.client() as client:
        assert client.request(method, "/none").body == b""
        assert client.get("/next").body == b"next"
    first, after = world.legs("/none"), world.legs("/next")
    assert first[0].connection == after[0].connection, "the upstream connection is reused"


@pytest.mark.requirement("FRM-07")
def test_a_204_with_a_body_is_not_trusted(world: World) -> None:
    """Bytes behind a 204 are nobody's answer."""
    world.live.on("/none", answers.raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nstale"))
    with world.client() as client:
        assert client.get("/none").status in (204, 502)
        assert client.get("/next").body == b"ok"


@pytest.mark.requirement("FRM-08")
def test_head_keeps_the_content_length(world: World) -> None:
    """The length that a GET would have had is passed on."""
    world.live.answer = answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    with world.client() as client:
        assert client.request("HEAD", "/length").one("Content-Length") == "1234"
        assert client.request("HEAD", "/length").one("Content-Length") == "1234"
    world.legs("/length", 2)


@pytest.mark.requirement("FRM-09")
@pytest.mark.parametrize("field", [b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Content-Length: 7"])
def test_204_and_interim_answers_carry_no_framing(world: World, field: bytes) -> None:
    """Neither Content-Length nor Transfer-Encoding reaches the client in a 1xx or a 204."""
    world.live.on("/204", answers.raw(b"HTTP/1.1 204 No Content\r\n" + field + b"\r\n\r\n"))
    world.live.on("/103", answers.interim(b"HTTP/1.1 103 Early Hints\r\n" + field + b"\r\n\r\n"))
    with world.client() as client:
        answer = client.get("/204")
        assert answer.status in (204, 502)
        if answer.status == 204:
            assert not answer.has("Content-Length")
            assert not answer.has("Transfer-Encoding")
    with world.client() as client:
        answer = client.get("/103")
        assert answer.status in (200, 502)
        for head in answer.interim:
            assert not head.has("Content-Length")
            assert not head.has("Transfer-Encoding")


@pytest.mark.requirement("FRM-10")
def test_a_close_delimited_answer_is_framed_anew(world: World) -> None:
    """Chunked to HTTP/1.1, whose connection lives on; until the end to HTTP/1.0."""
    world.live.on("/until", answers.raw_then_close(b"HTTP/1.1 200 OK\r\n\r\n", b"all", b" of it"))
    with world.client() as client:
        answer = client.get("/until")
        assert answer.body == b"all of it"
        assert answer.one("Transfer-Encoding") == "chunked"
        assert client.get("/next").body == b"ok"
    with world.client() as client:
        client.send(b"GET /until HTTP/1.0\r\nHost: h\r\n\r\n")
        answer = client.response(version="1.0")
        assert answer.body == b"all of it"
        assert answer.is_close_delimited


TRUNCATED = [
    answers.raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"part"),
    answers.raw_then_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"part"),
    answers.raw_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\npart\r\n"),
    answers.raw_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"8\r\npart"),
    answers.raw_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\npart\r\n0\r\n"),
    answers.raw_then_reset(b"HTTP/1.1 200 OK\r\n\r\n", b"part"),
    answers.raw_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\npart\r\nrubbish"),
]


@pytest.mark.requirement("FRM-10", "FRM-12", "ERR-04")
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("answer", TRUNCATED)
def test_a_truncated_answer_is_aborted(world: World, answer: Answer, version: str) -> None:
    """An upstream that ends, or loses its framing, inside an answer never becomes a clean end, for HTTP/1.0 clients neither."""
    world.live.answer = answer
    with world.client() as client:
        client.send(f"GET /cut HTTP/{version}\r\nHost: h\r\n\r\n".encode())
        try:
            assert client.response(version=version).status == 502, "where all of it came at once, nothing of it need be sent"
        except (Truncated, ConnectionError):
            return


@pytest.mark.requirement("FRM-10", "ERR-04")
@pytest.mark.parametrize("answer", TRUNCATED[:2])
def test_a_truncated_answer_is_recorded_as_such(make_world: MakeWorld, answer: Answer) -> None:
    """The comparison says truncated, on either leg, and never equal."""
    world = make_world()
    world.live.answer = answer
    with world.client() as client, pytest.raises((Truncated, ConnectionError)):
        client.get("/live")
    world.proxy.tally_where(lambda tally: tally["mirrors"]["all/shadow"]["matrix"] == {"truncated,200": 1})
    world.live.forget()
    world.shadow.answer = answer
    with world.client() as client:
        assert client.get("/shadow").status == 200
    mirror = world.proxy.tally_where(lambda tally: sum(tally["mirrors"]["all/shadow"]["matrix"].values()) == 2)["mirrors"]["all/shadow"]
    assert mirror["matrix"] == {"truncated,200": 1, "200,truncated": 1}
    assert mirror["bodies"].get("equal", 0) == 0
    assert mirror["fates"] == {"paired": 1, "failed_truncated": 1}


@pytest.mark.requirement("FRM-11")
@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize(
    "wire",
    [_post("/unfinished", "Content-Length: 10", body=b"part"), _post("/unfinished", "Transfer-Encoding: chunked", body=b"4\r\npart\r\n")],
)
def test_an_unfinished_request_is_never_complete(world: World, wire: bytes, is_reset: bool) -> None:
    """A client that ends inside its body leaves both legs with an unfinished request on a connection that is over."""
    with world.client() as client:
        client.send(wire)
        legs = world.live.wait_begun("/unfinished"), world.shadow.wait_begun("/unfinished")
        if is_reset:
            client.abort()
        else:
            client.half_close()
            answer = client.remainder()
            assert not answer.startswith(b"HTTP/1.1 2")
    for origin, leg in zip((world.live, world.shadow), legs, strict=True):
        eventually(lambda origin=origin, leg=leg: not origin.connections[leg.connection].is_open, "the upstream connection ends")  # type: ignore[misc]
        assert not leg.is_complete


@pytest.mark.requirement("FRM-13")
def test_extra_bytes_behind_an_answer_are_nobodys(world: World) -> None:
    """An upstream connection with bytes behind its answer, at once or later, is discarded; they are never the next answer."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    def later(turn: Turn) -> None:
        turn.read_body()
        turn.send(whole)
        turn.pause(0.02)
        turn.send(poison)

    def split(turn: Turn) -> None:
        turn.read_body()
        turn.send(whole[:-1])
        turn.pause(0.02)
        turn.send(whole[-1:] + poison)

    for poisoned in (answers.raw(whole + poison), answers.raw(chunks + poison), later, split):
        world.live.queue(poisoned)
        world.shadow.queue(poisoned)
        with world.client() as client:
            assert client.get("/poisoned").body == b"ok"
            if poisoned is later:
                eventually(lambda: not world.live.open_connections, "the poisoned connection is discarded")
            for _ in range(3):
                assert client.get("/next").body == b"ok"


@pytest.mark.requirement("FRM-14")
@pytest.mark.parametrize(
    "fields",
    [
        [("Transfer-Encoding", "chunked")],
        [("Content-Length", "6")],
        [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")],
        [],
    ],
)
def test_an_answer_streams(world: World, fields: list[tuple[str, str]]) -> None:
    """The client has the first piece before live sends the second."""
    has_first = threading.Event()
    is_chunked = ("Transfer-Encoding", "chunked") in fields

    def gated(turn: Turn) -> None:
        turn.read_body()
        turn.send(answers.head(200, fields), b"3\r\none\r\n" if is_chunked else b"one")
        assert has_first.wait(10), "the client never got the first piece"
        turn.send(b"3\r\ntwo\r\n0\r\n\r\n" if is_chunked else b"two")
        if not fields:
            turn.close()

    world.live.answer = gated
    with world.client() as client:
        client.send(wire("GET", "/stream"))
        stream = client.stream()
        next(stream)
        assert next(stream) == b"one"
        has_first.set()
        assert b"".join(piece for piece in stream if isinstance(piece, bytes)) == b"two"


@pytest.mark.requirement("FRM-14")
def test_a_request_streams(world: World) -> None:
    """Live and shadow have the first piece before the client sends the second."""
    with world.client() as client:
        client.send(b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        for origin in (world.live, world.shadow):
            assert origin.wait_begun("/up")
        eventually(
            lambda: all(
                bytes(origin.connections[origin.seen("/up")[0].connection].raw).endswith(b"3\r\none\r\n")
                for origin in (world.live, world.shadow)
            )
        )
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.response().status == 200
    for leg in world.legs("/up"):
        assert leg.body == b"onetwo"


@pytest.mark.requirement("FRM-15")
def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    """Though the first is slow and the second fast, answers come in the order of the requests."""
    world.live.on("/slow", answers.ok(b"slow", pause_s=0.05))
    world.live.on("/fast", answers.ok(b"fast"))
    with world.client() as client:
        client.send(wire("GET", "/slow") + wire("POST", "/fast", body=b"abc") + wire("GET", "/slow") + wire("GET", "/fast"))
        assert [client.response().body for _ in range(4)] == [b"slow", b"fast", b"slow", b"fast"]
    world.legs("/slow", 2)
    world.legs("/fast", 2)


@pytest.mark.requirement("FRM-15")
def test_pipelined_requests_are_all_answered_after_a_half_close(world: World) -> None:
    """A client that pipelines and then ends its sending side still gets every answer."""
    world.live.queue(answers.ok(b"0", pause_s=0.1))
    world.live.answer = answers.echo()
    with world.client() as client:
        client.send(b"".join(wire("PUT", f"/{n}", body=b"%d" % n) for n in range(5)))
        client.half_close()
        assert [client.response().body for n in range(5)] == [b"%d" % n for n in range(5)]
        client.expect_end()


@pytest.mark.requirement("FRM-15")
@pytest.mark.parametrize("last", [b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"GET /last HTTP/1.0\r\n\r\n"])
def test_nothing_follows_a_last_request(world: World, last: bytes) -> None:
    """Requests behind Connection: close are ignored, whether they come with it or later."""
    world.live.on("/last", answers.ok(pause_s=0.05))
    with world.client() as client:
        client.send(last + SMUGGLED)
        client.send(SMUGGLED)
        assert client.response().status == 200
        client.expect_end()
    world.legs("/last")
    assert world.untouched("/smuggled")


@pytest.mark.requirement("FRM-15")
def test_the_pipeline_is_bounded(world: World) -> None:
    """While one request is answered the proxy stops reading: ten thousand more do not pile up in it."""
    release = threading.Event()

    def gated(turn: Turn) -> None:
        turn.read_body()
        release.wait(10)
        turn.send(answers.head(200, [("Content-Length", "0")]))

    world.live.on("/first", gated)
    flood = wire("GET", "/flood", ("X-Padding", "p" * 900)) * 10000
    with world.client() as client:
        client.send(wire("GET", "/first"))
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.socket.sendall(flood)
        client.socket.settimeout(15)
        assert not world.live.seen("/flood")
        release.set()
        assert client.response().status == 200
        assert client.response().status == 200


@pytest.mark.requirement("FRM-16")
@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n"])
def test_leading_empty_lines_are_ignored(world: World, lines: bytes) -> None:
    """At least one empty line before a request line is ignored, on the first request and between requests."""
    with world.client() as client:
        for target in ("/lead-1", "/lead-2"):
            client.send_bytewise(lines + wire("GET", target))
            assert client.response().status == 200
    world.legs("/lead-1")
    world.legs("/lead-2")


@pytest.mark.requirement("FRM-16")
@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_whitespace_before_the_first_field_is_refused(world: World, blank: bytes) -> None:
    """A first field line that begins with a blank is 400."""
    world.refuses(b"GET /blank HTTP/1.1\r\n" + blank + b"Content-Length: 5\r\nHost: h\r\n\r\n")
    assert world.untouched("/blank")
