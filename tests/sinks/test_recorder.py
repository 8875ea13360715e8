"""Rows of stand-alone sinks: one a write, durable first."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from shadowproxy.sinks import recorder as recorder_module
from shadowproxy.sinks.ledger import Ledger
from shadowproxy.sinks.ledger_query import KEYS
from shadowproxy.sinks.recorder import Recorder, row_of
from tests.sinks.kit import call

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_writes_have_rows_and_reads_have_none(tmp_path: Path) -> None:
    """Every write its own, in the ledger once the call returns."""
    ledger = Ledger(tmp_path / "l.db", 3600, 2**30)
    record = Recorder(ledger)
    assert await record(call("GET", "/a"), "orders") == ""
    answers = await asyncio.gather(
        *(record(call("POST", f"/{n}", body=b"x", tenant="t", Traceparent=f"00-{TRACE}-1-01", Host="h"), "orders") for n in range(20))
    )
    assert set(answers) == {""}
    rows = ledger.rows()
    ledger.close()
    assert {row["target"] for row in rows} == {f"/{n}" for n in range(20)}
    assert {(row["trace"], row["tenant"], row["host"], row["to"], row["digest"]) for row in rows} == {
        (TRACE, "t", "h", "orders", hashlib.sha256(b"x").hexdigest())
    }


async def test_a_ledger_that_does_not_work_says_why(tmp_path: Path) -> None:
    """The reason is the answer."""
    ledger = Ledger(tmp_path / "no" / "l.db", 3600, 2**30)
    assert await Recorder(ledger)(call("POST", "/"), "orders") != ""
    ledger.close()


async def test_a_ledger_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than PATIENCE_S."""

    class Hangs:
        def submit(self, rows: Any, done: Any) -> None:
            """Say nothing."""

    monkeypatch.setattr(recorder_module, "PATIENCE_S", 0.05)
    assert "has not answered" in await Recorder(Hangs())(call("POST", "/"), "orders")  # type: ignore[arg-type]  # a fake


def test_a_row_has_every_key() -> None:
    """Whatever the trace field says."""
    for text in ("", "garbage", f"00-{TRACE}", "00-" + "z" * 32 + "-1-01"):
        row = row_of(call("POST", "/a?b", Traceparent=text), "orders", 1.0)
        assert set(row) == set(KEYS)
        assert row["trace"] == ""
