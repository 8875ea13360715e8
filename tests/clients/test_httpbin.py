"""httpbin behind gunicorn, a real WSGI server, asked by requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.passage import Passage
from tests.clients.servers import program
from tests.kit import network

if TYPE_CHECKING:
    from collections.abc import Iterator

requests = pytest.importorskip("requests", reason="requests is not installed (group clients)", exc_type=ImportError)

HOME = Path(__file__).parents[2] / ".cache" / "httpbin"
GUNICORN = HOME / "bin" / "gunicorn"
"""httpbin pins what other tools of ours cannot live with: make test gives it an environment of its own."""

pytestmark = pytest.mark.skipif(not (HOME / ".stamp").exists(), reason="httpbin is not installed in .cache/httpbin (make test does that)")


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """Two httpbins and the proxy before them."""
    directory = tmp_path_factory.mktemp("httpbin")

    def serve(name: str) -> Any:
        port = network.free_port()
        command = [str(GUNICORN), "--bind", f"{network.HOST}:{port}", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "30"]
        return program([*command, "--no-control-socket", "httpbin:app"], port, log=directory / f"{name}.log")

    with serve("live") as live, serve("shadow") as shadow, Passage(live, shadow) as passage:
        yield passage


QUESTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "get": ("GET", "/base64/SGVsbG8=", {}),
    "html": ("GET", "/html", {}),
    "gzip": ("GET", "/encoding/utf8", {}),
    "post form": ("POST", "/post", {"data": {"a": "1"}}),
    "post json": ("POST", "/post", {"json": {"a": [1]}}),
    "post bytes": ("POST", "/post", {"data": b"\x00\xff" * 50_000}),
    "post generator": ("POST", "/post", {"data": "chunks"}),
    "put": ("PUT", "/put", {"data": b"x"}),
    "patch": ("PATCH", "/patch", {"data": b"x"}),
    "delete": ("DELETE", "/status/200", {}),
    "head": ("HEAD", "/html", {}),
    "options": ("OPTIONS", "/html", {}),
    "redirects": ("GET", "/relative-redirect/3", {}),
    "cookies": ("GET", "/cookies/set?one=1&two=2", {"allow_redirects": False}),
    "with cookies": ("GET", "/cookies", {"cookies": {"session": "abc"}}),
    "basic auth": ("GET", "/basic-auth/me/secret", {"auth": ("me", "secret")}),
    "wrong auth": ("GET", "/basic-auth/me/secret", {"auth": ("me", "wrong")}),
    "418": ("GET", "/status/418", {}),
    "500": ("GET", "/status/500", {}),
    "304": ("GET", "/status/304", {}),
    "etag": ("GET", "/etag/one", {"headers": {"If-None-Match": '"one"'}}),
    "range": ("GET", "/range/1024?chunk_size=100", {"headers": {"Range": "bytes=100-199"}}),
    "bytes": ("GET", "/bytes/100000?seed=7", {}),
    "chunks": ("GET", "/stream-bytes/100000?seed=7&chunk_size=1000", {}),
    "drip": ("GET", "/drip?duration=0.2&numbytes=10&code=200&delay=0", {}),
    "delay": ("GET", "/delay/0.2", {"headers": {"X-Mine": "1"}}),
    "image": ("GET", "/image/png", {}),
    "links": ("GET", "/links/5/1", {}),
    "headers": ("GET", "/response-headers?X-Mine=a&X-Mine=b", {}),
    "unicode path": ("GET", "/anything/%C3%BC%20%2F?q=%E2%82%AC", {"headers": {"X-Mine": "\u00fc".encode("latin-1")}}),
}
ECHOES = {"delay", "unicode path", "redirects", "post form", "post json", "post bytes", "post generator", "put", "patch"}
"""Answers that repeat the request's fields, ours among them: alike on both sides of the proxy, but not with going direct."""


@pytest.mark.parametrize("question", list(QUESTIONS))
def test_httpbin_answers_alike(passage: Passage, question: str) -> None:
    """Status, fields and body are live's own, and the same as without a proxy; live and shadow are asked the same."""
    method, path, options = QUESTIONS[question]
    if options.get("data") == "chunks":
        options = {"data": iter([bytes([n]) * 1000 for n in range(1, 20)])}
    passage.go_through()
    passage.forget()
    with requests.Session() as session:
        session.trust_env = False
        through = session.request(method, passage.url + path, timeout=20, **options)
    heard = passage.check()
    assert heard
    if question in ECHOES:
        return
    passage.go_direct()
    passage.forget()
    with requests.Session() as session:
        session.trust_env = False
        direct = session.request(method, passage.url + path, timeout=20, **options)
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    assert heard == passage.heard_direct()


def test_the_application_sees_the_client_through_forwarding_fields(passage: Passage) -> None:
    """What an application behind us learns of the client: address, scheme and Host as the client used it."""
    passage.go_through()
    passage.forget()
    with requests.Session() as session:
        session.trust_env = False
        seen = session.get(f"{passage.url}/headers?show_env=1", timeout=20).json()["headers"]
    passage.check()
    assert seen["Host"] == passage.url.removeprefix("http://")
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["X-Forwarded-For"] == network.HOST
    assert seen["Via"] == "1.1 shadowproxy"
