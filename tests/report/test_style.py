"""The style sheet."""

from __future__ import annotations

import re

from shadowproxy.report.style import STYLE


def test_nothing_is_fetched() -> None:
    """No address of any kind."""
    assert not re.search(r"url\(|@import|https?:|src:", STYLE)


def test_it_cannot_end_its_element() -> None:
    """Nor open another."""
    assert "<" not in STYLE


def test_colours_exist_for_light_and_dark_and_paper() -> None:
    """Every colour that is used is defined, in both schemes."""
    used, defined = set(re.findall(r"var\((--\w+)\)", STYLE)), dict(re.findall(r"(--\w+): light-dark\(([^)]*)\)", STYLE))
    assert used == set(defined)
    assert all(len(set(re.findall(r"#[0-9a-f]{6}", pair))) == 2 for pair in defined.values())
    assert "@media print" in STYLE


def test_colours_can_be_read() -> None:
    """Text has a contrast of at least 4.5 on its ground, marks of 3 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    pairs = {name: re.findall(r"#[0-9a-f]{6}", pair) for name, pair in re.findall(r"(--\w+): light-dark\(([^)]*)\)", STYLE)}
    for scheme in (0, 1):
        card = pairs["--card"][scheme]
        for name in ("--ink", "--soft", "--bad", "--good", "--open", "--void", "--live", "--shadow", "--against", "--safety"):
            assert _contrast(pairs[name][scheme], card) >= 4.5, (name, scheme)


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
