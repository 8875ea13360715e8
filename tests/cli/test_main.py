"""The entry point: exit codes, and no traceback for what can be said in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shadowproxy import __version__
from shadowproxy.cli import main as entry
from shadowproxy.errors import AdminRefused, AdminUnreachable, ConfigError, ControlError, Problem

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers


class Failing:
    """A command group whose only command raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def register(self, subparsers: Subparsers) -> None:
        """Add `fail`."""
        subparsers.add_parser("fail").set_defaults(run=self.run)

    def run(self, arguments: argparse.Namespace) -> int:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            ConfigError([Problem("a", "wrong", 1, 2, "f"), Problem("b", "odd", 3, 4, "f", is_warning=True)]),
            1,
            "f:1:2: a: wrong\nf:3:4: b: warning: odd\n",
        ),
        (AdminUnreachable("no admin API at 127.0.0.1:9901"), 4, "shadowproxy: no admin API at 127.0.0.1:9901\n"),
        (AdminRefused(409, "Conflict", "already killed"), 1, "shadowproxy: 409 Conflict: already killed\n"),
        (ControlError("no"), 1, "shadowproxy: no\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_sentences(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes wrong on purpose is a line on standard error and an exit code."""
    monkeypatch.setattr(entry, "GROUPS", (Failing(error),))
    assert entry.main(["fail"]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", text)


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody meant keeps its traceback: that is what a report needs."""
    monkeypatch.setattr(entry, "GROUPS", (Failing(ZeroDivisionError()),))
    with pytest.raises(ZeroDivisionError):
        entry.main(["fail"])


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 2), (["nonsense"], 2), (["--help"], 0), (["--version"], 0), (["check", "--nonsense"], 2)]
)
def test_usage(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors are 2, help and version 0."""
    with pytest.raises(SystemExit) as caught:
        entry.main(arguments)
    assert caught.value.code == code
    printed = capsys.readouterr()
    assert ("usage:" in printed.out + printed.err) or __version__ in printed.out


def test_a_closed_pipe_is_not_an_error() -> None:
    """Output into a pipe that nobody reads ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    finished = subprocess.run(
        [sys.executable, "-m", "shadowproxy", "check", "--schema"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert finished.returncode == 141
    assert finished.stderr == b""


def test_the_module_runs() -> None:
    """`python -m shadowproxy` is the command."""
    finished = subprocess.run([sys.executable, "-m", "shadowproxy", "--version"], capture_output=True, check=True, timeout=60)
    assert finished.stdout.decode() == f"shadowproxy {__version__}\n"
