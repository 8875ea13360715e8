r"""Templates in the answers of sinks: text with places that a request fills in.

A place is an expression between double braces, `\{{` stands for two braces:

    {{tenant}} {{sink}} {{uuid}} {{now}} {{now.unix}} {{counter}} {{counter.NAME}}
    {{request.method}} {{request.path}} {{request.target}} {{request.text}}
    {{request.json}} {{request.json.customer.id}} {{request.json.lines[0].sku}} {{request.form.NAME}}
    {{request.query.NAME}} {{request.headers.NAME}}
    {{path.NAME}} {{path.1}}                        a part of the path by the rule's name for it, or by number from 1
    {{request.json.currency | "EUR"}}               a JSON value where there is none

Nothing is computed: an expression names a value, and there is nothing to call. Here they are only read;
`sinks.templates` fills them in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from shadowproxy.config.addresses import Unfit

MOST_PLACES: Final = 100
"""Places of one answer: what a request can make it grow by is bounded by this and the request."""

STEPS_LIMIT: Final = 16
"""Steps of one expression into a document."""

_PLACE: Final = re.compile(r"\\\{\{|\{\{(?P<inner>[^{}\n]{0,200}|[^{}\n]{0,200}\|[^\n]{0,200}?)\}\}|\{\{")
_NAME: Final = r"[A-Za-z0-9_$-]{1,64}"
_EXPRESSION: Final = re.compile(rf"(?P<source>[a-z]+(?:\.[a-z]+)?)(?P<steps>(?:\.{_NAME}|\[[0-9]{{1,6}}\])*)")
_STEP: Final = re.compile(rf"\.({_NAME})|\[([0-9]+)\]")

_PLAIN: Final = frozenset({"tenant", "sink", "uuid", "now", "now.unix", "request.method", "request.path", "request.target", "request.text"})
_NAMED: Final = frozenset({"path", "request.form", "request.query", "request.headers"})
_DEEP: Final = frozenset({"request.json"})
_SOURCES: Final = _PLAIN | _NAMED | _DEEP | {"counter"}


@dataclass(frozen=True, slots=True)
class Place:
    """One expression: where its value comes from, the steps into it, and the value where there is none."""

    source: str
    steps: tuple[str | int, ...] = ()
    default: Any = None
    has_default: bool = False


Template = tuple[str | Place, ...]
"""Text and places, in order; neighbouring texts are joined."""


def parse(text: str) -> Template:
    """Read a template.

    Raises:
        Unfit: something between double braces is no expression.
    """
    parts: list[str | Place] = []
    at = 0
    for found in _PLACE.finditer(text):
        if found.start() > at:
            parts.append(text[at : found.start()])
        at = found.end()
        if found[0].startswith("\\"):
            parts.append("{{")
        elif found["inner"] is None:
            raise Unfit(f"{text[found.start() : found.start() + 40]!r} does not end with }}}}; for two braces write \\{{{{")
        else:
            parts.append(_place(found["inner"]))
    if at < len(text):
        parts.append(text[at:])
    return _joined(parts)


def is_template(text: str) -> bool:
    """Whether a text has anything to fill in or to unescape."""
    return "{{" in text


def _joined(parts: list[str | Place]) -> Template:
    joined: list[str | Place] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _place(inner: str) -> Place:
    expression, bar, literal = inner.partition("|")
    source, steps = _read(expression.strip())
    if not bar:
        return Place(source, steps)
    try:
        default = json.loads(literal)
    except (ValueError, RecursionError):
        raise Unfit(f"what stands behind | is a JSON value, got {literal.strip()!r}") from None
    return Place(source, steps, default, has_default=True)


def _read(expression: str) -> tuple[str, tuple[str | int, ...]]:
    found = _EXPRESSION.fullmatch(expression)
    source, steps = (found["source"], found["steps"]) if found else ("", "")
    if source not in _SOURCES and "." in source:  # path.id, counter.orders: the name looks like part of the source
        source, _, name = source.partition(".")
        steps = f".{name}{steps}"
    if source not in _SOURCES:
        raise Unfit(f"{expression!r} names nothing; there are {', '.join(sorted(_SOURCES))}")
    read = tuple(name or int(index) for name, index in _STEP.findall(steps))
    least, most = (0, 0) if source in _PLAIN else (1, 1) if source in _NAMED else (0, 1) if source == "counter" else (0, STEPS_LIMIT)
    if not least <= len(read) <= most or (source not in _DEEP and any(isinstance(step, int) for step in read)):
        wanted = {(0, 0): "nothing follows it", (1, 1): "one name follows it", (0, 1): "one name may follow it"}.get((least, most))
        raise Unfit(f"{expression!r}: {wanted or f'at most {STEPS_LIMIT} steps follow it'}")
    return source, read
