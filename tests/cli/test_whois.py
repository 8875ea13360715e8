"""`shadowproxy whois`: what customer support reads."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from shadowproxy.cli import client, main
from shadowproxy.cli.whois import render
from shadowproxy.experiments.whois import with_sentences
from tests.experiments.test_whois import HIT, NOON, minutes, part, period

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy


def document(**changed: Any) -> dict[str, Any]:
    """What the admin API answers of a unit that was hit once and is in no other slice."""
    parts = [part(hits=HIT), part(was=[period("outside", minutes(20), minutes(10))])]
    whole = {"now": NOON, "is_complete": True, "problem": "", "experiments": parts, "rollouts": [], "mirrors": [], **changed}
    return with_sentences(whole)


def shown(found: dict[str, Any], unit: str = "4711", *, everything: bool = False) -> str:
    """What a terminal shows."""
    out = io.StringIO()
    Console(file=out, width=300, highlight=False).print(render(found, unit, everything=everything))
    return out.getvalue()


def test_what_matters_comes_in_sentences() -> None:
    """With the user's name; the rest is counted, or told on demand."""
    text = shown(document())
    assert "User 4711 got 3 slowed answers from experiment slow between 11:42 and 11:47 UTC; it ended at 11:50 UTC (aborted)." in text
    assert "It was no part of 1 other" in text
    assert "neither slice" in shown(document(), everything=True)


def test_nothing_and_not_all_are_said() -> None:
    """A record with holes is no proof that nothing was."""
    assert "User 4711 was affected by nothing that is on record." in shown(document(experiments=[]))
    assert "The record is not complete: disk full" in shown(document(is_complete=False, problem="disk full"))


def test_a_unit_cannot_move_the_cursor() -> None:
    """Nor can it be markup."""
    text = shown(document(), "[red]x\x1b[2J")
    assert "[red]x" in text
    assert "\x1b[2J" not in text


def test_the_unit_can_come_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Out of sight of process lists; a day is as long as one; exit 1 when something is known."""
    asked: list[str] = []

    class Known:
        def get(self, path: str) -> dict[str, Any]:
            asked.append(path)
            return document()

    monkeypatch.setattr(client, "connect", lambda _: Known())
    monkeypatch.setattr("sys.stdin", io.StringIO("kim@example.com\n"))
    assert main.main(["whois", "-", "--since", "30d", "--key", "cookie:user"]) == 1
    assert asked[0].startswith("/api/v1/whois?unit=kim%40example.com&since=")
    assert asked[0].endswith("&key=cookie%3Auser")
    assert "User kim@example.com got" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main(["whois", "u", "--since", "soon"])


def test_a_running_instance(proxy: SupervisedProxy, command: Run) -> None:
    """Nothing is known of a unit; JSON does not name it."""
    ended = command("whois", "4711")
    assert ended.returncode == 0, ended.stderr
    assert "User 4711 was affected by nothing that is on record." in ended.stdout
    ended = command("whois", "4711", "--output", "json")
    assert json.loads(ended.stdout)["affected"] == []
    assert "4711" not in ended.stdout
