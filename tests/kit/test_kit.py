"""The kit itself, without a proxy between its client and its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import Client, Origin, Truncated, WireError, answers, law
from tests.kit.client import chunked_wire, wire
from tests.kit.process import eventually
from tests.kit.worker import merge, unconserved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.origin import Answer, Turn


@pytest.fixture
def origin() -> Iterator[Origin]:
    """One origin."""
    origin = Origin()
    yield origin
    origin.stop()


def test_a_request_is_recorded_as_it_was_sent(origin: Origin) -> None:
    """Letter case, order, duplicates, body and trailers of a request are on record."""
    with Client(origin.address) as client:
        client.send_bytewise(chunked_wire("POST", "/a?b", ("X-One", "1"), ("x-one", "2"), pieces=[b"abc", b"de"], trailers="X-T: t\r\n"))
        assert client.response().body == b"ok"
    seen = origin.wait_for("/a")
    assert seen.method == "POST"
    assert seen.target == "/a?b"
    assert seen.all("x-one") == ["1", "2"]
    assert ("x-one", "2") in seen.fields
    assert seen.body == b"abcde"
    assert seen.trailers == (("X-T", "t"),)
    assert origin.problems() == []


def test_pipelined_requests_are_answered_in_order(origin: Origin) -> None:
    """Bytes of the next request are not lost when the last one is read."""
    origin.answer = answers.echo()
    with Client(origin.address) as client:
        client.send(wire("PUT", "/1", body=b"one") + wire("PUT", "/2", body=b"two"))
        assert [client.response().body, client.response().body] == [b"one", b"two"]


@pytest.mark.parametrize(
    "answer",
    [
        answers.raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
        answers.raw_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
        answers.raw_then_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
        answers.raw_then_close(b"HTTP/1.1 200"),
        answers.close(),
        answers.reset(),
    ],
)
def test_a_truncated_answer_is_never_whole(origin: Origin, answer: Answer) -> None:
    """However an answer is cut short, the client says so."""
    origin.answer = answer
    with Client(origin.address) as client, pytest.raises(Truncated):
        client.get("/")


def test_a_close_delimited_answer_is_whole(origin: Origin) -> None:
    """An answer without a length ends with its connection."""
    origin.answer = answers.raw_then_close(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    with Client(origin.address) as client:
        answer = client.get("/")
    assert answer.body == b"all of it"
    assert answer.is_close_delimited


def test_interim_answers_and_tunnels(origin: Origin) -> None:
    """Interim heads come with their final answer; bytes behind a 101 are the tunnel's."""
    origin.queue(answers.interim(answers.head(103, [("Link", "</a>")])), answers.tunnel("echo"))
    with Client(origin.address) as client:
        assert [head.status for head in client.get("/").interim] == [103]
        client.send(wire("GET", "/up", ("Connection", "upgrade"), ("Upgrade", "echo")))
        assert client.response(upgrade="echo").status == 101
        client.send(b"hello")
        assert client.receive_exactly(5) == b"hello"


def test_an_unsolicited_101_is_malformed(origin: Origin) -> None:
    """The client does not let a proxy get away with a 101 that it did not ask for."""
    origin.answer = answers.raw(answers.head(101))
    with Client(origin.address) as client, pytest.raises(WireError):
        client.get("/")


def test_an_endless_answer_ends_when_the_client_leaves(origin: Origin) -> None:
    """A script that only sends notices that nobody listens any more."""
    origin.answer = answers.endless()
    with Client(origin.address) as client:
        client.send(wire("GET", "/"))
        next(client.stream())
        client.abort()
    eventually(lambda: not origin.open_connections, "the connection is over")


def test_a_script_that_breaks_is_a_problem(origin: Origin) -> None:
    """An exception in a script is reported, not lost with its thread."""

    def broken(turn: Turn) -> None:
        raise LookupError("broken on purpose")

    origin.answer = broken
    with Client(origin.address) as client, pytest.raises(Truncated):
        client.get("/")
    eventually(origin.problems, "the origin reports the script")
    assert "broken on purpose" in origin.problems()[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\rb\r\n0\r\nX: y\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3",
        b"GET / HTTP/1.1\r\nHo",
        b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\0\1\2 not HTTP",
        b"",
    ],
)
def test_lawful_bytes_are_lawful(raw: bytes) -> None:
    """Whole and cut-off messages that all readers read alike are no violation."""
    assert law.violations(raw) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /\xc3\xa0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
    ],
)
def test_unlawful_bytes_are_found(raw: bytes) -> None:
    """Every way to be ambiguous is found."""
    assert law.violations(raw)


def test_tallies_merge() -> None:
    """Deltas add up, gauges are replaced, and a fate that is missing breaks the law."""
    merged: dict[str, object] = {}
    merge(merged, {"mirrors": {"r/m": {"eligible": 2, "pending": 1, "fates": {"paired": 1}, "breaker": "closed"}}, "refusals": {"bad": 1}})
    assert unconserved(merged) == []
    merge(merged, {"mirrors": {"r/m": {"eligible": 1, "pending": 0, "fates": {"paired": 1}, "breaker": "open"}}, "refusals": {"bad": 2}})
    assert merged["refusals"] == {"bad": 3}
    assert unconserved(merged) == ["r/m: eligible 3 != fates 2 + pending 0: {'paired': 2}"]
