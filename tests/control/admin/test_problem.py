"""Errors as problem documents: one table, nothing leaked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadowproxy.control.admin.problem import CONTENT_TYPE, STATUS_OF, Refusal, of_error, problem
from shadowproxy.errors import AdminRefused, ConfigError, ControlError, Problem, ShadowproxyError, StaleConfig, StateError


def document(response: Any) -> Any:
    """The body of a problem response."""
    assert response.content_type == CONTENT_TYPE
    return json.loads(response.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError([]), 422),
        (StaleConfig("x"), 412),
        (ControlError("x"), 409),
        (StateError("x"), 503),
        (ShadowproxyError("x"), 500),
        (AdminRefused(401, "x"), 409),
    ],
)
def test_every_error_has_a_status(error: ShadowproxyError, status: int) -> None:
    """The most specific row of the table counts."""
    response = of_error(error)
    assert response.status == status == document(response)["status"]


def test_the_table_is_ordered() -> None:
    """No row hides a more specific one behind it."""
    kinds = [kind for kind, _ in STATUS_OF]
    for index, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[index + 1 :])


def test_a_config_error_lists_all_its_problems() -> None:
    """With path, place and suggestion each."""
    error = ConfigError([Problem("a", "wrong", 1, 2, "f", "b"), Problem("c", "odd")])
    body = document(of_error(error))
    assert body["detail"].startswith("2 problems; ")
    assert body["problems"][0] == {"path": "a", "message": "wrong", "line": 1, "column": 2, "file": "f", "suggestion": "b"}


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    """Type, title and status always; the rest where it says something."""
    assert document(problem(404)) == {"type": "about:blank", "title": "Not Found", "status": 404}
    assert document(problem(409, "why", request_id="7"))["request_id"] == "7"


def test_a_refusal_carries_what_the_answer_needs() -> None:
    """Status, detail, header fields and further members."""
    refusal = Refusal(429, "slow down", headers={"Retry-After": "3"}, since=1)
    assert (refusal.status, refusal.detail, refusal.headers, refusal.extra) == (429, "slow down", {"Retry-After": "3"}, {"since": 1})
