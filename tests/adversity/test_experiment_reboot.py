"""P4 and a power cut: everything ends at one stroke, files are torn, and what boots has another clock. No fault comes back.

A whole proxy runs in a PID and time namespace of its own, with a monotonic clock that is days ahead. The cut is SIGKILL to the first process of
the namespace: the kernel ends all others with it, and nobody runs a handler. Then what a power cut can tear is torn. The next boot
has a monotonic clock that begins near zero, below every time of before, and (with libfaketime) a wall clock that was set back by hours.
Where namespaces are not permitted the same is done to a process group, with the clocks as they are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from shadowproxy.cli import main
from shadowproxy.control.segments import Segments
from shadowproxy.experiments.journal import Chain, read
from shadowproxy.hashspace import point
from tests.adversity.test_experiment_leases import BROKEN, FAKETIME, Load
from tests.control.governed import plain
from tests.kit import Client, Origin, SupervisedProxy, answers
from tests.kit.process import eventually, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAYS_AHEAD_S: Final = 9 * 86_400
WALL_BACK: Final = "-5h"
USERS: Final = [f"user-{number}" for number in range(60)]
STEP_PERCENT: Final = 30


class Machine:
    """What the proxy runs on: it can be booted, and its power can be cut.

    Args:
        directory: its disk.
        is_apart: whether it has clocks and process ids of its own.
    """

    def __init__(self, directory: Path, *, is_apart: bool) -> None:
        self.directory = directory
        self.is_apart = is_apart
        self.fleets = {name: Origin(name) for name in ("live", "v1", "v2")}
        for name, origin in self.fleets.items():
            origin.answer = answers.ok(name.encode())
        self.config: dict[str, Any] = {
            "listen": [{"name": "front"}],
            "workers": 2,
            "fleets": {name: {"endpoints": [origin.url], "eject": {"failures": 0}} for name, origin in self.fleets.items()},
            "routes": [
                {"name": "shop", "match": {"path": "/shop"}, "live": "v1",
                 "rollout": {"to": "v2", "key": "header:x-user-id", "steps": [5, STEP_PERCENT, 100], "bake": "1h"}},
                {"name": "all", "live": "live"},
            ],
            "limits": {"drain_timeout": "5s"},
            "experiments": {"journal_segment": "64KiB"},
        }  # fmt: skip
        self.boots = 0
        self.proxy: SupervisedProxy | None = None

    def boot(self) -> SupervisedProxy:
        """Start the proxy, with the clocks of the first boot or of a later one."""
        under: tuple[str, ...] = ("setsid",)
        environment = {"XDG_RUNTIME_DIR": str(self.directory / "runtime")}
        if self.is_apart:
            # Relative to the clock of the machine that the test runs on; the second boot begins at about a second.
            ahead = str(DAYS_AHEAD_S if not self.boots else 1 - int(time.clock_gettime(time.CLOCK_MONOTONIC)))
            under = (*_APART, "--time", "--monotonic", ahead, "--boottime", ahead)
            if self.boots and FAKETIME is not None:
                environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": WALL_BACK, "DONT_FAKE_MONOTONIC": "1"}
        self.boots += 1
        self.proxy = SupervisedProxy(self.config, self.directory, under=under, environment=environment)
        self.config = self.proxy.config
        return self.proxy

    def cut_power(self) -> None:
        """End all processes at one stroke."""
        assert self.proxy is not None
        pids = [self.proxy.pid, *self.proxy.workers()]
        if self.is_apart:
            os.kill(self.proxy.pid, signal.SIGKILL)
        else:
            os.killpg(self.proxy.pid, signal.SIGKILL)
        self.proxy.process.wait()
        eventually(lambda: not any(is_alive(pid) for pid in pids), "nothing is left")
        self.proxy.abandon()

    def tear(self) -> None:
        """Leave what was not synced as a power cut can leave it. What the shared memory held is gone with the processes."""
        state = self.directory / "state"
        _cut_last_line(state.with_suffix(".experiments.jsonl"))
        _cut_last_line(state.with_suffix(".audit.jsonl"))
        for name in (".db", ".exposures.db"):
            with state.with_suffix(f"{name}-wal").open("ab") as wal:
                wal.write(b"\0" * 2000)
            state.with_suffix(f"{name}-shm").write_bytes(b"\x5a" * 32_768)
        run = state.with_suffix(".run.json")
        run.write_bytes(run.read_bytes()[:40])

    def served_by(self, user: str) -> str:
        """Which version answers a user."""
        assert self.proxy is not None
        with Client(self.proxy.address("front")) as client:
            return client.get("/shop", ("x-user-id", user)).body.decode()

    def api(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """One request to the admin API."""
        assert self.proxy is not None
        reply = self.proxy.api(method, f"/api/v1/{path}", body)
        assert reply.status == status, reply.body
        return reply.json()

    def command(self, *words: str) -> int:
        """Run a command against the proxy."""
        assert self.proxy is not None
        host, port = self.proxy.admin
        return main.main([*words, "--admin", f"http://{host}:{port}", "--token-file", str(self.directory / "token")])

    def close(self) -> None:
        """End everything."""
        if self.proxy is not None:
            self.proxy.abandon()
        for origin in self.fleets.values():
            origin.stop()


_APART: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def _why_not_apart() -> str:
    """Why a machine cannot be apart here; empty when it can."""
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not installed"
    tried = subprocess.run([*_APART, "--time", "--monotonic", "5", "true"], capture_output=True, text=True, check=False)
    return "" if not tried.returncode else f"namespaces for processes and clocks are not permitted: {tried.stderr.strip()}"


def _cut_last_line(path: Path) -> None:
    """As if the last record had been half on the disk. Of a file that has one only, which was synced before it got its name, half of another."""
    raw = path.read_bytes()
    begin = raw.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(raw[: (begin + len(raw)) // 2] if begin else raw + raw[: len(raw) // 2])


@pytest.fixture(params=["apart", "group"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """One without power."""
    if request.param == "apart" and (reason := _why_not_apart()):
        pytest.skip(f"{reason}. That a boot without it brings no fault back is tested beside this; with other clocks it is not")
    made = Machine(tmp_path, is_apart=request.param == "apart")
    try:
        yield made
    finally:
        made.close()


def an_experiment(**changed: Any) -> dict[str, Any]:
    """It breaks every second answer of one user."""
    return plain(
        inject={"routes": ["all"], "faults": [{"abort": {"status": BROKEN}, "every": 2}]},
        slice={"percent": 1, "key": "header:x-user-id", "pinned": ["hit"]},
        guards=[{"metric": "error_excess", "above": 99, "least": 1000}],
        **changed,
    )


@contextlib.contextmanager
def load_on(machine: Machine) -> Iterator[Load]:
    """Users, for a while."""
    assert machine.proxy is not None
    load = Load(machine.proxy.address("front"))
    try:
        yield load
    finally:
        load.stop()


def test_a_power_cut_ends_every_fault_and_a_boot_brings_none_back(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a lease, a run number or an epoch of before; the rollout stands where it was written down, and whois knows whom it hit."""
    before = _until_the_cut(machine)
    machine.tear()
    proxy = machine.boot()
    with load_on(machine) as load:
        closed = eventually(lambda: _closed(machine, before["id"]), "the run of before is closed")
        eventually(lambda: load.answered > 200, "live is served")
        assert not load.broken, "a fault outlived the power cut"
    assert (closed["state"], closed["code"], closed["epoch"]) == ("aborted", "restart", before["epoch"])
    assert closed["seen"] > 0
    assert "cut off" in proxy.log()
    _rollout_stands(machine)
    _is_told(machine, capsys)
    _goes_on(machine, before)
    assert machine.command("experiment", "replay", before["id"]) == 0
    proxy.stop()
    kinds, chain = list[str](), Chain()
    for segment in Segments(_journal(machine)).opened():
        kinds += [entry.kind for entry in read(segment, chain)]
    assert kinds.count("torn") == 1
    assert kinds.index("segment") < kinds.index("torn") < kinds.index("ended")


def _until_the_cut(machine: Machine) -> dict[str, Any]:
    """Faults happen, a rollout is at its second step, and the power is cut. Returns the run."""
    machine.boot()
    with load_on(machine) as load:
        machine.api("POST", "rollouts/shop/start", {"reason": "a test"})
        machine.api("POST", "rollouts/shop/promote", {"reason": "a test"})
        run = machine.api("POST", "experiments", {"experiment": an_experiment()}, status=201)
        eventually(lambda: len(load.broken) > 20, "faults happen")
        eventually(lambda: _hits(machine), "it is on record who was hit")
        eventually(lambda: Segments(_journal(machine)).numbers(), "a segment of the journal began in the middle of it")
        found: dict[str, Any] = machine.api("GET", f"experiments/{run['id']}")
        machine.cut_power()
    return found


def _journal(machine: Machine) -> Path:
    return machine.directory / "state.experiments.jsonl"


def _closed(machine: Machine, run: str) -> dict[str, Any]:
    assert machine.proxy is not None
    reply = machine.proxy.api("GET", f"/api/v1/experiments/{run}")
    document: dict[str, Any] = reply.json()
    return document if reply.status == 200 and document["ended"] else {}


def _hits(machine: Machine) -> int:
    """How many faults of the user are on record."""
    found = machine.api("GET", "whois?unit=hit")["experiments"]
    return max((one["hits"]["count"] for one in found if one["hits"]), default=0)


def _rollout_stands(machine: Machine) -> None:
    assert machine.api("GET", "rollouts/shop")["percent"] == STEP_PERCENT
    for user in USERS:
        assert machine.served_by(user) == ("v2" if point(user.encode(), b"shop") < STEP_PERCENT / 100 else "v1")


def _is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """To whoever asks: in lists, documents, reports, evidence, and who was affected."""
    for words in (["list"], ["show", "slow-1"], ["report", "slow-1", "--format", "markdown"]):
        machine.command("experiment", *words)
        assert "restart" in capsys.readouterr().out
    out = str(machine.directory / "evidence.zip")
    assert machine.command("experiment", "evidence", "slow-1", "--out", out) == 0, capsys.readouterr().out
    assert _hits(machine) > 0


def _goes_on(machine: Machine, before: dict[str, Any]) -> None:
    """A new run begins at once, with the next number and a higher epoch, and breaks something."""
    with load_on(machine) as load:
        run = machine.api("POST", "experiments", {"experiment": an_experiment()}, status=201)
        assert run["id"] == "slow-2"
        eventually(lambda: len(load.broken) > 3, "faults happen")
        shown = machine.api("GET", "experiments/slow")
        assert shown["id"] == "slow-2", "a name is its newest run, whatever the clock says"
        assert shown["epoch"] > before["epoch"]
        machine.api("POST", "experiments/slow/stop", {})
