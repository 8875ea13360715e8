"""The manifests for Argo Rollouts and Flagger: what they ask for exists, and their numbers do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from shadowproxy.control.admin import gates
from shadowproxy.control.admin.openapi import ENDPOINTS
from shadowproxy.judge.verdict import Outcome

if TYPE_CHECKING:
    from shadowproxy.control.admin.schema import Endpoint

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
TEMPLATE, ROLLOUT = yaml.safe_load_all((DEPLOY / "argo-rollouts.yaml").read_text())
CANARY: dict[str, Any] = yaml.safe_load((DEPLOY / "flagger-canary.yaml").read_text())
METRIC: dict[str, Any] = TEMPLATE["spec"]["metrics"][0]
HOOKS: list[dict[str, Any]] = CANARY["spec"]["analysis"]["webhooks"]


def endpoint(method: str, url: str) -> Endpoint:
    """The endpoint that a URL is of, all its parameters known."""
    parts = urlsplit(url)
    (found,) = [one for one in ENDPOINTS if (one.method, one.path) == (method, parts.path)]
    assert {name for name, _ in parse_qsl(parts.query, strict_parsing=True)} <= {name for name, _, _ in found.query}
    return found


def argo(answers: list[Outcome]) -> str:
    """How Argo Rollouts ends a run with these answers, by its documentation: a measurement for which neither condition holds is inconclusive;
    limits are exceeded, not reached; a run that reaches its count without that is successful.
    """
    inconclusive = failed = 0
    for count, answer in enumerate(answers, 1):
        names = {"result": gates.VALUES[answer]}
        if eval(METRIC["failureCondition"], {}, names):
            failed += 1
        elif eval(METRIC["successCondition"], {}, names):
            return "Successful"  # consecutiveSuccessLimit is 1
        else:
            inconclusive += 1
        if failed > METRIC["failureLimit"]:
            return "Failed"
        if inconclusive > METRIC["inconclusiveLimit"]:
            return "Inconclusive"
        if count >= METRIC["count"]:
            return "Successful"
    return "Running"


def test_argo_asks_for_what_there_is() -> None:
    """The endpoint, its parameters, the field of the answer, and arguments that the Rollout gives."""
    web = METRIC["provider"]["web"]
    assert endpoint("GET", web["url"]).name == "gate_argo"
    assert web["jsonPath"] == "{$.value}"
    given = {one["name"] for one in ROLLOUT["spec"]["strategy"]["canary"]["steps"][1]["analysis"]["args"]}
    asked = {one["name"] for one in TEMPLATE["spec"]["args"] if "valueFrom" not in one}
    assert given == asked
    assert METRIC["consecutiveSuccessLimit"] == 1
    assert web["headers"] == [{"key": "Authorization", "value": "Bearer {{args.token}}"}]


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ([Outcome.SAFE], "Successful"),
        ([Outcome.UNDECIDED] * 59 + [Outcome.SAFE], "Successful"),
        ([Outcome.UNDECIDED] * 10 + [Outcome.REGRESSION], "Failed"),
        ([Outcome.INVALID], "Failed"),
        ([Outcome.UNDECIDED] * 60, "Inconclusive"),
        ([Outcome.UNDECIDED] * 30, "Running"),
    ],
)
def test_argo_waits_while_undecided_and_never_takes_it_for_success(answers: list[Outcome], ends: str) -> None:
    """SAFE goes on, REGRESSION and INVALID abort, nothing but UNDECIDED to the end pauses."""
    assert argo(answers) == ends


def test_flaggers_hooks_are_asked_by_their_own_type() -> None:
    """The payload does not say which hook it is: the URL does, and it is the right one."""
    for hook in HOOKS:
        assert endpoint("POST", hook["url"]).name == "gate_flagger"
        query = dict(parse_qsl(urlsplit(hook["url"]).query))
        assert query["hook"] == hook["type"]
        assert hook["metadata"]["token"].startswith("gate-")
    assert {hook["type"] for hook in HOOKS} <= set(gates.HOOKS)
    assert len({hook["name"] for hook in HOOKS}) == len(HOOKS)
