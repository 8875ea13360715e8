"""`shadowproxy kill`, `resume` and `reload`."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from tests.cli.conftest import mirrored, served
from tests.kit import SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import Origin


def test_kill_stops_mirroring_and_resume_starts_it(proxy: SupervisedProxy, shadow: Origin, command: Run) -> None:
    """Nothing reaches the shadow between the two; both are idempotent."""
    ended = command("kill")
    assert ended.returncode == 0
    assert ended.stdout.startswith("mirroring is stopped: 1 of 1 workers confirmed in ")
    served(proxy, 3)
    assert not shadow.requests
    assert "(it was so already)" in command("kill").stdout
    ended = command("resume", "--output", "json")
    assert json.loads(ended.stdout)["is_killed"] is False
    served(proxy, 3)
    shadow.wait_for("/2")


def test_a_worker_that_cannot_confirm_is_exit_1(proxy: SupervisedProxy, command: Run) -> None:
    """The kill holds, and whoever asked is told who has not confirmed."""
    (worker,) = proxy.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        ended = command("kill")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert ended.returncode == 1
    assert "0 of 1 workers confirmed" in ended.stdout
    assert ended.stderr == "not confirmed by workers 0; their switch is set, they start no new copy\n"


def test_a_broken_store_is_exit_1(live: Origin, shadow: Origin, command: Run, tmp_path: Path) -> None:
    """The kill holds in memory and in the audit log, and whoever asked is told."""
    (tmp_path / "state.db").write_bytes(b"no database" * 100)
    with SupervisedProxy(mirrored(live, shadow), tmp_path):
        ended = command("kill")
    assert ended.returncode == 1
    assert "mirroring is stopped" in ended.stdout
    assert ended.stderr == "the state store does not work: the switch is in memory and in the audit log only\n"


def test_reload(proxy: SupervisedProxy, command: Run) -> None:
    """Unchanged, changed and refused, each in its words."""
    assert command("reload").stdout.endswith("(nothing has changed; TLS files were read again)\n")
    config = {**proxy.config, "limits": {"drain_timeout": "4s"}}
    proxy.write(config)
    ended = command("reload")
    assert (ended.returncode, ended.stdout.startswith("generation 2, digest ")) == (0, True)
    proxy.file.write_text("nonsense: 1\n")
    ended = command("reload")
    assert ended.returncode == 1
    assert "422" in ended.stderr
    assert "nonsense" in ended.stderr
    assert json.loads(command("status", "--output", "json").stdout)["config"]["generation"] == 2
    eventually(lambda: "config refused" in proxy.log(), "the refusal is logged")
