"""Requests, lawful and damaged, through a running worker, in batches: what reaches live and shadow is unambiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conformance.verdicts import Case, deliver
from tests.data.http1_cases import CASES
from tests.kit import World, settings
from tests.strategies import Request, mutated, requests

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 24
"""Damaged requests an example: an example costs a round trip, a request nearly nothing."""


@pytest.fixture(scope="module")
def fuzzed_world() -> Iterator[World]:
    """A world that mirrors every method and sheds nothing."""
    with World(settings(mirror={"in_flight": 4096}, live={"max_connections": 2048}, shadow={"max_connections": 2048})) as world:
        yield world


def _send(world: World, raws: list[bytes], expect: str, *, is_bytewise: bool) -> list[str]:
    """Deliver and judge; forgets what the origins saw, after asking whether it was lawful."""
    results = deliver(world, [Case(str(number), expect, raw) for number, raw in enumerate(raws)], is_bytewise=is_bytewise, net=9)
    failures = [failure for result in results for failure in result.failures()]
    failures += [*world.live.problems(), *world.shadow.problems()]
    world.forget()
    return failures


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 6)
@given(st.lists(requests(), min_size=1, max_size=BATCH), st.booleans())
def test_lawful_requests_reach_both_legs(fuzzed_world: World, sent: list[Request], is_bytewise: bool) -> None:
    """Every lawful request is answered, and live and shadow read what was sent: method, target, fields in order, body."""
    results = deliver(
        fuzzed_world, [Case(str(number), "accept", request.wire) for number, request in enumerate(sent)], is_bytewise=is_bytewise, net=8
    )
    failures = [failure for result in results for failure in result.failures()]
    for request, result in zip(sent, results, strict=True):
        for leg in [*result.live, *result.shadow]:
            names = {name.lower() for name, _ in request.fields}
            assert (leg.method, leg.target, leg.body) == (request.method, request.target, request.body)
            assert tuple((name, value) for name, value in leg.fields if name.lower() in names) == request.fields
    fuzzed_world.forget()
    assert not failures, "\n".join(failures)


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 3)
@given(
    st.lists(
        mutated(st.sampled_from([raw for _, _, raw in CASES if len(raw) < 2000]) | requests().map(lambda request: request.wire)),
        min_size=1,
        max_size=BATCH,
    ),
    st.booleans(),
)
def test_damaged_requests_reach_nobody_ambiguously(fuzzed_world: World, raws: list[bytes], is_bytewise: bool) -> None:
    """Whatever becomes of damaged requests: well-formed answers, no 500, an end, and only unambiguous bytes upstream."""
    failures = _send(fuzzed_world, raws, "either", is_bytewise=is_bytewise)
    assert not failures, "\n".join(failures)


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 6)
@given(
    st.lists(
        requests().flatmap(lambda request: st.integers(1, len(request.wire) - 1).map(lambda at: request.wire[:at])),
        min_size=1,
        max_size=BATCH,
    )
)
def test_a_request_cut_off_anywhere_is_not_a_request(fuzzed_world: World, raws: list[bytes]) -> None:
    """A client that ends at any byte before the last leaves no complete request on either leg."""
    failures = _send(fuzzed_world, raws, "no_success", is_bytewise=False)
    assert not failures, "\n".join(failures)
