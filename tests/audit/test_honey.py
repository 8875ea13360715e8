"""Honey tokens come through what services do to text, and say where they come from."""

from __future__ import annotations

import json
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.audit.honey import MOST, PLACES, Found, Honey, hidden, is_of_an_audit

HONEY = Honey("0123456789")
RUNS = st.text("0123456789abcdef", min_size=10, max_size=10)


@given(RUNS, st.integers(0, MOST - 1), st.sampled_from(list(PLACES)))
def test_a_token_says_what_it_is(run: str, probe: int, place: str) -> None:
    """In a JSON document, a form, a URL, shouted, and between other text; and never as another run's."""
    honey = Honey(run)
    token = honey.token(probe, place)
    for text in (json.dumps({"note": token}), urlencode({"note": token}), quote_plus(token), token.upper(), f"<{token}>x{token}"):
        assert honey.find(text) == {Found(probe, place)}
    other = Honey(f"{(int(run, 16) + 1) % 16**10:010x}")
    assert not other.find(token)


@given(RUNS, st.integers(0, MOST - 1))
def test_a_trace_says_whose_it_is(run: str, probe: int) -> None:
    """A trace id of W3C's form; those of others belong to nobody."""
    honey = Honey(run)
    trace = honey.trace(probe)
    assert len(trace) == 32
    assert int(trace, 16)
    assert honey.of_trace(trace) == probe
    assert Honey(f"{(int(run, 16) + 1) % 16**10:010x}").of_trace(trace) is None
    assert honey.of_trace("") is None
    assert is_of_an_audit(trace)
    assert not is_of_an_audit("7e57" + "f" * 28)


def test_labels_read_alike_in_every_run() -> None:
    """Tokens of any run are hidden, and nothing else."""
    assert hidden(f"/a/{HONEY.token(7, 'p').upper()}/honey") == "/a/{{honey}}/honey"


@pytest.mark.parametrize("run", ["", "012345678", "0123456789a", "ABCDEF0123", "012345678z"])
def test_a_run_has_ten_digits(run: str) -> None:
    """Anything else would make tokens that are not found again."""
    with pytest.raises(ValueError, match="10 hexadecimal digits"):
        Honey(run)
