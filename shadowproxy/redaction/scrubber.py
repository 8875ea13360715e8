"""Takes the secrets out of one captured pair, or of one request that is sent on (sendable).

Three passes over everything in the capture: what is secret by its name or place; what is
secret by its form; and then, everywhere, what one of the first two has found anywhere. A capture
leaves with pseudonyms in the places of secrets and is otherwise as it came, with these differences:

- A body with a content coding is decoded: `body` is what the coding held, and `decoded` names the codings that were undone.
- A body in which secrets cannot be looked for is not kept: `body` is empty, and `dropped` has its length, its keyed digest and the reason.
- What is not part of the documented shape is left out.

Never raises: what goes wrong costs the part where it happens.
"""

from __future__ import annotations

import base64
import copy
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NewType

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.bodies import scrub_body
from shadowproxy.redaction.codings import decode
from shadowproxy.redaction.echoes import Needle, is_clean, needles, present, scrub_echoes
from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.fieldlines import is_framing, scrub_field, scrub_target
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.sendable import Sendable, sendable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.redaction.rules import Rules

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body, decoded: looking through more would take longer than a capture is worth."""

HEADERS_LIMIT: Final = 500
VALUE_LIMIT: Final = 64 * 1024

REDACTED: Final = "[redacted]"
"""In the place of a header value or target that could not be looked through."""

ARMS: Final = ("live", "shadow", "control")

_WORD: Final = re.compile(r"[\w.:/ -]{1,200}")
_TRACE: Final = re.compile(r"[0-9a-fA-F-]{0,64}")
_METHOD: Final = re.compile(r"[A-Za-z!#$%&'*+.^_`|~-]{1,32}")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")

Plain = dict[str, Any]

Scrubbed = NewType("Scrubbed", dict[str, Any])
"""A capture that went through a Scrubber: what is kept or shown takes no other."""


class Scrubber:
    """Takes secrets out of captures. Safe to use from several threads; holds no state but its key.

    Args:
        rules: which names are secret.
        key: of the pseudonyms, from `load_key`.
        body_limit: bytes of a decoded body that are looked through.
    """

    def __init__(self, rules: Rules, key: bytes, *, body_limit: int = BODY_LIMIT) -> None:
        self.rules = rules
        self._pseudonyms = Pseudonyms(key)
        self._body_limit = body_limit

    def scrub(self, capture: Plain) -> Scrubbed:
        """`capture` without secrets; the argument is not changed. Never raises."""
        try:
            return Scrubbed(_Capture(self._findings(), self._body_limit).scrubbed(capture))
        except Exception:  # noqa: BLE001 whatever is wrong with it, nothing unredacted may pass, and the rest of the work goes on
            return Scrubbed(_Capture(self._findings(), 0).skeleton(capture))

    def under(self, rules: Rules) -> Scrubber:
        """The scrubber with other rules and the same key."""
        changed = copy.copy(self)
        changed.rules = rules
        return changed

    def header(self, name: str, value: str) -> str:
        """One header value without secrets; for places that have no whole capture. Never raises."""
        return _safely(value, lambda text: scrub_field(name, text, self._findings())).applied()

    def target(self, target: str) -> str:
        """A request target without secrets; for places that have no whole capture. Never raises."""
        return _safely(target, lambda text: scrub_target(text, self._findings())).applied()

    def sendable(self, request: Sendable) -> Sendable:
        """A request without secrets, to be sent on.

        Raises:
            Unreadable: it cannot be told what is secret in it.
        """
        try:
            return sendable(request, self._findings(), self._body_limit)
        except Unreadable:
            raise
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, nothing unredacted may pass
            raise Unreadable(f"redaction failed: {type(error).__name__}") from None

    def _findings(self) -> Findings:
        return Findings(self.rules, self._pseudonyms)


class _Capture:
    """One capture on its way through the passes."""

    def __init__(self, findings: Findings, body_limit: int) -> None:
        self._findings = findings
        self._body_limit = body_limit
        self._needles: list[Needle] = []

    def scrubbed(self, capture: Plain) -> Plain:
        facts = self._facts(capture)
        arms = [arm for arm in ARMS if isinstance(capture.get(arm), dict)]
        messages: dict[str, _Message] = {}
        for name in ("request", *arms):
            if isinstance(capture.get(name), dict):
                messages[name] = _Message(capture[name], self._findings, self._body_limit)
            if name == "live":
                self._findings.settle()
        texts = [value for value in facts.values() if isinstance(value, str)]
        texts += [text for message in messages.values() for text in message.texts()]
        self._needles = present(needles(self._findings), texts)
        result = {name: self._word(value) if isinstance(value, str) else value for name, value in facts.items()}
        for name, message in messages.items():
            result[name] = message.result(self._needles)
        return result

    def skeleton(self, capture: Plain) -> Plain:
        """What is left when the passes fail: who and when, and nothing of what was said."""
        try:
            facts = self._facts(capture)
            for name in ("request", *ARMS):
                if isinstance(capture.get(name), dict):
                    facts[name] = {**_numbers(capture[name]), "headers": [], "body": "", "dropped": _dropped("redaction failed", 0, "")}
        except Exception:  # noqa: BLE001 a capture that is no capture at all
            return {}
        request = facts.get("request")
        if isinstance(request, dict):
            request |= {"method": REDACTED, "target": REDACTED}
        return facts

    def _facts(self, capture: Plain) -> Plain:
        facts: Plain = {}
        for name, pattern in (("id", _WORD), ("mirror", _WORD), ("trace", _TRACE)):
            value = capture.get(name)
            if isinstance(value, str):
                facts[name] = value if pattern.fullmatch(value) else REDACTED
        if isinstance(capture.get("at"), int | float):
            facts["at"] = capture["at"]
        return facts

    def _word(self, value: str) -> str:
        edits = Edits(value) if value.isascii() else Edits(REDACTED)
        scrub_echoes(edits, [needle for needle in self._needles if len(needle.stands) > 16], self._findings)
        return edits.applied()


class _Message:
    """The request or an answer: first and second pass when made, third pass for the result."""

    def __init__(self, message: Plain, findings: Findings, body_limit: int) -> None:
        self._findings = findings
        self._facts = _numbers(message)
        self._target: Edits | None = None
        self._fields: list[tuple[str, Edits]] = []
        self._body: Edits | None = None
        self._extra: Plain = {}
        if "method" in message:
            method = message["method"]
            self._facts["method"] = method if isinstance(method, str) and _METHOD.fullmatch(method) else REDACTED
        if "target" in message:
            self._target = _safely(str(message["target"]), lambda text: scrub_target(text, findings))
        headers = [(str(name), str(value)) for name, value in message.get("headers") or ()]
        for name, value in headers[:HEADERS_LIMIT]:
            self._fields.append((name, _safely(value, partial(_field, name, findings))))
        self._read_body(message, headers, body_limit)

    def texts(self) -> list[str]:
        """All that would be kept after the second pass."""
        edits = [edits for edits in (self._target, self._body, *(edits for _, edits in self._fields)) if edits is not None]
        return [*(one.applied() for one in edits), *(name for name, _ in self._fields)]

    def result(self, wanted: list[Needle]) -> Plain:
        """The message without secrets, known ones included."""
        result = dict(self._facts)
        if self._target is not None:
            result["target"] = self._swept(self._target, wanted, is_query=True)
        result["headers"] = [self._line(name, edits, wanted) for name, edits in self._fields]
        if self._body is not None:
            before = self._body.text
            swept = self._swept(self._body, wanted)
            if swept == REDACTED:
                self._drop(before.encode("latin-1"), "a secret could not be taken out")
                swept = ""
            result["body"] = base64.b64encode(swept.encode("latin-1")).decode()
        else:
            result["body"] = ""
        return {**result, **self._extra}

    def _line(self, name: str, edits: Edits, wanted: list[Needle]) -> list[str]:
        value = edits.text if is_framing(name, edits.text) else self._swept(edits, wanted)
        if not _NAME.fullmatch(name) or (wanted and not is_clean(name, [needle for needle in wanted if not needle.is_bounded])):
            return [REDACTED, REDACTED]
        return [name, value]

    def _swept(self, edits: Edits, wanted: list[Needle], *, is_query: bool = False) -> str:
        try:
            if not wanted:
                return edits.applied()
            scrub_echoes(edits, wanted, self._findings, is_query=is_query)
            text = edits.applied()
            # A replacement may bring pieces of a secret together.
            return text if is_clean(text, wanted) else REDACTED
        except Exception:  # noqa: BLE001 what cannot be looked through is not kept
            return REDACTED

    def _read_body(self, message: Plain, headers: list[tuple[str, str]], limit: int) -> None:
        raw = b""
        try:
            raw = base64.b64decode(message.get("body") or "", validate=True)
            if not raw:
                return
            codings = ",".join(value for name, value in headers if name.lower() == "content-encoding")
            kind = next((value for name, value in headers if name.lower() == "content-type"), "")
            is_cut = bool(message.get("cut"))
            plain = decode(raw, codings, limit, is_cut=is_cut)
            self._body = scrub_body(plain, kind, self._findings, is_cut=is_cut)
            undone = [name.strip().lower() for name in codings.split(",") if name.strip().lower() not in {"", "identity"}]
            if undone:
                self._extra["decoded"] = undone
        except Unreadable as error:
            self._drop(raw, str(error))
        except Exception:  # noqa: BLE001 what cannot be looked through is not kept
            self._drop(raw, "redaction failed")

    def _drop(self, raw: bytes, reason: str) -> None:
        self._body = None
        self._extra["dropped"] = _dropped(reason, len(raw), self._findings.digest(raw))


def _numbers(message: Plain) -> Plain:
    """What a message has beside its text."""
    facts: Plain = {}
    for name in ("first_ns", "last_ns"):
        if name in message:
            facts[name] = message[name] if isinstance(message[name], int) else None
    outcome = message.get("outcome")
    if isinstance(outcome, str | int):
        facts["outcome"] = str(outcome) if re.fullmatch(r"[a-z0-9_]{1,40}", str(outcome)) else REDACTED
    facts["cut"] = bool(message.get("cut"))
    return facts


def _dropped(reason: str, length: int, digest: str) -> Plain:
    return {"reason": reason, "bytes": length, "digest": digest}


def _is_latin(text: str) -> bool:
    return text.isascii() or max(text) < "\u0100"


def _field(name: str, findings: Findings, value: str) -> Edits:
    return scrub_field(name, value, findings)


def _safely(text: str, scrub: Callable[[str], Edits]) -> Edits:
    """What `scrub` makes of one short text; nothing of the text when it fails."""
    try:
        return scrub(text) if len(text) <= VALUE_LIMIT and _is_latin(text) else Edits(REDACTED)
    except Exception:  # noqa: BLE001 what cannot be looked through is not kept
        return Edits(REDACTED)
