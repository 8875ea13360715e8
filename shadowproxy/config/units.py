"""Numbers with units, as people write them: durations, sizes and percentages.

    duration   150ms  5s  2m  1h  1h30m  250us     a bare number is seconds
    size       64KiB  1MiB  2GiB  10kB  5MB  100B  a bare number is bytes
    percent    25  0.001  "25%"                    from 0 to 100, to a thousandth

Each function takes what a file can hold (a number or a string) and returns the number in the
unit of the model, or raises ValueError with a sentence that says what was expected.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

LONGEST_S: Final = 365 * 86400
"""A year: a longer timeout is a typing error."""

LARGEST_BYTES: Final = 2**50

_DURATION_UNITS: Final = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_SIZE_UNITS: Final = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
DURATION_PATTERN: Final = rf"(?:{_NUMBER}(?:us|ms|s|m|h|d))+"
SIZE_PATTERN: Final = rf"{_NUMBER} ?(?:B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)"
PERCENT_PATTERN: Final = rf"{_NUMBER} ?%"

_DURATION_PART: Final = re.compile(rf"({_NUMBER})(us|ms|s|m|h|d)")
_DURATION: Final = re.compile(DURATION_PATTERN)
_SIZE: Final = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")
_PERCENT: Final = re.compile(PERCENT_PATTERN)


def read_seconds(value: object) -> float:
    """Return a duration in seconds, from 0 to a year.

    Raises:
        ValueError: `value` is not a number or a string like `150ms`, `5s`, `1h30m`.

    """
    if isinstance(value, str) and _DURATION.fullmatch(value):
        seconds = float(sum(Decimal(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(value)))
    elif _is_number(value):
        seconds = float(value)  # type: ignore[arg-type]
    else:
        raise ValueError(f"expected a duration like 150ms, 5s or 1h30m, got {shown(value)}")
    if not 0 <= seconds <= LONGEST_S:
        raise ValueError(f"expected a duration from 0 to 365d, got {shown(value)}")
    return seconds


def read_size(value: object) -> int:
    """Return a number of bytes, from 0 to 1 PiB.

    Raises:
        ValueError: `value` is not a whole number or a string like `64KiB` or `10kB`.

    """
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None:
            raise ValueError(f"expected a size like 64KiB, 1MiB or 10kB, got {shown(value)}")
        number, unit = found.groups()
        if unit not in _SIZE_UNITS:
            meant = next((known for known in _SIZE_UNITS if known.lower() == unit.lower()), "")
            hint = f", did you mean {number}{meant}" if meant else ""
            raise ValueError(f"unknown size unit {unit!r}: use B, kB, MB, GB, KiB, MiB or GiB{hint}")
        exact = Decimal(number) * _SIZE_UNITS[unit]
        if exact != int(exact):
            raise ValueError(f"expected a whole number of bytes, got {shown(value)}")
        size = int(exact)
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"expected a size like 64KiB, 1MiB or 10kB, got {shown(value)}")  # noqa: TRY004  one exception for one meaning
    if not 0 <= size <= LARGEST_BYTES:
        raise ValueError(f"expected a size from 0 to 1024TiB, got {shown(value)}")
    return size


def read_percent(value: object) -> float:
    """Return a share from 0 to 100 with at most three decimals.

    Raises:
        ValueError: `value` is not such a number, or is finer than 0.001.

    """
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        exact = Decimal(value.rstrip(" %"))
    elif _is_number(value):
        exact = Decimal(repr(value))  # repr is the shortest decimal that gives this float: what was written
    else:
        raise ValueError(f"expected a percentage from 0 to 100, got {shown(value)}")
    if not 0 <= exact <= 100:
        raise ValueError(f"expected a percentage from 0 to 100, got {shown(value)}")
    if exact != exact.quantize(Decimal("0.001")):
        raise ValueError(f"a percentage is read to 0.001, got {shown(value)}")
    return float(exact)


def shown(value: object) -> str:
    """Return `value` as an error message shows it: its kind where that is the point, and never long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and value.bit_length() > 128:
        return "an enormous number"  # and one that int() may refuse to print
    text = repr(value) if isinstance(value, (str, int, float)) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return (isinstance(value, int) and value.bit_length() <= 128) or (isinstance(value, float) and math.isfinite(value))
