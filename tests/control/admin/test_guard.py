"""What a request to the admin API must be: every check, from outside."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from shadowproxy.control.admin.guard import ADDRESSES_KEPT, FAILURES_ALLOWED, WINDOW_S, Lockout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control.conftest import Api

CHANGES = [("PUT", "/api/v1/config"), ("POST", "/api/v1/config/reload"), ("POST", "/api/v1/kill"), ("POST", "/api/v1/resume")]
READS = [
    "/api/v1/status",
    "/api/v1/config",
    "/api/v1/compare",
    "/api/v1/audit",
    "/api/v1/workers",
    "/api/v1/openapi.json",
    "/api/v1/nothing",
]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/"])
async def test_what_is_open_needs_no_token(api: Api, path: str) -> None:
    """Probes, metrics and the page itself are open."""
    assert (await api("GET", path, token=""))[0] == 200


@pytest.mark.parametrize("path", READS)
async def test_reads_need_the_token(api: Api, path: str) -> None:
    """Without the token everything under /api/ is 401, what does not exist too, and says nothing more."""
    status, headers, body = await api("GET", path, token="")
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer")
    assert set(body) == {"type", "title", "status", "request_id"}
    assert (await api("GET", path, token="wrong-token-of-the-right-length-perhaps"))[0] == 401


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_changes_need_the_token(api: Api, method: str, path: str) -> None:
    """No change without the token."""
    assert (await api(method, path, {}, token=""))[0] == 401
    assert not api.supervisor.switch.is_on


@pytest.mark.parametrize("authorization", ["Basic {}", "Bearer", "Bearer  ", "{}", "Bearer {} x", "Bearer x{}", "Bearer {}\u00e9"])
async def test_only_a_bearer_token_counts(api: Api, authorization: str) -> None:
    """Other schemes, and tokens with something added, are no tokens."""
    assert (await api("GET", "/api/v1/status", token="", Authorization=authorization.format(api.token)))[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1:1", "localhost.evil.example:{port}", "[::1]:1", "{port}", ""])
@pytest.mark.parametrize("path", ["/api/v1/status", "/metrics", "/"])
async def test_a_foreign_host_is_misdirected(api: Api, host: str, path: str) -> None:
    """A name that an attacker made resolve to us is 421, with the right token too (DNS rebinding)."""
    port = str(api.supervisor.admin_address.port)
    assert (await api("GET", path, Host=host.format(port=port)))[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
async def test_own_names_are_hosts(api: Api, host: str) -> None:
    """The names of loopback are accepted, with the port."""
    assert (await api("GET", "/api/v1/status", Host=f"{host}:{api.supervisor.admin_address.port}"))[0] == 200


async def test_two_host_lines_are_refused(api: Api) -> None:
    """A request with two hosts has none."""
    where = api.supervisor.admin_address
    with socket.create_connection((where.host, where.port), timeout=10) as peer:
        peer.sendall(f"GET /livez HTTP/1.1\r\nHost: {where}\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
        peer.setblocking(False)
        answer = b""
        while chunk := await asyncio.get_running_loop().sock_recv(peer, 65536):
            answer += chunk
    assert b" 400 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/jsonp"}, 415),
    ],
)
async def test_changes_from_foreign_pages_are_refused(api: Api, method: str, path: str, fields: dict[str, str], expected: int) -> None:
    """What a web page could send is refused, with the right token too (CSRF)."""
    generation = api.supervisor.configs.generation
    assert (await api(method, path, b"{}", **fields))[0] == expected
    assert not api.supervisor.switch.is_on
    assert api.supervisor.configs.generation == generation


async def test_changes_from_our_own_page_are_accepted(api: Api) -> None:
    """An Origin of this very address and Sec-Fetch-Site same-origin pass."""
    status, _, _ = await api("POST", "/api/v1/kill", {}, Origin=api.url, Sec_Fetch_Site="same-origin")
    assert status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_methods_change_nothing(api: Api, method: str) -> None:
    """A GET of an action is 405: nothing changes by following a link."""
    assert (await api(method, "/api/v1/kill"))[0] == 405
    assert not api.supervisor.switch.is_on


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(api: Api, method: str) -> None:
    """A preflight, too, gets no permission."""
    status, headers, _ = await api(method, "/api/v1/kill", Origin="http://evil.example")
    assert status == 405
    assert not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/livez", "/metrics", "/api/v1/status", "/nothing"])
async def test_every_answer_carries_the_security_headers(api: Api, path: str) -> None:
    """No CORS; no sniffing, framing, caching or foreign scripts."""
    _, headers, _ = await api("GET", path)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "aiohttp" not in headers["Server"]


async def test_guessing_is_locked_out_and_the_right_token_is_not(api: Api) -> None:
    """After too many wrong tokens an address gets 429; whoever has the token can still pull the kill switch."""
    statuses = [(await api("GET", "/api/v1/status", token=f"guess-{number}"))[0] for number in range(FAILURES_ALLOWED + 2)]
    assert statuses == [401] * FAILURES_ALLOWED + [429] * 2
    status, headers, _ = await api("GET", "/api/v1/status", token="")
    assert (status, 1 <= int(headers["Retry-After"]) <= WINDOW_S + 1) == (429, True)
    assert (await api("POST", "/api/v1/kill"))[0] == 200
    failures = [one for one in api.supervisor.audit.latest(100) if one["action"] == "auth"]
    assert len(failures) == FAILURES_ALLOWED
    assert api.supervisor.auth_failures == FAILURES_ALLOWED + 3


async def test_failed_authentication_is_audited_without_injection(api: Api, tmp_path: Path) -> None:
    """Who failed is on record, on one line of printable ASCII, whatever the path holds; the presented token is not."""
    await api("GET", "/api/v1/%0d%0a%1b[31mforged", token="a-wrong-token-that-must-not-be-kept")
    newest = api.supervisor.audit.latest(1)[0]
    assert (newest["action"], newest["result"], newest["source"]) == ("auth", "refused", "127.0.0.1")
    assert newest["detail"].isprintable()
    assert "a-wrong-token" not in str(newest)


def test_a_lockout_ends_with_its_window() -> None:
    """Failures are forgotten after the window, and the number of remembered addresses is bounded."""
    now = [0.0]
    lockout = Lockout(lambda: now[0])
    for _ in range(FAILURES_ALLOWED):
        assert lockout.remaining_seconds("a") == 0
        lockout.fail("a")
    assert lockout.remaining_seconds("a") == WINDOW_S + 1
    assert lockout.remaining_seconds("b") == 0
    now[0] = WINDOW_S
    assert lockout.remaining_seconds("a") == 0
    for number in range(ADDRESSES_KEPT + 10):
        lockout.fail(str(number))
    assert len(lockout._records) == ADDRESSES_KEPT
