"""The application around the handlers: what happens to what nobody expected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowproxy.control.admin import views

if TYPE_CHECKING:
    import pytest

    from tests.control.conftest import Api


async def test_a_bug_is_a_500_without_a_trace(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets an id, the log gets the traceback, the next request is served."""

    def broken(_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(views, "status", broken)
    status, headers, problem = await api("GET", "/api/v1/status")
    assert status == 500
    assert "secret detail" not in str(problem)
    assert problem["request_id"] == headers["X-Request-Id"]
    assert problem["request_id"] in caplog.text
    assert "secret detail" in caplog.text
    assert (await api("GET", "/api/v1/workers"))[0] == 200


async def test_what_does_not_exist_is_a_problem(api: Api) -> None:
    """404 and 405 are problem documents as well."""
    status, headers, problem = await api("GET", "/nothing")
    assert (status, headers["Content-Type"], problem["title"]) == (404, "application/problem+json", "Not Found")
    status, headers, problem = await api("PUT", "/api/v1/kill", {})
    assert (status, headers["Allow"]) == (405, "POST")


async def test_nonsense_bytes_do_not_reach_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """What is no HTTP is refused quietly: a stranger cannot fill the log."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.supervisor.admin_address.port)
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert "nonsense" not in caplog.text


async def test_no_answer_names_the_server_software(api: Api) -> None:
    """Neither versions nor libraries."""
    _, headers, _ = await api("GET", "/livez")
    assert headers["Server"] == "shadowproxy"
