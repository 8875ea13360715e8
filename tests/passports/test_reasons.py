"""Reasons: each has a name for the counter and a sentence for people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shadowproxy.errors import ShadowproxyError
from shadowproxy.passports import Reason, refused
from shadowproxy.passports.reasons import SENTENCES


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    """It is what the client is told, without anything that the client sent."""
    error = refused(reason)
    assert isinstance(error, ShadowproxyError)
    assert (error.reason, error.detail) == (reason.value, SENTENCES[reason])
    assert str(refused(reason, "exactly this")) == f"{SENTENCES[reason]}: exactly this"


def test_reasons_are_told_as_they_are_but_for_one() -> None:
    """Which key ids there are is not told."""
    assert {reason.value: told for reason in Reason if (told := refused(reason).told) != reason.value} == {"unknown_key": "bad_signature"}
    assert SENTENCES[Reason.UNKNOWN_KEY] == SENTENCES[Reason.BAD_SIGNATURE]


def test_the_documentation_has_every_reason() -> None:
    """docs/passports.md lists them all, in order, in the words that clients are told, and nothing else."""
    page = (Path(__file__).parents[2] / "docs" / "passports.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(reason.value, sentence) for reason, sentence in SENTENCES.items()]
