"""Plans, answers and records to conclude from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.audit.fates import Result, results
from shadowproxy.audit.finds import Find
from shadowproxy.audit.honey import Honey
from shadowproxy.audit.outcome import Outcome
from shadowproxy.audit.plan import Plan, Skipped, Wishes, make
from shadowproxy.audit.records import Records
from shadowproxy.audit.sending import Answer
from shadowproxy.config import from_plain

if TYPE_CHECKING:
    from shadowproxy.config.model import Config

HONEY = Honey("0123456789")


def config(*routes: dict[str, Any], **changed: Any) -> Config:
    """A config of routes to one fleet, with a sink and an egress listener."""
    return from_plain(
        {
            "listen": [{"name": "front", "address": "127.0.0.1:8080"}, {"name": "out", "address": "127.0.0.1:8090", "egress": {}}],
            "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}, "test": {"endpoints": ["http://127.0.0.1:2"]}},
            "sinks": {"mock": {"respond": {"status": 201}}},
            "routes": [{"live": "live", **route} for route in routes],
            **changed,
        }
    )


ORDERS = {"name": "orders", "match": {"listener": "front", "path": "/orders"}, "test_traffic": {"writes": {"sink": "mock"}}}


def plan(*routes: dict[str, Any], **wishes: Any) -> Plan:
    """What is sent through routes."""
    return make(config(*(routes or (ORDERS,))), HONEY, Wishes(**wishes))


def row(probe: int, fate: str = "sunk", **changed: Any) -> dict[str, Any]:
    """A row of the ledger that a probe has caused."""
    return {
        "id": f"row-{probe}", "time": 1.0, "trace": HONEY.trace(probe), "tenant": "shadowproxy-audit", "listener": "front", "route": "orders",
        "method": "POST", "host": "shop", "target": "/orders?x=1", "digest": "", "origin": "tag", "fate": fate, "reason": "", "to": "mock" if fate == "sunk" else "", **changed,
    }  # fmt: skip


def leak(probe: int, **changed: Any) -> dict[str, Any]:
    """A call of a probe's trace that had lost its tag."""
    return {
        "time": 1.0, "service": "cart", "trace": HONEY.trace(probe), "tenant": "shadowproxy-audit", "listener": "out", "method": "POST",
        "host": "payments", "path": "/charges", "action": "retag", "culprit": "cart", "is_consequence": False, **changed,
    }  # fmt: skip


def result(records: Records, *found: Find, answer: Answer | None = None, method: str = "POST", allows_retagged: bool = False) -> Result:
    """What became of the first probe of a kind of request to /orders."""
    sent = plan(methods=(method,))
    answers = dict.fromkeys((probe.number for probe in sent.probes), answer or Answer(201))
    return results(sent, answers, records, found, allows_retagged=allows_retagged)[0]


def outcome(*found: Result, **changed: Any) -> Outcome:
    """A finished audit."""
    told: dict[str, Any] = {"run": HONEY.run, "tenant": "t", "began": 0.0, "seconds": 1.5, "results": found, "skipped": (), **changed}
    return Outcome(**told)


def clean() -> Result:
    """A write that went to its sink."""
    return result(Records(rows={0: [row(0)]}))


def leaking() -> Result:
    """A write that was found in production, and whose tag was dropped."""
    records = Records(rows={0: [row(0), row(0, "passed", listener="out", route="payments")]}, leaks={0: [leak(0)]})
    return result(records, Find(0, "b", "public.orders.note", is_leak=True))


LEFT_OUT = Skipped("legacy", "front", "POST", "its rule sends writes to live")
