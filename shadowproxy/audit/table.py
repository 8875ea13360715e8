"""An audit as people read it: route by method by fate, then every failure in a sentence, then what was not asked.

What services and clients have said is set as text: it cannot move the cursor.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shadowproxy.audit.fates import WORDS, Fate, call, culprits
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from shadowproxy.audit.fates import Result
    from shadowproxy.audit.outcome import Outcome
    from shadowproxy.audit.plan import Plan, Skipped


def render(outcome: Outcome) -> RenderableType:
    """A finished audit."""
    table = _table("route", "listener", "request", "fate", "answer", "writes behind it")
    for result in outcome.results:
        probe = result.probe
        table.add_row(
            Text(visible(probe.route)),
            Text(visible(probe.listener)),
            Text(visible(probe.label)),
            Text(visible(_fate(result)), "" if result.is_ok else "bold red"),
            str(result.answer.status or "-"),
            Text(visible(_behind(result)), "dim"),
        )
    parts: list[RenderableType] = [table, Text("")]
    parts += _said(outcome.results, "red", lambda result: result.failures)
    parts += _said(outcome.results, "dim", lambda result: result.remarks)
    parts += skipped(outcome.skipped)
    lost = Counter(call(row) for row in outcome.orphans)
    parts += [Text(visible(f"a service lost the trace: {said}, of some probe{_times(count)}"), "yellow") for said, count in lost.items()]
    blamed = "yellow" if outcome.is_clean else "bold red"
    parts += [Text(visible(f"{name} dropped the tag of test traffic"), blamed) for name in outcome.culprits]
    parts.append(conclusion(outcome))
    return Group(*parts)


def planned(plan: Plan) -> RenderableType:
    """What an audit would send."""
    table = _table("route", "listener", "request", "counts as", "must be")
    for probe in plan.probes:
        table.add_row(
            Text(visible(probe.route)),
            Text(visible(probe.listener)),
            Text(visible(probe.label)),
            "write" if probe.is_write else "read",
            Text(visible(f"{WORDS.get(Fate(probe.expected), probe.expected)}{f': {probe.to}' if probe.to else ''}")),
        )
    return Group(table, Text(""), *skipped(plan.skipped), Text(f"{_count(len(plan.probes), 'probe')}, none sent"))


def skipped(left_out: Sequence[Skipped]) -> list[Text]:
    """What was not asked, and why."""
    return [
        Text(visible(f"not asked: {one.route} by {one.listener}{'' if one.method == '*' else f', {one.method}'}: {one.reason}"), "yellow")
        for one in left_out
    ]


def conclusion(outcome: Outcome) -> Text:
    """The last line."""
    if not outcome.results:
        return Text("nothing was asked, so nothing is known", "bold red")
    failed = sum(not result.is_ok for result in outcome.results)
    fates = ", ".join(f"{count} {WORDS.get(Fate(fate), fate)}" for fate, count in outcome.fates.items())
    said = f"{_count(len(outcome.results), 'probe')}: {fates}"
    if outcome.is_clean:
        return Text(f"{said}; nothing leaked", "bold green")
    left_out = f"; {len(outcome.skipped)} not asked" if outcome.is_strict and outcome.skipped else ""
    return Text(f"{said}; {failed} FAILED{left_out}", "bold red")


def _fate(result: Result) -> str:
    word = WORDS.get(result.fate, str(result.fate))
    if result.fate is Fate.LEAKED:
        places = sum(failure.startswith("leaked to ") for failure in result.failures)
        return f"{word} to {result.to}{f' and {places - 1} more' if places > 1 else ''}"
    dropped = "".join(f", tag dropped by {name}" for name in culprits([result]))
    return f"{word}{f': {result.to}' if result.to else ''}{dropped}"


def _behind(result: Result) -> str:
    """What became of the writes that the services behind the proxy made of a probe."""
    counted = Counter(f"{row['route']} {row['fate']}" for row in result.calls)
    return ", ".join(f"{text}{_times(count)}" for text, count in counted.items())


def _times(count: int) -> str:
    return f" x{count}" if count > 1 else ""


def _said(results: Sequence[Result], style: str, of: Callable[[Result], tuple[str, ...]]) -> list[Text]:
    """What is said of probes, each sentence once and with those that it is about."""
    about: dict[str, list[Result]] = {}
    for result in results:
        for sentence in of(result):
            about.setdefault(sentence, []).append(result)
    return [Text(visible(f"{_names(those)}: {sentence}"), style) for sentence, those in about.items()]


def _names(results: Sequence[Result]) -> str:
    first = results[0].probe
    more = f" and {len(results) - 1} more" if len(results) > 1 else ""
    return f"{first.route} by {first.listener}, {first.label}{more}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
