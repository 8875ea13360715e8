"""The demonstration as a newcomer runs it: the command, whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def _demo(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "shadowproxy", "demo", *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )


def _processes_of(directory: Path) -> list[str]:
    """Command lines of living processes that name `directory`, or have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (process / "environ").read_bytes() and process.name != str(os.getpid()):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ValueError):
            continue
    return found


def test_it_shows_the_difference_and_leaves_nothing(tmp_path: Path) -> None:
    """Exit 0, no word on standard error, the slow search named with its numbers, no process and no file left."""
    with _demo(tmp_path, "--seconds", "6", "--rate", "120") as demo:
        output, errors = demo.communicate()
    assert (demo.returncode, errors) == (0, "")
    slow = re.search(r"search is slower on the shadow: p50 ([\d.]+) -> ([\d.]+) ms \(\+([\d.]+) ms\)", output)
    assert slow, output
    assert float(slow[3]) > 6
    assert re.search(r"- search: REGRESSION: slower than live on the same requests: latency ratio [1-9]", output), output
    assert ", 0 failed" in output
    assert "every one is accounted for." in output
    assert output.rstrip().endswith("everything is stopped and removed")
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.glob("**/*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_still_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM, even twice, stop every process and remove every file; the exit code says interrupted."""
    with _demo(tmp_path, "--seconds", "60") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "requests a second" in line:
                break
        demo.send_signal(number)
        demo.send_signal(number)
        output, errors = demo.communicate()
    assert (demo.returncode, errors) == (130, "")
    assert "interrupted; everything is stopped and removed" in output
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.glob("**/*")) == []


def test_kept_it_says_what_to_try_and_ends_well(tmp_path: Path) -> None:
    """With --keep the result comes, then addresses and commands; Ctrl-C then is the normal end."""
    with _demo(tmp_path, "--seconds", "1", "--keep") as demo:
        assert demo.stdout is not None
        shown = ""
        for line in demo.stdout:
            shown += line
            if line.strip().startswith("its token"):
                break
        command = re.search(r"^  compare +(.+)$", shown, re.MULTILINE)
        assert command, shown
        compared = subprocess.run(
            [*command[1].split(), "--output", "json"], check=True, capture_output=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        )
        assert b'"search"' in compared.stdout
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate()
    assert (demo.returncode, errors) == (0, "")
    assert output.rstrip().endswith("everything is stopped and removed")
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.glob("**/*")) == []
