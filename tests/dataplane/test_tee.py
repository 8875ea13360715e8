"""Copies: made, bounded, given up, and never in live's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import from_plain
from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.tee import ANSWER_LIMIT, BREAKER_LIMIT_NS, SCALE_FLOOR, Breaker, copied_lines
from shadowproxy.policy.compile import compile_policy
from tests.dataplane.room import ANSWER, INSTANCE, MIRRORED, REQUEST, Room

if TYPE_CHECKING:
    from shadowproxy.policy import MirrorPolicy

POST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n\r\n"


def _room(**mirror: object) -> Room:
    return Room(MIRRORED | {"mirror": [MIRRORED["mirror"][0] | mirror]})


def test_a_copy_is_what_live_got_by_the_mirror_s_rules(room: Room) -> None:
    """Without credentials, marked, in the same trace under another span; byte for byte otherwise."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\nCookie: c=d\r\nX-Odd:  v \r\n\r\n")
    sent, copied = live.heard.split(b"\r\n"), shadow.heard.split(b"\r\n")
    assert sent[0] == copied[0] == b"GET /a?b HTTP/1.1"
    assert b"X-Odd:  v " in copied
    assert set(sent) - set(copied) - {b"Cookie: c=d"} == {line for line in sent if line.startswith(b"traceparent")}
    added = set(copied) - set(sent)
    assert b"X-Shadow-Mirror: shadow;by=" + INSTANCE.encode() in added
    assert len(added) == 2


@pytest.mark.parametrize("order", [("live", "shadow"), ("shadow", "live")])
def test_both_answers_make_a_pair(room: Room, order: tuple[str, str]) -> None:
    """Whichever comes first; the client sees live's alone."""
    client = room.client()
    sides = {"live": room.upstream("live"), "shadow": room.upstream("shadow")}
    client.says(REQUEST)
    for name in order:
        sides[name].says(ANSWER.replace(b"ok", b"ok" if name == "live" else b"no"))
    assert client.heard == ANSWER
    report = room.worker.tees["all/shadow"].tally.report()
    assert report["fates"] == {"paired": 1}
    assert report["bodies"]["different"] == 1


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "failed_malformed"),
        (b"hello", "failed_malformed"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "failed_malformed"),
        (None, "failed_reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "failed_truncated"),
    ],
)
def test_whatever_a_shadow_does_is_an_outcome(room: Room, answer: bytes | None, fate: str) -> None:
    """Live's client gets its answer, and the next one on the same connection."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    if answer is not None:
        shadow.says(answer)
    shadow.is_lost(ConnectionResetError())
    live.says(ANSWER)
    assert client.heard == ANSWER
    assert room.fates() == {fate: 1}
    client.says(REQUEST)
    live.says(ANSWER)
    assert client.heard == ANSWER


def test_an_answer_without_end_is_given_up(room: Room) -> None:
    """ANSWER_LIMIT bytes are read and no more."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    shadow.says(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(17):
        shadow.says(b"x" * (ANSWER_LIMIT // 16))
        if shadow.is_over:
            break
    assert shadow.is_over
    assert room.fates() == {"failed_timeout": 1}


def test_a_body_beyond_the_limit_is_not_mirrored() -> None:
    """At once where it was announced, while it streams where it was not."""
    room = _room(body_limit=10)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST % 11 + b"x" * 11)
    live.says(ANSWER)
    assert shadow.heard == b""
    client.says(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"6\r\nabcdef\r\n", b"6\r\nabcdef\r\n", b"0\r\n\r\n")
    live.says(ANSWER)
    assert shadow.is_over
    assert live.heard.endswith(b"6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n")
    assert client.heard == ANSWER * 2
    assert room.fates() == {"too_large": 2}


def test_a_shadow_that_reads_too_slowly_loses_its_copy() -> None:
    """The copy is over its budget; live has the whole body."""
    room = _room(body_budget=10)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(POST % 100)
    shadow.transport.unsent = 11
    client.says(b"x" * 50, b"x" * 50)
    live.says(ANSWER)
    assert shadow.is_over
    assert client.heard == ANSWER
    assert room.fates() == {"shed_lag": 1}
    assert room.worker.tee_held == 0


def test_too_many_copies_are_not_begun_and_the_range_shrinks() -> None:
    """Whole units are left out first; when the shadow keeps up again the range grows back."""
    room = _room(in_flight=1)
    tee = room.worker.tees["all/shadow"]
    room.upstream("shadow")
    live = room.upstream("live")
    for _ in range(2):
        room.client().says(REQUEST)
        live.says(ANSWER)
    assert room.fates() == {"shed_in_flight": 1}
    for _ in range(100):
        tee.tick(0)
    assert tee.scale == SCALE_FLOOR
    tee.kill()
    for _ in range(200):
        tee.tick(0)
    assert tee.scale == 1.0


def test_the_kill_switch_stops_copies_under_way_and_new_ones(room: Room) -> None:
    """At once, by a reset; live goes on."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    room.words[0] = 1
    room.worker.kill()
    assert shadow.transport.is_aborted
    live.says(ANSWER)
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    assert client.heard == ANSWER * 2
    assert room.fates() == {"killed": 2}


def test_breakers_open_probe_and_close() -> None:
    """The table of states: five failures open, one probe at a time, failed probes wait twice as long, one answer closes."""
    breaker = Breaker()
    assert (breaker.state, breaker.admits(0)) == ("closed", True)
    for _ in range(4):
        breaker.failed(0, 5, 100)
    assert breaker.state == "closed"
    breaker.succeeded()
    for _ in range(5):
        breaker.failed(0, 5, 100)
    assert (breaker.state, breaker.admits(99)) == ("open", False)
    assert (breaker.admits(100), breaker.state, breaker.admits(100)) == (True, "half-open", False)
    breaker.cancelled()
    assert (breaker.state, breaker.admits(100)) == ("open", True)
    breaker.failed(100, 5, 100)
    assert (breaker.admits(299), breaker.admits(300)) == (False, True)
    breaker.succeeded()
    assert repr(breaker) == "Breaker(closed)"
    assert not breaker.is_tripped


def test_a_breaker_waits_30_seconds_at_most_and_can_be_off() -> None:
    """Doubling ends; a limit of 0 never opens it."""
    breaker, now_ns = Breaker(), 0
    for _ in range(40):
        breaker.failed(now_ns, 1, 10**9)
        now_ns += BREAKER_LIMIT_NS
        assert breaker.admits(now_ns)
    off = Breaker()
    for _ in range(99):
        off.failed(0, 0, 100)
    assert off.state == "closed"


def test_a_hold_out_measures_what_mirroring_costs() -> None:
    """A request that was left out on purpose is counted with live's latency."""
    room = _room(holdout=100)
    client, live = room.client(), room.upstream("live")
    client.says(REQUEST)
    live.says(ANSWER)
    report = room.worker.tees["all/shadow"].tally.report()
    assert report["fates"] == {"holdout": 1}
    assert sum(report["holdout_last"].values()) == 1


def test_things_show_themselves(room: Room) -> None:
    """The mirror, what is under way, and the breaker."""
    client = room.client()
    room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    tee = room.worker.tees["all/shadow"]
    assert repr(tee) == "Tee(all/shadow, copies=1, scale=1.00, Breaker(closed))"
    assert [repr(copy) for copy in tee.copies] == ["Copy(all/shadow, GET, sent)"]
    assert outcome.FATES[outcome.KILLED] == "killed"


LINES = st.lists(
    st.sampled_from([
        "Cookie: a=b", "cookie: a=b", "X-Cookie: a=b", "X: Cookie: a=b", "Drop: 1", "DROP:2", "Drop-Not: 1", "A: Drop: 1", "Accept: */*", "X-Host: Host: h",
    ]),
    max_size=8,
)  # fmt: skip


@given(
    LINES, st.sampled_from(["preserve", "literal:other.example", "suffix:-next"]), st.sampled_from(["HTTP/1.1", "HTTP/1.0"]), st.booleans()
)
def test_copies_leave_out_whole_lines_only(lines: list[str], host: str, version: str, is_absolute: bool) -> None:
    """Said again line by line: the names that the mirror removes, in any case, and no line that only contains one of them."""
    policy = mirror_policy({"headers": {"remove": ["Drop"]}, "host": host})
    heads = RequestHeads(frozenset(), policy.removed | {b"host"}, count_limit=50, line_limit=200)
    target = "http://shop.example:80/x" if is_absolute else "/x"
    wire = "\r\n".join([f"GET {target} {version}", *(["Host: shop.example:80"] if version == "HTTP/1.1" else []), *lines, "", ""]).encode()
    head = heads.read(wire)[3]
    changed = {"preserve": b"shop.example:80", "literal:other.example": b"other.example", "suffix:-next": b"shop.example-next:80"}
    kept = [line for line in head.lines if line.partition(b":")[0].lower() not in {b"cookie", b"drop"}]
    expected = [b"Host: " + changed[host] if line.lower().startswith(b"host:") else line for line in kept]
    without_host = [] if head.authority else [b"Host: endpoint:1"]
    assert copied_lines(head, policy, b"endpoint:1") == b"".join(line + b"\r\n" for line in [*without_host, *expected])


def mirror_policy(mirror: dict[str, object]) -> MirrorPolicy:
    """The policy of one mirror."""
    fleets = {"live": {"endpoints": ["http://10.0.0.1"]}, "shadow": {"endpoints": ["http://10.0.0.2"]}}
    routes = [{"live": "live", "mirror": [{"to": "shadow", "percent": 100, **mirror}]}]
    return compile_policy(from_plain({"listen": ["127.0.0.1:1"], "fleets": fleets, "routes": routes}), 1).routes[0].mirrors[0]
