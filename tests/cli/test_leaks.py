"""`shadowproxy leaks`: who dropped the tag, for people and for programs."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from shadowproxy.cli.leaks import render

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy

LEAK: dict[str, Any] = {
    "time": 0.0, "service": "cart", "trace": "a" * 32, "tenant": "t", "listener": "out", "method": "POST", "host": "payments", "path": "/charges",
    "action": "report", "culprit": "cart", "is_consequence": False,
}  # fmt: skip


def shown(document: dict[str, Any]) -> str:
    """What a terminal of 200 columns shows."""
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(render(document))
    return out.getvalue()


def test_culprit_and_consequences_are_told_apart() -> None:
    """The service that dropped the tag comes first and by name; escape sequences and markup of callers are text."""
    evil = {**LEAK, "service": "[red]mail\x1b[2J", "is_consequence": True}
    text = shown(
        {"total": 5, "undescribed": 1, "blamed": [{"service": "cart", "calls": 1, "consequences": 3}], "leaks": [evil, LEAK]},
    )
    assert "cart dropped the tag of 1 call, and 3 calls of others had none because of that" in text
    assert "and 1 call that are only counted" not in text
    assert "1 call, only counted" in text
    assert "POST payments/charges" in text
    assert "LET PASS" in text
    assert "[red]mail\\x1b[2J" in text
    assert "\x1b[2J" not in text


def test_nothing_is_said_in_words() -> None:
    """No leak at all, and none that fits the filters."""
    assert "no call has lost its tag" in shown({"total": 0, "leaks": []})
    assert "none of the 1,200 calls fits" in shown({"total": 1200, "leaks": []})


def test_a_running_instance_without_leaks(proxy: SupervisedProxy, command: Run) -> None:
    """Exit 0, in both forms; a filter that makes no sense is told, not dumped."""
    ended = command("leaks")
    assert (ended.returncode, ended.stdout.strip()) == (0, "no call has lost its tag")
    ended = command("leaks", "--since", "60", "--service", "cart", "--output", "json")
    assert json.loads(ended.stdout)["total"] == 0
    ended = command("leaks", "--limit", "0")
    assert ended.returncode == 1
    assert "limit must be from 1 to 1000" in ended.stderr
