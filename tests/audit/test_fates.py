"""What became of a probe: every way to end, and whether that is as the rule says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadowproxy.audit.fates import Fate, as_plain, culprits, results
from shadowproxy.audit.finds import Find
from shadowproxy.audit.probefile import Template
from shadowproxy.audit.records import Records
from shadowproxy.audit.sending import OUT_OF_TIME, Answer
from tests.audit.samples import HONEY, clean, leak, leaking, plan, result, row


def test_a_write_in_its_sink_is_well() -> None:
    """The ledger says so, whatever the sink answered."""
    found = clean()
    assert (found.fate, found.to, found.is_ok) == (Fate.SUNK, "mock", True)
    down = result(Records(rows={0: [row(0)]}), answer=Answer(503, "sink_down"))
    assert down.is_ok
    assert "answered 503" in down.remarks[0]


@pytest.mark.parametrize(
    ("answer", "failures"),
    [
        (Answer(201), ()),
        (Answer(404), ("answered 404, and not 201: what it was to reach may not have been reached",)),
        (Answer(503, "sink_down"), ("answered 503, and not 201: what it was to reach may not have been reached",)),
        (Answer(error="no answer in time"), ("no answer in time",)),
    ],
)
def test_a_written_probe_may_ask_for_its_answer(answer: Answer, failures: tuple[str, ...]) -> None:
    """What ended in its sink without having got to where harm could be done proves nothing, and fails."""
    sent = plan(templates={"orders": (Template(method="POST", status=201),)})
    (found,) = results(sent, {0: answer}, Records(rows={0: [row(0)]}), ())
    assert (found.fate, found.failures, found.remarks) == (Fate.SUNK, failures, ())


@pytest.mark.parametrize("fate", ["passed", "partitioned", "refused"])
def test_a_fate_that_is_not_the_rules_fails(fate: str) -> None:
    """Another fate in the ledger than the config says: the reason is told."""
    found = result(Records(rows={0: [row(0, fate, reason="why")]}))
    assert found.fate == fate
    assert found.failures == (f"{fate} (why), and not sunk to mock as its rule says",)


def test_another_sink_than_the_rules_fails() -> None:
    """The same fate, and not where the config says."""
    found = result(Records(rows={0: [row(0, to="other")]}))
    assert found.failures == ("sunk to other, and not sunk to mock as its rule says",)


def test_a_write_without_a_row_has_leaked() -> None:
    """It was answered and not written down: the proxy took it for normal traffic."""
    found = result(Records())
    assert (found.fate, found.to) == (Fate.LEAKED, "live")
    assert "without a row in the ledger" in found.failures[0]


@pytest.mark.parametrize("code", ["tag_not_trusted", "passport_expired", "ledger_unavailable"])
def test_a_refusal_at_the_door_is_no_leak_and_no_sink(code: str) -> None:
    """The probe did no harm, and its rule was not reached."""
    found = result(Records(), answer=Answer(403, code))
    assert found.fate is Fate.REFUSED
    assert found.failures == (f"refused ({code}), and not sunk to mock as its rule says",)


def test_no_answer_is_no_success() -> None:
    """Without a row nothing is known; with one the ledger knows."""
    found = result(Records(), answer=Answer(error=OUT_OF_TIME))
    assert (found.fate, found.failures) == (Fate.UNANSWERED, (f"unanswered: {OUT_OF_TIME}",))
    found = result(Records(rows={0: [row(0)]}), answer=Answer(error="no answer in time"))
    assert (found.fate, found.is_ok, found.remarks) == (Fate.SUNK, True, ("no answer in time",))


@pytest.mark.parametrize(
    ("answer", "fate", "is_ok"),
    [
        (Answer(200), Fate.PASSED, True),
        (Answer(200, sink="mock"), Fate.SUNK, True),  # it was asked first, as it keeps what the tenant wrote
        (Answer(502, "upstream_refused"), Fate.PASSED, True),
        (Answer(409, "tagged_request_refused"), Fate.REFUSED, False),
        (Answer(error="connection refused"), Fate.UNANSWERED, False),
    ],
)
def test_reads_are_known_by_their_answers(answer: Answer, fate: Fate, is_ok: bool) -> None:
    """They have no row; who answered says where they went."""
    found = result(Records(), answer=answer, method="GET")
    assert (found.fate, found.is_ok) == (fate, is_ok)


def test_a_token_in_production_is_a_leak_whatever_the_ledger_says() -> None:
    """The ledger says sunk, and a service wrote it to production all the same."""
    found = result(Records(rows={0: [row(0)]}), Find(0, "b", "public.orders.note", is_leak=True))
    assert (found.fate, found.to) == (Fate.LEAKED, "public.orders.note (from the body)")
    assert found.failures == ("leaked to public.orders.note (from the body)",)


def test_a_token_in_its_sink_or_shadow_is_none() -> None:
    """That is where it belongs."""
    found = result(
        Records(rows={0: [row(0)]}, finds=[Find(0, "b", "sink mock", is_leak=False)]),
        Find(0, "b", "shadow_public_rows.orders.note", is_leak=False),
    )
    assert found.is_ok
    assert [one["where"] for one in as_plain(found)["found"]] == ["sink mock", "shadow_public_rows.orders.note"]
    others = result(Records(rows={0: [row(0)]}), Find(1, "b", "public.orders.note", is_leak=True))
    assert others.is_ok


@pytest.mark.parametrize(
    ("told", "fate", "failures", "remarks"),
    [
        ({"action": "retag"}, Fate.SUNK, ["cart dropped the tag of POST payments/charges: tagged again by the proxy"], []),
        ({"action": "refuse"}, Fate.SUNK, ["cart dropped the tag of POST payments/charges: refused by the proxy"], []),
        ({"action": "report"}, Fate.LEAKED, ["leaked to payments/charges (cart dropped the tag)"], []),
        ({"action": "report", "method": "GET"}, Fate.SUNK, ["cart dropped the tag of GET payments/charges: let pass without it"], []),
        (
            {"action": "report", "service": "mail", "is_consequence": True},
            Fate.LEAKED,
            ["leaked to payments/charges (because cart dropped the tag)"],
            [],
        ),
    ],
)
def test_a_dropped_tag_fails_and_names_the_service(told: dict[str, Any], fate: Fate, failures: list[str], remarks: list[str]) -> None:
    """Whatever the proxy did about it; a write that it let pass has leaked."""
    found = result(Records(rows={0: [row(0)]}, leaks={0: [leak(0, **told)]}))
    assert (found.fate, list(found.failures), list(found.remarks)) == (fate, failures, remarks)
    assert culprits([found, clean()]) == ["cart"]


@pytest.mark.parametrize(("action", "is_ok"), [("retag", True), ("refuse", True), ("report", False)])
def test_what_the_proxy_repaired_can_be_allowed(action: str, is_ok: bool) -> None:
    """It is told all the same; what was let pass is never allowed."""
    found = result(Records(rows={0: [row(0)]}, leaks={0: [leak(0, action=action)]}), allows_retagged=True)
    assert found.is_ok is is_ok
    assert bool(found.remarks) is is_ok


def test_calls_behind_it_and_lost_traces_are_told() -> None:
    """Rows of the same trace are what services did; a row with its token under another trace is a service that lost the trace."""
    stray = row(0, listener="out", trace="f" * 32, method="PUT", host="mail", target="/send?x=1")
    found = result(Records(rows={0: [row(0), row(0, "partitioned", listener="out", route="cart")]}, strays={0: [stray]}))
    assert found.is_ok
    assert [one["route"] for one in as_plain(found)["calls"]] == ["cart"]
    assert found.remarks == (f"a service lost the trace: PUT mail/send sunk to mock, under trace {'f' * 32}",)


def test_a_call_for_another_tenant_fails() -> None:
    """A service that changes whose test it is writes to another tenant's data; what the proxy itself calls a shadow's does not."""
    other = row(0, "partitioned", listener="out", route="cart", tenant="somebody", host="cart", target="/items")
    found = result(Records(rows={0: [row(0), other]}))
    assert found.failures == ("POST cart/items partitioned as a test of somebody: a service changed whose it is",)
    assert result(Records(rows={0: [row(0), {**other, "origin": "listener"}]})).is_ok


def test_a_result_is_json() -> None:
    """With everything in it, and the same keys for all."""
    plain = as_plain(leaking())
    json.dumps(plain)
    assert plain.keys() == as_plain(clean()).keys()
    assert (plain["fate"], plain["expected"], plain["counts_as"], plain["trace"]) == ("leaked", "sunk", "write", HONEY.trace(0))
