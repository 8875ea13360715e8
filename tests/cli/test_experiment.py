"""`shadowproxy experiment`: run, wait, interrupt, look, stop, replay."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from shadowproxy.cli.experiment import FAILED, REFUTED, UNDECIDED, UPHELD, exit_code, render
from tests.control.governed import plain
from tests.kit import Client, SupervisedProxy
from tests.kit.process import eventually
from tests.report import experiment_samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Run


@pytest.fixture
def traffic(proxy: SupervisedProxy) -> Iterator[None]:
    """Requests of many users, one after another, as long as the test lasts."""
    is_over = threading.Event()

    def send() -> None:
        number = 0
        while not is_over.is_set():
            with Client(proxy.address("front")) as client:
                for _ in range(50):
                    number += 1
                    client.get("/a", ("x-user-id", f"u{number % 500}"))
                    is_over.wait(0.002)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    is_over.set()
    thread.join()


def written(directory: Path, **changed: Any) -> str:
    """An experiment file; JSON is YAML."""
    file = directory / "experiment.yaml"
    file.write_text(json.dumps(plain(**changed)))
    return str(file)


SMALL = {
    "slice": {"percent": 10, "key": "header:x-user-id"},
    "inject": {"routes": ["all"], "faults": [{"delay": "5ms"}]},
    "guards": [{"metric": "error_rate", "above": 50}],
}


@pytest.mark.usefixtures("traffic")
def test_a_run_from_its_file_to_its_verdict(command: Run, tmp_path: Path) -> None:
    """Progress as it comes, the result at the end, and the same from the journal later."""
    expect = [{"route": "all", "status": [200], "share": 50}]
    ended = command("experiment", "run", written(tmp_path, duration="2s", expect=expect, **SMALL))
    assert ended.returncode in {UPHELD, UNDECIDED}, ended.stdout + ended.stderr
    assert "started" in ended.stdout
    assert "slow-1  COMPLETED" in ended.stdout
    assert "faults: delay" in ended.stdout
    assert "before it began: " in ended.stdout
    shown = json.loads(command("experiment", "show", "slow", "--output", "json").stdout)
    assert shown["state"] == "completed"
    assert shown["seen"] == sum(shown["faults"].values()) + sum(shown["unharmed"].values()) > 0
    assert shown["units"] > 0
    again = command("experiment", "replay", "slow-1")
    assert again.returncode == 0, again.stdout
    assert "the same as was given" in again.stdout
    lines = [json.loads(line) for line in command("experiment", "journal", "slow-1").stdout.splitlines()]
    assert lines[0]["kind"] == "admitted"
    assert "slow-1" in command("experiment", "list").stdout
    assert command("experiment", "stop", "slow-1").returncode == 0


@pytest.mark.usefixtures("traffic")
def test_a_guard_that_trips_is_exit_99(command: Run, tmp_path: Path) -> None:
    """And says which, and why."""
    guards = [{"metric": "error_rate", "above": 50}, {"metric": "units", "above": 3}]
    ended = command("experiment", "run", written(tmp_path, **{**SMALL, "guards": guards}))
    assert ended.returncode == REFUTED, ended.stdout + ended.stderr
    assert "slow-1  ABORTED" in ended.stdout


def begun(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """`shadowproxy` with these arguments, which goes on."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHADOWPROXY_")}
    return subprocess.Popen(
        [sys.executable, "-m", "shadowproxy", *arguments], cwd=directory, stdout=subprocess.PIPE, text=True,
        env={**environment, "XDG_RUNTIME_DIR": str(directory / "runtime")},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("proxy")
def test_an_interruption_ends_the_run_first(command: Run, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM or a closed terminal: by the time the command has ended, nobody is hit any more."""
    started = begun(tmp_path, "experiment", "run", written(tmp_path, **SMALL))
    eventually(lambda: '"running"' in command("experiment", "list", "--output", "json").stdout, "it runs")
    started.send_signal(number)
    said, _ = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "stopped by" in said
    shown = json.loads(command("experiment", "show", "slow", "--output", "json").stdout)
    assert (shown["state"], shown["code"]) == ("aborted", "stopped")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_ends_with_the_command_that_waits_for_it(proxy: SupervisedProxy, tmp_path: Path, number: signal.Signals) -> None:
    """Killed, or stopped for longer than that: the run is ended by itself, whoever else looks at it. While the command lives it goes on for longer."""

    def run() -> Any:
        return proxy.api("GET", "/api/v1/experiments/slow").json()

    started = begun(tmp_path, "experiment", "run", written(tmp_path, **SMALL), "--patience", "2")
    try:
        eventually(lambda: run().get("state") == "running", "it runs")
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 3.0, "longer than its patience")
        assert run()["state"] == "running"
        started.send_signal(number)
        ended = eventually(lambda: (found := run())["ended"] and found, "it has ended")
        assert (ended["state"], ended["code"]) == ("aborted", "client_gone")
        assert "not heard of for 2 s" in ended["timeline"][-1]["detail"]
        started.send_signal(signal.SIGCONT)
        said, _ = started.communicate(timeout=30)
        assert started.returncode == (-signal.SIGKILL if number is signal.SIGKILL else FAILED)
        assert number is signal.SIGKILL or "client_gone" in said
    finally:
        started.kill()
        started.wait()


@pytest.mark.usefixtures("proxy")
def test_a_run_goes_on_without_being_waited_for(command: Run, tmp_path: Path) -> None:
    """`--detach` says how to end it, and it is not attached to anybody; a second one is refused with the reason."""
    file = written(tmp_path, **SMALL)
    ended = command("experiment", "run", file, "--detach")
    assert ended.returncode == 0
    assert json.loads(command("experiment", "show", "slow", "--output", "json").stdout)["attached"] is None
    assert "experiment stop slow-1" in ended.stdout
    refused = command("experiment", "run", file)
    assert refused.returncode == 1
    assert "is running" in refused.stderr
    stopped = command("experiment", "stop", "slow", "--reason", "enough")
    assert "enough" in stopped.stdout
    assert json.loads(command("experiment", "run", file, "--no-wait", "--dry-run", "--output", "json").stdout)["is_dry"]


@pytest.mark.usefixtures("proxy")
def test_what_cannot_be_used_is_told(command: Run, tmp_path: Path) -> None:
    """A file with its lines, a run that is not there, an instance that is not there."""
    (tmp_path / "bad.yaml").write_text("name: a\nowner: b\nguard: []\n")
    bad = command("experiment", "run", "bad.yaml")
    assert bad.returncode == 1
    assert "bad.yaml:3" in bad.stderr
    assert command("experiment", "show", "nothing").returncode == 1
    assert command("experiment", "list", "--admin", "http://127.0.0.1:9").returncode == 4
    assert "no experiment has been run" in command("experiment", "list").stdout


@pytest.mark.parametrize(
    ("state", "code", "verdict", "is_dry", "expected"),
    [
        ("completed", "finished", "upheld", False, UPHELD),
        ("completed", "finished", "undecided", False, UNDECIDED),
        ("completed", "finished", "refuted", False, REFUTED),
        ("completed", "finished", "undecided", True, UPHELD),
        ("aborted", "guard_error_rate", "refuted", False, REFUTED),
        ("aborted", "budget_units", "undecided", False, REFUTED),
        ("aborted", "containment", "refuted", False, REFUTED),
        ("aborted", "environment", "environment", False, UNDECIDED),
        ("aborted", "stopped", "undecided", False, FAILED),
        ("aborted", "client_gone", "undecided", False, FAILED),
        ("aborted", "journal", None, False, FAILED),
        ("killed", "kill_switch", "undecided", False, FAILED),
        ("expired", "lease", "undecided", False, FAILED),
    ],
)
def test_exit_codes(state: str, code: str, verdict: str | None, is_dry: bool, expected: int) -> None:
    """What says something of the hypothesis is 0, 98 or 99; everything else is 1."""
    assert exit_code({"state": state, "code": code, "is_dry": is_dry, "result": {"verdict": verdict}}) == expected


def test_what_became_of_other_cells_is_shown() -> None:
    """Those that were watched with their errors, and why some were not; nothing where nothing was to be contained."""

    def shown(document: dict[str, Any]) -> str:
        console = Console(record=True, width=200, file=io.StringIO())
        console.print(render(document))
        return console.export_text()

    text = shown(experiment_samples.uncontained())
    assert "other cells, errors (before the run): b 7.12% (0.10%), c 0.09% (0.10%)" in text
    assert "other cells are not watched: cell d had fewer than 100 answers" in text
    assert "other cells" not in shown(experiment_samples.upheld())
