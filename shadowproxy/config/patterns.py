"""Regular expressions that are looked for in bodies: compiled when a config is read as they are when they are used.

They are run by the `regex` module (`experiments.expectations` says why), whose language is not quite that of `re`: what one accepts the other
may refuse. It writes counted repetitions out, so that a few nested ones, in twenty characters, take all memory there is; EXPANSION_LIMIT is
what a pattern may come to.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

import regex

from shadowproxy.config.addresses import Unfit

LENGTH_LIMIT: Final = 2000
"""Characters of one regular expression: those that people write are far shorter."""

EXPANSION_LIMIT: Final = 5_000
"""Characters that it comes to with its counted repetitions written out: compiled in some milliseconds, which workers spend too. An UUID comes to 36."""

_ITEM: Final = re.compile(
    r"""(?P<open>\()|(?P<close>\))|(?P<count>\{(?P<least>[0-9]*)(?:,(?P<most>[0-9]*))?\})|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.""", re.DOTALL
)


def compile_search(text: str) -> regex.Pattern[str]:
    """A pattern to search texts with.

    Raises:
        Unfit: it is none, or too large.
    """
    if len(text) > LENGTH_LIMIT:
        raise Unfit(f"the regular expression has {len(text)} characters, limit {LENGTH_LIMIT}")
    size = expansion(text)
    if size > EXPANSION_LIMIT:
        raise Unfit(f"the regular expression comes to {size:,} characters with its repetitions written out, limit {EXPANSION_LIMIT:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return regex.compile(text)
    except (regex.error, RecursionError, OverflowError, Warning) as error:
        raise Unfit(f"not a regular expression: {error}") from None


def check_search(text: str) -> None:
    """Accept what `compile_search` compiles."""
    compile_search(text)


def expansion(text: str) -> int:
    """How many characters a pattern comes to with its counted repetitions written out, at the most; of what is none, something.

    `a{3}` is 3, `(ab{2}){5}` is 15. Parentheses count for nothing, classes and escapes for one character.
    """
    sizes, last = [0], 0
    for found in _ITEM.finditer(text):
        if found["open"]:
            sizes.append(0)
            last = 0
        elif found["close"] and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif found["count"]:
            times = max(int(found["least"] or 0), int(found["most"] or 0), 1)
            sizes[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            sizes[-1] += 1
    return sum(sizes)
