"""The WSGI middleware, under waitress with requests for the calls and under wsgiref with httpx."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import httpx
import pytest

from shadowproxy.propagate import bind, current, tagged
from shadowproxy.propagate.httpx import carry
from shadowproxy.propagate.requests import Session
from shadowproxy.propagate.wsgi import PropagationMiddleware
from tests.propagate.contract import SERVER_PROMISES, Front, nothing_is_left_for_the_next_request, url_of
from tests.propagate.serving import under_waitress, under_wsgiref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from tests.kit import Origin


def service(ask: Callable[[str], object]) -> WSGIApplication:
    """What the contract asks of a front."""

    def stream(target: str) -> Iterator[bytes]:
        for piece in (b"a", b"b", b"c"):
            ask(target)
            yield piece

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, target = environ["PATH_INFO"], f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        if path == "/fail":
            raise RuntimeError("on purpose")
        if path == "/stream":
            start_response("200 OK", [])
            return stream(target)
        if path == "/later":
            threading.Thread(target=bind(ask), args=(target,)).start()
        if path == "/call":
            ask(target)
        body = current().tenant.encode() or b"-"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return PropagationMiddleware(app)


@pytest.fixture(params=["waitress and requests", "wsgiref and httpx"])
def front(request: pytest.FixtureRequest, origin: Origin, capfd: pytest.CaptureFixture[str]) -> Iterator[Front]:
    """A WSGI service under each server; what they print of the failing handler is theirs."""
    with contextlib.ExitStack() as stack:
        client: Any
        if request.param.startswith("waitress"):
            client = stack.enter_context(Session())
            client.trust_env = False
        else:
            client = stack.enter_context(httpx.Client(event_hooks={"request": [carry]}, trust_env=False))
        serve = under_waitress if request.param.startswith("waitress") else under_wsgiref
        app = service(lambda target: client.get(url_of(origin, target)).raise_for_status())
        yield Front(stack.enter_context(serve(app)), origin)


@pytest.mark.parametrize("promise", SERVER_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_server(front: Front, promise: Callable[[Front], None]) -> None:
    """What tests/propagate/contract.py says, over real sockets."""
    promise(front)


def test_nothing_is_left_in_the_thread_of_a_server(origin: Origin, capfd: pytest.CaptureFixture[str]) -> None:
    """With a single thread for all requests, after answers of every kind and after a failure."""
    with httpx.Client(event_hooks={"request": [carry]}, trust_env=False) as client:
        app = service(lambda target: client.get(url_of(origin, target)).raise_for_status())
        with under_waitress(app, threads=1) as address:
            nothing_is_left_for_the_next_request(Front(address, origin))


def _serve(app: WSGIApplication, **environ: Any) -> Iterable[bytes]:
    setup_testing_defaults(environ)
    return PropagationMiddleware(app)(environ, lambda *_: lambda _: None)


def test_each_step_runs_in_the_context_of_the_request() -> None:
    """The call, the pieces and the close, wherever the server runs them; and nothing of it in the server's thread between."""
    seen: list[str] = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            seen.append(f"iter {current().tenant}")
            with tagged("inside"):
                yield b"a"
                # What a generator has put in force is there when it goes on.
                seen.append(f"piece {current().tenant}")
            yield b"b"
            seen.append(f"end {current().tenant}")

        def close(self) -> None:
            seen.append(f"close {current().tenant}")

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        seen.append(f"app {current().tenant}")
        return Answer()

    with tagged("server"):
        answer: Any = _serve(app, HTTP_X_TEST_TRAFFIC="canary-7")
        pieces = []
        for piece in answer:
            assert current().tenant == "server"
            pieces.append(piece)
        answer.close()
        assert current().tenant == "server"
    assert pieces == [b"a", b"b"]
    assert seen == ["app canary-7", "iter canary-7", "piece inside", "end canary-7", "close canary-7"]


def test_lists_and_files_reach_the_server_as_they_are() -> None:
    """A server sets Content-Length from a list of one piece, and sends a file without reading it into Python."""
    pieces = [b"whole"]
    file = FileWrapper(io.BytesIO(b"file"))
    assert _serve(lambda *_: pieces) is pieces
    assert _serve(lambda *_: file, **{"wsgi.file_wrapper": FileWrapper}) is file
    assert _serve(lambda *_: file) is not file


def test_an_answer_without_close_may_be_closed() -> None:
    """Servers close every answer that can be closed, and ours can."""
    answer: Any = _serve(lambda *_: iter([b"a"]))
    assert list(answer) == [b"a"]
    answer.close()


def test_fields_that_the_server_joined() -> None:
    """Servers join fields of a name with commas: a tag that came twice is still one, and baggage is whole."""

    def app(*_: Any) -> Iterable[bytes]:
        return [f"{current().tenant} {current().baggage}".encode()]

    assert _serve(app, HTTP_X_TEST_TRAFFIC="true,canary-7", HTTP_BAGGAGE="a=1,b=2") == [b"canary-7 ('a=1', 'b=2')"]
    assert _serve(app) == [b" ()"]
