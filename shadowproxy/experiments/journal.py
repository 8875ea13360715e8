"""The journal of all runs as text: lines that prove their own content and order.

Each line is one JSON object in canonical form (keys sorted, no spaces, ASCII, no NaN), with these members:

    body   what happened, an object; what is in it depends on `kind`
    hash   SHA-256 of the `prev` and of the line without `hash`, in hex
    kind   opened, admitted, armed, tick, decision, late, ended, refused, torn; rollout (of the run rollout/ROUTE-N: an event and the document then)
    nth    number of the entry within its run, from 1: a run's own entries have no gaps
    prev   the `hash` of the line before, 64 zeros for the first
    run    id of the run, "" for what belongs to none
    seq    number of the entry, from 1
    time   Unix seconds

So changing, removing, adding or reordering an entry is seen at that entry or the next. What a chain cannot show is that
entries are missing at its end; whoever needs that keeps the last `hash` elsewhere (run documents and reports name it).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST: Final = "0" * 64
"""What the first entry has as `prev`."""

_MEMBERS: Final = {"body", "hash", "kind", "nth", "prev", "run", "seq", "time"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, read."""

    seq: int
    time: float
    run: str
    nth: int
    kind: str
    body: dict[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Where a journal stops being one.

    `line` counts from 1; `seq` is that of the last entry that is good, 0 for none.
    """

    line: int
    seq: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, after entry {self.seq}: {self.reason}"


class BrokenJournal(ValueError):
    """A line does not follow from the one before. `where` says which."""

    def __init__(self, where: Broken) -> None:
        super().__init__(str(where))
        self.where = where


@dataclass(slots=True)
class Chain:
    """The end of a journal: all that the next entry must follow from."""

    seq: int = 0
    head: str = FIRST
    counts: dict[str, int] = field(default_factory=dict)
    """Entries of each run so far."""

    def write(self, time: float, run: str, kind: str, body: str) -> bytes:
        """The next line, without its newline; the chain ends with it from now on.

        Args:
            time: Unix seconds.
            run: id of the run, "" for none.
            kind: what happened.
            body: what `canonical` made of the body.
        """
        seq, nth = self.seq + 1, self.counts.get(run, 0) + 1
        head = _hash(self.head, _line(body, "", kind, nth, self.head, run, seq, time))
        line = _line(body, f'"hash":"{head}",', kind, nth, self.head, run, seq, time)
        self.seq, self.head, self.counts[run] = seq, head, nth
        return line.encode("ascii")

    def read(self, line: bytes) -> Entry:
        """The next entry, which must follow from this chain; the chain ends with it from now on.

        Raises:
            ValueError: it is none, was changed, or does not follow.
        """
        value = _object(line)
        head = str(value.pop("hash"))
        entry = Entry(**value, hash=head)
        if entry.prev != self.head:
            raise ValueError("does not follow from the entry before")
        if canonical(value | {"hash": head}).encode() != line or _hash(entry.prev, canonical(value)) != head:
            raise ValueError("was changed after it was written")
        if entry.seq != self.seq + 1 or entry.nth != self.counts.get(entry.run, 0) + 1:
            raise ValueError("is out of order")
        self.seq, self.head, self.counts[entry.run] = entry.seq, head, entry.nth
        return entry

    def copy(self) -> Chain:
        """Another that goes its own way."""
        return Chain(self.seq, self.head, dict(self.counts))


def canonical(value: Any) -> str:
    """JSON that means one thing in one spelling; floats keep every bit.

    Raises:
        ValueError: it holds NaN or an infinity.
        TypeError: it holds what is no JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read(lines: Iterable[bytes], chain: Chain | None = None) -> Iterable[Entry]:
    """The entries of a journal, in order, each verified.

    Args:
        lines: without or with their newlines; one line that has none in the middle of a file is a broken one.
        chain: what the first must follow from; it is moved on. None for the beginning of a journal.

    Raises:
        BrokenJournal: at the first line that is not what was written there.
    """
    chain = chain if chain is not None else Chain()
    for number, line in enumerate(lines, start=1):
        try:
            entry = chain.read(line.rstrip(b"\n"))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BrokenJournal(Broken(number, chain.seq, f"{error}" or type(error).__name__)) from None
        yield entry


def first_broken(lines: Iterable[bytes]) -> Broken | None:
    """The first entry that is not what was written there; None when the whole journal is good."""
    try:
        for _ in read(lines):
            pass
    except BrokenJournal as error:
        return error.where
    return None


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict) or set(value) != _MEMBERS or not isinstance(value["body"], dict):
        raise ValueError("is no entry")
    return value


def _line(body: str, head: str, kind: str, nth: int, prev: str, run: str, seq: int, time: float) -> str:  # noqa: PLR0917  one a member
    """The canonical form, put together by hand: the body, the largest part, was written already."""
    return (
        f'{{"body":{body},{head}"kind":{json.dumps(kind)},"nth":{nth},"prev":"{prev}","run":{json.dumps(run)},"seq":{seq},"time":{time!r}}}'
    )


def _hash(prev: str, text: str) -> str:
    return hashlib.sha256(f"{prev}{text}".encode("ascii")).hexdigest()
