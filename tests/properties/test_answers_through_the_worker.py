"""Answers, lawful and damaged, through a running worker: the client gets what live said, or is told that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.kit import Client, Response, Truncated, WireError, World
from tests.kit.answers import raw_then_close
from tests.kit.wire import ResponseReader
from tests.strategies import Answer, answers, mutated, names

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 12


@pytest.fixture(scope="module")
def fuzzed_world() -> Iterator[World]:
    """A world whose origins answer whatever they are told to."""
    with World() as world:
        yield world


def _directly(raw: bytes) -> Response | None:
    """What h11 makes of an answer without a proxy in between; None where it is none."""
    pieces = [raw]
    try:
        return ResponseReader(lambda: pieces.pop() if pieces else b"").read()
    except WireError:
        return None


def _through(world: World, path: str, raw: bytes, *, is_shadow: bool) -> Response | None:
    """What a client of the proxy gets; None where the connection breaks off."""
    (world.shadow if is_shadow else world.live).on(path, raw_then_close(raw))
    with Client(world.address) as client:
        try:
            answer = client.get(path)
        except (Truncated, ConnectionError):
            return None
        if not answer.has("Connection"):
            assert client.get("/next").body == b"ok", "the connection is in step"
        return answer


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 6)
@given(st.lists(answers(), min_size=1, max_size=BATCH))
def test_lawful_answers_reach_the_client(fuzzed_world: World, batch: list[Answer]) -> None:
    """Status, field lines in order, and body of every lawful answer arrive as they were sent."""
    for number, sent in enumerate(batch):
        got = _through(fuzzed_world, f"/lawful/{number}", sent.wire, is_shadow=False)
        assert got is not None, sent
        assert (got.status, got.body) == (sent.status, sent.body), sent
        used = {name.lower() for name, _ in sent.fields}
        assert tuple(field for field in got.fields if field[0].lower() in used) == sent.fields
    fuzzed_world.forget()


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 3)
@given(st.lists(mutated(answers().map(lambda answer: answer.wire)), min_size=1, max_size=BATCH))
def test_damaged_answers_are_not_made_whole(fuzzed_world: World, batch: list[bytes]) -> None:
    """An answer that h11 refuses or misses the end of is a 502 or a broken connection; any other has the same status and body."""
    for number, raw in enumerate(batch):
        got = _through(fuzzed_world, f"/damaged/{number}", raw, is_shadow=False)
        if got is None or (got.status == 502 and got.all("Content-Type") == ["application/problem+json"]):
            continue
        expected = _directly(raw)
        assert expected is not None, (raw, got)
        assert (got.status, got.body) == (expected.status, expected.body), raw
    fuzzed_world.forget()


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 6)
@given(st.lists(mutated(answers().map(lambda answer: answer.wire)), min_size=1, max_size=BATCH))
def test_damaged_answers_of_a_shadow_change_nothing(fuzzed_world: World, batch: list[bytes]) -> None:
    """Whatever a shadow answers, the client has live's answer."""
    for number, raw in enumerate(batch):
        got = _through(fuzzed_world, f"/shadowed/{number}", raw, is_shadow=True)
        assert got is not None
        assert (got.status, got.body) == (200, b"ok")
    fuzzed_world.forget()


@given(names())
def test_plain_names_are_plain(name: str) -> None:
    """The strategy's own promise: names that it draws mean nothing to the proxy."""
    assert name.lower() not in {"connection", "content-length", "transfer-encoding", "date", "upgrade"}
