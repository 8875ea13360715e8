"""How a command reaches the admin API: it finds address and token of a local instance by itself.

In this order: `--admin URL` (or SHADOWPROXY_ADMIN) with the token of `--token-file`
(or SHADOWPROXY_TOKEN_FILE); else the run file of an instance in the working directory; else the only
running instance of this user. Where an instance with the same address announces its token file, that is
used too. A token is never an argument: process lists are public.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from shadowproxy.control import places
from shadowproxy.errors import AdminRefused, AdminUnreachable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TIMEOUT_S: Final = 15.0
"""Longest wait for an answer; a rolling reload with many workers can take that long."""

ANSWER_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of an answer: far more than any, and not without end."""

READ_SIZE: Final = 64 * 1024
LINE_LIMIT: Final = 1024 * 1024
"""Bytes of one line of a streamed answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that talks to the admin API takes."""
    parser.add_argument("--admin", metavar="URL", help="address of the admin API (default: found, or $SHADOWPROXY_ADMIN)")
    parser.add_argument("--token-file", metavar="FILE", help="file with the token (default: found, or $SHADOWPROXY_TOKEN_FILE)")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the result")


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Speaks to one admin API. Blocking; one connection a call, whose every step may take `timeout_s`."""

    url: str
    token: str
    timeout_s: float = TIMEOUT_S

    def get(self, path: str) -> Any:
        """The document at `path`.

        Raises:
            AdminUnreachable: nothing answers there, or something else does.
            AdminRefused: the answer is a refusal.
        """
        return self._ask("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a change. Raises as `get`."""
        return self._ask("POST", path, body)

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a document that is streamed, as they come.

        Raises:
            AdminUnreachable: nothing answers there, or the answer breaks off: what came is not all.
            AdminRefused: the answer is a refusal.
        """
        try:
            with self._answer("GET", path, None) as answer:
                if answer.status >= 400:
                    _document(self.url, answer.status, answer.reason, answer.read(ANSWER_LIMIT))
                rest = b""
                while received := answer.read1(READ_SIZE):  # readline would take an answer that breaks off for one that ends
                    *lines, rest = (rest + received).split(b"\n")
                    yield from lines
                    if len(rest) > LINE_LIMIT:
                        raise ValueError(f"a line of over {LINE_LIMIT} bytes")  # noqa: TRY301  told as all that is wrong with an answer
                if rest:
                    yield rest
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AdminUnreachable(f"the answer of {self.url} breaks off: {_reason(error)}") from None

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            with self._answer(method, path, body) as answer:
                raw = answer.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AdminUnreachable(f"no admin API at {self.url}: {_reason(error)}") from None
        return _document(self.url, answer.status, answer.reason, raw)

    @contextlib.contextmanager
    def _answer(self, method: str, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if method != "GET":
            headers["Content-Type"] = "application/json"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout_s)
        try:
            connection.request(method, path, body=None if method == "GET" else json.dumps(body or {}).encode(), headers=headers)
            yield connection.getresponse()
        finally:
            connection.close()


def connect(arguments: argparse.Namespace) -> AdminClient:
    """The client for the instance that the arguments, the environment or the machine name.

    Raises:
        AdminUnreachable: no instance is found, or more than one.
    """
    url = arguments.admin or os.environ.get("SHADOWPROXY_ADMIN", "")
    token_file = arguments.token_file or os.environ.get("SHADOWPROXY_TOKEN_FILE", "")
    if not url:
        found = _found()
        url = str(found["admin"])
        token_file = token_file or str(found["token_file"])
    url = _normal(url)
    if not token_file:
        matching = [facts for facts in places.running() if _normal(str(facts.get("admin"))) == url]
        if not matching:
            raise AdminUnreachable(f"no token for {url}: name its file with --token-file or SHADOWPROXY_TOKEN_FILE")
        token_file = str(matching[0]["token_file"])
    return AdminClient(url, _read_token(token_file))


def _found() -> dict[str, Any]:
    instances = [facts for facts in places.running() if {"admin", "token_file", "pid"} <= facts.keys()]
    here = [facts for facts in instances if Path(facts["path"]).parent == Path.cwd()]
    chosen = here if len(here) == 1 else instances
    if not chosen:
        raise AdminUnreachable("no running instance found; name its address with --admin or SHADOWPROXY_ADMIN")
    if len(chosen) > 1:
        listed = ", ".join(f"{facts['admin']} (pid {facts['pid']})" for facts in chosen)
        raise AdminUnreachable(f"{len(chosen)} instances run, choose one with --admin: {listed}")
    return chosen[0]


def _normal(url: str) -> str:
    text = url if "://" in url else f"http://{url}"
    return text.rstrip("/")


def _read_token(token_file: str) -> str:
    try:
        token = Path(token_file).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise AdminUnreachable(f"token file {token_file}: {_reason(error)}") from None
    if not token or not token.isprintable():
        raise AdminUnreachable(f"token file {token_file}: holds no token")
    return token


def _document(url: str, status: int, reason: str, body: bytes) -> Any:
    try:
        document = json.loads(body)
    except ValueError:
        raise AdminUnreachable(f"what answers at {url} is not an admin API (status {status})") from None
    if status >= 400:
        known = document if isinstance(document, dict) else {}
        problems = known.get("problems", [])
        detail = "; ".join(f"{p.get('path')}: {p.get('message')}" for p in problems) or str(known.get("detail", ""))
        raise AdminRefused(status, str(known.get("title", reason)), detail)
    return document


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
