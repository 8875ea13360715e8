"""What is asked of an instance, and how its answers are told apart."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from shadowproxy.audit.finds import Find
from shadowproxy.audit.records import PAGE, gather
from tests.audit.samples import HONEY, leak, plan, row


class Api:
    """An admin API of given rows, calls and items; remembers what it was asked."""

    def __init__(self, rows: list[dict[str, Any]] | None = None, leaks: list[dict[str, Any]] | None = None, items: Any = ()) -> None:
        self.rows, self.leaks, self.items = rows or [], leaks or [], items
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str) -> Any:
        """The document at a path."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, query))
        if parts.path == "/api/v1/ledger":
            begin, limit = int(query.get("cursor", 0)), int(query["limit"])
            end = begin + limit
            return {"rows": self.rows[begin:end], "next": str(end) if end < len(self.rows) else None}
        if parts.path == "/api/v1/leaks":
            wanted = [one for one in self.leaks if query.get("trace", one["trace"]) == one["trace"]]
            return {"leaks": wanted[: int(query["limit"])]}
        return {"items": self.items}


def test_rows_are_by_trace_and_in_order() -> None:
    """Ours by the probe, a token under another trace as a stray, everyone else's as nothing."""
    later, earlier = row(0, id="b", time=2.0), row(0, id="a", time=1.0)
    stray = row(0, trace="f" * 32, target=f"/send?note={HONEY.token(1, 'q')}&again={HONEY.token(1, 'h')}")
    api = Api([later, stray, row(0, trace="e" * 32), earlier])
    records = gather(api, (), plan(), "t", 1000.0)
    assert records.rows == {0: [earlier, later]}
    assert records.strays == {1: [stray]}
    path, query = api.asked[0]
    assert (path, query["tenant"]) == ("/api/v1/ledger", "t")
    assert float(query["since"]) < 1000.0  # clocks differ


def test_every_page_of_the_ledger_is_read() -> None:
    """However many rows others of the same tenant have."""
    records = gather(Api([row(number % 8, id=str(number)) for number in range(2 * PAGE + 10)]), (), plan(), "t", 0.0)
    assert sum(len(rows) for rows in records.rows.values()) == 2 * PAGE + 10


def test_leaks_are_by_trace_and_in_order() -> None:
    """The first call comes first; others' are nobody's."""
    api = Api(leaks=[leak(0, time=2.0), leak(0, time=1.0), leak(0, trace="f" * 32)])
    records = gather(api, (), plan(), "t", 0.0)
    assert {probe: [one["time"] for one in found] for probe, found in records.leaks.items()} == {0: [1.0, 2.0]}


def test_others_leaks_cannot_hide_ours() -> None:
    """Where one answer is full, each of our traces is asked for."""
    api = Api(leaks=[*(leak(0, trace="f" * 32) for _ in range(PAGE)), leak(3)])
    assert set(gather(api, (), plan(), "t", 0.0).leaks) == {3}


def test_sinks_are_searched() -> None:
    """What they keep of our tenant, as JSON, whatever its shape; a name is escaped."""
    api = Api(items=[{"value": {"deep": [HONEY.token(2, "b").upper()]}}, {"value": "other"}])
    records = gather(api, ("a/b",), plan(), "t 1", 0.0)
    assert records.finds == [Find(2, "b", "sink a/b", False)]
    assert api.asked[-1] == ("/api/v1/sinks/a%2Fb/items", {"tenant": "t 1", "limit": str(PAGE)})
