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
    """The first time says no, every later one yes, until another takes the place; the memory of it does not grow."""
    newcomers = head.Newcomers()
    assert [newcomers.is_known(7), newcomers.is_known(7), newcomers.is_known(-8), newcomers.is_known(7)] == [False, True, False, True]
    assert [newcomers.is_known(7 + head.NEWCOMERS), newcomers.is_known(7)] == [False, False]
    for number in range(1, 3 * head.NEWCOMERS):
        newcomers.is_known(number << 40)
    assert len(newcomers._hashes) == head.NEWCOMERS


def test_a_completion_counts_heads() -> None:
    """One callback is one head that was complete."""
    complete = head.Completion()
    complete.on_headers_complete()
    assert complete.heads == 1
