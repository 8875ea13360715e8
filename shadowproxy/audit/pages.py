"""Looks for tokens at URLs: a mailbox's API, an admin page, whatever shows what production has got."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shadowproxy.audit.finds import Find, finds
from shadowproxy.audit.sending import target_of
from shadowproxy.errors import AuditFailed

if TYPE_CHECKING:
    import ssl

    from shadowproxy.audit.honey import Honey

LARGEST: Final = 32 * 1024 * 1024
"""Bytes of a page; one that is longer has not been searched, which is an error."""


def search(url: str, honey: Honey, context: ssl.SSLContext, timeout_s: float) -> list[Find]:
    """Tokens in what a GET of the URL answers.

    Raises:
        AuditFailed: nothing answers, or not 200, or too much of it.
    """
    status, body = _fetch(url, context, timeout_s)
    if status != 200:
        raise AuditFailed(f"{shown(url)} answered {status}, and cannot be searched")
    return finds(honey.find(body.decode("utf-8", "replace")), shown(url), is_leak=True)


def shown(url: str) -> str:
    """A URL as it may be printed: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _fetch(url: str, context: ssl.SSLContext, timeout_s: float) -> tuple[int, bytes]:
    target, parts = target_of(url), urlsplit(url)
    deadline = time.monotonic() + timeout_s
    connection = target.connect(timeout_s, context)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}", headers={"Accept": "*/*"})
        answer = connection.getresponse()
        body = bytearray()
        while part := answer.read1(1 << 20):
            body += part
            if len(body) > LARGEST:
                raise AuditFailed(f"{shown(url)} answers more than {LARGEST} bytes, and cannot be searched")
            if time.monotonic() > deadline:
                raise TimeoutError("takes too long")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AuditFailed(f"{shown(url)}: {error}") from None
    finally:
        connection.close()
    return answer.status, bytes(body)
