"""The stop-the-world codeword: a field of an admin request that pulls the kill switch, whatever else the request is.

For whoever has no token at hand, or sends through something that changes Host or path. It is compared in constant time,
stands in no log, and can only stop. An address that has sent too many wrong ones is not listened to for a while, so that
nobody can try them all; the token works all the same, and other addresses do. A web page cannot send it: a field of
its own needs a preflight request, which this API refuses.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from shadowproxy.control.admin.guard import FAILURES_ALLOWED, Lockout
from shadowproxy.control.audit import Actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web


class Codeword:
    """Looks for the codeword in requests.

    Args:
        configured: `NAME: VALUE` of the config in force; empty for none.
        on_failure: called with the address of a wrong one, and how often it has failed in the window.
    """

    def __init__(self, configured: Callable[[], str], on_failure: Callable[[str, int], None], lockout: Lockout | None = None) -> None:
        self._configured = configured
        self._on_failure = on_failure
        self._lockout = lockout or Lockout()

    def speaker(self, request: web.Request) -> Actor | None:
        """Who pulls the kill switch with this request; None for nobody."""
        name, _, value = self._configured().partition(":")
        if not value:
            return None
        said = request.headers.getall(name, [])
        if not said:
            return None
        source = request.remote or "unknown"
        if self._lockout.remaining_seconds(source):
            return None
        # All are compared, and each whole, so that the time tells nothing of a part.
        wanted = value.strip().encode()
        are_right = [hmac.compare_digest(one.strip().encode("utf-8", "surrogateescape"), wanted) for one in said]
        if any(are_right):
            return Actor("codeword", source)
        failures = self._lockout.fail(source)
        if failures <= FAILURES_ALLOWED:
            self._on_failure(source, failures)
        return None
