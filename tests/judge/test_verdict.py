"""The verdict document as JSON."""

from __future__ import annotations

from math import inf, nan

from shadowproxy.judge.verdict import Needs, Outcome, QuantileEvidence, to_plain


def test_what_is_not_finite_is_null() -> None:
    """JSON has no nan and no infinity."""
    assert to_plain(QuantileEvidence(nan, 1.0, inf, (-inf, 2.0))) == {
        "live": None,
        "shadow": 1.0,
        "difference": None,
        "interval": [None, 2.0],
    }


def test_values_keep_their_kind() -> None:
    """Dataclasses are objects, tuples lists, outcomes text, whole numbers whole."""
    assert to_plain({"a": (Needs("x", 3, None), Outcome.SAFE), 7: True}) == {
        "a": [{"what": "x", "more_pairs": 3, "seconds": None}, "SAFE"],
        "7": True,
    }
