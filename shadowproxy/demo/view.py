"""What the terminal shows: live and shadow side by side, and the summary at the end.

On a terminal the table is drawn over itself; anywhere else (a pipe, a log) it is one
plain line now and then, and the same summary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shadowproxy.demo import findings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from shadowproxy.demo.findings import Comparison, Ruling

_PLAIN_EVERY_S: Final = 5.0
"""Seconds between two lines where no terminal is."""

_BAR: Final = 24

_STYLES: Final = {"REGRESSION": "bold red", "SAFE": "bold green", "INVALID": "bold yellow"}


def table(comparisons: Sequence[Comparison]) -> Table:
    """One line a route: latency, errors and bodies, live beside shadow."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("route")
    for head in ("pairs", "live p50", "shadow p50", "live p99", "shadow p99", "live 5xx", "shadow 5xx", "other body"):
        drawn.add_column(head, justify="right")
    for comparison in comparisons:
        live, shadow = comparison.live, comparison.shadow
        drawn.add_row(
            comparison.route,
            f"{comparison.pairs:,}",
            _ms(live.p50_ms),
            Text(_ms(shadow.p50_ms), style=_worse(live.p50_ms, shadow.p50_ms)),
            _ms(live.p99_ms),
            Text(_ms(shadow.p99_ms), style=_worse(live.p99_ms, shadow.p99_ms)),
            f"{live.errors:,}",
            Text(f"{shadow.errors:,}", style="red" if shadow.errors > live.errors else ""),
            Text(f"{comparison.bodies_different:,}", style="red" if comparison.bodies_different else ""),
        )
    return drawn


def users_line(seen: dict[str, Any]) -> str:
    """What the users have seen so far, from the traffic generator's figures."""
    if not seen:
        return "users: none yet"
    times = f", p50 {seen['p50_ms']:.1f} ms, p99 {seen['p99_ms']:.1f} ms" if seen.get("p50_ms") is not None else ""
    return f"users: {seen['sent']:,} requests in {seen['sessions']:,} sessions, {seen['failed']:,} failed{times}"


def summary(comparisons: Sequence[Comparison], rulings: Sequence[Ruling], seen: dict[str, Any]) -> Group:
    """The result: the table, what differs, the verdicts, what the users noticed, and where every request went."""
    lines: list[Any] = [Text("Live and shadow, request by request", style="bold"), table(comparisons), Text("")]
    lines.append(Text("What differs", style="bold"))
    lines += [Text(f"  - {sentence}") for sentence in findings.sentences(comparisons)]
    lines += [Text(""), Text("Is the shadow worse?", style="bold")]
    lines += [
        Text.assemble(f"  - {ruling.route}: ", (ruling.verdict, _STYLES.get(ruling.verdict, "")), f": {ruling.summary}")
        for ruling in rulings
    ]
    lines += [Text(""), Text("What the users noticed", style="bold"), Text(f"  - {users_line(seen).removeprefix('users: ')}")]
    cost = findings.penalty(comparisons)
    if cost is not None:
        lines.append(Text(f"  - mirrored requests took {cost:+.2f} ms at the median beside those left unmirrored to measure it (holdout)"))
    lines += [Text(""), Text("What was counted", style="bold"), Text(f"  - {findings.accounting(comparisons)}")]
    return Group(*lines)


class View:
    """The display of a running demonstration; a context.

    Args:
        console: where to draw.
        seconds: how long the demonstration runs.
    """

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._next_plain_s = min(_PLAIN_EVERY_S, seconds / 2)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, elapsed_s: float, comparisons: Sequence[Comparison], seen: dict[str, Any]) -> None:
        """Draw the state after `elapsed_s` seconds."""
        if self._live is not None:
            done = min(1.0, elapsed_s / self._seconds) if self._seconds else 1.0
            bar = "━" * round(done * _BAR)
            clock = Text.assemble((f"{bar:<{_BAR}}", "green"), f" {min(elapsed_s, self._seconds):3.0f} / {self._seconds:.0f} s   ")
            self._live.update(Group(clock.append(users_line(seen)), table(comparisons)), refresh=True)
        elif elapsed_s >= self._next_plain_s:
            self._next_plain_s += _PLAIN_EVERY_S
            pairs = sum(comparison.pairs for comparison in comparisons)
            errors = sum(comparison.shadow.errors for comparison in comparisons)
            self._console.print(
                f"{elapsed_s:3.0f} s  {users_line(seen)}; {pairs:,} pairs compared, {errors:,} errors on the shadow",
                highlight=False,
                soft_wrap=True,
            )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _worse(live: float | None, shadow: float | None) -> str:
    if live is None or shadow is None:
        return ""
    gap = shadow - live
    return "red" if gap >= findings.WORTH_MS and gap >= findings.WORTH_SHARE * live else ""
