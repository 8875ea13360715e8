"""Children are pinned, measured and always stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from load.bench import processes
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus, share_out, spawn

HERE = frozenset(os.sched_getaffinity(0))

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_proxy_gets_a_cpu_of_its_own() -> None:
    """With two CPUs or more nothing else runs on the proxy's; with one it is said to be shared."""
    assert share_out({3, 1, 2}) == Cpus(frozenset({1}), frozenset({2, 3}))
    assert not share_out({0, 1}).is_shared
    assert share_out({5}).is_shared


def test_a_child_is_pinned_from_its_first_instruction(tmp_path: Path) -> None:
    """Its threads, made later, are where it is."""
    one = frozenset({min(HERE)})
    with spawn("pinned", [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], cpus=one, directory=tmp_path) as child:
        assert child.wait(30.0) == 0
        assert child.last_words().strip() == str(set(one))


def test_stopping_a_child_stops_what_it_started(tmp_path: Path) -> None:
    """A supervisor's workers do not outlive the bench, even when the supervisor does not care."""
    with spawn("parent", [sys.executable, "-c", PARENT], cpus=HERE, directory=tmp_path) as child:
        while not child.last_words().strip():
            child.check()
            time.sleep(0.01)
        grandchild = int(child.last_words())
        assert processes.children_of(child.pid) == [grandchild]
        assert "time.sleep(60)" in processes.command_of(grandchild)[-2]
    while is_running(grandchild):
        time.sleep(0.01)
    with pytest.raises(BenchError, match="is gone"):
        processes.cpu_ns(child.pid)


def test_cpu_time_counts_every_thread() -> None:
    """The process clock of another process is the one it reads itself."""
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(time.process_time(), flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        said = float(child.stdout.readline())
        assert processes.cpu_ns(child.pid) >= int(said * 1e9)
        assert processes.memory_bytes(child.pid, "VmHWM") >= processes.memory_bytes(child.pid, "VmRSS") > 1_000_000
        child.communicate("\n")


def test_a_child_that_died_tells_why(tmp_path: Path) -> None:
    """The error carries the exit status and the last lines, on one line."""
    command = [sys.executable, "-c", "import sys; print('first'); sys.exit('no such listener')"]
    with spawn("broken", command, cpus=HERE, directory=tmp_path) as child:
        child.wait(30.0)
        with pytest.raises(BenchError, match=r"broken ended with status 1: .*first.*") as caught:
            processes.wait_until_open(1, child)
        assert "no such listener" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_program_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """Not a traceback from deep inside subprocess."""
    with pytest.raises(BenchError, match="nothing cannot be started"):
        spawn("nothing", ["/no/such/program"], cpus=HERE, directory=tmp_path)


def test_a_child_that_never_listens_is_given_up(tmp_path: Path) -> None:
    """Waiting has an end, and both numbers are told."""
    with spawn("deaf", [sys.executable, "-c", "import time; time.sleep(60)"], cpus=HERE, directory=tmp_path) as child:
        port = free_port()
        with pytest.raises(BenchError, match=f"does not listen at port {port} after 0.1 s"):
            processes.wait_until_open(port, child, seconds=0.1)
        with pytest.raises(BenchError, match=r"is not ready after 0\.1 s"):
            processes.wait_until_answers(port, child, seconds=0.1)
