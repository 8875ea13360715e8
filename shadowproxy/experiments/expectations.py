"""Whether answers to units with the fault look as the experiment expects: a fallback, and not an error.

A sample of answers is looked at (`Sample` of what workers report). Each has one of three ends: the expectation holds, it does not, or
nobody can say, because the body has a content coding that cannot be undone or ends before what is asked could be seen. What
nobody can say is counted apart, and never as a success or a failure.

Bodies come from services and patterns from people, and either can make a backtracking search take hours. So patterns are run by
the `regex` module, which knows re's language, gives up after SEARCH_S and lets other threads run meanwhile, which re cannot. An engine of
linear time (RE2) would need no deadline, but has no lookahead, and "an answer without the word error" needs one. After
TOO_SLOW searches were given up the pattern is not run again.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.declare import NOT_GIVEN
from shadowproxy.config.patterns import compile_search
from shadowproxy.errors import Unreadable
from shadowproxy.experiments.jsonpath import ABSENT, parse
from shadowproxy.redaction.codings import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowproxy.config.experiment import Expectation

DECODED_BYTES: Final = 1024 * 1024
"""Bytes of a decoded body that are looked at: a sample has at most 64 KiB, which a coding may make a thousand times larger."""

SEARCH_S: Final = 0.05
"""Seconds for one search of a regular expression."""

TOO_SLOW: Final = 5
"""Searches that may be given up before the pattern is not run any more."""

NOT_MODIFIED: Final = 304
"""Has no body, whatever the answer would be (RFC 9110 section 15.4.5): nothing can be said of one."""

_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.-]{1,40})", re.IGNORECASE | re.ASCII)
_KNOWN: Final = re.compile(
    r"utf-?8|utf-?16(le|be)?|us-ascii|ascii|iso-?8859-[0-9]{1,2}|latin-?1|windows-125[0-8]|koi8-[ru]|shift_jis|euc-jp|gb18030|gbk|big5"
)


class Predicate:
    """One expectation, ready to be asked of answers.

    Args:
        expectation: of an experiment.

    Raises:
        ValueError: its path or its regular expression is none.
    """

    def __init__(self, expectation: Expectation) -> None:
        self.route = expectation.route
        self.given_up = 0
        """Searches that took longer than SEARCH_S."""
        self._statuses = frozenset(expectation.status)
        self._contains = expectation.contains
        self._path = parse(expectation.json) if expectation.json else None
        self._equals = expectation.equals
        self._pattern = compile_search(expectation.regex) if expectation.regex else None

    @property
    def asks_bodies(self) -> bool:
        """Whether anything but the status is asked."""
        return bool(self._contains or self._pattern or self._path)

    @property
    def problem(self) -> str:
        """Why it says of no answer any more whether it holds, or an empty text."""
        if self.given_up < TOO_SLOW:
            return ""
        return f"the regular expression took longer than {SEARCH_S:g} s for {self.given_up} answers, and is not run any more"

    def holds(self, sample: Mapping[str, Any]) -> bool | None:
        """Whether the answer is what is expected; None when nobody can say. Takes SEARCH_S and some milliseconds at the most.

        Args:
            sample: {status (0: there was no whole answer), headers: [[name, value], ...], body: base64, cut: whether the body is longer}.
        """
        status = int(sample["status"])
        if not status:
            return False
        if status not in self._statuses if self._statuses else status >= 500:
            return False
        if not self.asks_bodies:
            return True
        if status == NOT_MODIFIED:
            return None
        is_cut = bool(sample.get("cut"))
        headers = sample.get("headers", ())
        try:
            body = decode(
                base64.b64decode(sample.get("body", ""), validate=True), _field(headers, "content-encoding"), DECODED_BYTES, is_cut=is_cut
            )
        except (Unreadable, binascii.Error):
            return None
        answers = []
        if self._contains or self._pattern is not None:
            text = _text(body, _field(headers, "content-type"))
            answers += [self._has_text(text, is_cut=is_cut), self._has_match(text, is_cut=is_cut)]
        if self._path is not None:
            answers.append(self._has_value(body, is_cut=is_cut))
        return False if False in answers else None if None in answers else True

    def _has_text(self, text: str | None, *, is_cut: bool) -> bool | None:
        if not self._contains:
            return True
        if text is None:
            return None
        return True if self._contains in text else None if is_cut else False

    def _has_match(self, text: str | None, *, is_cut: bool) -> bool | None:
        if self._pattern is None:
            return True
        if text is None or self.given_up >= TOO_SLOW:
            return None
        try:
            found = self._pattern.search(text, timeout=SEARCH_S, concurrent=True)
        except (TimeoutError, MemoryError):
            self.given_up += 1
            return None
        if is_cut:
            # What is found at the very end may have been found only because the text ends there.
            return True if found is not None and found.end() < len(text) else None
        return found is not None

    def _has_value(self, body: bytes, *, is_cut: bool) -> bool | None:
        assert self._path is not None
        if is_cut:
            return None
        try:
            document = json.loads(body, parse_constant=_no_json)
        except RecursionError:
            return None
        except ValueError:
            return False
        found = self._path.find(document)
        if self._equals is NOT_GIVEN:
            return bool(found) and not any(value is ABSENT or value is None for value in found)
        return bool(found) and all(is_same(value, self._equals) for value in found)


class Expectations:
    """All expectations of a run, and how many of the answers that were looked at they held for. One thread at a time.

    Args:
        expectations: of the experiment, in its order.

    Raises:
        ValueError: one cannot be compiled; `expect[1]: ...`.
    """

    def __init__(self, expectations: Sequence[Expectation]) -> None:
        self._predicates: list[Predicate] = []
        for index, expectation in enumerate(expectations):
            try:
                self._predicates.append(Predicate(expectation))
            except ValueError as error:
                raise ValueError(f"expect[{index}]: {error}") from None
        self._held = [0] * len(self._predicates)
        self._looked_at = [0] * len(self._predicates)
        self._unknown = [0] * len(self._predicates)

    def __len__(self) -> int:
        return len(self._predicates)

    def __repr__(self) -> str:
        return f"<Expectations {self.counts()} unknown={self.unknown()}>"

    def add(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Look at `samples`, each with the expectations of its route. One that is malformed is nobody's to judge: unknown."""
        for sample in samples:
            for index, predicate in enumerate(self._predicates):
                if sample.get("route") != predicate.route:
                    continue
                try:
                    holds = predicate.holds(sample)
                except (KeyError, TypeError, ValueError):
                    holds = None
                if holds is None:
                    self._unknown[index] += 1
                else:
                    self._looked_at[index] += 1
                    self._held[index] += holds

    def counts(self) -> dict[str, list[int]]:
        """{index of the expectation: [answers for which it held, answers of which that could be said]} since the run began."""
        return {str(index): list(pair) for index, pair in enumerate(zip(self._held, self._looked_at, strict=True))}

    def unknown(self) -> dict[str, int]:
        """{index of the expectation: answers of which nobody can say} since the run began."""
        return {str(index): count for index, count in enumerate(self._unknown)}

    def problems(self) -> dict[str, str]:
        """{index of the expectation: why it cannot be judged any more}."""
        return {str(index): predicate.problem for index, predicate in enumerate(self._predicates) if predicate.problem}


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0 and is not true, and the order of members says nothing."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def _field(headers: Iterable[Sequence[str]], name: str) -> str:
    """All values of a field, as one list (RFC 9110 section 5.3)."""
    return ", ".join(str(value) for key, value in headers if str(key).lower() == name)


def _text(body: bytes, content_type: str) -> str | None:
    """`body` in the charset that it says, UTF-8 if it says none; None when that is one we do not know."""
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else "utf-8"
    # Python knows codecs that take quadratic time, and some that are no charsets: only those of the web are used.
    return body.decode(charset, "replace") if _KNOWN.fullmatch(charset) else None


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
