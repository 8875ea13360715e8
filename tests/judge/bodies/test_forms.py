"""What values look like."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies import forms
from shadowproxy.judge.bodies.forms import Form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", Form.EMPTY),
        ("2026-11-23T13:19:43.123Z", Form.TIMESTAMP),
        ("2026-11-23 13:19", Form.TIMESTAMP),
        ("Mon, 23 Nov 2026 13:19:43 GMT", Form.TIMESTAMP),
        ("2026-11-23", Form.DATE),
        ("550e8400-e29b-41d4-a716-446655440000", Form.UUID),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Form.ULID),
        ("deadbeefdeadbeef0", Form.HEX),
        ('W/"5f2b1c9d8e7a"', Form.HEX),
        ("ord_9fK2abcd12", Form.TOKEN),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", Form.TOKEN),
        ("12", Form.INTEGER),
        ("12,50", Form.DECIMAL),
        ("a@b.example", Form.EMAIL),
        ("https://shop.example/a", Form.URL),
        ("10.0.0.1", Form.ADDRESS),
        ("True", Form.BOOLEAN),
        ("leave at the door", Form.TEXT),
        ("x" * 10_000, Form.TEXT),
    ],
)
def test_forms(text: str, form: Form) -> None:
    """Each of the usual forms is known by its look."""
    assert forms.form_of(text) is form


@given(st.text(), st.text())
def test_no_text_raises(live: str, shadow: str) -> None:
    """Nor takes long: every pattern is linear on what it is given."""
    forms.form_of(live)
    forms.moment(live)
    forms.settled(live)
    forms.ids_in(live, shadow)
    forms.is_clock_text(live, shadow)


@pytest.mark.parametrize(
    "text", ["a" * 500, "1" * 500, "a1" * 250, "/" * 500, "_" * 500, "aA1" * 160 + "!", "0x" + "f" * 490 + "-", "a." * 250, "@" * 500]
)
def test_patterns_are_not_exponential(text: str) -> None:
    """Texts made to be almost of a form are decided within the test's timeout, a thousand times."""
    for _ in range(1000):
        forms.form_of(text)


def test_two_readings_of_a_clock() -> None:
    """Near times are one moment, far ones are not: an hour is a time zone."""
    assert forms.is_clock_text("2026-11-23T13:00:00Z", "2026-11-23T13:00:05+00:00")
    assert not forms.is_clock_text("2026-11-23T13:00:00Z", "2026-11-23T14:00:00Z")
    assert not forms.is_clock_text("2026-99-23T13:00:00Z", "2026-99-23T13:00:00Z")
    assert forms.is_clock_number(1_790_000_000, 1_790_000_003)
    assert forms.is_clock_number(1_790_000_000_123, Decimal(1790000003456))
    assert not forms.is_clock_number(1_790_000_000, 1_790_000_000_000)
    assert not forms.is_clock_number(10**5000, 10**5000)


@pytest.mark.parametrize(
    ("name", "is_id"), [("id", True), ("orderId", True), ("customer-ref", True), ("_id", True), ("valid", False), ("idea", False)]
)
def test_names_of_ids(name: str, is_id: bool) -> None:
    """By whole words, in the spellings that JSON has."""
    assert forms.is_id_name(name) is is_id


@pytest.mark.parametrize(
    ("name", "is_duration"),
    [("took", True), ("took_ms", True), ("elapsedMs", True), ("query_time", True), ("stage", False), ("time", False)],
)
def test_names_of_durations(name: str, is_duration: bool) -> None:
    """Only what can be nothing else."""
    assert forms.is_duration_name(name) is is_duration


def test_ids_in_paths() -> None:
    """URLs that differ in ids only name them; others none."""
    assert forms.ids_in("/orders/17/items/ord_9fK2abcd", "/orders/9/items/ord_77abcdef") == (("17", "9"), ("ord_9fK2abcd", "ord_77abcdef"))
    assert forms.ids_in("/orders/17", "/carts/17") == ()
    assert forms.ids_in("10 EUR", "11 EUR") == ()


def test_a_page_without_times_and_ids() -> None:
    """What two renderings have in common."""
    assert forms.settled("at 2026-11-23T13:19:43Z by 550e8400-e29b-41d4-a716-446655440000, 10 EUR") == "at <time> by <id>, 10 EUR"
