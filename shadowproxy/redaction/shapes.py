"""Secrets that their form gives away, wherever they stand.

Each shape has the markers without which it cannot occur, so that a text costs a
substring search a shape and a regular expression only where there is a chance. All
expressions are anchored or bounded: none backtracks over more than its own length.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.redaction.pseudonyms import is_luhn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.redaction.rules import Rules


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of a secret.

    `name` is what `keep` calls it; the secret is group 1 of `pattern`, and is one only when `is_one` agrees.
    """

    name: str
    markers: tuple[str, ...]
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool] = bool
    is_pair: bool = False
    """The secret is `user:password`, and each is one by itself."""


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    return is_luhn(digits) and len(set(digits)) > 1


def _is_token(text: str) -> bool:
    """Whether what follows `Bearer` is a token and not the next word of a sentence."""
    return len(text) >= 20 or not text.strip(".,=").isalpha()


def _is_pair(text: str) -> bool:
    """Whether what follows `Basic` is a user and a password in base64."""
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return False


def _keys(*pieces: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])({'|'.join(pieces)})", re.ASCII)


PRIVATE_KEYS: Final = Shape(
    "private_key",
    ("PRIVATE KEY",),
    re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(.*?)(?=-----END |\Z)", re.DOTALL),
)
"""Looked for before anything else: it spans lines, and may contain what looks like other things."""

_SHAPES: Final = (
    Shape("jwt", ("eyJ",), re.compile(r"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4})")),
    Shape(
        "api_key",
        ("_live_", "_test_", "whsec_", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AKIA", "ASIA", "AIza", "ya29.", "GOCSPX-", "SG.", "npm_", "pypi-", "hf_", "dop_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "hooks."),
        _keys(
            r"(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{8,}", r"whsec_[A-Za-z0-9+/=]{16,}", r"sk-[A-Za-z0-9_-]{16,}", r"gh[pousr]_[A-Za-z0-9]{16,}",
            r"github_pat_[A-Za-z0-9_]{16,}", r"glpat-[A-Za-z0-9_-]{16,}", r"xox[abeoprs]-[A-Za-z0-9-]{8,}", r"(?:AKIA|ASIA)[A-Z0-9]{16}", r"AIza[A-Za-z0-9_-]{30,}",
            r"ya29\.[A-Za-z0-9_-]{16,}", r"GOCSPX-[A-Za-z0-9_-]{16,}", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", r"npm_[A-Za-z0-9]{30,}", r"pypi-[A-Za-z0-9_-]{16,}",
            r"hf_[A-Za-z0-9]{20,}", r"dop_v1_[a-f0-9]{32,}", r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{24,}", r"hooks\.slack\.com/services/[A-Za-z0-9/]{10,}",
        ),
    ),
    Shape("bearer", ("earer", "EARER"), re.compile(r"\b(?:bearer)[ :]{1,3}([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE), _is_token),
    Shape("bearer", ("asic ", "ASIC "), re.compile(r"\b(?:basic) +([A-Za-z0-9+/_-]{6,}={0,2})", re.IGNORECASE), _is_pair),
    Shape("userinfo", ("://",), re.compile(r"://([^\s/?#\"'<>@\\]{1,512})@"), is_pair=True),
    Shape(
        "email_shape",
        ("@",),
        re.compile(r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9._%+-]{1,64}+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9])"),
    ),
    Shape("card_shape", (), re.compile(r"(?<![\w.,-])([3-6][0-9]{3}(?:[ -]?[0-9]){8,15})(?![\w]|[.,-][0-9])", re.ASCII), _is_card),
)  # fmt: skip


def shapes(rules: Rules) -> tuple[Shape, ...]:
    """The shapes that are looked for under `rules`."""
    return tuple(shape for shape in _SHAPES if not rules.is_kept(shape.name))


def found(shape: Shape, text: str) -> Iterator[tuple[int, int]]:
    """The places of the secrets of one shape."""
    for marker in shape.markers:
        if marker in text:
            break
    else:
        if shape.markers:
            return
    for match in shape.pattern.finditer(text):
        if not match[1] or not shape.is_one(match[1]):
            continue
        start, end = match.span(1)
        if shape.is_pair:
            colon = match[1].find(":") if ":" in match[1] else len(match[1])
            yield start, start + colon
            start += colon + 1
        if start < end:
            yield start, end
