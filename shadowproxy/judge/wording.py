"""Numbers as people read them, for the sentences of a verdict."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def count(number: int, noun: str) -> str:
    """`1 pair`, `2,046 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def about(number: int) -> str:
    """Two significant digits: `2,100`. What is an estimate must not look like a measurement."""
    if number < 100:
        return f"{number}"
    size = 10 ** (floor(log10(number)) - 1)
    return f"{round(number / size) * size:,}"


def points(share: float, *, is_signed: bool = False) -> str:
    """A difference of shares in percentage points, without unit: `0.2`, `+1.83`."""
    value = share * 100
    text = f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"+{text}" if is_signed and value > 0 else text


def percent(share: float) -> str:
    """`2 %`, `99.9 %`."""
    return f"{share * 100:.6g} %"


def ratio(value: float) -> str:
    """`1.052`: three decimals, two from ten on."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}"


def span(interval: Sequence[float | None] | None, show: Callable[[float], str]) -> str:
    """`1.01 to 1.07`, each end as `show` writes it; ends that are not known are left open."""
    if interval is None:
        return "not known"
    low, high = interval
    if low is None:
        return "not known" if high is None else f"up to {show(high)}"
    if high is None:
        return f"from {show(low)}"
    return f"{show(low)} to {show(high)}"


def seconds(value: float) -> str:
    """A duration in one unit, two significant digits: `40 seconds`, `3 minutes`, `2 hours`, `5 days`."""
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if value >= 2 * size:
            return f"{about(round(value / size))} {unit}s"
    whole = max(1, round(value))
    return f"{whole} second{'' if whole == 1 else 's'}"


def duration(duration_ns: int) -> str:
    """`250ms`, `1s`, `50us`, as a config writes them."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if duration_ns >= size:
            return f"{duration_ns / size:.6g}{unit}"
    return f"{duration_ns}ns"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
