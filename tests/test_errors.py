"""Errors: what they say and what they carry. The drawing of the tree is checked in test_architecture."""

from __future__ import annotations

import pytest

from shadowproxy.errors import (
    AdminRefused,
    BadRequest,
    BadResponse,
    ConfigError,
    MessageError,
    Problem,
    ShadowproxyError,
)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("routes", "is missing"), "routes: is missing"),
        (Problem("routes", "is missing", file="p.yaml"), "p.yaml: routes: is missing"),
        (Problem("workers", "must be a number", line=3, column=10, file="p.yaml"), "p.yaml:3:10: workers: must be a number"),
        (Problem("worker", "unknown key", suggestion="workers"), "worker: unknown key (did you mean 'workers'?)"),
    ],
)
def test_a_problem_says_where_what_and_what_instead(problem: Problem, text: str) -> None:
    """file:line:column as editors read it, the place in the config, the message, and a suggestion if there is one."""
    assert str(problem) == text


def test_a_config_error_has_every_problem() -> None:
    """One line a problem, in the order given; all of them are kept."""
    problems = [Problem("a", "one"), Problem("b", "two")]
    error = ConfigError(problems)
    assert str(error) == "a: one\nb: two"
    assert error.problems == problems


def test_message_errors_carry_status_and_reason() -> None:
    """A client's bad bytes keep their status; an upstream's are 502 to the client."""
    refused = BadRequest(431, "head_too_large", "read 70000 bytes, limit 65536")
    assert (refused.status, refused.code, str(refused)) == (431, "head_too_large", "read 70000 bytes, limit 65536")
    upstream = BadResponse("bad_status_line", "no HTTP version")
    assert (upstream.status, upstream.code, upstream.detail) == (502, "bad_status_line", "no HTTP version")
    assert isinstance(refused, MessageError)
    assert isinstance(upstream, ShadowproxyError)


def test_a_refusal_of_the_admin_api_shows_its_problem() -> None:
    """Status and title, and the detail where there is one."""
    assert str(AdminRefused(404, "Not Found")) == "404 Not Found"
    error = AdminRefused(422, "Unprocessable Entity", "the config is wrong")
    assert str(error) == "422 Unprocessable Entity: the config is wrong"
    assert (error.status, error.title, error.detail) == (422, "Unprocessable Entity", "the config is wrong")
