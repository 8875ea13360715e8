"""Exemplars as programs: a curl command, a pytest file, a locustfile.

Each sends the captured request again and asks nothing but where to: `BASE_URL`. It is never
guessed, because a captured POST must not find its way back to production by itself. Secrets are
pseudonyms; where the place of one is known (a header field, a query field) an
environment variable overrides it.

curl and http.client send the target and the fields byte for byte. Locust sends through
requests, which joins fields of the same name and may quote a target that is oddly spelt.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_plus

from shadowproxy.redaction import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTION_FIELDS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "expect"}
)
"""Fields that belong to the connection they came on (RFC 9110 section 7.6.1), and those that clients make themselves."""

_WIDTH: Final = 100
_INLINE: Final = 2000
"""Bytes of a body that is shown as a literal; a longer one is base64."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A pseudonym that an environment variable overrides."""

    name: str
    default: str


Piece = str | Variable


@dataclass(frozen=True, slots=True)
class Replay:
    """What is sent: `target` and the values of `fields` in pieces. Text is Latin-1."""

    method: str
    target: tuple[Piece, ...]
    fields: tuple[tuple[str, tuple[Piece, ...]], ...]
    body: bytes
    expected: str
    about: tuple[str, ...]

    @property
    def variables(self) -> list[Variable]:
        """What can be overridden, in the order of the request."""
        pieces = [*self.target, *(piece for _, value in self.fields for piece in value)]
        return [piece for piece in pieces if isinstance(piece, Variable)]


def replay_of(exemplar: dict[str, Any]) -> Replay:
    """The request of an exemplar (the document of the admin API), ready to be written down."""
    request, rules = exemplar["request"], Rules()
    taken: set[str] = set()
    is_decoded = bool(request.get("decoded"))
    fields: list[tuple[str, tuple[Piece, ...]]] = []
    target = _target(request["target"], rules, taken)
    for name, value in request["headers"]:
        lower = name.lower()
        if (
            lower in CONNECTION_FIELDS
            or (is_decoded and lower == "content-encoding")
            or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        ):
            continue
        plain = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", " ", value).strip()
        pieces: tuple[Piece, ...] = (plain,)
        if plain and rules.is_secret_header(name):
            pieces = (Variable(_variable("HTTP", name, taken), plain),)
        fields.append((name, pieces))
    return Replay(
        _token(request["method"]),
        target,
        tuple(fields),
        base64.b64decode(request["body"]),
        str(exemplar["live"]["outcome"]),
        tuple(_about(exemplar)),
    )


def as_curl(exemplar: dict[str, Any]) -> str:
    """A command for bash or zsh."""
    replay = replay_of(exemplar)
    has_text = _is_text(replay.body) and len(replay.body) <= _INLINE
    options = ["--path-as-is", "--globoff", "--silent", "--show-error", "--include"]
    options.append("--head" if replay.method == "HEAD" else f"--request {shell_quoted(replay.method)}")
    for name, value in replay.fields:
        # `Name;` is how curl is told to send an empty field.
        options.append(f"--header {_shell((f'{name};',) if not any(value) else (f'{name}: ', *value))}")
    sent = {name.lower() for name, _ in replay.fields}
    # What curl would add by itself was not in the request.
    options += [
        f"--header {shell_quoted(f'{name}:')}" for name in ("Accept", "User-Agent", "Content-Type", "Expect") if name.lower() not in sent
    ]
    if replay.body or replay.method in {"POST", "PUT", "PATCH"}:
        options.append(f"--data-raw {shell_quoted(replay.body.decode('latin-1'))}" if has_text else "--data-binary @-")
    lines = [*(f"# {line}" for line in replay.about), *(f"# Overrides a pseudonym: {one.name}" for one in replay.variables)]
    lines.append(': "${BASE_URL:?set it to the service that shall get this request, http://host:port}"')
    # Unquoted in an assignment nothing is split, and quotes inside of the braces quote.
    lines += [f"{one.name}=${{{one.name}-{shell_quoted(one.default)}}}" for one in replay.variables]
    command = " \\\n  ".join(["curl", *options, f'"${{BASE_URL%/}}"{_shell(replay.target)}'])
    if replay.body and not has_text:
        coded = "\n".join(_wrapped(base64.b64encode(replay.body).decode()))
        command = f"base64 -d <<'END_OF_BODY' | {command}\n{coded}\nEND_OF_BODY"
    return "\n".join([*lines, command, ""])


def as_pytest(exemplar: dict[str, Any]) -> str:
    """A test file that needs pytest and the standard library."""
    replay = replay_of(exemplar)
    expected = f"assert answer.status == {int(replay.expected)}" if replay.expected.isdigit() else "assert answer.status < 500"
    return f'''{_docstring(replay, f"BASE_URL=http://127.0.0.1:9002 pytest test_exemplar_{exemplar['id']}.py")}

from __future__ import annotations

import base64  # noqa: F401
import http.client
import os
from urllib.parse import urlsplit

BASE_URL = os.environ.get("BASE_URL", "")
METHOD = {_literal(replay.method)}
TARGET = {_expression(replay.target)}
HEADERS = [{_field_lines(replay)}]
BODY = {_bytes_literal(replay.body)}


def test_it_answers_as_live_did() -> None:
    """Live answered {_comment(replay.expected)}."""
    assert BASE_URL, "set BASE_URL to the service under test"
    base = urlsplit(BASE_URL)
    kind = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
    connection = kind(base.hostname or "", base.port, timeout=30)
    try:
        # As it was captured: http.client adds nothing to this.
        connection.putrequest(METHOD, TARGET, skip_host=True, skip_accept_encoding=True)
        for name, value in HEADERS:
            connection.putheader(name, value.encode("latin-1"))
        if BODY or METHOD in {{"POST", "PUT", "PATCH"}}:
            connection.putheader("Content-Length", str(len(BODY)))
        connection.endheaders(BODY or None)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    {expected}
'''


def as_locust(exemplar: dict[str, Any]) -> str:
    """A locustfile with one task."""
    replay = replay_of(exemplar)
    expected = f"answer.status_code != {int(replay.expected)}" if replay.expected.isdigit() else "answer.status_code >= 500"
    path = "".join(piece if isinstance(piece, str) else piece.default for piece in replay.target).partition("?")[0]
    return f'''{_docstring(replay, f"locust -f exemplar_{exemplar['id']}.py --host http://127.0.0.1:9002")}

from __future__ import annotations

import base64  # noqa: F401
import os

from locust import HttpUser, constant, task
from urllib3.util import SKIP_HEADER

METHOD = {_literal(replay.method)}
TARGET = {_expression(replay.target)}
FIELDS = [{_field_lines(replay)}]
BODY = {_bytes_literal(replay.body)}

# What requests and urllib3 would add by themselves was not in the request.
HEADERS: dict[str, str | bytes | None] = {{"User-Agent": SKIP_HEADER, "Accept-Encoding": SKIP_HEADER, "Accept": None}}
for name, value in FIELDS:
    known = next((other for other in HEADERS if other.lower() == name.lower()), name)
    before = HEADERS.pop(known, None)
    joined = before + (b"; " if name.lower() == "cookie" else b", ") if isinstance(before, bytes) else b""
    HEADERS[name] = joined + value.encode("latin-1")


class Exemplar(HttpUser):
    """Sends the captured request again and again."""

    host = os.environ.get("BASE_URL")
    wait_time = constant(1)

    @task
    def replay(self) -> None:
        """Live answered {_comment(replay.expected)}."""
        with self.client.request(
            METHOD, TARGET, name=METHOD + {_literal(" " + path)}, headers=HEADERS, data=BODY or None, allow_redirects=False, catch_response=True
        ) as answer:
            if {expected}:
                answer.failure(f"status {{answer.status_code}}")
'''


EXPORTS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {"curl": as_curl, "pytest": as_pytest, "locust": as_locust}


def shell_quoted(text: str) -> str:
    """`text` (Latin-1) as one word of bash and zsh; what is not plain ASCII as `$'...'`. NUL, which no word can have, is left out."""
    if re.fullmatch(r"[ -~\n]*", text):
        return "'" + text.replace("'", "'\\''") + "'"
    coded = "".join(_ansi_c(character) for character in text if character != "\0")
    return f"$'{coded}'"


def printable(text: str) -> str:
    """`text` with what a terminal would obey made visible."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _ansi_c(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    # Octal, always three digits: a hex escape would swallow a digit behind it.
    return character if " " <= character <= "~" else "".join(f"\\{byte:03o}" for byte in character.encode("latin-1"))


def _target(target: str, rules: Rules, taken: set[str]) -> tuple[Piece, ...]:
    """The target in pieces; bytes that no client sends in one are percent-encoded."""
    sane = quote(target.encode("latin-1", "replace"), safe="".join(chr(code) for code in range(0x21, 0x7F)).replace("#", ""))
    path, mark, query = (sane if sane.startswith("/") else "/" + sane).partition("?")
    pieces: list[Piece] = [path + mark]
    for index, pair in enumerate(query.split("&")):
        name, equals, value = pair.partition("=")
        pieces.append("&" * bool(index) + name + equals)
        if value and rules.is_secret_field(unquote_plus(name), is_query=True):
            pieces.append(Variable(_variable("QUERY", unquote_plus(name), taken), value))
        else:
            pieces.append(value)
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece:
            joined.append(piece)
    return tuple(joined)


def _variable(prefix: str, name: str, taken: set[str]) -> str:
    """A name for an environment variable that is not taken yet."""
    plain = re.sub(r"[^A-Z0-9]+", "_", f"{prefix}_{name}".upper())[:60].strip("_")
    number = 1
    while (chosen := plain if number == 1 else f"{plain}_{number}") in taken:
        number += 1
    taken.add(chosen)
    return chosen


def _about(exemplar: dict[str, Any]) -> list[str]:
    request, live, shadow = exemplar["request"], exemplar["live"], exemplar["shadow"]
    lines = [
        f"{request['method']} {request['target']}"[:200],
        f"live answered {live['outcome']}, shadow {shadow['outcome']}; exemplar {exemplar['id']} of {exemplar['route']}/{exemplar['mirror']}",
    ]
    if exemplar.get("trace"):
        lines.append(f"trace {exemplar['trace']}")
    if "dropped" in request:
        lines.append("The body of the request was not kept: " + str(request["dropped"]["reason"]))
    elif request.get("cut"):
        lines.append("The body of the request was cut when it was captured.")
    return [_comment(line) for line in lines]


def _comment(text: str) -> str:
    """Text that cannot end a comment or a docstring."""
    return printable(text).encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


def _token(method: str) -> str:
    return method if re.fullmatch(r"[A-Za-z-]+", method) else "GET"


def _shell(pieces: tuple[Piece, ...]) -> str:
    return "".join(f'"${piece.name}"' if isinstance(piece, Variable) else shell_quoted(piece) for piece in pieces if piece)


def _docstring(replay: Replay, command: str) -> str:
    lines = [*replay.about, "", command]
    if replay.variables:
        lines += ["", "Pseudonyms are overridden by: " + ", ".join(one.name for one in replay.variables)]
    text = "\n".join(lines[1:])
    return f'"""{lines[0]}.\n\n{text}\n"""'


def _expression(pieces: tuple[Piece, ...]) -> str:
    """A Python expression for a string in pieces."""
    written = [
        f"os.environ.get({_literal(piece.name)}, {_literal(piece.default)})" if isinstance(piece, Variable) else _literal(piece)
        for piece in pieces
    ]
    return " + ".join(written) or '""'


def _field_lines(replay: Replay) -> str:
    return "".join(f"\n    ({_literal(name)}, {_expression(value)})," for name, value in replay.fields) + "\n" * bool(replay.fields)


def _literal(text: str) -> str:
    """A Python string literal in ASCII."""
    return ascii(text)


def _bytes_literal(body: bytes) -> str:
    if len(body) <= _INLINE and _is_text(body):
        return repr(body)
    lines = "".join(f'\n    "{line}"' for line in _wrapped(base64.b64encode(body).decode()))
    return f"base64.b64decode({lines}\n)"


def _wrapped(text: str) -> list[str]:
    return [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]


def _is_text(body: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r" for byte in body) and 0x7F not in body
