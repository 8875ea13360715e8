"""Pairs that are kept whole: a bounded sample, chosen before anything is known, and let go in every case."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.capture import BURST_S, Allowance, Capture, Kept, Purse, Request
from tests.dataplane.room import ANSWER, MIRRORED, REQUEST, Room

S = 10**9
POST = b"POST /a?q=1 HTTP/1.1\r\nHost: shop.example\r\nX-Kind:  odd \r\nContent-Length: 6\r\n\r\n"


def _room(**mirror: object) -> Room:
    return Room(
        MIRRORED | {"mirror": [MIRRORED["mirror"][0] | {"methods": ["GET", "POST"], "capture": {"per_second": 1000, "body": 4}} | mirror]}
    )


def _captured(room: Room) -> list[dict[str, Any]]:
    return [pair for message in room.worker.captured() for pair in message["pairs"]]


@given(st.floats(0.0, 1000.0), st.lists(st.integers(0, 2 * S), max_size=60))
def test_an_allowance_is_never_exceeded(per_second: float, waits_ns: list[int]) -> None:
    """In any time: what was saved up, and so many a second."""
    allowance = Allowance(per_second, 0)
    taken = now_ns = 0
    for wait_ns in waits_ns:
        now_ns += wait_ns
        taken += allowance.take(now_ns)
        assert taken <= max(1.0, per_second * BURST_S) + per_second * now_ns / S + 1e-6
    if not per_second:
        assert not taken


def test_an_allowance_comes_back() -> None:
    """After a second there are as many again."""
    allowance = Allowance(2.0, 0)
    assert [allowance.take(0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [allowance.take(S) for _ in range(3)] == [True, True, False]


@given(st.lists(st.binary(max_size=8), max_size=8), st.integers(0, 20))
def test_the_beginning_of_a_body_is_kept(pieces: list[bytes], limit: int) -> None:
    """Up to the limit, to the byte, and said to be cut where it is; released, nothing is held."""
    purse = Purse()
    kept = Kept(purse, limit, 10**6)
    for piece in pieces:
        kept.add(piece)
    whole = b"".join(pieces)
    assert b64decode(kept.plain()["body"]) == whole[:limit]
    assert kept.is_cut == (len(whole) > limit)
    assert purse.held == min(len(whole), limit)
    kept.release()
    kept.release()
    assert purse.held == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=8)), max_size=20), st.integers(0, 40))
def test_all_captures_together_hold_no_more_than_they_may(pieces: list[tuple[int, bytes]], memory: int) -> None:
    """However many were begun before their bodies grew; what was let go of is there for others."""
    purse = Purse()
    kept = [Kept(purse, 100, memory) for _ in range(4)]
    for number, piece in pieces:
        kept[number].add(piece)
        assert purse.held == sum(one.size for one in kept) <= memory
        assert all(one.size == sum(map(len, one.body)) for one in kept)
    for one in kept:
        one.release()
    assert purse.held == 0


def test_a_pair_is_told_whole() -> None:
    """Request and both answers as they passed: lines, the beginnings of bodies, outcomes and times."""
    room = _room()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST + b"abc")
    client.says(b"def")
    live.says(b"HTTP/1.1 201 Made\r\nX-Who: live\r\nContent-Length: 2\r\n\r\nok")
    shadow.says(b"HTTP/1.1 500 Oh\r\nX-Who:shadow\r\nContent-Length: 6\r\n\r\nfai")
    assert _captured(room) == []
    shadow.says(b"led")
    (pair,) = _captured(room)
    assert _captured(room) == []
    assert (pair["mirror"], pair["request"]["method"], pair["request"]["target"]) == ("all/shadow", "POST", "/a?q=1")
    assert ["X-Kind", "odd"] in pair["request"]["headers"]
    assert (pair["request"]["body"], pair["request"]["cut"]) == (b64encode(b"abcd").decode(), True)
    assert (pair["live"]["outcome"], pair["live"]["body"], pair["live"]["cut"]) == ("201", b64encode(b"ok").decode(), False)
    assert (pair["shadow"]["outcome"], pair["shadow"]["body"], pair["shadow"]["cut"]) == ("500", b64encode(b"fail").decode(), True)
    assert [pair[side]["headers"][0] for side in ("live", "shadow")] == [["X-Who", "live"], ["X-Who", "shadow"]]
    assert len(pair["trace"]) == 32
    assert room.worker.purse.held == 0


def test_what_is_not_compared_is_not_told() -> None:
    """A client that leaves, a copy that is given up, the kill switch: what was kept is let go."""
    for ending in ("client", "copy", "kill"):
        room = _room()
        client, shadow = room.client(), room.upstream("shadow")
        room.upstream("live")
        client.says(POST + b"abc")
        assert room.worker.purse.held == 3
        if ending == "client":
            client.is_lost()
        elif ending == "kill":
            room.worker.kill()
        else:
            next(iter(room.worker.tees["all/shadow"].copies)).abandon(11)
        assert shadow is not None
        assert room.worker.purse.held == 0, ending
        assert _captured(room) == []


def test_a_leg_that_goes_on_after_its_pair_was_given_up_holds_nothing() -> None:
    """Live's long answer is kept for nobody."""
    room = _room(capture={"per_second": 10, "body": 1000})
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(POST + b"abcdef")
    room.worker.kill()
    live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789", b"0123456789")
    assert client.heard.endswith(b"0123456789" * 2)
    assert (_captured(room), room.worker.purse.held) == ([], 0)


def test_a_second_mirror_s_pair_is_whole_though_the_first_s_was_given_up() -> None:
    """What the first let go of is kept anew."""
    both = [MIRRORED["mirror"][0] | {"name": name, "methods": ["POST"], "capture": {"per_second": 10}} for name in ("one", "two")]
    both[0] |= {"in_flight": 1}
    room = Room(MIRRORED | {"mirror": both})
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    room.worker.tees["all/one"].fleet = room.worker.fleets["live"]
    room.worker.fleets["live"].max_waiting = 0
    client.says(POST + b"abcdef")
    live.says(ANSWER)
    shadow.says(ANSWER)
    told = _captured(room)
    assert [pair["mirror"] for pair in told] == ["all/two"]
    assert told[0]["request"]["body"] == b64encode(b"abcdef").decode()
    assert room.worker.purse.held == 0


def test_a_failed_leg_is_told_too() -> None:
    """A shadow that resets is what one wants to see."""
    room = _room()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    shadow.is_lost()
    (pair,) = _captured(room)
    assert (pair["live"]["outcome"], pair["shadow"]["outcome"]) == ("200", "reset")
    assert (pair["shadow"]["headers"], pair["shadow"]["first_ns"]) == ([], 0)


@pytest.mark.parametrize("capture", [{"per_second": 0}, {"per_second": 10, "memory": 0}])
def test_nothing_is_kept_where_nothing_may_be(capture: dict[str, int]) -> None:
    """No allowance, or no memory."""
    room = _room(capture=capture)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST + b"abcdef")
    live.says(ANSWER)
    shadow.says(ANSWER)
    assert (_captured(room), room.worker.purse.held) == ([], 0)


def test_things_show_themselves() -> None:
    """Sizes and who shares."""
    purse = Purse()
    request = Request(purse, 4, 10**6, "0-1", 0)
    capture = Capture("r/m", request, 4)
    capture.shadow.add(b"abcde")
    assert [repr(purse), repr(request), repr(capture), repr(capture.shadow), repr(Allowance(1.0, 0))] == [
        "Purse(4 bytes)", "Request(0-1, 1 pairs)", "Capture(r/m, Request(0-1, 1 pairs))", "Kept(4 bytes, cut)", "Allowance(2.0 of 2.0)",
    ]  # fmt: skip
