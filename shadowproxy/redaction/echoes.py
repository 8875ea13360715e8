"""Known secrets that stand somewhere else: in an answer's body, a redirect, another field.

Each is looked for as it is, in any case, through escapes (percent, JSON, HTML, on top of
one another), in base64 at any alignment, and in hexadecimal digits.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.edits import readings
from shadowproxy.redaction.findings import ECHO_SHORTEST, percent_encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.redaction.edits import Edits
    from shadowproxy.redaction.findings import Findings

ANYWHERE: Final = 8
"""Bytes from which on a secret is looked for inside of words as well."""

HIDDEN: Final = 6
"""Bytes from which on a secret is looked for in base64 and hexadecimal digits."""

SEARCHES_LIMIT: Final = 100_000
"""Searches of one text: a few hundred are usual."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]")
_HEX: Final = re.compile(r"[0-9A-Fa-f]")


@dataclass(frozen=True, slots=True)
class Needle:
    """One spelling of a secret. `run` is what its surroundings are made of when it is hidden in something longer."""

    text: str
    stands: str
    is_bounded: bool = False
    is_exact: bool = False
    run: re.Pattern[str] | None = None


def needles(findings: Findings) -> list[Needle]:
    """Every spelling of every secret that is long enough to be looked for, the longest secret first."""
    result: list[Needle] = []
    for secret, stands in sorted(findings.secrets.items(), key=lambda item: -len(item[0])):
        if len(secret) < ECHO_SHORTEST or (len(secret) < HIDDEN and secret.isalpha()):
            continue
        lower = secret.lower()
        result.append(Needle(lower, stands, is_bounded=len(secret) < ANYWHERE))
        if " " in secret:
            result.append(Needle(lower.replace(" ", "+"), stands))
        if len(secret) >= HIDDEN:
            raw = secret.encode("latin-1")
            result.append(Needle(raw.hex(), stands, run=_HEX))
            for core in _cores(raw):
                result.append(Needle(core, stands, is_exact=True, run=_BASE64))
                if (other := core.replace("+", "-").replace("/", "_")) != core:
                    result.append(Needle(other, stands, is_exact=True, run=_BASE64))
    return result


def _cores(raw: bytes) -> Iterator[str]:
    """The base64 digits that `raw` alone decides, at each of the three alignments."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + raw).decode()
        yield coded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]


def present(wanted: list[Needle], texts: list[str]) -> list[Needle]:
    """Those of `wanted` that are in one of `texts`, in any reading; as a rule none is, and nothing more is to be done."""
    found: set[int] = set()
    for reading, _ in readings("\n".join(texts), 0):
        lower = reading.lower()
        found |= {at for at, needle in enumerate(wanted) if needle.text in (reading if needle.is_exact else lower)}
    return [wanted[at] for at in sorted(found)]


def scrub_echoes(edits: Edits, wanted: list[Needle], findings: Findings, *, is_query: bool = False) -> None:
    """Replace every occurrence of `wanted` in the gaps of `edits`.

    Raises:
        Unreadable: it would take too long.
    """
    gaps = edits.gaps()
    if len(gaps) * len(wanted) > SEARCHES_LIMIT:
        raise Unreadable(f"{len(wanted)} known secrets in {len(gaps)} places")
    for start, end in gaps:
        for text, back in edits.readings(start, end):
            lower = text.lower()
            for needle in wanted:
                for place in _places(needle, text, lower):
                    first, last = back(*place)
                    stands = needle.stands if needle.run is None else findings.again(text[place[0] : place[1]])
                    if is_query or "%" in edits.text[first:last]:
                        stands = percent_encoded(stands)
                    edits.add(first, last, stands.replace("\r", " ").replace("\n", " "))


def is_clean(text: str, wanted: list[Needle]) -> bool:
    """Whether no needle is in `text`, in any reading."""
    for reading, _ in readings(text, 0):
        lower = reading.lower()
        if any(next(_places(needle, reading, lower), None) is not None for needle in wanted):
            return False
    return True


def _places(needle: Needle, text: str, lower: str) -> Iterator[tuple[int, int]]:
    hay = text if needle.is_exact else lower
    at = hay.find(needle.text)
    while at >= 0:
        start, end = at, at + len(needle.text)
        if needle.run is not None:
            while start > 0 and needle.run.match(text, start - 1):
                start -= 1
            while end < len(text) and needle.run.match(text, end):
                end += 1
            yield start, end
        elif not needle.is_bounded or not (_is_word(text, start - 1) or _is_word(text, end)):
            yield start, end
        at = hay.find(needle.text, max(end, at + 1))


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")
