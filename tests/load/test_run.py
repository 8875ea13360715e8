"""`make load`: a bounded run of Locust that leaves its report."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="locust is installed by make load and make test")

ROOT = Path(__file__).parent.parent.parent


def _load(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "load.run", "--results", str(tmp_path / "results"), *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_drives_the_demo_and_leaves_a_report(tmp_path: Path) -> None:
    """Without a host the demo is started: no request fails, every copy is accounted for, and only the report is left."""
    run = _load(tmp_path, "--seconds", "4", "--users", "20", "--spawn-rate", "20")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "every one is accounted for." in run.stdout
    (report,) = (tmp_path / "results").glob("locust-*.html")
    assert "/products/[number]" in report.read_text()
    assert str(report) in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_failed_requests_fail_the_run(tmp_path: Path) -> None:
    """With a host nothing is started, and requests that fail are Locust's exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = _load(tmp_path, "--host", f"http://127.0.0.1:{port}", "--seconds", "2", "--users", "2")
    assert run.returncode == 1
    assert "proxy http" not in run.stdout
    assert len(list((tmp_path / "results").glob("locust-*.html"))) == 1
