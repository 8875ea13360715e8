"""What is described of experiments is what documents have."""

from __future__ import annotations

import jsonschema

from shadowproxy.control.admin.experiments_api import ENDPOINTS, SCHEMAS
from shadowproxy.control.runs import Run
from shadowproxy.experiments.lifecycle import State
from tests.control.governed import experiment


def test_a_run_fits_its_description() -> None:
    """At its beginning and at its end, in a list and alone; no member is missing from the description."""
    run = Run(1, experiment(), "ada")
    for _ in range(2):
        jsonschema.validate(run.document(), SCHEMAS["Experiment"], cls=jsonschema.Draft202012Validator)
        listed = {"experiments": [run.summary()], "journal": {"is_up": True, "problem": None, "path": "x"}}
        jsonschema.validate(listed, SCHEMAS["Experiments"], cls=jsonschema.Draft202012Validator)
        assert set(run.document()) == set(SCHEMAS["Experiment"]["properties"])
        assert set(run.summary()) == set(SCHEMAS["Experiments"]["properties"]["experiments"]["items"]["properties"])
        if not run.life.has_ended:
            run.end(State.ABORTED, "stopped", "")


def test_states_are_those_of_runs() -> None:
    """A new state would be described."""
    assert SCHEMAS["Experiment"]["properties"]["state"]["enum"] == [str(state) for state in State]


def test_what_changes_something_is_a_post() -> None:
    """And needs the token, like all the rest."""
    assert all(endpoint.is_protected for endpoint in ENDPOINTS)
    assert {endpoint.name for endpoint in ENDPOINTS if endpoint.method == "POST"} >= {
        "run_experiment",
        "keep_experiment",
        "stop_experiment",
    }
