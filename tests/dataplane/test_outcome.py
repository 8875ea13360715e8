"""Outcomes and fates: closed tables that everything else counts in."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane import outcome


@pytest.mark.parametrize(("number", "name"), [(200, "200"), (100, "100"), (599, "599"), (1, "refused"), (4, "timeout"), (11, "dropped")])
def test_outcomes_have_names(number: int, name: str) -> None:
    """A status is its digits, a failure its word."""
    assert outcome.name_of(number) == name


def test_every_failure_is_below_every_status() -> None:
    """One integer holds either, and `>= 100` tells them apart."""
    assert all(0 < number < 100 for number in outcome.FAILURES)
    assert len(set(outcome.FAILURES.values())) == len(outcome.FAILURES)


def test_fates_are_numbered_in_the_order_of_their_names() -> None:
    """Each constant is the place of its name: PAIRED is where "paired" stands, FAILED_TLS where "failed_tls" does."""
    renamed = {"client_left": "client_gone"}
    module = vars(outcome)
    fates = {name: module[name] for name in module if name.isupper() and isinstance(module[name], int)}
    fates = {
        name: number
        for name, number in fates.items()
        if name not in {word.upper() for word in outcome.FAILURES.values()} or name == "KILLED"
    }
    named = {renamed.get(name.lower(), name.lower()): number for name, number in fates.items()}
    assert named == {name: number for number, name in enumerate(outcome.FATES)}


def test_every_failure_of_a_shadow_has_a_fate() -> None:
    """All but what a shadow leg cannot end with: the client going (its pair is excluded) and being dropped (it has a reason)."""
    assert set(outcome.FAILURES) - set(outcome.FATE_OF_FAILURE) == {outcome.CLIENT_GONE, outcome.DROPPED}
    for failure, fate in outcome.FATE_OF_FAILURE.items():
        expected = "shed_no_endpoint" if failure == outcome.OVERFLOW else f"failed_{outcome.FAILURES[failure]}"
        assert outcome.FATES[fate] == expected


def test_what_a_killed_worker_had_not_said_is_no_fate_of_a_worker() -> None:
    """Only control can count it."""
    assert outcome.LOST not in outcome.FATES
