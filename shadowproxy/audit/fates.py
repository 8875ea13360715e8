"""What became of each probe, and whether its route's rule says so: facts in, results out, without I/O.

A tagged write has a row in the ledger, which says its fate. It is LEAKED all the same when a trace of it is found where test
traffic has no business: its token in production's data, or a call without its tag that went on to live.
A service that dropped the tag is at fault even if the proxy repaired that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.audit.honey import PLACES
from shadowproxy.policy.tenancy import READ_METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowproxy.audit.finds import Find
    from shadowproxy.audit.plan import Plan, Probe
    from shadowproxy.audit.records import Records, Row
    from shadowproxy.audit.sending import Answer


PASSED: Final = "report"
"""What a listener does that lets calls without their tag pass."""


class Fate(StrEnum):
    """Where a probe ended."""

    SUNK = "sunk"
    PARTITIONED = "partitioned"
    REFUSED = "refused"
    PASSED = "passed"
    LEAKED = "leaked"
    UNANSWERED = "unanswered"


WORDS: Final = {Fate.PASSED: "passed by rule", Fate.LEAKED: "LEAKED", Fate.UNANSWERED: "UNANSWERED"}
"""What people read of a fate that is as the rule says; the others are called what they are."""

ACTIONS: Final = {"retag": "tagged again by the proxy", "refuse": "refused by the proxy", "report": "let pass without it"}
"""What became of a call without its tag."""


CALL: Final = ("listener", "route", "method", "host", "target", "trace", "fate", "to")
"""What is told of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One probe's end.

    Args:
        probe: what was sent.
        answer: what came back.
        fate: where it ended.
        to: the sink, partition or fleet; of a leak the first place where it got to.
        failures: each thing that is not as the rule says, in words.
        remarks: what else there is to know.
        leaks: calls of its trace that had lost their tag, the oldest first.
        finds: where its tokens turned up.
        calls: rows of the ledger that the services behind it caused.
    """

    probe: Probe
    answer: Answer
    fate: Fate
    to: str
    failures: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    leaks: tuple[Row, ...] = ()
    finds: tuple[Find, ...] = ()
    calls: tuple[Row, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether all is as the rule says, and nothing leaked."""
        return not self.failures


def results(
    plan: Plan, answers: Mapping[int, Answer], records: Records, found: Iterable[Find], *, allows_retagged: bool = False
) -> list[Result]:
    """What became of each probe of a plan, in its order.

    Args:
        plan: what was sent.
        answers: by probe; one for each.
        records: what the instance knows.
        found: tokens that turned up elsewhere.
        allows_retagged: whether a tag that was dropped is no failure where the proxy put it back or refused the call.
    """
    turned_up: dict[int, list[Find]] = {}
    for find in (*records.finds, *found):
        turned_up.setdefault(find.probe, []).append(find)
    return [_result(probe, answers[probe.number], records, turned_up.get(probe.number, []), allows_retagged) for probe in plan.probes]


def _result(probe: Probe, answer: Answer, records: Records, found: Sequence[Find], allows_retagged: bool) -> Result:
    rows = records.rows.get(probe.number, [])
    own = next((row for row in rows if (row["listener"], row["route"], row["method"]) == (probe.listener, probe.route, probe.method)), None)
    lost = records.leaks.get(probe.number, [])
    fate, to, failures = _fate(probe, answer, own)
    escaped = _escaped(lost, found)
    if escaped:
        fate, to = Fate.LEAKED, escaped[0]
    failures += [f"leaked to {where}" for where in escaped]
    # A write that was let pass has been told as a leak.
    dropped = [leak for leak in lost if not _is_escape(leak)]
    failures += [_dropped(leak) for leak in dropped if leak["action"] == PASSED or not allows_retagged]
    failures += [f"{call(row)} as a test of {row['tenant']}: a service changed whose it is" for row in rows if _is_anothers(row, probe)]
    if probe.status and answer.status not in {0, probe.status}:
        failures.append(f"answered {answer.status}, and not {probe.status}: what it was to reach may not have been reached")
    remarks = [_dropped(leak) for leak in dropped if leak["action"] != PASSED and allows_retagged]
    if answer.error and fate is not Fate.UNANSWERED:
        (failures if probe.status else remarks).append(answer.error)
    elif answer.status >= 500 and fate is not Fate.REFUSED and not probe.status:
        remarks.append(f"answered {answer.status}: the services behind the proxy may not have been reached")
    remarks += [f"a service lost the trace: {call(row)}, under trace {row['trace']}" for row in records.strays.get(probe.number, [])]
    return Result(
        probe=probe,
        answer=answer,
        fate=fate,
        to=to,
        failures=tuple(dict.fromkeys(failures)),
        remarks=tuple(dict.fromkeys(remarks)),
        leaks=tuple(lost),
        finds=tuple(found),
        calls=tuple(row for row in rows if row is not own),
    )


def _fate(probe: Probe, answer: Answer, own: Row | None) -> tuple[Fate, str, list[str]]:
    """Fate and destination by what the proxy says, and what is wrong with them."""
    expected = Fate(probe.expected)
    if own is not None:
        fate, to, why = Fate(own["fate"]), str(own["to"]), str(own["reason"])
    elif answer.error:
        return Fate.UNANSWERED, "", [f"unanswered: {answer.error}"]
    elif answer.code and not answer.code.startswith("upstream_"):
        fate, to, why = Fate.REFUSED, "", answer.code
    elif probe.is_write:
        told = f"answered {answer.status} without a row in the ledger: the proxy did not take it for a test"
        return Fate.LEAKED, "live", [told]
    elif answer.sink:
        fate, to, why = Fate.SUNK, answer.sink, ""
    else:
        # Who answered a read is not written down; a sink says so, and a partition is what the rule makes of it.
        fate, to, why = (expected, probe.to, "") if expected in {Fate.PASSED, Fate.PARTITIONED} else (Fate.PASSED, "live", "")
    # A sink that keeps what the tenant wrote is asked before live.
    asks_first = not probe.is_write and expected is Fate.PASSED and fate is Fate.SUNK
    if asks_first or (fate is expected and to == probe.to):
        return fate, to, []
    said, ruled = (f"{one}{f' to {place}' if place else ''}" for one, place in ((fate, to), (expected, probe.to)))
    return fate, to, [f"{said}{f' ({why})' if why else ''}, and not {ruled} as its rule says"]


def _is_escape(leak: Row) -> bool:
    """Whether a call without its tag was let through and changes something."""
    return leak["action"] == PASSED and leak["method"].encode() not in READ_METHODS


def _is_anothers(row: Row, probe: Probe) -> bool:
    """Whether a call of the probe's trace was tagged as another tenant's; calls that count as tests without a tag are the proxy's own."""
    return bool(row["origin"] == "tag" and row["tenant"] != probe.tenant)


def _escaped(lost: Iterable[Row], found: Iterable[Find]) -> list[str]:
    """Where the probe got to without its tag, or where its tokens must not be."""
    calls = [
        f"{leak['host']}{leak['path']} ({'because ' if leak['is_consequence'] else ''}{leak['culprit']} dropped the tag)"
        for leak in lost
        if _is_escape(leak)
    ]
    places = [f"{find.where} (from {PLACES[find.place]})" for find in found if find.is_leak]
    return list(dict.fromkeys([*calls, *places]))


def _dropped(leak: Row) -> str:
    call = f"{leak['method']} {leak['host']}{leak['path']}"
    became = ACTIONS.get(leak["action"], leak["action"])
    if leak["is_consequence"]:
        return f"{leak['service']} did not know that {call} is a test, because {leak['culprit']} dropped the tag: {became}"
    return f"{leak['service']} dropped the tag of {call}: {became}"


def call(row: Row) -> str:
    """A row of the ledger in words."""
    return f"{row['method']} {row['host']}{row['target'].partition('?')[0]} {row['fate']}{' to ' + row['to'] if row['to'] else ''}"


def culprits(found: Iterable[Result]) -> list[str]:
    """The services that dropped tags, by name, in the order in which they were found."""
    return list(dict.fromkeys(str(leak["culprit"]) for result in found for leak in result.leaks))


def as_plain(result: Result) -> dict[str, Any]:
    """A result as JSON."""
    probe, answer = result.probe, result.answer
    return {
        "route": probe.route,
        "listener": probe.listener,
        "method": probe.method,
        "target": probe.target,
        "label": probe.label,
        "trace": probe.trace,
        "counts_as": "write" if probe.is_write else "read",
        "expected": probe.expected,
        "fate": str(result.fate),
        "to": result.to,
        "is_ok": result.is_ok,
        "status": answer.status,
        "code": answer.code,
        "failures": list(result.failures),
        "remarks": list(result.remarks),
        "lost_tags": [dict(leak) for leak in result.leaks],
        "found": [{"where": find.where, "from": PLACES[find.place], "is_leak": find.is_leak} for find in result.finds],
        "calls": [{name: row[name] for name in CALL} for row in result.calls],
    }
