"""A worker with routes for every rule about test traffic, recorders at every place that a request can go to, and what must hold of them.

    world.send(Ask(case, "sink", WRITE))        # ask, and note what was asked and answered
    world.check()                               # not one tagged write at live, not one untagged write anywhere else, ...

Where a request must go is worked out here from the case, the route's name and the kind of the request, by a table and not by the code under test.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote_plus

import yaml

from tests.data.tag_cases import REFUSED, TAGGED, Case
from tests.kit import answers, network
from tests.kit.client import Client
from tests.kit.origin import Origin
from tests.kit.process import eventually
from tests.kit.wire import WireError
from tests.kit.worker import WorkerProxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from tests.kit.origin import Turn
    from tests.kit.wire import Seen

HOST: Final = "shop.example"
DIALECTS: Final = ("uber", "signadot", "mirrord", "okteto", "takin", "datadog", "otel")

LIVE: Final = "live"
SINK: Final = "sink"
PARTITION: Final = "partition"
NOWHERE: Final = ""

SINK_FAULTS: Final = ("refused", "reset", "closed", "slow", "failing", "dying", "malformed")
PARTITION_FAULTS: Final = ("test-refused", "test-hanging", "test-reset", "test-dying")

RULES: Final[dict[str, dict[str, Any]]] = {
    "unruled": {},
    "refuse": {"reads": "refuse", "writes": "refuse"},
    "live": {"writes": "live"},
    "sink": {"writes": {"sink": "ok"}},
    "both": {"reads": {"sink": "ok"}, "writes": {"sink": "ok"}},
    "keeps": {"writes": {"sink": "keeps"}},
    "fleet": {"writes": {"partition": {"fleet": "test"}}},
    "path": {"writes": {"partition": {"path_prefix": "/t/{tenant}"}}},
    "header": {"writes": {"partition": {"headers": {"X-Tenant": "test-{tenant}"}}}},
    "host": {"writes": {"partition": {"host": "{tenant}.test.example"}}},
    "query": {"writes": {"partition": {"query": {"mode": "test-{tenant}"}}}},
    "treat": {
        "writes": {"sink": "ok"},
        "treat": [
            {"counts_as": "write", "path": "/treat/cancel"},
            {"counts_as": "write", "exact": "/treat/", "query": "confirm=1"},
            {"counts_as": "write", "regex": "/treat/[0-9]+/pay"},
            {"counts_as": "write", "path": "/treat/graph", "body": "mutation"},
            {"counts_as": "read", "path": "/treat/search", "methods": ["POST"]},
            {"counts_as": "read", "exact": "/treat/ask", "methods": ["POST"], "query": "action=find"},
            {"counts_as": "read", "path": "/treat/graph", "methods": ["POST"]},
        ],
    },
    **{fault: {"writes": {"sink": fault}} for fault in SINK_FAULTS},
    "test-refused": {"writes": {"partition": {"fleet": "test-refused"}}},
    **{fault: {"writes": {"partition": {"fleet": "test-hanging"}}} for fault in PARTITION_FAULTS if fault != "test-refused"},
}
"""Rules by route; a route takes the paths that begin with its name."""

WRITES_TO: Final[dict[str, str]] = {
    "unruled": NOWHERE, "refuse": NOWHERE, "live": LIVE, "sink": SINK, "both": SINK, "keeps": SINK, "fleet": PARTITION, "path": PARTITION,
    "header": PARTITION, "host": PARTITION, "query": PARTITION, "treat": SINK, **dict.fromkeys(SINK_FAULTS, SINK),
    **dict.fromkeys(PARTITION_FAULTS, PARTITION),
}  # fmt: skip
READS_TO: Final[dict[str, str]] = {route: {"refuse": NOWHERE, "both": SINK}.get(route, LIVE) for route in RULES}

UNREACHABLE: Final = frozenset({"refused", "test-refused"})
FATES: Final = {LIVE: "passed", SINK: "sunk", PARTITION: "partitioned", NOWHERE: "refused"}

_ID: Final = re.compile(r"[?&]id=(\d+)")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    `verdict`, `tenant` are of its tag; `wire` is all of it but for the id in its target, which stands as ID. `leaves` says after how many bytes the client
    resets the connection; -1 for one that waits for its answer.
    """

    verdict: str
    tenant: str
    route: str
    is_write: bool
    wire: bytes
    method: str = "POST"
    version: str = "1.1"
    listener: str = "front"
    source: str = ""
    splits: tuple[int, ...] = ()
    leaves: int = -1
    number: int = 0
    status: list[int] = field(default_factory=list)

    @property
    def goes_to(self) -> str:
        """Where it must go, where anything takes it there."""
        if self.verdict == REFUSED:
            return NOWHERE
        if self.verdict != TAGGED:
            return LIVE
        return (WRITES_TO if self.is_write else READS_TO)[self.route]


ID: Final = b"@ID@"


def wire(method: str, target: str, block: bytes, body: bytes = b"", *, host: str = HOST, version: str = "1.1", extra: bytes = b"") -> bytes:
    """A request with the lines `block`, and room for its id."""
    mark = "&" if "?" in target else "?"
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    start = f"{method} {target}{mark}id={ID.decode()} HTTP/{version}\r\nHost: {host}\r\n".encode("latin-1")
    return start + block + extra + length + b"\r\n" + body


def ask(case: Case, route: str, *, is_write: bool = True, has_dialects: bool = False, **options: Any) -> Ask:
    """A plain request of a case: POST for a write, GET for a read."""
    verdict, tenant = case.expected(has_dialects=has_dialects)
    method = "POST" if is_write else "GET"
    return Ask(
        verdict,
        tenant,
        route,
        is_write,
        wire(method, f"/{route}/orders", case.block, b"a=1" if is_write else b""),
        method=method,
        **options,
    )


class TaggedWorld:
    """See the module's text. `top` replaces parts of the config."""

    def __init__(self, *, has_dialects: bool = False, listeners: Mapping[str, dict[str, Any]] | None = None, **top: Any) -> None:
        told = top.pop("told", {})
        self.asked: list[Ask] = []
        self.past: list[Ask] = []
        self._clients: list[Client] = []
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.live, self.sink, self.partition = (undo.enter_context(_stopped(Origin(name))) for name in (LIVE, SINK, PARTITION))
            self.sink.answer = self.partition.answer = _by_route
            nobody = "http://{}:{}".format(*network.refused_address())
            kinds: dict[str, dict[str, Any]] = {"front": {}, **(listeners or {})}
            bound = {name: undo.enter_context(network.listening(reuse_port=True)) for name in kinds}
            self.config: dict[str, Any] = {
                "listen": [
                    {"name": name, "address": "{}:{}".format(*network.address_of(bound[name])), **kind} for name, kind in kinds.items()
                ],
                "fleets": {
                    "live": _fleet(self.live.url),
                    "test": _fleet(self.partition.url),
                    "test-refused": _fleet(nobody),
                    "test-hanging": _fleet(self.partition.url, header_timeout=0.3),
                },
                "sinks": {
                    name: {"resources": {"collections": ["/orders"]}} if name == "keeps" else {} for name in ("ok", "keeps", *SINK_FAULTS)
                },
                "routes": [
                    {"name": route, "match": {"path": f"/{route}"}, "live": "live", "test_traffic": rule} for route, rule in RULES.items()
                ],
                "tenancy": {"dialects": list(DIALECTS) if has_dialects else []},
                **top,
            }
            sinks = dict.fromkeys(self.config["sinks"], self.sink.url) | {"refused": nobody}
            self.proxy = WorkerProxy(self.text(), bound, told={"sinks": sinks, **told})
            self._stack = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        try:
            if kind is None:
                self.check()
                if self.proxy.process.poll() is None:
                    self.proxy.stop()
        finally:
            for client in self._clients:
                client.close()
            self.proxy.abandon()
            self._stack.close()

    def text(self) -> str:
        """The config as YAML."""
        return yaml.safe_dump(self.config, sort_keys=False)

    @property
    def next_number(self) -> int:
        """The id of the request that is sent next."""
        return len(self.past) + len(self.asked)

    def begin(self, asked: Ask) -> tuple[Ask, Client]:
        """Send a request, or as much of it as its client sends; the connection is the caller's."""
        number = self.next_number
        sent = replace(asked, number=number, status=[])
        self.asked.append(sent)
        client = Client(self.proxy.address(sent.listener), source=sent.source)
        self._clients.append(client)
        data = sent.wire.replace(ID, b"%d" % number)
        with contextlib.suppress(ConnectionError):
            client.send_split(data[: sent.leaves] if sent.leaves >= 0 else data, sent.splits)
        return sent, client

    def end(self, sent: Ask, client: Client) -> int:
        """The status of the answer; 0 for none."""
        with client:
            if sent.leaves >= 0:
                client.abort()
                return 0
            try:
                status = client.response(sent.method, version=sent.version, upgrade="chat").status
            except (WireError, ConnectionError):
                status = 0
            sent.status.append(status)
            # What stands in the ledger now was written down before the answer.
            if status and sent.verdict == TAGGED and sent.is_write and status not in {413, 503}:
                assert self.rows_of(sent.number), f"answered {status} without a row: {sent}"
            return status

    def send(self, asked: Ask) -> int:
        """Send a request and read its answer."""
        return self.end(*self.begin(asked))

    def rows_of(self, number: int) -> list[dict[str, Any]]:
        """The ledger's rows of a request."""
        return [row for row in list(self.proxy.rows.values()) if id_of(row["target"]) == number]

    def check(self) -> None:
        """What must hold of all that was sent, once everything has arrived.

        Raises:
            AssertionError: something does not.
        """
        # What was answered by whoever it went to has come there, and then its record is there.
        recorders = {LIVE: (self.live,), SINK: (self.sink,), PARTITION: (self.partition, self.live)}
        answered = [sent for sent in self.asked if sent.status and 200 <= sent.status[0] < 300 and sent.goes_to]

        def have_arrived() -> bool:
            there = {place: {id_of(seen.target) for one in ones for seen in list(one.requests)} for place, ones in recorders.items()}
            return all(sent.number in there[sent.goes_to] for sent in answered)

        with contextlib.suppress(AssertionError):  # the check below says what is missing
            eventually(have_arrived, patience_s=2.0)
        records = {origin.name: list(origin.requests) for origin in (self.live, self.sink, self.partition)}
        found = problems(self.asked, records, self.proxy.rows.values(), self.past)
        found += [problem for origin in (self.live, self.sink, self.partition) for problem in origin.problems()]
        assert not found, "\n".join(found[:20])
        assert not self.proxy.broken_law, self.proxy.broken_law

    def forget(self) -> None:
        """Check, and begin anew. What clients that left had sent may still arrive: it is checked then."""
        try:
            self.check()
        finally:
            self.past += self.asked
            self.asked.clear()
            for client in self._clients:
                client.close()
            self._clients.clear()
            self.proxy.rows.clear()
            for origin in (self.live, self.sink, self.partition):
                origin.forget()
            self.sink.answer = self.partition.answer = _by_route


def problems(
    asked: Iterable[Ask], records: Mapping[str, Iterable[Seen]], rows: Iterable[Mapping[str, Any]], past: Iterable[Ask] = ()
) -> list[str]:
    """What is wrong with what recorders saw and the ledger has, of these requests; empty where all is well. Of `past` ones something may still come."""
    current = {sent.number: sent for sent in asked}
    known = {sent.number: sent for sent in past} | current
    found: list[str] = []
    arrivals: dict[int, list[str]] = {}
    for recorder, requests in records.items():
        for seen in requests:
            number = id_of(seen.target)
            sent = known.get(number)
            if sent is None:
                found.append(f"{recorder} has a request of nobody's: {seen}")
                continue
            place = _place(recorder, sent, seen)
            arrivals.setdefault(number, []).append(place)
            found += [f"{problem}: {sent} as {seen}" for problem in _arrival_problems(sent, place, seen)]
    counts: dict[int, int] = {}
    for row in rows:
        number = id_of(row["target"])
        counts[number] = counts.get(number, 0) + 1
        row_of = known.get(number)
        if row_of is None or row_of.verdict != TAGGED or not row_of.is_write:
            found.append(f"a row of no tagged write: {row} for {row_of}")
        elif (row["fate"], row["tenant"]) not in {(FATES[row_of.goes_to], row_of.tenant), ("refused", row_of.tenant)}:
            found.append(f"a row with another fate or tenant: {row} for {row_of}")
    for number, sent in current.items():
        found += [f"{problem}: {sent}" for problem in _outcome_problems(sent, arrivals.get(number, []), counts.get(number, 0))]
    return found


def _place(recorder: str, sent: Ask, seen: Seen) -> str:
    """Where a request is: live asked as a test's partition is the partition, where all that is left of it says so."""
    names = [name.lower().replace("_", "-").replace(".", "-") for name, _ in seen.fields]
    marks = {
        "path": seen.target.startswith(f"/t/{sent.tenant}/"),
        "header": seen.all("X-Tenant") == [f"test-{sent.tenant}"] and names.count("x-tenant") == 1,
        "host": seen.all("Host") == [f"{sent.tenant}.test.example"] and not any(HOST in value for _, value in seen.fields),
        "query": _said("mode", seen.target) == [f"test-{sent.tenant}"],
    }
    return PARTITION if recorder == LIVE and sent.verdict == TAGGED and marks.get(sent.route) else recorder


def _said(name: str, target: str) -> list[str]:
    """What a query says of a parameter, for readers that are generous about its name."""
    pairs = [unquote_plus(pair).partition("=") for pair in re.split("[&;]", target.partition("?")[2])]
    return [value for key, _, value in pairs if re.split(r"[\[\x00]", key.lower())[0].strip() == name]


def _arrival_problems(sent: Ask, place: str, seen: Seen) -> Iterable[str]:
    is_asked_first = sent.route == "keeps" and not sent.is_write and place == SINK
    if place != sent.goes_to and not (is_asked_first and sent.verdict == TAGGED):
        yield f"arrived at {place} instead of {sent.goes_to or 'nowhere'}"
    if sent.verdict == TAGGED:
        tag = "true" if sent.tenant == "default" else sent.tenant
        named = "" if sent.tenant == "default" else f",test_tenant={sent.tenant}"
        if seen.all("X-Test-Traffic") != [tag] or not any(
            value.startswith(f"synthetic_request=true{named}") for value in seen.all("baggage")
        ):
            yield "its tag is not in our spelling"
        if len(seen.all("baggage")) != 1 or any(_is_alias(name) for name, _ in seen.fields if name != "X-Test-Traffic"):
            yield "something of the client's tag is left"


def _is_alias(name: str) -> bool:
    return name.lower().replace("_", "-").replace(".", "-") == "x-test-traffic"


def _outcome_problems(sent: Ask, arrivals: list[str], rows: int) -> Iterable[str]:
    most = 2 if sent.route == "keeps" and not sent.is_write else 1
    if len(arrivals) > most:
        yield f"arrived {len(arrivals)} times"
    if rows > 1:
        yield f"has {rows} rows"
    if sent.verdict == TAGGED and sent.is_write and arrivals and not rows:
        yield "arrived without a row"
    if not sent.status:
        return
    status = sent.status[0]
    if sent.verdict == REFUSED and not 400 <= status < 500:
        yield f"was answered {status}"
    if 200 <= status < 300 and sent.goes_to not in arrivals:
        yield f"was answered {status} and did not arrive"
    if sent.verdict == TAGGED and sent.goes_to == NOWHERE and status not in {409, 503}:
        yield f"was answered {status}"


def id_of(target: str) -> int:
    """The id in a target; -1 for none."""
    found = _ID.search(target)
    return int(found[1]) if found else -1


def _fleet(url: str, **options: Any) -> dict[str, Any]:
    return {"endpoints": [url], "eject": {"failures": 0}, **options}


@contextlib.contextmanager
def _stopped(origin: Origin) -> Any:
    try:
        yield origin
    finally:
        origin.stop()


_ANSWERS: Final = {
    "reset": answers.reset(),
    "test-reset": answers.reset(),
    "closed": answers.close(),
    "slow": answers.ok(b"late", pause_s=0.05),
    "failing": answers.ok(b"no", status=500),
    "dying": answers.raw_then_reset(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nsome"),
    "test-dying": answers.raw_then_close(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "malformed": answers.raw_then_close(b"ICY 200 OK\r\n\r\n"),
    "test-hanging": answers.hang(),
    "keeps": answers.by_method({"GET": answers.ok(b"", status=421)}, answers.ok(status=201)),
}
_ANSWER: Final = answers.ok(b"done", status=201)


def _by_route(turn: Turn) -> None:
    _ANSWERS.get(turn.request.target.split("/")[1], _ANSWER)(turn)
