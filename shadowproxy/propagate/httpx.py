"""httpx: event hooks that put what is in force into each request, redirected ones included.

    httpx.Client(event_hooks={"request": [carry]})
    httpx.AsyncClient(event_hooks={"request": [carry_async]})

As hooks they leave transports, proxies and certificates to the client. Those of your own may stand beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.propagate.context import inject

if TYPE_CHECKING:
    import httpx

_SENT: Final = "shadowproxy.traceparent"
"""The extension, which httpx copies to the request that follows a redirect, as it does the header fields."""


def carry(request: httpx.Request) -> None:
    """Put what is in force into a request that is about to be sent."""
    request.extensions[_SENT] = inject(request.headers, request.extensions.get(_SENT, ""))


async def carry_async(request: httpx.Request) -> None:
    """The same for AsyncClient, which awaits its hooks."""
    carry(request)
