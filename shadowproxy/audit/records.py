"""What the instance itself knows of probes: rows of its ledger, what its sinks keep, calls that lost their tag."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from shadowproxy.audit.finds import Find, finds
from shadowproxy.audit.honey import is_of_an_audit
from shadowproxy.errors import AuditFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowproxy.audit.plan import Plan

PAGE: Final = 1000
"""Rows, items and calls of one answer: the most that the admin API gives."""

PAGES: Final = 500
"""Pages of the ledger that are read: everybody's tagged writes while the audit ran, and far more than that."""

CLOCKS_S: Final = 300.0
"""How far the instance's clock may be behind ours."""

Row = dict[str, Any]


class Api(Protocol):
    """The admin API."""

    def get(self, path: str, /) -> Any:
        """The document at a path."""


@dataclass(slots=True)
class Records:
    """What is known: by probe rows of its trace, rows that are its own under another trace, and calls of its trace without a tag.

    `orphans` are rows of the audit's tenant, under other traces, of which it is not known which probe they belong to; `finds` are of all probes.
    """

    rows: dict[int, list[Row]] = field(default_factory=dict)
    strays: dict[int, list[Row]] = field(default_factory=dict)
    leaks: dict[int, list[Row]] = field(default_factory=dict)
    orphans: list[Row] = field(default_factory=list)
    finds: list[Find] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Before:
    """How an instance stood before anything was sent: the newest row of its ledger, and lost tags that were only counted."""

    seq: int
    undescribed: int


def before(api: Api) -> Before:
    """How an instance stands now. Raises as `gather`."""
    rows = api.get(f"/api/v1/ledger?{_query(limit=1)}")["rows"]
    return Before(rows[0]["seq"] if rows else 0, api.get(f"/api/v1/leaks?{_query(limit=1)}")["undescribed"])


def gather(api: Api, sinks: Iterable[str], plan: Plan, stood: Before, since: float) -> Records:
    """Everything that the instance knows of the probes of a plan.

    Args:
        api: of the instance.
        sinks: names of its sinks.
        plan: what was sent.
        stood: how the instance stood before that.
        since: when the first was sent, in seconds since 1970, by our clock.

    Raises:
        AdminUnreachable, AdminRefused: it does not tell.
        AuditFailed: it has more to tell than can be read, or does not know all itself.
    """
    records = Records()
    bodies = {
        hashlib.sha256(probe.body).hexdigest(): probe.number
        for probe in plan.probes
        if plan.honey.find(probe.body.decode("utf-8", "replace"))
    }
    for row in _rows(api, stood.seq):
        probe = plan.honey.of_trace(row["trace"])
        if probe is not None:
            records.rows.setdefault(probe, []).append(row)
            continue
        known = {found.probe for found in plan.honey.find(row["target"])} | ({bodies[row["digest"]]} if row["digest"] in bodies else set())
        for number in known:
            records.strays.setdefault(number, []).append(row)
        if not known and row["tenant"] == plan.tenant and not is_of_an_audit(row["trace"]):
            records.orphans.append(row)
    for rows in records.rows.values():
        rows.sort(key=lambda row: (row["time"], row["id"]))
    for leak in _leaks(api, plan, stood, since - CLOCKS_S):
        probe = plan.honey.of_trace(leak["trace"])
        if probe is not None:
            records.leaks.setdefault(probe, []).append(leak)
    for name in sinks:
        items = api.get(f"/api/v1/sinks/{quote(name, safe='')}/items?{_query(tenant=plan.tenant, limit=PAGE)}")["items"]
        records.finds += finds(plan.honey.find(json.dumps(items)), f"sink {name}", is_leak=False)
    return records


def _rows(api: Api, after: int) -> Iterator[Row]:
    """Every row behind `after`, whoever's: a service may have changed the tenant, or lost the trace."""
    cursor: str | None = None
    for _ in range(PAGES):
        document = api.get(f"/api/v1/ledger?{_query(limit=PAGE, cursor=cursor)}")
        for row in document["rows"]:
            if row["seq"] <= after:
                return
            yield row
        cursor = document["next"]
        if cursor is None:
            return
    raise AuditFailed(f"the ledger got more than {PAGES * PAGE} rows while the audit ran: choose by --route or --listener")


def _leaks(api: Api, plan: Plan, stood: Before, since: float) -> list[Row]:
    """The oldest first; so many that others' could hide ours are asked for trace by trace."""
    document = api.get(f"/api/v1/leaks?{_query(since=f'{since:.3f}', limit=PAGE)}")
    if document["undescribed"] > stood.undescribed:
        raise AuditFailed("more calls lost their tag than workers can describe: it is not known whether some of them are the audit's")
    found: list[Row] = document["leaks"]
    if len(found) >= PAGE:
        found = [leak for probe in plan.probes for leak in api.get(f"/api/v1/leaks?{_query(trace=probe.trace, limit=PAGE)}")["leaks"]]
    return sorted(found, key=lambda leak: float(leak["time"]))


def _query(**wanted: object) -> str:
    return urlencode({name: value for name, value in wanted.items() if value is not None}, quote_via=quote)
