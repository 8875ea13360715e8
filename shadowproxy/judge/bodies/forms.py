"""What a value looks like: timestamps, ids, tokens, numbers in text.

A form says two things of a difference. Two values of the same volatile form differ for
reasons that are no fault (two clocks, two generators); two values of different forms
differ in kind, which is worse than another value of the same kind.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from decimal import Decimal

SAME_TIME_SECONDS: Final = 600.0
"""Two clocks that read the same request are no further apart. More than that is another time, not a later one."""

TEXT_LIMIT: Final = 512
"""Characters beyond which a string is looked at as text only."""


class Form(enum.StrEnum):
    """The form of a string."""

    EMPTY = "empty"
    TIMESTAMP = "timestamp"
    DATE = "date"
    UUID = "uuid"
    ULID = "ulid"
    HEX = "hex"
    TOKEN = "token"  # noqa: S105  # a word, no secret
    INTEGER = "integer"
    DECIMAL = "decimal"
    EMAIL = "email"
    URL = "url"
    ADDRESS = "address"
    BOOLEAN = "boolean"
    TEXT = "text"


IDS: Final = frozenset({Form.UUID, Form.ULID, Form.HEX, Form.TOKEN})
"""Forms that name things and mean nothing by themselves."""

_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?\s?(?:Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
_HTTP_DATE: Final = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (?:GMT|[+-]\d{4})", re.ASCII)
_FORMS: Final = (
    (Form.TIMESTAMP, _ISO),
    (Form.TIMESTAMP, _HTTP_DATE),
    (Form.DATE, re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)),
    (Form.UUID, re.compile(r"\{?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\}?", re.ASCII)),
    (Form.ULID, re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)),
    (Form.INTEGER, re.compile(r"[+-]?\d{1,40}", re.ASCII)),
    (Form.DECIMAL, re.compile(r"[+-]?\d{1,40}[.,]\d{1,40}(?:[eE][+-]?\d{1,3})?", re.ASCII)),
    (Form.HEX, re.compile(r'(?:W/)?"?(?=[^"]*\d)(?:0x)?[0-9a-fA-F]{12,}(?:-[0-9a-fA-F]{1,32}){0,4}"?', re.ASCII)),
    (Form.BOOLEAN, re.compile(r"true|false", re.ASCII | re.IGNORECASE)),
    (Form.EMAIL, re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}\.[^@\s.]{1,63}")),
    (Form.URL, re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|/)[^\s]*", re.ASCII | re.IGNORECASE)),
    (Form.ADDRESS, re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?", re.ASCII)),
    # A name with a prefix (ord_9fK2…), three dotted parts (a JWT), or a run of letters of both cases and digits.
    (Form.TOKEN, re.compile(r"(?=\S*\d)[a-z]{2,10}_[0-9A-Za-z]{8,}", re.ASCII)),
    (Form.TOKEN, re.compile(r"[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}", re.ASCII)),
    (Form.TOKEN, re.compile(r'"?(?=[^\s]*\d)(?=[^\s]*[a-z])(?=[^\s]*[A-Z])[0-9A-Za-z+/_=-]{16,}"?', re.ASCII)),
)

_VOLATILE: Final = re.compile(
    r"(?P<t>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)"
    r"|(?P<i>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
    r"|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{16,}\b)",
    re.ASCII,
)
_PATH_ID: Final = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|(?<![\w.])(?:[a-z]{2,10}_(?=\w*\d)[0-9A-Za-z]{6,}|(?=\w*\d)[0-9a-f]{12,}|\d+)(?![\w.])",
    re.ASCII,
)
_TIME_NAME: Final = re.compile(
    r"(?:^|[_-])(?:took|elapsed|duration|latency|uptime|runtime|response_?time|processing_?time|query_?time|render_?time|age|timing)(?:$|[_-](?:ms|us|ns|s|seconds|millis))",
    re.ASCII | re.IGNORECASE,
)
_ID_NAME: Final = re.compile(
    r"(?:^|[_-])(?:id|ids|uuid|guid|ref|reference|key|token|sid|cursor|etag|nonce|seq|sequence)$", re.ASCII | re.IGNORECASE
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])", re.ASCII)
_EPOCHS: Final[tuple[tuple[float, float, float], ...]] = ((1e9, 5e9, 1.0), (1e12, 5e12, 1e3), (1e15, 5e15, 1e6), (1e18, 5e18, 1e9))


def form_of(text: str) -> Form:
    """The form of a string."""
    if not text:
        return Form.EMPTY
    if len(text) > TEXT_LIMIT:
        return Form.TEXT
    for form, pattern in _FORMS:
        if pattern.fullmatch(text):
            return form
    return Form.TEXT


def moment(text: str) -> float | None:
    """The Unix time in seconds that a string of `Form.TIMESTAMP` names, one without a zone read as UTC; None when there is no such time."""
    try:
        if _HTTP_DATE.fullmatch(text):
            return parsedate_to_datetime(text).timestamp()
        written = text.replace(",", ".").replace(" UTC", "+00:00").replace("z", "Z")
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def is_clock_text(live: str, shadow: str) -> bool:
    """Whether both are times, and near enough to be two readings of a clock for the same request."""
    if form_of(live) is not Form.TIMESTAMP or form_of(shadow) is not Form.TIMESTAMP:
        return False
    one, other = moment(live), moment(shadow)
    return one is not None and other is not None and abs(one - other) <= SAME_TIME_SECONDS


def is_clock_number(live: int | Decimal, shadow: int | Decimal) -> bool:
    """Whether both are Unix times (in seconds, or thousandths, millionths, billionths) near to each other."""
    for least, most, per_second in _EPOCHS:
        if least <= live <= most and least <= shadow <= most:
            return abs(float(live) - float(shadow)) <= SAME_TIME_SECONDS * per_second
    return False


@lru_cache(maxsize=4096)
def is_duration_name(name: str) -> bool:
    """Whether a member called that says how long something took."""
    return _TIME_NAME.search(_CAMEL.sub("_", name)) is not None


@lru_cache(maxsize=4096)
def is_id_name(name: str) -> bool:
    """Whether a member called that names a thing: `id`, `order_id`, `orderId`, `customer-ref`."""
    return _ID_NAME.search(_CAMEL.sub("_", name)) is not None


def settled(text: str) -> str:
    """`text` with each time and each long id in it replaced by its form: what two renderings of one page have in common."""
    return _VOLATILE.sub(lambda match: "<time>" if match["t"] else "<id>", text)


def ids_in(live: str, shadow: str) -> tuple[tuple[str, str], ...]:
    """The ids by which two URLs or paths differ, in their order; nothing when they differ in more than ids."""
    if len(live) > TEXT_LIMIT or len(shadow) > TEXT_LIMIT or "/" not in live or " " in live:
        return ()
    if _PATH_ID.sub("<id>", live) != _PATH_ID.sub("<id>", shadow):
        return ()
    pairs = zip(_PATH_ID.findall(live), _PATH_ID.findall(shadow), strict=True)
    return tuple((one, other) for one, other in pairs if one != other)
