"""The command line of `make bench`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from load.bench import cli
from load.bench.processes import REPOSITORY
from tests.load.needs import needs_wrk

COMMAND = [sys.executable, "-m", "load.bench"]


def bench(*arguments: str, results: Path) -> subprocess.CompletedProcess[str]:
    """Run the command whole."""
    command = [*COMMAND, *arguments, "--results", str(results)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)


def parts(*arguments: str) -> list[str]:
    """What a command line would run."""
    return cli.chosen_parts(cli.parser().parse_args(arguments))


def test_parts_are_those_that_were_named() -> None:
    """The comparison unless another part is asked for; `--all` is everything."""
    assert parts() == ["compare"]
    assert parts("--idle", "--big") == ["idle", "big"]
    assert parts("--only", "small", "--faults") == ["compare", "faults"]
    assert parts("--all") == ["compare", "idle", "faults", "big", "profile"]
    assert parts("--profile", "--only", "upload") == ["profile"]


@pytest.mark.parametrize("option", [["--only", "smal"], ["--proxies", "haproxy"], ["--fault", "slow"]])
def test_a_misspelt_name_is_a_usage_error(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and what there is, before anything starts."""
    assert cli.main(option) == 2
    assert "there are" in capsys.readouterr().err


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Scenarios, faults and proxies, with versions or why they are absent."""
    assert cli.main(["--list"]) == 0
    said = capsys.readouterr().out
    for name in ("small-mirror", "trickle", "shadowproxy", "floor"):
        assert name in said


@needs_wrk
def test_a_short_comparison_runs_whole(tmp_path: Path) -> None:
    """One upload scenario of the floor: measured, printed, stored, and nothing is left behind."""
    arguments = ("--only", "upload-mirror", "--proxies", "floor", "--seconds", "1", "--open-seconds", "0", "--repeat", "1")
    done = bench(*arguments, results=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| floor |" in done.stdout
    assert len(list(tmp_path.glob("bench-compare-*.json"))) == 1


def descendants(pid: int) -> set[int]:
    """Processes under another, dead ones left out."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            child = int(status.parent.name)
            found |= {child, *descendants(child)}
    return found


@needs_wrk
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_stops_everything(stop: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run: exit 130, no process and no directory stay."""
    arguments = ["--only", "upload-mirror", "--proxies", "floor", "--seconds", "60", "--results", str(tmp_path / "results")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen([*COMMAND, *arguments], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        # Two origins, the floor and wrk.
        while len(children := descendants(running.pid)) < 4:
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(stop)
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 130
        assert b"stopped" in errors
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
        assert list(tmp_path.iterdir()) == []
    finally:
        running.kill()
        running.wait()
