"""Tables between markers of a Markdown file.

A part is what stands between `<!-- bench:NAME begin -->` and `<!-- bench:NAME end -->`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from load.bench.processes import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def replaced(text: str, name: str, content: str) -> str:
    """The text with a part's content replaced.

    Raises:
        BenchError: the markers of the part are missing or out of order.
    """
    begin, end = f"<!-- bench:{name} begin -->", f"<!-- bench:{name} end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise BenchError(f"the text has no part {begin} ... {end}")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def insert(path: Path, name: str, content: str) -> None:
    """Replace a part of a file.

    Raises:
        BenchError: the markers are missing.
    """
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, content), encoding="utf-8")
