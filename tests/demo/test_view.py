"""What the terminal shows, with and without a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from shadowproxy.demo.findings import Comparison, Ruling, Side
from shadowproxy.demo.view import View, summary, table, users_line

_SEEN: dict[str, Any] = {"sessions": 137, "sent": 1234, "answered": 1234, "failed": 0, "p50_ms": 6.5, "p99_ms": 17.0}


def _comparison() -> Comparison:
    return Comparison(
        route="product",
        eligible=1600,
        pending=0,
        pairs=1500,
        live=Side(p50_ms=4.4, p99_ms=6.5, errors=0),
        shadow=Side(p50_ms=16.3, p99_ms=None, errors=16),
        changes=(("200", "500", 16),),
        bodies_different=41,
        bodies_compared=1500,
        not_compared={"holdout": 100},
        is_conserved=True,
        penalty_p50_ms=-0.04,
    )


def _printed(*things: Any) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    for thing in things:
        console.print(thing)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_table_has_live_beside_shadow() -> None:
    """One line a route, a dash where nothing was measured."""
    header, line = _printed(table([_comparison()])).splitlines()
    assert header.split() == [
        "route",
        "pairs",
        "live",
        "p50",
        "shadow",
        "p50",
        "live",
        "p99",
        "shadow",
        "p99",
        "live",
        "5xx",
        "shadow",
        "5xx",
        "other",
        "body",
    ]
    assert line.split() == ["product", "1,500", "4.4", "ms", "16.3", "ms", "6.5", "ms", "-", "0", "16", "41"]


def test_the_summary_answers_five_questions() -> None:
    """What was compared, what differs, whether it is worse, what users noticed, and where every request went."""
    text = _printed(summary([_comparison()], [Ruling(route="product", verdict="REGRESSION", summary="more errors than live")], _SEEN))
    assert "  - product: REGRESSION: more errors than live" in text
    assert "live 200 but shadow 500 for 16 of 1,500 pairs (1.1 %)" in text
    assert "  - 1,234 requests in 137 sessions, 0 failed, p50 6.5 ms, p99 17.0 ms" in text
    assert "-0.04 ms at the median" in text
    assert "1,600 requests could be mirrored = 1,500 compared + 100 holdout; every one is accounted for." in text


def test_users_line_copes_with_nothing_seen() -> None:
    """Before the first line of figures, and before the first answer, it still says something true."""
    assert users_line({}) == "users: none yet"
    assert users_line({**_SEEN, "p50_ms": None, "p99_ms": None}) == "users: 1,234 requests in 137 sessions, 0 failed"


def test_without_a_terminal_a_plain_line_comes_now_and_then() -> None:
    """No control characters, one line every five seconds."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with View(console, 30) as view:
        for tenths in range(0, 121, 5):
            view.show(tenths / 10, [_comparison()], _SEEN)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["5", "10"]
    assert lines[0].endswith("1,500 pairs compared, 16 errors on the shadow")
    assert "\x1b" not in console.file.getvalue()


def test_on_a_terminal_the_table_is_drawn_over_itself_and_removed() -> None:
    """Redrawing moves the cursor up; at the end nothing of it is left standing."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True, _environ={"TERM": "xterm"})
    with View(console, 30) as view:
        view.show(1.0, [_comparison()], _SEEN)
        view.show(2.0, [_comparison()], _SEEN)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert "2 / 30 s" in drawn
    assert "\x1b[1A" in drawn
    assert drawn.rstrip().endswith("\x1b[2K")
