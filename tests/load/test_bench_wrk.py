"""wrk: its command line and what it prints."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from load.bench import wrk
from load.bench.openloop import request_of
from load.bench.processes import BenchError, Cpus
from load.bench.scenarios import HEADERS, SCENARIOS, UPLOAD, varied, varied_path
from tests.load.needs import needs_wrk

if TYPE_CHECKING:
    from pathlib import Path

SAID = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
Requests/sec:  10852.00
BENCH {"requests":21704,"microseconds":2000000,"connect":0,"read":2,"write":0,"timeout":0,"status":5,"p50":5800,"p99":9100,"p999":12000}
"""


def test_the_result_line_is_read() -> None:
    """Requests, rate, quantiles, and only the errors that happened."""
    result = wrk.parse(SAID)
    assert (result.requests, result.rate) == (21704, 10852.0)
    assert (result.p50_us, result.p99_us, result.p999_us) == (5800, 9100, 12000)
    assert result.errors == {"read": 2, "status": 5}


def test_no_result_line_is_a_failure_that_shows_the_output() -> None:
    """A wrk that could not connect is not a run of zero requests."""
    with pytest.raises(BenchError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_no_lua_runs_per_request() -> None:
    """The script defines neither `request` nor `response`: wrk would call them for every request. But where requests differ."""
    for scenario in SCENARIOS:
        if scenario.is_varied:
            continue
        text = wrk.script(scenario)
        assert "request = function" not in text
        assert "function request" not in text
        assert "response" not in text
        assert (f'string.rep("x", {UPLOAD})' in text) == bool(scenario.upload)


def test_the_command_carries_every_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wrk sends is what the open loop sends."""
    monkeypatch.setattr(wrk, "find_wrk", lambda: "wrk")
    command = wrk.command(SCENARIOS[0], 8080, seconds=3, connections=7, lua="x.lua")
    assert command[-1] == f"http://127.0.0.1:8080{SCENARIOS[0].path}"
    assert [command[i + 1] for i, word in enumerate(command) if word == "-H"] == [f"{n}: {v}" for n, v in HEADERS]
    assert command[command.index("-c") + 1] == "7"


def test_a_missing_wrk_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The message says which package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="Debian package wrk"):
        wrk.find_wrk()


@needs_wrk
def test_varied_requests_are_what_the_open_loop_sends(tmp_path: Path) -> None:
    """Seen at an origin: the same fields in the same order, and none like another."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        # wrk tries a connection before those that it uses.
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                while received := connection.recv(65536):
                    seen.append(received)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    varied_scenario = next(scenario for scenario in SCENARIOS if scenario.is_varied)
    origin = threading.Thread(target=answer, daemon=True)
    origin.start()
    cpus = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))
    port = listener.getsockname()[1]
    result = wrk.run(varied_scenario, port, seconds=1, connections=1, directory=tmp_path, cpus=cpus)
    # close() alone does not wake a thread that waits in accept.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    origin.join(10)
    assert not result.errors
    assert len(set(seen)) == len(seen) > 100
    for number, request in enumerate(seen[:100]):
        expected = request_of(varied_scenario, varied(number), varied_path(varied_scenario, number)).decode()
        assert mask(request.decode()) == mask(expected)
        # wrk asks for one request before it begins, and throws it away.
        assert f"session={number + 1:032x};" in request.decode()
        assert f"user-{number + 1:05d}\r\n" in request.decode()
        assert f"&order={number + 2:08x} HTTP/1.1\r\n" in request.decode()


def mask(request: str) -> str:
    """A request without the numbers that are its own; of their form."""
    return re.sub(
        r"[0-9a-f]{16,32}|(?<=&order=)[0-9a-f]{8}", lambda digits: "h" * len(digits[0]), re.sub(r"user-[0-9]{5}", "user-N", request)
    )
