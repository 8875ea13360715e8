"""Numbers as people read them: few digits, a unit, and the sign where it matters.

`DASH` stands where there is no number.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import exp, inf, log10
from typing import Final

DASH: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
THIN: Final = "\N{NO-BREAK SPACE}"

_DURATIONS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def count(value: float | None) -> str:
    """`12,345`."""
    return DASH if value is None else f"{value:,.0f}"


def plain(value: float | None) -> str:
    """`12,345` or `0.0312`: a number of which nothing is known, with four significant digits."""
    if value is None:
        return DASH
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def duration(seconds: float | None, *, is_signed: bool = False) -> str:
    """`12.3 ms`: three significant digits, in the unit that fits."""
    if seconds is None:
        return DASH
    size = abs(seconds)
    unit, name = next(((unit, name) for unit, name in _DURATIONS if size >= unit * 0.9995), _DURATIONS[-1])
    return f"{_three(seconds / unit, is_signed=is_signed)}{THIN}{name}"


def round_duration(seconds: float) -> str:
    """`10 ms`: a tick of an axis, without zeros that say nothing."""
    text, _, unit = duration(seconds).partition(THIN)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{THIN}{unit}"


def span(seconds: float | None) -> str:
    """A length of time for people: `45 s`, `12 min`, `3.5 h`, `2 days`."""
    if seconds is None:
        return DASH
    if seconds < 90:
        return f"{max(1, round(seconds))}{THIN}s" if seconds >= 0.5 else f"under 1{THIN}s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f}{THIN}min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f}{THIN}h".replace(".0", "")
    return f"{seconds / 86400:.1f}{THIN}days".replace(".0", "")


def elapsed(seconds: float, longest: float) -> str:
    """A time since a beginning, as ticks of an axis up to `longest` show it: `30 s`, `2:30`, `1:05 h`."""
    whole = round(seconds)
    if longest < 120:
        return f"{seconds:g}{THIN}s"
    if longest < 2 * 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}{THIN}h"


def share(value: float | None, *, is_signed: bool = False) -> str:
    """`12.3 %` of a share from 0 to 1, with more digits for small ones."""
    if value is None:
        return DASH
    return f"{_percent(value * 100, is_signed=is_signed)}{THIN}%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return DASH if value is None else f"{_percent(value * 100, is_signed=True)}{THIN}pp"


def change(ratio: float | None) -> str:
    """A ratio as the change that it is: 1.052 is `+5.2 %`."""
    return DASH if ratio is None else share(ratio - 1, is_signed=True)


def between(interval: tuple[float | None, float | None] | list[float | None] | None, shown: object) -> str:
    """`lo to hi` with the function `shown`, a unit that both have said once; an end that is not bounded is said so."""
    assert callable(shown)
    if not interval or (interval[0] is None and interval[1] is None):
        return DASH
    low, high = interval[0], interval[1]
    if low is None:
        return f"below {shown(high)}"
    if high is None:
        return f"above {shown(low)}"
    (first, _, unit), (_, _, last_unit) = str(shown(low)).partition(THIN), str(shown(high)).partition(THIN)
    return f"{first if unit == last_unit else shown(low)} to {shown(high)}"


def odds(log_e: float | None) -> str:
    """An e-value out of its natural logarithm, as `20x` with a real times sign: how many times better one explanation did than the other."""
    if log_e is None:
        return DASH
    if log_e > 13.8:
        exponent = log_e / 2.302585092994046
        return f"10{_superscript(int(exponent))}{TIMES}"
    value = exp(max(log_e, -700.0))
    if value >= 99.5:  # below it two digits need no exponent
        return f"{float(f'{value:.2g}'):,.0f}{TIMES}"
    return f"{value:.2g}{TIMES}" if value >= 0.00095 else f"<0.001{TIMES}"


def moment(seconds: float | None) -> str:
    """A Unix time as `2026-01-31 12:34:56 UTC`."""
    return DASH if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def sentence(words: str) -> str:
    """`words` with a capital at its beginning."""
    return words[:1].upper() + words[1:]


def rfc3339(seconds: float) -> str:
    """A Unix time as RFC 3339 with seconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(seconds: float, style: str) -> str:
    """A Unix time as `style` (strftime) says, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime(style)


def _three(value: float, *, is_signed: bool = False) -> str:
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return _signed(f"{size:,.{digits}f}", value, is_signed=is_signed)


def _percent(value: float, *, is_signed: bool) -> str:
    size = abs(value)
    digits = 1 if size >= 9.995 else 2 if size >= 0.0995 or size == 0 else min(6, 1 - _exponent(size))
    text = f"{size:,.{digits}f}"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text, value, is_signed=is_signed)


def _exponent(size: float) -> int:
    return int(log10(size) // 1) if 0 < size < inf else 0


def _signed(text: str, value: float, *, is_signed: bool) -> str:
    is_zero = not any(digit in text for digit in "123456789")
    if is_zero:
        return text
    return (MINUS if value < 0 else "+" if is_signed else "") + text


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
