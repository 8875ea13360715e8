"""What is asked of an instance, and how its answers are told apart."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shadowproxy.audit import records as module
from shadowproxy.audit.finds import Find
from shadowproxy.audit.honey import Honey
from shadowproxy.audit.records import PAGE, Before, before, gather
from shadowproxy.errors import AuditFailed
from tests.audit.samples import HONEY, leak, plan, row

BEFORE = Before(0, 0)


class Api:
    """An admin API of given rows, calls and items; remembers what it was asked."""

    def __init__(self, rows: list[dict[str, Any]] | None = None, leaks: list[dict[str, Any]] | None = None, items: Any = ()) -> None:
        # The newest first, as it answers.
        self.rows = [{**one, "seq": seq} for seq, one in enumerate(rows or [], 1)][::-1]
        self.leaks, self.items = leaks or [], items
        self.undescribed = 0
        self.asked: list[tuple[str, dict[str, str]]] = []

    def get(self, path: str) -> Any:
        """The document at a path."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, query))
        if parts.path == "/api/v1/ledger":
            begin = int(query.get("cursor", 0))
            end = begin + int(query["limit"])
            return {"rows": self.rows[begin:end], "next": str(end) if end < len(self.rows) else None}
        if parts.path == "/api/v1/leaks":
            wanted = [one for one in self.leaks if query.get("trace", one["trace"]) == one["trace"]]
            return {"leaks": wanted[: int(query["limit"])], "undescribed": self.undescribed}
        return {"items": self.items}


def test_rows_are_by_trace_and_in_order() -> None:
    """Ours by the probe, whoever's they became, a token under another trace as a stray, everyone else's as nothing."""
    stray = row(0, trace="f" * 32, target=f"/send?note={HONEY.token(1, 'q')}&again={HONEY.token(1, 'h')}")
    api = Api([row(0, id="a", time=1.0), row(0, trace="e" * 32), stray, row(0, id="b", time=2.0, tenant="other")])
    records = gather(api, (), plan(), BEFORE, 1000.0)
    assert {probe: [one["id"] for one in rows] for probe, rows in records.rows.items()} == {0: ["a", "b"]}
    assert {probe: [one["target"] for one in rows] for probe, rows in records.strays.items()} == {1: [stray["target"]]}


def test_a_lost_trace_is_known_by_what_was_sent() -> None:
    """A row with a probe's very body is that probe's; another of our tenant is nobody's in particular; other audits' rows are theirs."""
    sent = plan(methods=("POST",))
    same = row(0, trace="e" * 32, digest=hashlib.sha256(sent.probes[1].body).hexdigest(), tenant="x")
    unknown, others = row(0, trace="d" * 32, digest="0" * 64), row(0, trace=Honey("f" * 10).trace(1))
    records = gather(Api([same, unknown, others, {**unknown, "tenant": "x"}]), (), sent, BEFORE, 0.0)
    assert list(records.strays) == [1]
    assert [one["trace"] for one in records.orphans] == ["d" * 32]


def test_every_new_row_is_read_and_no_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are; what was there before is none of ours; more than can be read is no success."""
    api = Api([row(number % 8, id=str(number)) for number in range(3 * PAGE + 10)])
    records = gather(api, (), plan(), Before(2 * PAGE, 0), 0.0)
    assert sum(len(rows) for rows in records.rows.values()) == PAGE + 10
    assert (before(Api()), before(Api([row(0), row(1)]))) == (BEFORE, Before(2, 0))
    monkeypatch.setattr(module, "PAGES", 2)
    with pytest.raises(AuditFailed, match="more than 2000 rows"):
        gather(api, (), plan(), BEFORE, 0.0)


def test_leaks_are_by_trace_and_in_order() -> None:
    """The first call comes first; others' are nobody's; the instance's clock may be behind ours."""
    api = Api(leaks=[leak(0, time=2.0), leak(0, time=1.0), leak(0, trace="f" * 32)])
    records = gather(api, (), plan(), BEFORE, 1000.0)
    assert {probe: [one["time"] for one in found] for probe, found in records.leaks.items()} == {0: [1.0, 2.0]}
    assert float(api.asked[-1][1]["since"]) < 1000.0


def test_others_leaks_cannot_hide_ours() -> None:
    """Where one answer is full, each of our traces is asked for."""
    api = Api(leaks=[*(leak(0, trace="f" * 32) for _ in range(PAGE)), leak(3)])
    assert set(gather(api, (), plan(), BEFORE, 0.0).leaks) == {3}


def test_leaks_that_nobody_can_describe_fail_the_audit() -> None:
    """Some of them may be ours; those from before are not."""
    api = Api()
    api.undescribed = 7
    assert gather(api, (), plan(), Before(0, 7), 0.0).leaks == {}
    with pytest.raises(AuditFailed, match="than workers can describe"):
        gather(api, (), plan(), Before(0, 6), 0.0)


def test_sinks_are_searched() -> None:
    """What they keep of our tenant, as JSON, whatever its shape; a name is escaped."""
    api = Api(items=[{"value": {"deep": [HONEY.token(2, "b").upper()]}}, {"value": "other"}])
    records = gather(api, ("a/b",), plan(tenant="t-1"), BEFORE, 0.0)
    assert records.finds == [Find(2, "b", "sink a/b", False)]
    assert api.asked[-1] == ("/api/v1/sinks/a%2Fb/items", {"tenant": "t-1", "limit": str(PAGE)})
