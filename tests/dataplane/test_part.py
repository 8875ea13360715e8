"""Parts of exchanges: each is told of exactly one end, and what its clients were answered is counted in its arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.dataplane import exchange as exchanges
from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.part import ArmTally, Part
from tests.dataplane.room import ANSWER, MIRRORED, REQUEST, Room, Side

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.response_lines import ResponseHead


class Diary(Part):
    """Writes down what it is told."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages: list[object] = []

    def on_answer(self, exchange: Exchange, head: ResponseHead, payload: bytes) -> None:
        """The head."""
        self.pages.append((head.status, payload))

    def on_payload(self, payload: bytes) -> None:
        """More."""
        self.pages.append(payload)

    def answered(self, status: int, last: int) -> None:
        """The end."""
        self.pages.append(f"answered {status}")

    def failed(self, ended: int) -> None:
        """Another end."""
        self.pages.append(f"failed {outcome.name_of(ended)}")

    def client_gone(self) -> None:
        """And another."""
        self.pages.append("client_gone")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each exchange takes part in a diary."""
    diary = Diary()
    begin = exchanges.Exchange.begin

    def begin_with_part(self: Exchange, payload: bytes, *, is_end: bool) -> None:
        self.take_part(diary)
        begin(self, payload, is_end=is_end)

    monkeypatch.setattr(exchanges.Exchange, "begin", begin_with_part)
    return diary.pages


def _room() -> tuple[Side, Side]:
    room = Room(MIRRORED | {"mirror": []})
    return room.client(), room.upstream("live")


def test_a_whole_answer(told: list[object]) -> None:
    """Head, payload as the upstream's framing gave it, and the end."""
    client, live = _room()
    client.says(REQUEST)
    live.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n")
    assert told == [(200, b"ab"), b"c", "answered 200"]


def test_an_answer_in_one_piece(told: list[object]) -> None:
    """The common case."""
    client, live = _room()
    client.says(REQUEST)
    live.says(ANSWER)
    assert told == [(200, b"ok"), "answered 200"]


def test_an_endpoint_that_breaks_off(told: list[object]) -> None:
    """A truncated answer is a failure, once."""
    client, live = _room()
    client.says(REQUEST)
    live.says(ANSWER[:-1])
    live.is_lost()
    assert told == [(200, b"o"), "failed truncated"]


def test_an_endpoint_that_says_nothing(told: list[object]) -> None:
    """What the client is told is ours; what is counted is how live failed."""
    client, live = _room()
    client.says(REQUEST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
    live.is_lost()
    assert client.heard.startswith(b"HTTP/1.1 502")
    assert told == ["failed reset"]


def test_a_client_that_leaves(told: list[object]) -> None:
    """Nobody knows how it would have ended."""
    client, _ = _room()
    client.says(REQUEST)
    client.is_lost()
    assert told == ["client_gone"]


def test_an_upgrade(told: list[object]) -> None:
    """101 is an answer."""
    client, live = _room()
    client.says(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    live.says(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert told == ["answered 101"]


def test_an_arm_adds_up() -> None:
    """Answers, failures and what we made up are counted apart; a report begins the deltas anew."""
    arm = ArmTally()
    arm.answered(200, 7)
    arm.answered(200, 7)
    arm.failed(outcome.TIMEOUT)
    arm.was_injected(503)
    assert arm.report() == {"requests": 4, "responses": {"200": 2, "timeout": 1}, "last": {7: 2}, "injected": {"503": 1}}
    assert arm.report() == {"requests": 0, "responses": {}, "last": {}, "injected": {}}
