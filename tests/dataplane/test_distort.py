"""What faults do to bytes: when they pass, which are changed, what the head says then."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.distort import MASK_BYTES, PIECES_LIMIT, RARE, Corruption, Pacer, altered_head, draw_mask, field_of
from shadowproxy.dataplane.response_head import ResponseHeads

S = 10**9


def _all(pacer: Pacer) -> list[tuple[int, bytes]]:
    """Every piece with the time at which it is due."""
    pieces = []
    while len(pacer):
        due_ns = pacer.due_ns()
        pieces.append((due_ns, pacer.take(due_ns)))
    return pieces


@given(
    st.integers(0, 5000), st.integers(0, 50), st.integers(0, S), st.lists(st.tuples(st.integers(0, S), st.binary(max_size=80)), max_size=20)
)
def test_what_goes_in_comes_out_in_order(rate: int, size: int, every_ns: int, puts: list[tuple[int, bytes]]) -> None:
    """Nothing is lost, doubled or early, however payload and time come; pieces are no larger than they may be."""
    pacer = Pacer(rate, size, every_ns, 0)
    now_ns = 0
    out = b""
    for step_ns, payload in puts:
        now_ns += step_ns
        if payload:
            pacer.put(payload, now_ns)
        piece = pacer.take(now_ns)
        assert not size or len(piece) <= size
        out += piece
        if rate:
            assert len(out) <= rate * now_ns / S + 1e-9
    for due_ns, piece in _all(pacer):
        assert piece
        now_ns = max(now_ns, due_ns)
        out += piece
    assert out == b"".join(payload for _, payload in puts)


def test_a_rate_is_kept_over_time() -> None:
    """The last of n bytes is due after n / rate, and twenty pieces a second come before it."""
    pacer = Pacer(1000, 0, 0, 5 * S)
    pacer.put(b"x" * 2500, 5 * S)
    pieces = _all(pacer)
    assert pieces[0] == (5 * S + S // 20, b"x" * 50)
    assert pieces[-1][0] == 5 * S + 5 * S // 2
    assert len(pieces) == 50


def test_a_late_timer_is_made_up_for_and_idle_time_is_not() -> None:
    """A loop that was held up does not slow the body; a body that had nothing to give saves nothing up."""
    pacer = Pacer(1000, 0, 0, 0)
    pacer.put(b"x" * 1000, 0)
    assert len(pacer.take(S // 2)) == 500
    assert len(pacer.take(10 * S)) == 500
    pacer.put(b"y" * 1000, 20 * S)
    assert pacer.take(20 * S) == b""
    assert len(pacer.take(20 * S + S // 2)) == 500


def test_dribbled_pieces_have_pauses_between_them() -> None:
    """The first goes at once, each later one after the pause, and one at a time."""
    pacer = Pacer(0, 2, S, 0)
    pacer.put(b"abcde", 0)
    assert pacer.take(100 * S) == b"ab"
    assert _all(pacer) == [(S, b"cd"), (2 * S, b"e")]


def test_of_rate_and_pause_the_later_counts() -> None:
    """Both hold."""
    pacer = Pacer(1, 2, S, 0)
    pacer.put(b"abcd", 0)
    assert _all(pacer) == [(2 * S, b"ab"), (4 * S, b"cd")]
    pacer = Pacer(100, 2, S, 0)
    pacer.put(b"abcd", 0)
    assert _all(pacer) == [(S // 50, b"ab"), (S // 50 + S, b"cd")]


def test_a_body_is_cut_into_so_many_pieces_and_no_more() -> None:
    """Each piece costs a round of the loop: behind the last the rest goes as a whole."""
    pacer = Pacer(0, 1, 0, 0)
    pacer.put(b"x" * (PIECES_LIMIT + 500), 0)
    pieces = _all(pacer)
    assert len(pieces) == PIECES_LIMIT + 1
    assert len(pieces[-1][1]) == 500


def test_the_rest_is_all_there_is() -> None:
    """Due or not."""
    pacer = Pacer(1, 0, 0, 0)
    pacer.put(b"abc", 0)
    assert repr(pacer) == "Pacer(held=3, pieces=0)"
    assert (pacer.rest(), len(pacer)) == (b"abc", 0)


def _corruption(share: float, seed: int) -> Corruption:
    chance = random.Random(seed).random
    return Corruption(share, chance, draw_mask(share, chance) if share > RARE else b"")


@given(st.floats(0.0001, 1.0), st.lists(st.binary(max_size=3000), max_size=8), st.integers(0, 2**32))
def test_corruption_changes_what_it_counts(share: float, pieces: list[bytes], seed: int) -> None:
    """As long as it was, in every piece, and exactly `changed` bytes are others."""
    corruption = _corruption(share, seed)
    out = [corruption.apply(piece) for piece in pieces]
    assert [len(piece) for piece in out] == [len(piece) for piece in pieces]
    different = sum(one != other for one, other in zip(b"".join(out), b"".join(pieces), strict=True))
    assert different == corruption.changed


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.02, 0.5, 1.0])
def test_a_share_of_the_bytes_is_changed(share: float) -> None:
    """As many as asked for, also where they are rare and where the body comes in pieces."""
    corruption = _corruption(share, 5)
    body = bytes(400_000)
    for start in range(0, len(body), 7001):
        corruption.apply(body[start : start + 7001])
    assert corruption.changed / len(body) == pytest.approx(share, rel=0.25)


@pytest.mark.parametrize("share", [0.02, 0.25, 1.0])
def test_a_mask_changes_exactly_its_share(share: float) -> None:
    """And begins anywhere for each body, so that no byte is spared for ever."""
    mask = draw_mask(share, random.Random(1).random)
    assert MASK_BYTES - mask.count(0) == round(share * MASK_BYTES)
    chance = random.Random(2).random
    first = [Corruption(share, chance, mask).apply(bytes(1)) != bytes(1) for _ in range(2000)]
    assert sum(first) / 2000 == pytest.approx(share, abs=0.04)


HEAD = b"HTTP/1.1 200 OK\r\nAge: 3\r\nContent-Length: 9\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


def test_a_head_is_altered_without_touching_the_one_that_others_share() -> None:
    """Fields leave by name in any spelling and come at the end; a length that differs is announced anew."""
    head = ResponseHeads().read(HEAD, b"GET")
    other = altered_head(head, frozenset({b"x-a"}), b"X-B: 1\r\n", 9)
    assert other.wire == b"HTTP/1.1 200 OK\r\nAge: 3\r\nContent-Length: 9\r\nX-B: 1\r\n"
    shorter = altered_head(head, frozenset(), b"", 4)
    assert shorter.wire == b"HTTP/1.1 200 OK\r\nAge: 3\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n"
    assert (shorter.length, shorter.announced, shorter.status) == (4, 4, 200)
    assert head.wire + b"\r\n" == HEAD
    assert (field_of(head, b"x-a"), field_of(head, b"none")) == (b"1", b"")
