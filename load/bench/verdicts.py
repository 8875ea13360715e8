"""How soon the judge sees what is wrong, and how often it sees what is not there: through the running proxy.

Each run starts a live service and a shadow of it (service.py), the proxy, and an open-loop load of different items,
and asks for the verdict several times a second. What counts is how many pairs the evidence rested on when the verdict
was first given.
"""

from __future__ import annotations

import http.client
import json
import secrets
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from load.bench import openloop
from load.bench.latencies import median
from load.bench.openloop import Load
from load.bench.origins import PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus, python_module
from load.bench.proxies import Instance, Setup
from load.bench.proxies.shadowproxy import Shadowproxy, config
from load.bench.scenarios import HEADERS, SMALL
from load.bench.service import MEDIAN_S
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RATE: Final = 300
LOOK_S: Final = 0.1
ITEMS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Case:
    """A shadow and what the verdict should be.

    Args:
        name: what it is called on the command line.
        title: in the table.
        slower: percent.
        new_errors: percent of all requests.
        expected: the verdict that is right.
        asked: pairs within which it is to be given, at the median; 0 for none.
        pairs: how long a run goes on for, at most.
        median: seconds that a request takes live, at the median.
        has_control: whether there is a control arm: a third service like live.
        every: of so many runs asked for, one.
    """

    name: str
    title: str
    slower: float
    new_errors: float
    expected: str
    asked: int
    pairs: int
    median: float = MEDIAN_S
    has_control: bool = False
    every: int = 1


CASES: Final = (
    Case("identical", "the same version", 0.0, 0.0, "SAFE", 0, 3600),
    Case("fast", "the same version, answers in 2 ms", 0.0, 0.0, "SAFE", 0, 3600, median=0.002, every=4),
    Case(
        "control",
        "the same version, answers in 2 ms, with a control arm",
        0.0,
        0.0,
        "SAFE",
        0,
        3600,
        median=0.002,
        has_control=True,
        every=4,
    ),
    Case("slower", "5 % slower", 5.0, 0.0, "REGRESSION", 1000, 3000, every=2),
    Case("failing", "0.5 % new errors", 0.0, 0.5, "REGRESSION", 3000, 6000, every=2),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: the last verdict, on how many pairs it was first given, and what it said."""

    case: str
    number: int
    verdict: str
    pairs: int
    summary: str
    false_alarm: bool
    problem: str = ""


class Service(PythonOrigin):
    """`load.bench.service`."""

    def __init__(self, name: str, directory: Path, cpus: Cpus, *, median: float, slower: float = 0.0, new_errors: float = 0.0) -> None:
        super().__init__(name, directory, cpus)
        self._options = ("--median", str(median), "--slower", str(slower), "--new-errors", str(new_errors))

    def command(self) -> list[str]:
        """Nothing to write."""
        return python_module("load.bench.service", "--port", str(self.port), "--counts", str(self.counts_port), *self._options)


class Judged(Shadowproxy):
    """Our proxy with an admin API that can be asked."""

    def __init__(self, control: int | None = None) -> None:
        self._control = control
        self.admin = free_port()
        self.token = secrets.token_urlsafe(32)

    def command(self, setup: Setup) -> list[str]:
        """Write config and token."""
        token = setup.directory / "token"
        token.write_text(self.token)
        token.chmod(0o600)
        plain: dict[str, Any] = json.loads(json.dumps(config(setup, admin=self.admin)))
        plain["admin"]["token_file"] = str(token)
        # Every request by itself: the load has no users.
        del plain["routes"][0]["mirror"][0]["key"]
        if self._control is not None:
            plain["fleets"]["stable"] = {"endpoints": [f"http://127.0.0.1:{self._control}"]}
            plain["routes"][0]["mirror"][0]["control"] = {"to": "stable"}
        (setup.directory / "shadowproxy.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
        return [self.interpreter(), "-m", "shadowproxy", "run", "-c", "shadowproxy.yaml"]

    def verdict(self) -> dict[str, Any]:
        """The verdict of the one mirror, now.

        Raises:
            BenchError: the admin API does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10.0)
        try:
            connection.request("GET", "/api/v1/verdict", headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"no verdict: {error!r}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"no verdict: {answer.status} {body[:200]!r}")
        verdict: dict[str, Any] = json.loads(body)["verdicts"][0]
        return verdict


def requests(first: int) -> tuple[bytes, ...]:
    """Requests for different items, a run's own."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS if name != "X-User-Id")
    return tuple(f"GET /items/{first + number} HTTP/1.1\r\n{lines}\r\n".encode() for number in range(ITEMS))


class Look:
    """Asks for the verdict until it is decided; then the rest of the load is only waited for."""

    def __init__(self, proxy: Judged, expected: str) -> None:
        self._proxy = proxy
        self._expected = expected
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] = {}
        self.problem = ""
        self.has_alarmed = False

    def __enter__(self) -> Look:  # noqa: PYI034  not subclassed
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_S):
            try:
                self.last = self._proxy.verdict()
            except BenchError as error:
                self.problem = str(error)
                return
            self.has_alarmed = self.has_alarmed or self.last["verdict"] in {"REGRESSION", "INVALID"}
            if self.first is None and self.last["verdict"] == self._expected:
                self.first = self.last


def run_once(case: Case, number: int, cpus: Cpus) -> Outcome:
    """One run of a case; what goes wrong becomes a problem of the outcome."""
    with tempfile.TemporaryDirectory(prefix="shadowproxy-judge-") as name, ExitStack() as stack:
        directory = Path(name)
        try:
            live = stack.enter_context(Service("live", directory, cpus, median=case.median))
            shadow = stack.enter_context(
                Service("shadow", directory, cpus, median=case.median, slower=case.slower, new_errors=case.new_errors)
            )
            stable = stack.enter_context(Service("stable", directory, cpus, median=case.median)) if case.has_control else None
            proxy = Judged(stable.port if stable is not None else None)
            setup = Setup(free_port(), live.port, shadow.port, directory, shadow_timeout_s=5.0)
            instance = stack.enter_context(Instance(proxy, setup, cpus))
            look = stack.enter_context(Look(proxy, case.expected))
            load = Load(instance.port, requests(1 + number * ITEMS), SMALL, RATE, case.pairs / RATE, connections=128, warm_up_s=0.0)
            openloop.run(load)
            time.sleep(2 * LOOK_S)
        except BenchError as error:
            return Outcome(case.name, number, "", 0, "", false_alarm=False, problem=str(error))
        if look.problem:
            return Outcome(case.name, number, "", 0, "", false_alarm=False, problem=look.problem)
        seen = look.first or look.last
        is_false = look.has_alarmed and case.expected != "REGRESSION"
        return Outcome(case.name, number, seen.get("verdict", ""), seen.get("pairs", 0), seen.get("summary", ""), false_alarm=is_false)


def run(cases: Sequence[Case], repeat: int, cpus: Cpus, say: Callable[[str], None]) -> list[Outcome]:
    """Every case, `repeat` times or as its own share of that says."""
    rows = []
    for case in cases:
        for number in range(-(-repeat // case.every)):
            row = run_once(case, number, cpus)
            say(f"{row.case:10} {number + 1:3} {row.problem or f'{row.verdict} after {row.pairs} pairs: {row.summary}'}")
            rows.append(row)
    return rows


def problems(rows: Sequence[Outcome]) -> list[str]:
    """Where the outcomes fall short of what was asked for."""
    found = [f"{row.case} {row.number}: {row.problem}" for row in rows if row.problem]
    found += [f"{row.case} {row.number}: false alarm: {row.summary}" for row in rows if row.false_alarm]
    for case in CASES:
        own = [row for row in rows if row.case == case.name and not row.problem]
        if own and case.asked and middle(own, case) > case.asked:
            found.append(f"{case.name}: {middle(own, case):.0f} pairs at the median, asked for {case.asked}")
    return found


def middle(rows: Sequence[Outcome], case: Case) -> float:
    """Median of the pairs at the right verdict; a run without one counts as having taken longer than any."""
    return median([row.pairs if row.verdict == case.expected else 10 * case.pairs for row in rows])


def table(rows: Sequence[Outcome]) -> str:
    """As Markdown."""
    lines = []
    for case in CASES:
        own = [row for row in rows if row.case == case.name and not row.problem]
        if not own:
            continue
        right = sorted(row.pairs for row in own if row.verdict == case.expected)
        lines.append(
            [
                case.title,
                str(len(own)),
                str(sum(row.false_alarm for row in own)) if case.expected != "REGRESSION" else "",
                f"{len(right)} {case.expected}",
                f"{middle(own, case):.0f}" if 2 * len(right) > len(own) else f"more than {case.pairs}",
                f"{right[0]} to {right[-1]}" if right else "",
                str(case.asked or ""),
            ]
        )
    return markdown(["shadow", "runs", "false alarms", "right verdict", "pairs, median", "from to", "asked for"], lines)
