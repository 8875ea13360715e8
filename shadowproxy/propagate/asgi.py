"""ASGI applications (Starlette, FastAPI, Django, Quart, ...): what comes in with a request is in force while it is served.

    app = PropagationMiddleware(app)                  around any ASGI application, or
    app.add_middleware(PropagationMiddleware)         with Starlette and FastAPI, after all others: the last added is the outermost

It is in force until the application returns: for streamed answers, background tasks and the whole life of a WebSocket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shadowproxy.propagate.carried import extract
from shadowproxy.propagate.context import carrying

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class PropagationMiddleware:
    """An ASGI application around another one. An untagged request is carried as that: whatever the server's task had is not its own.

    Args:
        app: the application inside.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection: a request, a WebSocket, or the server's start and end, which carries nothing."""
        with carrying(extract(scope.get("headers") or ())):
            await self.app(scope, receive, send)
