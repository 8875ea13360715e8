"""`shadowproxy status`: for people and for programs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from rich.console import Console

from shadowproxy.cli.status import duration, render
from shadowproxy.control.admin.openapi import SCHEMAS
from tests.cli.conftest import served

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy

DOCUMENT: dict[str, Any] = {
    "version": "1", "pid": 7, "uptime_seconds": 3700.0, "is_ready": False, "is_stopping": False, "is_killed": True, "admin": "http://a:1",
    "config": {"file": None, "generation": 3, "digest": "d" * 64, "problem": "f:1:1: wrong"},
    "store": {"is_up": False, "problem": "corrupt"}, "audit": {"is_up": True, "problem": None},
    "ledger": {"is_up": False, "problem": "disk full"},
    "tests": {"pay": {"seen": 3, "pending": 1, "is_conserved": False, "fates": {"sunk": 1, "partitioned": 0, "refused": 0, "passed": 0, "lost": 0}}},
    "listeners": [{"name": "[red]front", "configured": "x", "address": "h:1", "tls": True}],
    "workers": [{"slot": 0, "pid": 8, "state": "ready", "generation": 3, "is_silent": True}],
    "mirrors": {"a/b": {"eligible": 1, "pending": 0, "fates": {}, "is_conserved": False, "range": 0.5, "breakers": {"open": 1}, "in_flight": 0}},
    "experiments": [
        {"id": "slow-1", "owner": "a[b]", "state": "running", "is_dry": True, "percent": 5.0, "seconds": 12.5, "duration": 90.0},
        {"id": "next-1", "owner": "c", "state": "admitted", "is_dry": False, "percent": 0.0, "seconds": None, "duration": 90.0},
    ],
    "rollouts": [{"route": "all", "to": "new", "state": "paused", "percent": 25.0, "lacking": "its bake ends in 5 s"}],
    "leaks": {"total": 3, "blamed": [{"service": "cart\x1b[31m", "calls": 2, "consequences": 1}]},
}  # fmt: skip


def shown(document: dict[str, Any]) -> str:
    """What a terminal of 200 columns shows."""
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(render(document))
    return out.getvalue()


def test_trouble_is_said_aloud() -> None:
    """Kill switch, bad config, dead store, broken law, silent worker: each has its words, and names are not markup."""
    text = shown(DOCUMENT)
    for words in (
        "NOT READY",
        "KILL SWITCH ON",
        "config: f:1:1: wrong",
        "store: corrupt",
        "ledger, so tagged writes are refused: disk full",
        "pay: the counters of tagged writes do not add up",
        "a/b: the counters do not add up",
        "ready, silent",
        "[red]front",
        "https://h:1",
        "experiment slow-1 of a[b]: running, dry, 5 %, 12s of 1m 30s",
        "experiment next-1 of c: admitted, 0 %, has not begun",
        "rollout all to new: paused, 25 %, its bake ends in 5 s",
        "lost tags: 3 calls of tagged traces had no tag, dropped by cart\\x1b[31m",
    ):
        assert words in text


def test_status_of_a_running_instance(proxy: SupervisedProxy, command: Run) -> None:
    """Text has the essentials; JSON is the documented document; both exit 0 while ready."""
    served(proxy, 2)
    text = command("status")
    assert text.returncode == 0
    assert "ready" in text.stdout
    assert "all/shadow" in text.stdout
    ended = command("status", "--output", "json")
    schema = {"$ref": "#/components/schemas/Status", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(schema).validate(json.loads(ended.stdout))


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.9, "59s"), (60, "1m"), (3725, "1h 2m"), (90061, "1d 1h")])
def test_durations(seconds: float, text: str) -> None:
    """The two greatest units."""
    assert duration(seconds) == text
