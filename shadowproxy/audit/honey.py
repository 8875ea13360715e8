"""Honey tokens: text that is found nowhere in the world but where a probe has got to.

Each probe carries its own token in every part of it that may be stored: a token says which probe it belongs to
and where it stood. Letters and digits only, so that it comes through URL, JSON and form encodings unchanged; upper and lower
case count as the same. What hashes, encrypts or encodes (base64) what it stores hides a token too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

PLACES: Final = {"h": "a header", "q": "the query", "p": "the path", "b": "the body"}
"""Where a token stood, by the letter at its end."""

MOST: Final = 0x10000
"""Probes of one run that can be told apart."""

_RUN: Final = re.compile(r"[0-9a-f]{10}")
_TRACE: Final = re.compile(r"7e57[0-9a-f]{10}0{14}[0-9a-f]{4}")
_ANY: Final = re.compile(r"honey[0-9a-f]{10}x[0-9a-f]{4}[hqpb]", re.IGNORECASE)


def is_of_an_audit(trace: str) -> bool:
    """Whether a trace id looks like that of some run's probe, which may be another's."""
    return _TRACE.fullmatch(trace) is not None


def hidden(text: str) -> str:
    """A text that reads alike in every run: tokens as `{{honey}}`."""
    return _ANY.sub("{{honey}}", text)


class Found(NamedTuple):
    """A token that was found: of which probe, and where in it it stood."""

    probe: int
    place: str


@dataclass(frozen=True, slots=True)
class Honey:
    """The tokens of one run.

    Args:
        run: 10 lower-case hexadecimal digits, which no other run has.
    """

    run: str

    def __post_init__(self) -> None:
        if _RUN.fullmatch(self.run) is None:
            raise ValueError(f"{self.run!r} is not 10 hexadecimal digits")

    @property
    def prefix(self) -> str:
        """What all tokens of the run begin with."""
        return f"honey{self.run}x"

    @property
    def pattern(self) -> str:
        """A regular expression of a token, in lower case, as Python and PostgreSQL read it."""
        return f"{self.prefix}[0-9a-f]{{4}}[{''.join(PLACES)}]"

    def token(self, probe: int, place: str) -> str:
        """The token of a probe (from 0, below MOST) for one of PLACES."""
        assert place in PLACES
        return f"{self.prefix}{probe:04x}{place}"

    def trace(self, probe: int) -> str:
        """The trace id of a probe: 32 hexadecimal digits."""
        return f"7e57{self.run}{probe:018x}"

    def of_trace(self, trace: str) -> int | None:
        """The probe that a trace belongs to; None for traces of others."""
        return int(trace[14:], 16) if trace[:14] == f"7e57{self.run}" else None

    def find(self, text: str) -> set[Found]:
        """The tokens in a text."""
        return {self.read(token) for token in re.findall(self.pattern, text, re.IGNORECASE)}

    def read(self, token: str) -> Found:
        """What a token that `pattern` has found says."""
        return Found(int(token[-5:-1], 16), token[-1].lower())
