"""WSGI applications (Flask, Django, Bottle, ...): what comes in with a request is in force while it is served.

    app = PropagationMiddleware(app)
    app.wsgi_app = PropagationMiddleware(app.wsgi_app)      with Flask

Each request runs in a context of its own, from the call of the application until its answer is closed: a streamed
answer carries on, and nothing stays behind in the server's thread.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from shadowproxy.propagate.carried import extract
from shadowproxy.propagate.context import enter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class PropagationMiddleware:
    """A WSGI application around another one.

    Args:
        app: the application inside.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        # PEP 3333: the field X-Test-Traffic is HTTP_X_TEST_TRAFFIC, and several of a name are joined with commas.
        carried = extract((name[5:], value) for name, value in environ.items() if name.startswith("HTTP_"))
        context = copy_context()
        context.run(enter, carried)
        answer = context.run(self.app, environ, start_response)
        return answer if _is_finished(answer, environ) else _Answer(answer, context)


def _is_finished(answer: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether iterating runs no code of the application's. Servers know the length of a list, and send files by themselves."""
    wrapper = environ.get("wsgi.file_wrapper")
    return type(answer) in {list, tuple} or (isinstance(wrapper, type) and isinstance(answer, wrapper))


class _Answer:
    """An answer whose pieces are made in the context of its request."""

    def __init__(self, answer: Iterable[bytes], context: Context) -> None:
        self._answer = answer
        self._context = context
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> _Answer:
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self._pieces = self._context.run(iter, self._answer)
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        """End the answer, as the server must however it ended (PEP 3333)."""
        close = getattr(self._answer, "close", None)
        if close is not None:
            self._context.run(close)
