"""One request to a sink, and one answer, as values: everything but the edge works on these and needs no socket."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from shadowproxy.errors import ShadowproxyError
from shadowproxy.sinks import strict

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
FORM: Final = "application/x-www-form-urlencoded"

FIELDS_LIMIT: Final = 1000
"""Parameters of a query or a form."""

NAMED_LIMIT: Final = 100
"""Problems that one refusal lists."""


class Refused(ShadowproxyError):
    """A sink answers a request with an error. `code` is the stable name of the reason; `problems` are its places."""

    def __init__(self, status: int, code: str, detail: str, *, problems: tuple[tuple[str, str], ...] = (), **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.problems = problems
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(slots=True)
class Answer:
    """An answer: headers without framing, which the edge adds. `latency_s` is how long it shall take."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    latency_s: float = 0.0


@dataclass(eq=False)
class Call:
    """A tagged request, whole.

    Args:
        method: as sent.
        target: path and query as sent.
        headers: fields by lower-case name; of several lines, joined with commas.
        tenant: whose it is.
        body: its bytes, without content coding.
        path: the path that sinks look at: `target` without its query and the sink's prefix.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    tenant: str
    body: bytes = b""
    path: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            self.path = self.target.partition("?")[0]

    def __repr__(self) -> str:
        return f"<Call {self.method} {self.path} of {self.tenant}, {len(self.body)} bytes>"

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's segments, each decoded by itself, so that %2F is no slash.

        Raises:
            Refused: 400, they are not UTF-8.
        """
        text = self.path[1:]
        try:
            if not text.isascii():
                text.encode()  # bytes that are no UTF-8 are half surrogates here
            if "%" not in text:
                return tuple(text.split("/")) if text else ()
            return tuple(unquote(part, errors="strict") for part in text.split("/"))
        except UnicodeError:
            raise Refused(400, "bad_path", "the path is not UTF-8") from None

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The first value of each query parameter.

        Raises:
            Refused: 400, there are too many.
        """
        return _firsts(self.pairs)

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Query parameters in order. Raises as `query`."""
        text = self.target.partition("?")[2]
        return _pairs(text, "query") if text else []

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON, or says nothing."""
        kind = self.content_type
        return kind in ("", JSON) or kind.endswith("+json")

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when there is none.

        Raises:
            Refused: 400, it is not strict JSON.
        """
        if not self.body:
            return None
        try:
            return strict.loads(self.body)
        except ValueError as error:
            raise Refused(400, "bad_json", str(error)) from None

    @property
    def json_or_none(self) -> Any:
        """The body as JSON, or None where it is something else."""
        try:
            return self.json if self.is_json else None
        except Refused:
            return None

    @cached_property
    def form(self) -> Mapping[str, str]:
        """The fields of a form; none where the body is something else. Raises as `query`."""
        if self.content_type != FORM:
            return {}
        return _firsts(_pairs(self.body.decode("utf-8", "replace"), "form"))

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def digest(self) -> str:
        """SHA-256 of method, path and body: whether a repeated request is the same."""
        return hashlib.sha256(b"\n".join((self.method.encode(), self.path.encode(errors="replace"), self.body))).hexdigest()

    def fields(self) -> dict[str, Any]:
        """The body's members, of a JSON object or a form (`card[number]=4` is a member of a member).

        Raises:
            Refused: 400 or 415, it is neither.
        """
        if self.content_type == FORM:
            return _nested(self.form)
        if not self.is_json:
            raise Refused(415, "unsupported_media_type", f"send {JSON} or {FORM}", Accept_Post=f"{JSON}, {FORM}")
        if not isinstance(self.json, dict):
            raise Refused(400, "not_an_object", "the body must be a JSON object")
        return self.json


def answer_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, strict.dumps(value).encode(), JSON, headers or {})


def problem(refused: Refused) -> Answer:
    """The problem document of a refusal (RFC 9457)."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _phrase(refused.status),
        "status": refused.status,
        "code": refused.code,
        "detail": refused.detail,
    }
    if refused.problems:
        document["problems"] = [{"path": path, "message": message} for path, message in refused.problems[:NAMED_LIMIT]]
    return Answer(refused.status, strict.dumps(document).encode(), PROBLEM, refused.headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def _pairs(text: str, what: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError:
        raise Refused(400, f"bad_{what}", f"more than {FIELDS_LIMIT} parameters") from None


def _firsts(pairs: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _nested(form: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in form.items():
        outer, bracket, inner = name.partition("[")
        if bracket and inner.endswith("]") and isinstance(found.setdefault(outer, {}), dict):
            found[outer][inner[:-1]] = value
        else:
            found[name] = value
    return found
