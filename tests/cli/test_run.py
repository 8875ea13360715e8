"""`shadowproxy run`, as processes: starting, stopping, dying, reloading, under traffic."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli.client import AdminClient
from tests.cli.conftest import mirrored, served
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit.origin import Turn

KEY = "all/shadow"


def mirror(proxy: SupervisedProxy) -> dict[str, Any]:
    """The law of the one mirror, now."""
    found: dict[str, Any] = proxy.api("GET", "/api/v1/status").json()["mirrors"][KEY]
    assert found["is_conserved"]
    return found


def _generation(proxy: SupervisedProxy) -> int:
    return int(proxy.api("GET", "/api/v1/status").json()["config"]["generation"])


def test_the_start_says_where_everything_is(proxy: SupervisedProxy) -> None:
    """Listener, admin address, token file, config file and process id are in the first lines."""
    log = proxy.log()
    host, port = proxy.address("front")
    assert f"listening on http://{host}:{port} (front)" in log
    assert "admin http://" in log
    assert f"token in {proxy.directory / 'token'}" in log
    assert f"pid {proxy.pid}, config {proxy.file}" in log
    assert proxy.token not in log


def test_what_cannot_start_is_one_line(live: Origin, shadow: Origin, tmp_path: Path, command: Run) -> None:
    """An address in use, a missing file, a bad config: a line, exit 1, and nothing left behind."""
    with SupervisedProxy(mirrored(live, shadow), tmp_path) as proxy:
        address = proxy.config["listen"][0]["address"]
        other = json.loads(json.dumps(proxy.config))
        other["state"] = f"sqlite:///{tmp_path / 'other.db'}"
        other["admin"]["address"] = "127.0.0.1:0"
        (tmp_path / "other.yaml").write_text(json.dumps(other))
        ended = command("run", "-c", "other.yaml")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1] == f"shadowproxy: listener front: cannot listen on {address}: address already in use"
        assert "Traceback" not in ended.stderr
    missing = command("run", "-c", "missing.yaml")
    assert (missing.returncode, "cannot be read" in missing.stderr) == (1, True)
    assert not list(tmp_path.glob("*.run.json"))


def test_sigterm_finishes_what_is_in_flight(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """A request under way is answered, new connections are refused, and the exit status is 0."""
    live.on("/slow", ok(b"done", pause_s=0.5))
    with SupervisedProxy(mirrored(live, shadow), tmp_path) as proxy:
        with Client(proxy.address("front")) as client:
            client.send(b"GET /slow HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            live.wait_begun("/slow")
            proxy.process.terminate()
            answer = client.response()
            assert (answer.status, answer.body) == (200, b"done")
        assert proxy.process.wait(60) == 0
        with pytest.raises(ConnectionRefusedError):
            Client(proxy.address("front"))
        proxy.stop = proxy.abandon  # type: ignore[method-assign]


def test_a_second_sigterm_ends_at_once(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """Who asks twice is not made to wait for the drain timeout, and is told by the exit status."""
    gate = threading.Event()

    def stuck(_: Turn) -> None:
        gate.wait(60)

    live.on("/stuck", stuck)
    with SupervisedProxy(mirrored(live, shadow, limits={"drain_timeout": "10m"}), tmp_path) as proxy:
        with Client(proxy.address("front")) as client:
            client.send(b"GET /stuck HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            live.wait_begun("/stuck")
            workers = proxy.workers()
            proxy.process.terminate()
            eventually(lambda: "stopping" in proxy.log(), "the first signal is heard")
            proxy.process.terminate()
            assert proxy.process.wait(60) == 1
        assert not [pid for pid in workers if is_alive(pid)]
        gate.set()
        proxy.stop = proxy.abandon  # type: ignore[method-assign]


def test_a_killed_worker_loses_only_what_was_in_flight(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """After SIGKILL of the only worker a waiting connection is served by its replacement, and the counters add up."""
    with SupervisedProxy(mirrored(live, shadow), tmp_path) as proxy:
        served(proxy, 20)
        eventually(lambda: mirror(proxy)["eligible"] == 20, "twenty counted")
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGSTOP)
        with Client(proxy.address("front")) as waiting:  # in the accept queue of a worker that will never accept it
            waiting.send(b"GET /waiting HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            os.kill(worker, signal.SIGKILL)
            assert waiting.response().status == 200
        eventually(lambda: mirror(proxy)["eligible"] >= 21, "the replacement's count")
        assert proxy.workers() != [worker]
        assert "was ended by signal 9" in proxy.log()


def test_sigkill_of_control_leaves_no_orphans(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """Workers end by themselves, and a new instance starts at once on the same addresses and state."""
    first = SupervisedProxy(mirrored(live, shadow, workers=2, limits={"drain_timeout": "100ms"}), tmp_path)
    try:
        workers = first.workers()
        assert len(workers) == 2
        first.process.kill()
        first.process.wait()
        for pid in workers:
            eventually(lambda pid=pid: not is_alive(pid), f"worker {pid} ended")  # type: ignore[misc]
    finally:
        first.abandon()
    with SupervisedProxy(first.config, tmp_path) as again:
        served(again, 3)


def test_kill_survives_sigkill(live: Origin, shadow: Origin, tmp_path: Path, command: Run) -> None:
    """A kill that was acknowledged holds in the next instance, however this one ends."""
    first = SupervisedProxy(mirrored(live, shadow, limits={"drain_timeout": "0s"}), tmp_path)
    try:
        assert first.api("POST", "/api/v1/kill", {}).json()["is_persisted"]
    finally:
        first.abandon()
    with SupervisedProxy(first.config, tmp_path) as again:
        assert again.api("GET", "/api/v1/status").json()["is_killed"]
        served(again, 3)
        eventually(lambda: mirror(again)["fates"].get("killed") == 3, "nothing was mirrored")
        assert not shadow.requests


@contextlib.contextmanager
def traffic(proxy: SupervisedProxy, threads: int = 4) -> Iterator[list[str]]:
    """New connections all the time, one request each; what goes wrong is in the list."""
    is_over = threading.Event()
    problems: list[str] = []

    def ask() -> None:
        while not is_over.is_set():
            try:
                with Client(proxy.address("front")) as client:
                    if client.request("GET", "/", ("Connection", "close")).status != 200:
                        problems.append("status")
            except (OSError, AssertionError) as error:
                problems.append(repr(error))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield problems
    finally:
        is_over.set()
        for thread in running:
            thread.join(30)


def test_rolling_replacement_drops_no_connection(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """More workers, fewer workers, another listener: under traffic, without one failed request."""
    config = mirrored(live, shadow)
    with SupervisedProxy(config, tmp_path) as proxy:
        with traffic(proxy) as problems:
            back = [{"name": "front"}, {"name": "back"}]
            changes: list[dict[str, Any]] = [{"workers": 3}, {"workers": 1}, {"listen": back}, {"workers": 2}, {}]
            for expected, changed in enumerate(changes, start=2):
                proxy.write({**config, **changed})
                proxy.hup()
                eventually(lambda generation=expected: _generation(proxy) == generation, "reloaded", patience_s=30)  # type: ignore[misc]
        assert problems == []
        assert mirror(proxy)["eligible"] > 0
        assert mirror(proxy)["fates"].get("lost", 0) == 0


def test_reloads_under_traffic_fail_no_request(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """Good and bad files in turn, while requests pass: every request is answered, the last good config holds."""
    config = mirrored(live, shadow)
    with SupervisedProxy(config, tmp_path) as proxy, traffic(proxy, 2) as problems:
        for percent in range(1, 9):
            config["routes"][0]["mirror"][0]["percent"] = percent
            proxy.write(config)
            assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
            good = proxy.file.read_text()
            proxy.file.write_text(good + "nonsense: 1\n")
            assert proxy.api("POST", "/api/v1/config/reload", {}).status == 422
        assert proxy.api("GET", "/api/v1/config").json()["config"]["routes"][0]["mirror"][0]["percent"] == 8
        assert problems == []


def test_the_access_log_follows_a_rotation(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """SIGHUP opens the access log again, config changed or not."""
    log = tmp_path / "access.jsonl"
    with SupervisedProxy(mirrored(live, shadow, access_log={"path": str(log)}), tmp_path) as proxy:
        served(proxy, 2)
        eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 2, "two lines")
        log.rename(tmp_path / "access.1")
        proxy.hup()
        eventually(log.exists, "a new file")
        served(proxy, 1)
        eventually(lambda: len(log.read_text().splitlines()) == 1, "one line")
        assert json.loads(log.read_text())["target"] == "/0"


def test_a_blocked_terminal_does_not_block_live(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """With stdout and stderr a pipe that nobody reads, requests are answered, lost lines are counted, and it can be stopped."""
    config = mirrored(
        live, shadow, access_log={"path": "stdout"}, admin={"address": "127.0.0.1:0"}, state=f"sqlite:///{tmp_path / 'state.db'}"
    )
    config["listen"] = [{"name": "front", "address": "127.0.0.1:0"}]
    (tmp_path / "proxy.yaml").write_text(json.dumps(config))
    unread, blocked = os.pipe()
    os.set_blocking(blocked, True)
    command = [sys.executable, "-m", "shadowproxy", "run", "-c", str(tmp_path / "proxy.yaml")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=blocked, stderr=blocked, cwd=tmp_path) as proxy:
        try:
            run_file = tmp_path / "state.run.json"
            eventually(lambda: run_file.exists() and run_file.read_text().endswith("}\n"), "the run file", patience_s=30)
            admin = AdminClient(json.loads(run_file.read_text())["admin"], (tmp_path / "state.token").read_text().strip())
            status = eventually(lambda: admin.get("/api/v1/status"), "status")
            host, _, port = status["listeners"][0]["address"].rpartition(":")

            def is_dropping() -> bool:
                with Client((host, int(port))) as client:
                    for _ in range(200):
                        assert client.get("/" + "x" * 2000).status == 200
                with urllib.request.urlopen(f"{admin.url}/metrics") as answer:
                    return re.search(rb'access_log_dropped_total{where="\w+"} [1-9]', answer.read()) is not None

            eventually(is_dropping, "dropped lines are counted", patience_s=90)
            proxy.terminate()
            assert proxy.wait(60) == 0
        finally:
            proxy.kill()
            os.close(unread)
            os.close(blocked)
