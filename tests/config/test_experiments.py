"""The config's part of experiments and rollouts: every field documented, and defaults that are careful."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config.experiments import Blockout, EndpointLabels, Experiments, Rollout
from shadowproxy.config.shape import fields_of


@pytest.mark.parametrize("cls", [Blockout, EndpointLabels, Experiments, Rollout])
def test_every_field_says_what_it_is(cls: type[Any]) -> None:
    """Each class and each field has a sentence for people."""
    assert (cls.__doc__ or "").strip().endswith(".")
    for field in fields_of(cls):
        assert field.doc.endswith((".", "`.")), field.name


def test_defaults_are_careful() -> None:
    """Without a word in the config a fault outlives its control by two seconds at the most, hits a tenth of the units at the most, and ends after hours."""
    assert Experiments().lease <= 2.0
    assert Experiments().max_percent <= 10.0
    assert Experiments().max_duration <= 4 * 3600


def test_a_rollout_begins_small_and_ends_whole() -> None:
    """The steps that are taken without a word: from one percent to all."""
    assert (Rollout(to="next").steps[0], Rollout(to="next").steps[-1]) == (1.0, 100.0)
