"""Counting different units: exact, then estimated, always bounded."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments.unit_sample import UnitSample

DIGESTS = st.lists(st.integers(0, 2**64 - 1), max_size=60)


@given(DIGESTS)
def test_up_to_the_limit_it_is_a_set(digests: list[int]) -> None:
    """Each different digest counts once, and is told to be new once."""
    sample = UnitSample(100)
    assert sum(sample.add(digest) for digest in digests) == sample.count == len(set(digests))
    assert sample.is_exact


@given(DIGESTS, st.integers(1, 8))
def test_beyond_it_is_bounded_whatever_comes(digests: list[int], limit: int) -> None:
    """Even digests that somebody chose cannot make it grow, and what was known or thinned out is not new."""
    sample = UnitSample(limit)
    for digest in digests:
        sample.add(digest)
        assert not sample.add(digest)
        assert len(sample._kept) <= limit


def test_the_estimate_is_near() -> None:
    """A hundred times the limit, within a few percent; repr says that it is an estimate."""
    chance = random.Random(1)
    sample = UnitSample(1000)
    for _ in range(100_000):
        sample.add(chance.getrandbits(64))
    assert 90_000 < sample.count < 110_000
    assert not sample.is_exact
    assert repr(sample).endswith(" estimated)")


@given(DIGESTS, st.integers(1, 100))
def test_it_can_be_written_down(digests: list[int], limit: int) -> None:
    """Taken up again it counts on as if nothing had happened."""
    sample = UnitSample(limit)
    for digest in digests:
        sample.add(digest)
    again = UnitSample.from_plain(json.loads(json.dumps(sample.to_plain())), limit)
    assert (again.count, again.is_exact) == (sample.count, sample.is_exact)
    for digest in (*digests, 5, 8, 1024):
        assert again.add(digest) == sample.add(digest)


@pytest.mark.parametrize("plain", [{}, {"level": 0, "kept": "AAAA"}, {"level": 0, "kept": "!"}, {"level": "x", "kept": ""}])
def test_what_is_damaged_is_refused(plain: dict[str, object]) -> None:
    """Nothing is guessed."""
    with pytest.raises((KeyError, ValueError)):
        UnitSample.from_plain(plain)
