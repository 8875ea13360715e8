"""The journal of all runs as text: lines that prove their own content and order.

Each line is one JSON object in canonical form (keys sorted, no spaces, ASCII, no NaN), with these members:

    body   what happened, an object; what is in it depends on `kind`
    hash   SHA-256 of the `prev` and of the line without `hash`, in hex
    kind   opened, admitted, armed, tick, decision, late, ended, refused, torn, segment; rollout (of the run rollout/ROUTE-N: an event and the document then)
    nth    number of the entry within its run, from 1: a run's own entries have no gaps
    prev   the `hash` of the line before, 64 zeros for the first
    run    id of the run, "" for what belongs to none
    seq    number of the entry, from 1
    time   Unix seconds

A journal may be cut into segments, a file each. All but the first segment ever begin with an entry of kind `segment`, the header, which follows from
the last entry of the segment before as any entry does, and whose body has what a reader needs who does not have the older ones:

    segment    its number, from 2
    runs       [run, entries so far, hash of the last, where its milestones are], for the RUNS_CARRIED runs written to last, the latest last
    standing   what whoever writes the journal wants to know at the next start

A run that is not carried begins with `nth` 1 again. Where a milestone is: [number of the segment, byte of it where the line begins].

So changing, removing, adding or reordering an entry is seen at that entry or the next. What a chain cannot show is that
entries are missing at its end; whoever needs that keeps the last `hash` elsewhere (run documents and reports name it).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIRST: Final = "0" * 64
"""What the first entry has as `prev`."""

SEGMENT: Final = "segment"
"""The kind of headers."""

MILESTONES: Final = frozenset({"admitted", "armed", "decision", "ended"})
"""Kinds of entries that tell what became of a run, without the ticks between them."""

RUNS_CARRIED: Final = 500
"""Runs whose number of entries goes on over segments: more than can be shown, and with all rollouts that may still go on."""

Places = list[list[int]]
"""Where the milestones of a run are."""

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
    runs: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Entries of each run so far, and the hash of the last; the run written to last comes last."""

    def write(self, time: float, run: str, kind: str, body: str) -> bytes:
        """The next line, without its newline; the chain ends with it from now on.

        Args:
            time: Unix seconds.
            run: id of the run, "" for none.
            kind: what happened.
            body: what `canonical` made of the body.
        """
        seq, nth = self.seq + 1, self.count(run) + 1
        head = _hash(self.head, _line(body, "", kind, nth, self.head, run, seq, time))
        line = _line(body, f'"hash":"{head}",', kind, nth, self.head, run, seq, time)
        self._move(run, nth, head)
        return line.encode("ascii")

    def write_header(self, time: float, number: int, standing: Mapping[str, Any], places: Mapping[str, Places]) -> bytes:
        """The header of segment `number`, as `write`. `places` are those of milestones, by run."""
        self.runs = dict(list(self.runs.items())[-RUNS_CARRIED:])
        carried = [[run, count, head, places.get(run, [])] for run, (count, head) in self.runs.items()]
        return self.write(time, "", SEGMENT, canonical({"segment": number, "runs": carried, "standing": standing}))

    def read(self, line: bytes) -> Entry:
        """The next entry, which must follow from this chain; the chain ends with it from now on.

        A header as the very first follows from segments that are not here.

        Raises:
            ValueError: it is none, was changed, or does not follow.
        """
        entry = _entry(line)
        carried = _carried(entry) if entry.kind == SEGMENT else self.runs
        before = Chain(entry.seq - 1, entry.prev, carried) if entry.kind == SEGMENT and not self.seq else self
        if entry.prev != before.head:
            raise ValueError("does not follow from the entry before")
        _check_unchanged(entry, line)
        if entry.seq != before.seq + 1 or entry.nth != before.count(entry.run) + 1:
            raise ValueError("is out of order")
        if carried is not before.runs and any(before.runs.get(run) != said for run, said in carried.items()):
            raise ValueError("says something else of runs than the entries before")
        self.seq, self.runs = before.seq, carried
        self._move(entry.run, entry.nth, entry.hash)
        return entry

    def count(self, run: str) -> int:
        """How many entries a run has."""
        return self.runs.get(run, (0, ""))[0]

    def copy(self) -> Chain:
        """Another that goes its own way."""
        return Chain(self.seq, self.head, dict(self.runs))

    def _move(self, run: str, nth: int, head: str) -> None:
        self.seq, self.head = self.seq + 1, head
        self.runs.pop(run, None)
        self.runs[run] = nth, head


def alone(line: bytes) -> Entry:
    """An entry by itself: its content is what was written, what it follows from is not known.

    Raises:
        ValueError: it is none, or was changed.
    """
    entry = _entry(line)
    _check_unchanged(entry, line)
    return entry


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


def _entry(line: bytes) -> Entry:
    return Entry(**_object(line))


def _check_unchanged(entry: Entry, line: bytes) -> None:
    value = {name: getattr(entry, name) for name in _MEMBERS}
    is_spelled_so = canonical(value).encode() == line
    del value["hash"]
    if not is_spelled_so or _hash(entry.prev, canonical(value)) != entry.hash:
        raise ValueError("was changed after it was written")


def _carried(entry: Entry) -> dict[str, tuple[int, str]]:
    rows: Sequence[tuple[str, int, str, Places]] = entry.body["runs"]
    return {run: (count, head) for run, count, head, _ in rows}


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
