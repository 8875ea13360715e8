"""The worst pairs, as they were kept: request, both answers, timings. They are redacted before they get here."""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.report import numbers
from shadowproxy.report.document import number
from shadowproxy.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.report.document import Subject

CASES: Final = 10
"""Examples on the page."""

BODY_LIMIT: Final = 4096
"""Characters of a body that are shown."""


def cases(subject: Subject) -> Markup:
    """Each example, folded up."""
    if not subject.exemplars:
        return tag("p", "No examples were kept, or none was asked for.")
    shown = [_case(one) for one in subject.exemplars[:CASES]]
    hint = tag(
        "p",
        "Values of secrets are pseudonyms. ",
        tag("code", "shadowproxy diff export ID --as curl"),
        " makes a request out of one.",
        class_="soft",
    )
    return Markup("".join([hint, *shown]))


def _case(exemplar: Mapping[str, Any]) -> Markup:
    request, live, shadow = (_part(exemplar, name) for name in ("request", "live", "shadow"))
    why = ", ".join(_why(one) for one in exemplar.get("why") or [] if isinstance(one, dict))
    line = f"{request.get('method', '')} {request.get('target', '')}"
    return tag(
        "details",
        tag("summary", tag("code", line), f" {_ending(live)} → {_ending(shadow)}"),
        tag("p", f"Kept for: {why}") if why else None,
        tag(
            "p",
            f"id {exemplar.get('id', '')}, trace {exemplar.get('trace', '')}, {numbers.moment(number(exemplar.get('at')))}",
            class_="soft",
        ),
        tag("div", "Request"),
        tag("pre", f"{line}\n{_message(request)}"),
        tag("div", tag("div", "Live", tag("pre", _message(live))), tag("div", "Shadow", tag("pre", _message(shadow))), class_="pair"),
        class_="case",
    )


def _part(exemplar: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = exemplar.get(name)
    return found if isinstance(found, dict) else {}


def _ending(answer: Mapping[str, Any]) -> str:
    last = number(answer.get("last_seconds"))
    return f"{answer.get('outcome', '')}" + ("" if last is None else f" after {numbers.duration(last)}")


def _why(reason: Mapping[str, Any]) -> str:
    ratio = number(reason.get("ratio"))
    said = str(reason.get("difference") or ("" if ratio is None else numbers.change(ratio)))
    return f"{reason.get('kind', '')} {reason.get('name', '')}" + (f" ({said})" if said else "")


def _message(part: Mapping[str, Any]) -> str:
    lines = [f"{one[0]}: {one[1]}" for one in part.get("headers") or [] if isinstance(one, (list, tuple)) and len(one) == 2]
    dropped = part.get("dropped")
    body = (
        f"(body left out: {dropped.get('reason', '')})" if isinstance(dropped, dict) and not part.get("body") else _body(part.get("body"))
    )
    cut = " (cut)" if part.get("cut") or len(body) > BODY_LIMIT else ""
    return "\n".join([*lines, "", body[:BODY_LIMIT] + cut]) if body else "\n".join(lines)


def _body(value: object) -> str:
    """A body as text: JSON and text as they are, base64 decoded where it is that, bytes that are no text by their number."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, indent=2, ensure_ascii=False)
    try:
        raw = b64decode(value, validate=True)
    except (Error, ValueError):
        return value
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return f"({numbers.count(len(raw))} bytes that are no text)"
    return text
