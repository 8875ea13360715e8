"""P1 by construction: a defect in the copy's own code is a counter and a log line, and never the client's trouble."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.dataplane import tee
from tests.dataplane.room import Room

GET = b"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIRRORED = {
    "name": "all",
    "match": {"path": "/"},
    "live": "live",
    "mirror": [{"to": "shadow", "percent": 100, "methods": ["GET", "POST"]}],
}


def broken(*_: Any, **__: Any) -> Any:
    """Stand in for any code that has a defect."""
    raise RuntimeError("a defect of ours")


@pytest.mark.parametrize("where", ["_fate", "_head"])
def test_a_defect_before_the_copy(where: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Deciding or building the copy fails: live is answered, the request is counted as shed_error, the law holds."""
    monkeypatch.setattr(tee.Tee, where, broken)
    room = Room(MIRRORED)
    live = room.upstream("live")
    client = room.client()
    client.says(GET)
    live.says(ANSWER)
    assert client.heard.endswith(b"ok")
    assert room.fates() == {"shed_error": 1}
    assert room.worker.errors == 1
    assert "a defect of ours" in capfd.readouterr().err


@pytest.mark.parametrize("where", ["start", "send"])
def test_a_defect_in_the_copy(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending the copy fails: the whole body reaches live, the pair is excluded, nothing stays pending."""
    monkeypatch.setattr(tee.Copy, where, broken)
    room = Room(MIRRORED)
    live, _shadow = room.upstream("live"), room.upstream("shadow")
    client = room.client()
    client.says(POST)
    client.says(b"bo")
    client.says(b"dy")
    assert live.heard.endswith(b"body")
    live.says(ANSWER)
    assert client.heard.endswith(b"ok")
    assert room.fates() == {"shed_error": 1}
    assert room.worker.tees["all/shadow"].tally.pending == 0
