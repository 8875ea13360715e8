"""Answers by an OpenAPI 3.0 or 3.1 document: requests are checked against it, answers are its examples, or else drawn from its schemas.

The first 2xx answer of the operation is given, its example if it has one; `Prefer: code=404` and `Prefer: example=NAME` (RFC 7240) ask for
others. The same request gets the same answer. Unknown paths are 404, unknown methods 405, violations 400 with all of them listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from shadowproxy.sinks import strict
from shadowproxy.sinks.call import FORM, JSON, Answer, Refused
from shadowproxy.sinks.generate import Impossible, generate
from shadowproxy.sinks.parameters import Parameter, form_value, read_parameters
from shadowproxy.sinks.patterns import Pattern, compile_pattern
from shadowproxy.sinks.schemas import Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.schemas import Schema

LARGEST: Final = 8 * 1024 * 1024
"""Bytes of a document."""

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_VERSION: Final = re.compile(r"3\.[01](\.[0-9]+)?.*")
_PREFERRED: Final = re.compile(r"\b(code|example)=\"?([A-Za-z0-9_.-]+)\"?")
_UNSENDABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    pattern: Pattern
    parameters: tuple[Parameter, ...]
    body: dict[str, Any] | None
    responses: Mapping[str, Any]


class OpenApi:
    """A document, compiled.

    Args:
        file: YAML or JSON.
        is_validated: whether requests are checked against it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no OpenAPI document that can be used; says why.
    """

    def __init__(self, file: str, *, is_validated: bool = True) -> None:
        document = _read(Path(file))
        try:
            self._schemas = Schemas(document)
            self._is_validated = is_validated
            self._bases, self._operations = self._compiled(self._schemas.document)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{file}: {str(error) if isinstance(error, ValueError) else f'malformed ({error!r})'}") from None

    async def answer(self, call: Call) -> Answer | None:
        """What the document says to `call`.

        Raises:
            Refused: it has no such operation, or does not allow the request.
        """
        operation, captured = self._find(call)
        if self._is_validated:
            self._check(call, operation, captured)
        return self._respond(call, operation)

    def checking(self) -> Checking:
        """A responder that only checks what the document knows."""
        return Checking(self)

    def check(self, call: Call) -> None:
        """Check a call, if the document has its operation.

        Raises:
            Refused: the document does not allow the request.
        """
        try:
            operation, captured = self._find(call)
        except Refused:
            return
        self._check(call, operation, captured)

    # -- requests

    def _compiled(self, document: dict[str, Any]) -> tuple[tuple[str, ...], list[Operation]]:
        """Base paths of the servers, and operations: concrete paths before templated ones (OpenAPI 3.1, Path Templating Matching)."""
        bases = tuple(base for one in document.get("servers", []) if (base := urlsplit(str(one.get("url", ""))).path.rstrip("/")))
        operations = [one for path, item in document["paths"].items() for one in self._of_path(path, self._schemas.resolve(item))]
        return bases, sorted(operations, key=lambda one: [not isinstance(segment, str) for segment in one.pattern.segments])

    def _of_path(self, path: str, item: dict[str, Any]) -> Iterator[Operation]:
        for method in METHODS:
            found = item.get(method)
            if isinstance(found, dict):
                listed = [*item.get("parameters", []), *found.get("parameters", [])]
                body = self._schemas.resolve(found["requestBody"]) if "requestBody" in found else None
                responses = {str(status): self._schemas.resolve(one) for status, one in found.get("responses", {}).items()}
                yield Operation(method.upper(), compile_pattern(path), read_parameters(self._schemas, listed), body, responses)

    def _find(self, call: Call) -> tuple[Operation, dict[str, str]]:
        base = next((base for base in self._bases if call.path == base or call.path.startswith(f"{base}/")), "")
        segments = call.segments[base.count("/") :]
        matching = [(one, captured) for one in self._operations if (captured := one.pattern.match(segments)) is not None]
        if not matching:
            raise Refused(404, "no_operation", "the document has no such path")
        for method in (call.method, "GET" if call.method == "HEAD" else ""):
            for one, captured in matching:
                if one.method == method:
                    return one, captured
        raise Refused(
            405, "no_operation", "the document has no such method for this path", Allow=", ".join(one.method for one, _ in matching)
        )

    def _check(self, call: Call, operation: Operation, captured: dict[str, str]) -> None:
        problems: list[tuple[str, str]] = []
        for parameter in operation.parameters:
            problems += parameter.problems(call, captured)
        if operation.body is not None:
            problems += self._body_problems(call, operation.body)
        if problems:
            raise Refused(400, "not_allowed", f"the request breaks the document in {len(problems)} places", problems=tuple(problems))

    def _body_problems(self, call: Call, body: dict[str, Any]) -> list[tuple[str, str]]:
        if not call.body:
            return [("body", "is required")] if body.get("required") else []
        content = body.get("content", {})
        kind = call.content_type or JSON
        media = next((content[name] for name in (kind, f"{kind.partition('/')[0]}/*", "*/*") if name in content), None)
        if media is None:
            media = next((one for name, one in content.items() if name.partition(";")[0].strip().lower() == kind), None)
        if media is None:
            accepted = ", ".join(content) or "nothing"
            raise Refused(415, "unsupported_media_type", f"the document takes {accepted}")
        schema = media.get("schema", True)
        if kind == FORM:
            return self._schemas.problems(schema, form_value(self._schemas, schema, call.form), "body", is_request=True)
        if call.is_json:
            return self._schemas.problems(schema, call.json, "body", is_request=True)
        return []

    # -- answers

    def _respond(self, call: Call, operation: Operation) -> Answer:
        preferred = dict(_PREFERRED.findall(call.headers.get("prefer", "")))
        status, response = self._response(operation, preferred.get("code", ""))
        seed = f"{call.digest}?{call.target.partition('?')[2]}"
        headers = dict(self._headers(response, seed))
        content = response.get("content", {})
        kind = next((name for name in content if name.partition(";")[0] == JSON or name.endswith("+json")), next(iter(content), ""))
        if not kind:
            return Answer(status, headers=headers)
        value = self._value(content[kind], preferred.get("example", ""), f"{seed}/{status}")
        is_json = "json" in kind
        body = value if isinstance(value, str) and not is_json else strict.dumps(value)
        return Answer(status, body.encode("utf-8", "replace"), JSON if kind == "*/*" else kind, headers)

    def _response(self, operation: Operation, code: str) -> tuple[int, dict[str, Any]]:
        responses = operation.responses
        if code and (code in responses or f"{code[:1]}XX" in responses) and code.isdigit():
            return int(code), responses.get(code) or responses[f"{code[:1]}XX"]
        for name in sorted(responses):
            if name.startswith("2") and len(name) == 3:
                return (int(name) if name.isdigit() else 200), responses[name]
        if "default" in responses:
            return 200, responses["default"]
        first = min((name for name in responses if name.isdigit() and int(name) >= 200), default="")
        return (int(first), responses[first]) if first else (200, {})

    def _headers(self, response: dict[str, Any], seed: str) -> Iterator[tuple[str, str]]:
        for name, one in response.get("headers", {}).items():
            header = self._schemas.resolve(one)
            if name.lower() in ("content-type", "content-length", "transfer-encoding", "connection"):
                continue
            value = self._value(header, "", f"{seed}/{name}")
            yield name, _UNSENDABLE.sub("?", value if isinstance(value, str) else strict.dumps(value))

    def _value(self, media: dict[str, Any], named: str, seed: str) -> Any:
        """The example that was asked for, the first there is, or a value of the schema."""
        examples = {name: self._schemas.resolve(one) for name, one in (media.get("examples") or {}).items()}
        chosen = examples.get(named) or next(iter(examples.values()), None)
        if "example" in media and named not in examples:
            return media["example"]
        if isinstance(chosen, dict) and "value" in chosen:
            return chosen["value"]
        schema: Schema = media.get("schema", True)
        try:
            return generate(self._schemas, schema, seed)
        except Impossible:
            raise Refused(500, "cannot_generate", "the document's schema asks for what could not be found: give it an example") from None


class Checking:
    """Checks requests and leaves the answer to whoever comes next."""

    def __init__(self, document: OpenApi) -> None:
        self._document = document

    async def answer(self, call: Call) -> Answer | None:
        """None, for what the document allows or does not know. Raises as `OpenApi.check`."""
        self._document.check(call)
        return None


class _Reader(yaml.SafeLoader):
    """YAML as JSON has it: no dates, and no `yes` or `off` for booleans."""


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("null", "int", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Reader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false|True|False"), list("tfTF"))


def _read(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{file}: more than {LARGEST} bytes")
    try:
        document = yaml.load(content, Loader=_Reader)  # noqa: S506  a safe loader
        document = strict.loads(strict.dumps(_with_text_keys(document)).encode())
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: cannot be read: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict) or not _VERSION.fullmatch(str(document.get("openapi", ""))):
        raise ValueError(f"{file}: no OpenAPI 3.0 or 3.1 document")
    if not isinstance(document.get("paths"), dict) or not all(isinstance(item, dict) for item in document["paths"].values()):
        raise ValueError(f"{file}: has no paths")
    return document


def _with_text_keys(value: Any) -> Any:
    """The document with its keys as text: YAML reads `200:` as a number."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(one) for key, one in value.items()}
    return [_with_text_keys(one) for one in value] if isinstance(value, list) else value
