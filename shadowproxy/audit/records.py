"""What the instance itself knows of probes: rows of its ledger, what its sinks keep, calls that lost their tag."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from shadowproxy.audit.finds import Find, finds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowproxy.audit.plan import Plan

PAGE: Final = 1000
"""Rows, items and calls of one answer: the most that the admin API gives."""

PAGES: Final = 200
"""Pages of the ledger that are read: our own tenant's rows of one run, many times over."""

CLOCKS_S: Final = 300.0
"""How far the instance's clock may be behind ours."""

Row = dict[str, Any]


class Api(Protocol):
    """The admin API."""

    def get(self, path: str, /) -> Any:
        """The document at a path."""


@dataclass(slots=True)
class Records:
    """By probe: rows of its trace, rows that have its token under another trace, and calls of its trace without a tag. And all finds."""

    rows: dict[int, list[Row]] = field(default_factory=dict)
    strays: dict[int, list[Row]] = field(default_factory=dict)
    leaks: dict[int, list[Row]] = field(default_factory=dict)
    finds: list[Find] = field(default_factory=list)


def gather(api: Api, sinks: Iterable[str], plan: Plan, tenant: str, since: float) -> Records:
    """Everything that the instance knows of the probes of a plan.

    Args:
        api: of the instance.
        sinks: names of its sinks.
        plan: what was sent.
        tenant: whose tests the probes are.
        since: when the first was sent, in seconds since 1970, by our clock.

    Raises:
        AdminUnreachable, AdminRefused: it does not tell.
    """
    records = Records()
    for row in _rows(api, tenant, since - CLOCKS_S):
        probe = plan.honey.of_trace(row["trace"])
        if probe is not None:
            records.rows.setdefault(probe, []).append(row)
            continue
        for found in {found.probe for found in plan.honey.find(row["target"])}:
            records.strays.setdefault(found, []).append(row)
    for rows in records.rows.values():
        rows.sort(key=lambda row: (row["time"], row["id"]))
    for leak in _leaks(api, plan, since - CLOCKS_S):
        probe = plan.honey.of_trace(leak["trace"])
        if probe is not None:
            records.leaks.setdefault(probe, []).append(leak)
    for name in sinks:
        items = api.get(f"/api/v1/sinks/{quote(name, safe='')}/items?{_query(tenant=tenant, limit=PAGE)}")["items"]
        records.finds += finds(plan.honey.find(json.dumps(items)), f"sink {name}", is_leak=False)
    return records


def _rows(api: Api, tenant: str, since: float) -> Iterator[Row]:
    cursor: str | None = None
    for _ in range(PAGES):
        document = api.get(f"/api/v1/ledger?{_query(tenant=tenant, since=f'{since:.3f}', limit=PAGE, cursor=cursor)}")
        yield from document["rows"]
        cursor = document["next"]
        if cursor is None:
            return


def _leaks(api: Api, plan: Plan, since: float) -> list[Row]:
    """The oldest first; so many that others' could hide ours are asked for trace by trace."""
    found: list[Row] = api.get(f"/api/v1/leaks?{_query(since=f'{since:.3f}', limit=PAGE)}")["leaks"]
    if len(found) >= PAGE:
        found = [leak for probe in plan.probes for leak in api.get(f"/api/v1/leaks?{_query(trace=probe.trace, limit=PAGE)}")["leaks"]]
    return sorted(found, key=lambda leak: float(leak["time"]))


def _query(**wanted: object) -> str:
    return urlencode({name: value for name, value in wanted.items() if value is not None}, quote_via=quote)
