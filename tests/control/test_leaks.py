"""Lost tags: counted, kept within bounds, and blamed on the service that lost them first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.control import leaks as module
from shadowproxy.control.leaks import NAMES_LIMIT, OTHERS, RECORDS_LIMIT, TRACE_LIMIT, Leaks


def call(service: str = "cart", at: float = 1.0, **changed: Any) -> dict[str, Any]:
    """A call that lost its tag, as workers describe it."""
    return {
        "time": at, "service": service, "trace": "a" * 32, "tenant": "canary", "listener": "out", "method": "POST", "host": "payments",
        "path": "/charges", "action": "report", **changed,
    }  # fmt: skip


def leaks(*records: dict[str, Any], dropped: int = 0) -> Leaks:
    """What is known after one tally."""
    known = Leaks()
    known.add({"leaks": list(records), "leaks_dropped": dropped})
    return known


def blame(known: Leaks) -> dict[str, str]:
    """Culprit by service."""
    return {record["service"]: record["culprit"] for record in known.find()}


def test_the_first_service_that_lost_the_tag_is_to_blame() -> None:
    """Its callees' untagged calls of the same trace are consequences; both are shown."""
    known = leaks(call("cart", 1.0), call("checkout", 2.0), call("mail", 3.0))
    assert blame(known) == {"cart": "cart", "checkout": "cart", "mail": "cart"}
    assert [record["is_consequence"] for record in known.find()] == [True, True, False]
    assert known.blamed() == [{"service": "cart", "calls": 1, "consequences": 2}]


def test_who_was_first_is_known_by_time_and_not_by_the_order_of_reports() -> None:
    """Another worker's earlier call comes to be known later; the blame moves."""
    known = leaks(call("checkout", 2.0))
    assert blame(known) == {"checkout": "checkout"}
    known.add({"leaks": [call("cart", 1.0)]})
    assert blame(known) == {"checkout": "cart", "cart": "cart"}


@pytest.mark.parametrize("action", ["retag", "refuse"])
def test_a_call_that_was_repaired_or_refused_excuses_nobody_after_it(action: str) -> None:
    """Its callee was told, or never asked: whoever loses the tag later in the trace does so by itself."""
    assert blame(leaks(call("cart", 1.0, action=action), call("checkout", 2.0, action=action))) == {"cart": "cart", "checkout": "checkout"}


def test_the_blame_begins_with_the_first_call_that_was_let_pass() -> None:
    """Calls before it are their own service's, calls after it the first one's, its own further ones included."""
    known = leaks(call("a", 1.0, action="retag"), call("b", 2.0), call("a", 3.0), call("b", 4.0))
    assert [(record["service"], record["culprit"]) for record in known.find()] == [("b", "b"), ("a", "b"), ("b", "b"), ("a", "a")]


def test_traces_are_blamed_apart() -> None:
    """What was lost in one says nothing of another."""
    assert blame(leaks(call("cart", 1.0), call("mail", 2.0, trace="b" * 32))) == {"cart": "cart", "mail": "mail"}


def test_counters_are_by_service_listener_and_host() -> None:
    """And by what became of the calls; what workers did not describe counts too."""
    known = leaks(call(), call(host="mailer", action="retag"), call("mail", listener="other"), dropped=7)
    assert known.total == 10
    assert dict(known.calls) == {("cart", "out", "payments"): 1, ("cart", "out", "mailer"): 1, ("mail", "other", "payments"): 1}
    assert dict(known.actions) == {("cart", "out", "report"): 1, ("cart", "out", "retag"): 1, ("mail", "other", "report"): 1}


@pytest.mark.parametrize(
    ("wanted", "services"),
    [
        ({"service": "cart"}, ["mail", "cart"]),
        ({"service": "mail"}, ["mail"]),
        ({"service": "nobody"}, []),
        ({"trace": "b" * 32}, ["late"]),
        ({"trace": "c" * 32}, []),
        ({"since": 2.0}, ["late", "mail"]),
        ({"limit": 1}, ["late"]),
        ({}, ["late", "mail", "cart"]),
    ],
)
def test_leaks_are_filtered(wanted: dict[str, Any], services: list[str]) -> None:
    """A service's are its own and what it is to blame for; the newest come first."""
    known = leaks(call("cart", 1.0), call("mail", 2.0), call("late", 3.0, trace="b" * 32))
    assert [record["service"] for record in known.find(**wanted)] == services


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole traces go, the one heard of longest ago first; a trace without end and names without end are only counted."""
    monkeypatch.setattr(module, "RECORDS_LIMIT", 6)
    known = Leaks()
    for trace in "abcd":
        known.add({"leaks": [call("x", at, trace=trace * 32) for at in (1.0, 2.0)]})
    assert len(known) == 6
    assert not known.find(trace="a" * 32)
    assert len(known.find(trace="b" * 32)) == 2
    assert RECORDS_LIMIT > TRACE_LIMIT
    known = Leaks()
    known.add({"leaks": [call(f"made-up-{number}", number) for number in range(NAMES_LIMIT + TRACE_LIMIT)]})
    assert known.total == NAMES_LIMIT + TRACE_LIMIT
    assert len(known.calls) <= NAMES_LIMIT + 1
    assert known.calls[OTHERS, "out", OTHERS] == TRACE_LIMIT
    assert known.actions.total() == known.total
    assert known.actions[OTHERS, "out", "report"] == TRACE_LIMIT


def test_paths_are_redacted_before_they_are_kept() -> None:
    """By the rules in force, and anew when these change."""
    known = Leaks(lambda path: path.replace("secret", "***"))
    known.add({"leaks": [call(path="/secret/hidden")]})
    assert known.find()[0]["path"] == "/***/hidden"
    known.follow(lambda path: path.replace("hidden", "###"))
    known.add({"leaks": [call(path="/hidden")]})
    assert {record["path"] for record in known.find()} == {"/***/###", "/###"}


def test_a_record_that_misses_something_is_an_error() -> None:
    """The crew counts it as a bad message; tallies without leaks are none."""
    with pytest.raises(KeyError):
        leaks({"time": 1.0})
    assert leaks().total == 0
    assert repr(leaks(call())) == "<Leaks total=1 kept=1>"


@given(st.permutations([("a", 1.0, "retag"), ("b", 2.0, "report"), ("c", 3.0, "report"), ("a", 4.0, "refuse"), ("b", 5.0, "retag")]))
def test_blame_does_not_depend_on_who_reports_first(order: list[tuple[str, float, str]]) -> None:
    """Law: the same calls are blamed alike in every order of reports."""
    known = Leaks()
    for service, at, action in order:
        known.add({"leaks": [call(service, at, action=action)]})
    assert [(one["service"], one["time"], one["culprit"]) for one in known.find()] == [
        ("b", 5.0, "b"), ("a", 4.0, "b"), ("c", 3.0, "b"), ("b", 2.0, "b"), ("a", 1.0, "a"),
    ]  # fmt: skip
