"""requests: a session whose calls carry what is in force, and an adapter for sessions that somebody else makes.

    with Session() as session:
        session.get(url)
    session.mount("https://", Adapter(HTTPAdapter(max_retries=3)))

`requests.get` and its like make a session of their own at each call, which carries nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter

from shadowproxy.propagate.context import inject

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class Adapter(BaseAdapter):
    """A transport adapter around another one.

    Args:
        inner: the adapter that sends.
    """

    def __init__(self, inner: BaseAdapter) -> None:
        super().__init__()
        self.inner = inner

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a copy of the request with what is in force: redirects, which start from the original, get their own."""
        request = request.copy()
        inject(request.headers)
        return self.inner.send(request, *args, **kwargs)

    def close(self) -> None:
        """Close the adapter inside."""
        self.inner.close()


class Session(requests.Session):
    """A session whose calls carry what is in force where they are made, whichever adapters are mounted.

    Stands before other session classes as well: `class Mine(Session, OAuth2Session)`.
    """

    def get_adapter(self, url: str) -> BaseAdapter:
        """The adapter for an address, with what is in force."""
        return Adapter(super().get_adapter(url))
