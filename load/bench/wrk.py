"""Closed-loop load by wrk: as many requests as the proxy takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from load.bench.processes import BenchError, Cpus, spawn
from load.bench.scenarios import HEADERS, USERS, Scenario, varied, varied_path

if TYPE_CHECKING:
    from pathlib import Path

MARK = "BENCH "

SCRIPT = """
{request}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"p50":%d,"p99":%d,"p999":%d}}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.timeout, e.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""
"""Without a `request` or `response` function wrk sends one fixed buffer: no Lua runs per request."""

VARIED = """
local number = 0
local user, ids = {{}}, "%08x%08x"
for n = 0, {users} - 1 do user[n] = string.format("%032x", n) end
request = function()
  local own = number % {users}
  number = number + 1
  local id = string.format(ids, {seed}, number)
  return "{start}" .. string.format("%08x", number) .. "{after_order}" .. user[own] .. "{after_session}" .. string.format("%05d", own) .. "{after_user}" .. id .. id .. "-" .. id .. "{after_trace}"
    .. id .. id .. "{end_of_head}"
end
"""
"""The requests of `scenarios.varied`, put together one by one: about a microsecond of wrk's core each."""


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """What wrk measured. Latencies in microseconds, under saturation: queueing included."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    p999_us: float
    errors: dict[str, int]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def find_wrk() -> str:
    """Path of wrk.

    Raises:
        BenchError: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise BenchError("wrk is not installed (Debian package wrk)")
    return path


def script(scenario: Scenario) -> str:
    """The Lua script of a scenario."""
    request = f'wrk.method = "POST"\nwrk.body = string.rep("x", {scenario.upload})' if scenario.upload else ""
    if scenario.is_varied:
        request = _varied_script(scenario)
    return SCRIPT.format(request=request, mark=MARK)


def _varied_script(scenario: Scenario) -> str:
    # One request of the scenario, cut where the numbers stand.
    number = USERS * 7919 + 4242
    fields = dict(varied(number))
    head = "".join(f"{name}: {value}\r\n" for name, value in varied(number))
    whole = f"{scenario.method} {varied_path(scenario, number)} HTTP/1.1\r\n{head}\r\n"
    cuts = [f"{number:08x}", f"{number % USERS:032x}", f"{number % USERS:05d}", fields["traceparent"][3:52], fields["X-Request-Id"]]
    pieces = []
    for cut in cuts:
        piece, _, whole = whole.partition(cut)
        pieces.append(piece.replace('"', '\\"').replace("\r\n", "\\r\\n"))
    names = ("start", "after_order", "after_session", "after_user", "after_trace")
    end = whole.replace("\r\n", "\\r\\n")
    return VARIED.format(users=USERS, seed=1, end_of_head=end, **dict(zip(names, pieces, strict=True)))


def command(scenario: Scenario, port: int, *, seconds: int, connections: int, lua: str) -> list[str]:
    """The command line: one thread, the scenario's headers."""
    fields = [word for name, value in HEADERS for word in ("-H", f"{name}: {value}")]
    sizes = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "5s"]
    return [find_wrk(), *sizes, "-s", lua, *fields, f"http://127.0.0.1:{port}{scenario.path}"]


def parse(output: str) -> ClosedLoop:
    """The line that the script printed.

    Raises:
        BenchError: there is none.
    """
    for line in output.splitlines():
        if line.startswith(MARK):
            said = json.loads(line.removeprefix(MARK))
            errors = {kind: said[kind] for kind in ("connect", "read", "write", "timeout", "status") if said[kind]}
            return ClosedLoop(said["requests"], said["microseconds"] / 1e6, said["p50"], said["p99"], said["p999"], errors)
    raise BenchError(f"wrk printed no result: {output.strip()[-500:]}")


def run(scenario: Scenario, port: int, *, seconds: int, connections: int, directory: Path, cpus: Cpus) -> ClosedLoop:
    """Load a port.

    Raises:
        BenchError: wrk is missing, failed, or did not end.
    """
    lua = directory / "wrk.lua"
    lua.write_text(script(scenario))
    arguments = command(scenario, port, seconds=seconds, connections=connections, lua=str(lua))
    with spawn("wrk", arguments, cpus=cpus.rest, directory=directory) as child:
        try:
            child.wait(seconds + 30.0)
        except subprocess.TimeoutExpired:
            raise BenchError(f"wrk did not end {seconds + 30} s after it was started for {seconds} s") from None
        return parse(child.last_words())
