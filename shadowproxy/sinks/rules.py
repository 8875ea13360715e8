"""Configured answers: which rule takes a request, and what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.sinks import AtEnd
from shadowproxy.sinks import latency, strict, templates
from shadowproxy.sinks.call import JSON, Answer
from shadowproxy.sinks.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from shadowproxy.config.sinks import Latency, SinkAnswer, SinkMatch, SinkRule
    from shadowproxy.sinks.call import Call

    Count = Callable[[str, str], int]
    """Gives the next number, from 1, of a tenant's counter."""

TEXT: Final = "text/plain; charset=utf-8"
BODY_SEARCHED: Final = 65536
"""Bytes of a body that a rule's regular expression is looked for in."""

_UNSENDABLE: Final = re.compile(r"[^\x20-\x7e]")


class Scripted:
    """A configured answer, compiled.

    Args:
        answer: as configured.
        sink: the sink's name.
        default: the sink's latency.
        random: for latencies.
    """

    def __init__(self, answer: SinkAnswer, sink: str, default: Latency | None, random: Random) -> None:
        self._answer = answer
        self._sink = sink
        self._latency = answer.latency or default
        self._random = random
        self._json = templates.compile_value(answer.json)
        self._text = templates.compile_value(answer.text)
        self._headers = {name: templates.compile_value(value) for name, value in answer.headers.items()}
        is_fixed = self._json == answer.json and self._text == answer.text and self._headers == answer.headers
        self._fixed = self._written(answer.json, answer.text) if is_fixed else None

    def answer(self, call: Call, captured: Mapping[str, str], count: Count) -> Answer:
        """What `call` is told.

        Args:
            call: the request.
            captured: named segments of its path.
            count: counters of the sink.

        Raises:
            Refused: the answer would be too large.
        """
        latency_s = latency.draw(self._latency, self._random)
        if self._fixed is not None:
            body, kind = self._fixed
            return Answer(self._answer.status, body, kind, self._answer.headers, latency_s)
        filling = templates.Filling(call, self._sink, captured, lambda name: count(call.tenant, f"counter.{name}"))
        body, kind = self._written(templates.fill(self._json, filling), templates.fill_text(self._text, filling))
        headers = {name: _UNSENDABLE.sub("?", templates.fill_text(value, filling)).strip() for name, value in self._headers.items()}
        return Answer(self._answer.status, body, kind, headers, latency_s)

    def _written(self, json: Any, text: str) -> tuple[bytes, str]:
        if self._answer.json is not None:
            return strict.dumps(json).encode(), JSON
        return text.encode("utf-8", "replace"), TEXT if text else ""


class Rule:
    """A match, and one answer or a sequence of them."""

    def __init__(self, rule: SinkRule, index: int, sink: str, default: Latency | None, random: Random) -> None:
        match = rule.match
        self._match = match
        self._pattern = compile_pattern(match.path) if match.path else None
        self._headers = {name.lower(): value for name, value in match.headers.items()}
        self._body = re.compile(match.body.encode()) if match.body else None
        self._answers = [Scripted(answer, sink, default, random) for answer in rule.sequence or (rule.respond,)]
        self._is_loop = rule.at_end is AtEnd.LOOP
        self._position = f"sequence.{index}"

    def answer(self, call: Call, count: Count) -> Answer | None:
        """What `call` is told, or None when it is not of this rule. Raises as `Scripted.answer`."""
        captured = self._captured(call)
        if captured is None or not self._holds(call, self._match):
            return None
        if len(self._answers) == 1:
            return self._answers[0].answer(call, captured, count)
        at = count(call.tenant, self._position) - 1
        last = len(self._answers) - 1
        return self._answers[at % (last + 1) if self._is_loop else min(at, last)].answer(call, captured, count)

    def _captured(self, call: Call) -> dict[str, str] | None:
        return {} if self._pattern is None else self._pattern.match(call.segments)

    def _holds(self, call: Call, match: SinkMatch) -> bool:
        return (
            (not match.methods or call.method in match.methods)
            and all(name in call.query and value in ("*", call.query[name]) for name, value in match.query.items())
            and all(name in call.headers and value in ("*", call.headers[name]) for name, value in self._headers.items())
            and (match.json is None or contains(call.json_or_none, match.json))
            and (self._body is None or self._body.search(call.body[:BODY_SEARCHED]) is not None)
        )


def contains(document: Any, wanted: Any) -> bool:
    """Whether `document` has every member that `wanted` has; what is no object must be equal, and of the same type."""
    if isinstance(wanted, dict):
        return isinstance(document, dict) and all(name in document and contains(document[name], value) for name, value in wanted.items())
    return document == wanted and isinstance(document, bool) == isinstance(wanted, bool)
