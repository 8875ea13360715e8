"""What the comparison sends."""

from __future__ import annotations

import pytest

from load.bench import scenarios
from load.bench.openloop import request_of


def test_names_choose_scenarios_in_their_own_order() -> None:
    """`--only` takes names in any order, with spaces; nothing means all."""
    assert [s.name for s in scenarios.choose(" upload, small-mirror")] == ["small-mirror", "upload"]
    assert scenarios.choose("") == list(scenarios.SCENARIOS)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    """A misspelt scenario does not silently measure nothing."""
    with pytest.raises(ValueError, match=r"no scenario smal; there are .*small-mirror"):
        scenarios.choose("smal")


def test_every_size_comes_plain_and_mirrored() -> None:
    """Small answers, large answers and uploads, each with and without a mirror; small also with a hanging shadow."""
    names = {s.name for s in scenarios.SCENARIOS}
    assert names == {"small", "large", "upload", "small-mirror", "large-mirror", "upload-mirror", "small-hanging", "varied-mirror"}


def test_varied_requests_differ_in_every_field_that_would() -> None:
    """Trace and request id in each, cookie and user by user; the rest is the browser's."""
    first, second = dict(scenarios.varied(0)), dict(scenarios.varied(1))
    assert {name for name in first if first[name] != second[name]} == {"Cookie", "X-User-Id", "traceparent", "X-Request-Id"}
    again = dict(scenarios.varied(scenarios.USERS))
    assert (again["Cookie"], again["X-User-Id"]) == (first["Cookie"], first["X-User-Id"])
    assert again["traceparent"] != first["traceparent"]


def test_the_request_is_what_a_browser_sends() -> None:
    """About a dozen fields, Host once, and a body of the announced length for uploads."""
    upload = next(s for s in scenarios.SCENARIOS if s.name == "upload")
    head, _, body = request_of(upload, scenarios.HEADERS).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /upload HTTP/1.1"
    assert 12 <= len(scenarios.HEADERS) <= 14
    assert sum(line.lower().startswith(b"host:") for line in lines) == 1
    assert f"Content-Length: {scenarios.UPLOAD}".encode() in lines
    assert len(body) == scenarios.UPLOAD
