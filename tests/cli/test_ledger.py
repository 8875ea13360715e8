"""`shadowproxy ledger`: what is listed, exported and marked, what adds up, and that nothing said by strangers moves the cursor."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli import client, main
from shadowproxy.cli.ledger import moment
from shadowproxy.errors import AdminRefused
from shadowproxy.sinks.ledger import Ledger
from tests.cli.conftest import mirrored
from tests.kit import Client, SupervisedProxy
from tests.kit.process import eventually
from tests.sinks.ledgering import Told, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import Origin

ESCAPE = "\x1b[2J"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger with a write of each fate; one came from somebody who means harm."""
    monkeypatch.setenv("COLUMNS", "200")
    ledger, told = Ledger(tmp_path / "l.db", 1e9, 1 << 30), Told()
    rows = [
        row(id="a", time=1.7e9, fate="partitioned", to="test", method="PUT", target="/carts/7", tenant="canary-7"),
        row(id="b", time=1.7e9 + 1, fate="passed", to="live", target="/reviews", trace="ab" * 16),
        row(id="c", time=1.7e9 + 2, fate="refused", to="", reason="tagged_write_without_rule"),
        row(id="d", time=1.7e9 + 3, host="=cmd()", target=f"/{ESCAPE}[red]", client=ESCAPE),
    ]
    ledger.submit(rows, told)
    ledger.update("a", 204)
    told.wait()
    ledger.close()
    return str(tmp_path / "l.db")


def ids(text: str) -> list[str]:
    """What JSON lines are called."""
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_list_shows_what_became_of_writes(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, in words; escapes are shown and not obeyed, markup is text."""
    assert main.main(["ledger", "list", "--file", file]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = out.splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["d", "c", "b", "a"]
    assert "[red]" in lines[0]
    assert "\\x1b[2J" in lines[0]
    assert "refused: tagged_write_without_rule" in lines[1]
    assert "PUT /carts/7" in lines[3]
    assert "partitioned: test, 204" in lines[3]
    assert "2023-11-14 22:13:20" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--fate", "passed"], ["b"]),
        (["--tenant", "canary-7"], ["a"]),
        (["--trace", "AB" * 16], ["b"]),
        (["--since", "1700000002"], ["d", "c"]),
        (["--since", "2023-11-14T22:13:21Z", "--until", "2023-11-14T22:13:22+00:00"], ["b"]),
        (["--until", "1h"], ["d", "c", "b", "a"]),
        (["--since", "1h"], []),
        (["--limit", "2"], ["d", "c"]),
        (["--limit", "2", "--cursor", "3"], ["b", "a"]),
    ],
)
def test_list_is_filtered(file: str, capsys: pytest.CaptureFixture[str], arguments: list[str], found: list[str]) -> None:
    """By every filter; the document of the API is printed as JSON."""
    assert main.main(["ledger", "list", "--file", file, "--output", "json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in document["rows"]] == found
    assert main.main(["ledger", "list", "--file", file, *arguments]) == 0
    out = capsys.readouterr().out
    assert ("no tagged write" in out) == (not found)
    assert ("more: --cursor" in out) == (document["next"] is not None)


@pytest.mark.parametrize(
    "arguments", [["--limit", "0"], ["--limit", "x"], ["--since", "yesterday"], ["--since", "-1"], ["--fate", "eaten"]]
)
def test_what_is_not_understood_is_a_usage_error(file: str, arguments: list[str]) -> None:
    """Exit code 2, and no list of something else."""
    with pytest.raises(SystemExit, match="2"):
        main.main(["ledger", "list", "--file", file, *arguments])


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ago, at, and in unix seconds; a date without a zone is UTC."""
    monkeypatch.setattr(time, "time", lambda: 1.8e9)
    said = {"1h": 1.8e9 - 3600, "90": 1.8e9 - 90, "1h30m": 1.8e9 - 5400, "1700000000.5": 1700000000.5, "2023-11-14T22:13:20": 1.7e9}
    assert {text: moment(text) for text in said} == said
    for text in ("", "nan", "inf", "-1h", "tomorrow", "1e99x"):
        with pytest.raises(argparse.ArgumentTypeError):
            moment(text)
    assert math.isfinite(moment("1e9"))


def test_times_that_are_none_are_shown(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody else's file may say anything."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE writes SET time = 1e300")
        database.commit()
    assert main.main(["ledger", "list", "--file", file]) == 0
    assert "1e+300" in capsys.readouterr().out


def test_show_says_how_to_undo(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every key, and the suggestion where there is something to undo."""
    assert main.main(["ledger", "show", "a", "--file", file]) == 0
    out = capsys.readouterr().out
    assert "restore /carts/7 to what it was before" in out
    assert main.main(["ledger", "show", "d", "--file", file]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "to undo" not in out
    assert main.main(["ledger", "show", "a", "--file", file, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == 204
    assert main.main(["ledger", "show", "nobody", "--file", file]) == 1
    assert "no row 'nobody'" in capsys.readouterr().err


def test_exports_are_for_other_programs(file: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """All rows, the oldest first; in CSV nothing is a formula."""
    assert main.main(["ledger", "export", "--file", file]) == 0
    assert ids(capfdbinary.readouterr().out.decode()) == ["a", "b", "c", "d"]
    assert main.main(["ledger", "export", "--file", file, "--format", "csv"]) == 0
    found = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode(), newline="")))
    assert [one["id"] for one in found] == ["a", "b", "c", "d"]
    assert found[3]["host"] == "'=cmd()"


def test_scrub_lists_what_reached_somebody(file: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The newest first, in three formats."""
    assert main.main(["ledger", "scrub", "--file", file]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line[-3:] for line in lines] == ["[b]", "[a]"]
    assert main.main(["ledger", "scrub", "--file", file, "--output", "json"]) == 0
    entries = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(one["id"], one["undo"]) for one in entries] == [("b", "find"), ("a", "restore")]
    assert main.main(["ledger", "scrub", "--file", file, "--format", "csv", "--fate", "passed"]) == 0
    assert [one["id"] for one in csv.DictReader(io.StringIO(capfd.readouterr().out))] == ["b"]
    assert main.main(["ledger", "scrub", "--file", file, "--fate", "sunk"]) == 0
    assert capfd.readouterr().out == "nothing to undo\n"
    with pytest.raises(SystemExit, match="2"):
        main.main(["ledger", "scrub", "--file", file, "--mark"])


def test_check_of_a_file(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sound or not, with what is in it."""
    assert main.main(["ledger", "check", "--file", file]) == 0
    assert "the file is sound" in capsys.readouterr().out
    assert main.main(["ledger", "check", "--file", file, "--output", "json"]) == 0
    assert {"route": "orders", "fate": "sunk", "rows": 1} in json.loads(capsys.readouterr().out)["rows"]
    assert main.main(["ledger", "check", "--file", str(tmp_path / "none.db")]) == 1


class Admin:
    """An admin API that says of the law what a test wants, and refuses marks."""

    def __init__(self, **said: Any) -> None:
        law = {"route": ESCAPE, "seen": 2, "pending": 0, "fates": {"sunk": 2, "lost": 0}, "is_conserved": True, "problems": []}
        ledger = {"is_up": True, "problem": None, "set_aside": None}
        self.document = {"routes": [law], "is_compared": True, "is_kept": True, "ledger": ledger} | said

    def get(self, _: str) -> Any:
        """The law."""
        return self.document

    def lines(self, _: str) -> Any:
        """A scrub list with one entry."""
        yield json.dumps(
            {"id": "x", "time": 0, "tenant": "", "to": "", "method": "", "host": "", "target": "", "advice": "", "scrubbed": 0}
        ).encode()

    def post(self, _path: str, _body: Any) -> Any:
        """Never."""
        raise AdminRefused(503, "Service Unavailable", "the disk is full")


@pytest.mark.parametrize(
    ("said", "code", "shown"),
    [
        ({}, 0, "adds up"),
        ({"is_kept": False}, 1, ""),
        (
            {"routes": [{"route": "a", "seen": 0, "pending": 0, "fates": {}, "is_conserved": True, "rows": {}}], "is_compared": False},
            0,
            "rows were not compared",
        ),
        ({"ledger": {"is_up": False, "problem": f"full {ESCAPE}", "set_aside": None}}, 1, "tagged writes are refused: full"),
        ({"ledger": {"is_up": True, "problem": None, "set_aside": "l.db.corrupt"}}, 0, "a corrupt ledger was set aside: l.db.corrupt"),
    ],
)
def test_the_law_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: dict[str, Any], code: int, shown: str
) -> None:
    """0 when it holds and the ledger works, else 1; in text and JSON."""
    monkeypatch.setattr(client, "connect", lambda _: Admin(**said))
    for action in ("law", "check"):
        assert main.main(["ledger", action]) == code
        out = capsys.readouterr().out
        assert shown in out
        assert "\x1b" not in out
        assert main.main(["ledger", action, "--output", "json"]) == code
        assert "routes" in json.loads(capsys.readouterr().out)


def test_marks_that_are_refused_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Not taken for done."""
    monkeypatch.setattr(client, "connect", lambda _: Admin())
    assert main.main(["ledger", "scrub", "--mark"]) == 1
    said = capsys.readouterr()
    assert "the disk is full" in said.err
    assert "marked" not in said.err


def test_a_running_instance(live: Origin, shadow: Origin, tmp_path: Path, command: Run) -> None:
    """From tagged requests to the scrub list: every fate, with secrets taken out; marked, and everything adds up."""
    rules: dict[str, Any] = {"partitioned": {"partition": {"path_prefix": "/t/{tenant}"}}, "passed": "live", "refused": "refuse"}
    routes = [
        {"name": name, "match": {"path": f"/{name}"}, "live": "live", "test_traffic": {"writes": rule}} for name, rule in rules.items()
    ]
    with SupervisedProxy(mirrored(live, shadow, routes=routes), tmp_path) as proxy:
        with Client(proxy.address("front")) as user:
            for name in rules:
                answer = user.request("POST", f"/{name}?api_key=hunter2hunter2", ("X-Test-Traffic", "canary-7"), body=b"x")
                assert answer.status == (409 if name == "refused" else 200)
        eventually(
            lambda: all(one["status"] for one in json.loads(command("ledger", "list", "--output", "json").stdout)["rows"]), "statuses"
        )
        found = json.loads(command("ledger", "list", "--output", "json").stdout)["rows"]
        assert [(one["fate"], one["tenant"], one["status"]) for one in found] == [
            ("refused", "canary-7", 409), ("passed", "canary-7", 200), ("partitioned", "canary-7", 200),
        ]  # fmt: skip
        assert all(re.fullmatch(r"/[a-z]+\?api_key=\w+", one["target"]) and "hunter2" not in one["target"] for one in found)
        shown = command("ledger", "show", found[0]["id"], "--output", "json")
        assert json.loads(shown.stdout) == found[0]
        listed = command("ledger", "scrub", "--mark", "--output", "json")
        assert (ids(listed.stdout), listed.stderr) == ([found[1]["id"], found[2]["id"]], "2 writes marked as undone\n")
        assert command("ledger", "scrub").stdout == "nothing to undo\n"
        assert ids(command("ledger", "export", "--since", "1h").stdout) == [one["id"] for one in found[::-1]]
        checked = command("ledger", "check")
        assert checked.returncode == 0, checked.stdout
        assert checked.stdout.count("adds up") == 3
    assert command("ledger", "list", "--file", "state.ledger.db").stdout.count("canary-7") == 3
