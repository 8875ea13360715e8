"""Rows for tests of the ledger, and somebody who waits for them."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

from shadowproxy.sinks.ledger_query import KEYS

PATIENCE_S = 20.0

_numbers = itertools.count(1)


def row(**changed: Any) -> dict[str, Any]:
    """A row that nobody has submitted yet."""
    number = next(_numbers)
    made: dict[str, Any] = {
        "id": f"row-{number:08d}",
        "time": time.time(),
        "trace": f"{number:032x}",
        "tenant": "default",
        "listener": "front",
        "route": "orders",
        "method": "POST",
        "host": "shop.example",
        "target": "/orders",
        "digest": f"{number:064x}",
        "body_bytes": 17,
        "fate": "sunk",
        "reason": "",
        "to": "orders",
        "origin": "tag",
        "client": "127.0.0.1",
        **changed,
    }
    assert set(made) == set(KEYS)
    return made


class Told:
    """What `done` was called with, by id, and how often."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.calls = 0
        self.threads: set[str] = set()
        self._news = threading.Condition()

    def __call__(self, ids: list[str], problem: str) -> None:
        """The `done` of a submission."""
        with self._news:
            self.calls += 1
            self.problems |= dict.fromkeys(ids, problem)
            self.threads.add(threading.current_thread().name)
            self._news.notify_all()

    def wait(self, calls: int = 1) -> list[str]:
        """The problems that were told, one for each of the ids, once there were so many calls."""
        with self._news:
            assert self._news.wait_for(lambda: self.calls >= calls, PATIENCE_S), f"{self.calls} of {calls} calls came"
            return list(self.problems.values())
