"""The model of an experiment file: every field documented, and every default one that can be used."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config.experiment import Experiment
from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain
from shadowproxy.config.shape import fields_of
from tests.experiments.samples import plain


def _classes(cls: type[Any]) -> set[type[Any]]:
    found = {cls}
    for field in fields_of(cls):
        inner = field.shape.item or field.shape
        if inner.kind == "object" and inner.cls is not None:
            found |= _classes(inner.cls)
    return found


def test_every_field_says_what_it_is() -> None:
    """Each class and each field of the model has a sentence for people."""
    for cls in _classes(Experiment):
        assert (cls.__doc__ or "").strip().endswith((".", ".\n"))
        for field in fields_of(cls):
            assert field.doc.endswith((".", "`.")), (cls.__name__, field.name)


def test_what_is_left_out_has_a_default() -> None:
    """The least that an experiment says is a name, an owner, a hypothesis, a fault somewhere, a slice, an end and a guard."""
    least = plain()
    assert experiment_from_plain(least).ramp.steps == ()
    for name in least:
        with pytest.raises(Exception, match=f"{name} is required"):
            experiment_from_plain({key: value for key, value in least.items() if key != name})


def test_plain_data_is_the_experiment() -> None:
    """What goes to workers, to the journal and to the API comes back as it was."""
    experiment = experiment_from_plain(plain(expect=[{"route": "all", "json": "$.a", "equals": {"b": [1, None]}}]))
    assert experiment_from_plain(experiment_to_plain(experiment)) == experiment
