"""What both directions of heads share."""

from __future__ import annotations

from shadowproxy.dataplane import head


def test_special_lengths_are_no_lengths() -> None:
    """A body's length is one integer: these two can be taken for none that was announced."""
    assert len({head.CHUNKED, head.UNTIL_CLOSE}) == 2
    assert max(head.CHUNKED, head.UNTIL_CLOSE) < 0


def test_what_readers_keep_is_bounded() -> None:
    """4 MiB of heads, whatever peers send (P6)."""
    assert head.BLOCKS_LIMIT * head.BLOCK_BYTES_LIMIT <= 4 * 1024 * 1024


def test_newcomers_are_told_from_what_comes_again() -> None:
    """The first time says no, every later one yes, and the memory of it is bounded."""
    newcomers = head.Newcomers()
    assert [newcomers.is_known(7), newcomers.is_known(7), newcomers.is_known(8), newcomers.is_known(7)] == [False, True, False, True]
    for number in range(3 * head.NEWCOMERS_LIMIT):
        newcomers.is_known(number)
        assert len(newcomers._hashes) <= head.NEWCOMERS_LIMIT


def test_a_completion_counts_heads() -> None:
    """One callback is one head that was complete."""
    complete = head.Completion()
    complete.on_headers_complete()
    assert complete.heads == 1
