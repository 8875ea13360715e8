"""Heads that differ only in the values of a few fields, recognised by what stays the same (rule 7 of head.py).

A *template* is a head with blanks: the values of the fields that were seen to vary. Between them are *pieces*, compared byte for byte:
the first begins before the first field line, all but the last end with the name of a field whose value is the blank. The
pieces of all templates make a tree, so that heads which begin alike are told apart where they first differ.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from shadowproxy.dataplane.head import CRLF, LINE_BYTES, SPELLINGS_LIMIT, Newcomers

VALUES: Final = 8
"""So many new values make a field one that varies."""

VARYING_LIMIT: Final = 32
"""Fields that vary, of one reader; when there are more, it starts anew."""

TEMPLATES_LIMIT: Final = 256
"""Templates that one reader keeps; when it has more, it starts anew. Each is of a head under BLOCK_BYTES_LIMIT bytes, which is kept four times
over (its pieces, what is sent on of it, the head it was cut from, the lines of that): 4 MiB together, whatever peers send."""

BRANCHES_LIMIT: Final = 16
"""Pieces that may follow one blank: they are tried one by one."""

FIRST_REVIEW: Final = 64
LAST_REVIEW: Final = 4096
"""Heads that fit no template, until it is next asked which fields vary: twice as many each time, as what one such review brings is forgotten."""

PATIENCE: Final = 64
"""After so many heads in a row that fit no template, most are not even tried: what never fits costs little more than if there were none."""

TRIED: Final = 16
"""One of so many is then. A power of two."""

LESSONS: Final = 256
"""Heads that fit no template and are looked at closely, whether they come again; of those after them one of TAUGHT."""

TAUGHT: Final = 64
"""A power of two."""

T = TypeVar("T")


class _Node(Generic[T]):
    """One piece, and what may follow it: a value and then one of `behind`, or the end of the head, and then it is what `template` is about."""

    __slots__ = ("behind", "piece", "size", "template")

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.size = len(piece)
        self.behind: list[_Node[T]] = []
        self.template: T | None = None


class Templates(Generic[T]):
    """The templates of one reader. What T is, and what a value may be, the reader knows."""

    __slots__ = ("_count", "_in_a_row", "_lessons", "_new_values", "_newcomers", "_review", "_root", "_unfit", "values", "varying")

    def __init__(self) -> None:
        self.varying: frozenset[bytes] = frozenset()
        """Names, as they were spelt, of the fields that vary."""
        self.values: list[bytes] = []
        """What stood in the blanks of the head that was last found."""
        self._root: _Node[T] = _Node(b"")
        self._count = 0
        self._newcomers = Newcomers()
        self._new_values: dict[bytes, int] = {}
        self._unfit = 0
        self._in_a_row = 0
        self._lessons = 0
        self._review = FIRST_REVIEW

    def __repr__(self) -> str:
        return f"Templates({self._count} of {len(self.varying)} varying fields)"

    def find(self, head: bytes) -> T | None:
        """The template that `head` fits to its end; its values are then in `values`, all of them of bytes that a field line may have."""
        behind = self._root.behind
        if not behind:
            return None
        self._in_a_row += 1
        if self._in_a_row > PATIENCE and self._in_a_row & (TRIED - 1):
            return None
        at = 0
        values: list[bytes] = []
        while True:
            for node in behind:
                if head[at : at + node.size] == node.piece:
                    break
            else:
                return None
            at += node.size
            template = node.template
            if template is not None:
                if at != len(head):
                    return None
                together = b"".join(values)
                if together.translate(LINE_BYTES) != together:
                    return None
                self.values = values
                self._in_a_row = 0
                return template
            end = head.find(CRLF, at)
            if end < 0:
                return None
            values.append(head[at:end])
            at = end
            behind = node.behind

    def note(self, name: bytes) -> None:
        """Take down that the field spelt so had a value not seen lately."""
        known = self._new_values.get(name, 0)
        if known or len(self._new_values) < SPELLINGS_LIMIT:
            self._new_values[name] = known + 1

    def wants_lesson(self) -> bool:
        """Whether a head that fitted no template is to be looked at closely, which costs as much again as to read it."""
        if not self.varying:
            return False
        self._lessons += 1
        return self._lessons <= LESSONS or not self._lessons & (TAUGHT - 1)

    def is_worth_learning(self, pieces: list[bytes]) -> bool:
        """Whether a head that fitted no template, made of `pieces`, has come before; one that came once may never come again."""
        return len(pieces) > 1 and self._newcomers.is_known(hash(b"\0".join(pieces)))

    def learn(self, pieces: list[bytes], template: T) -> None:
        """Know a template from now on."""
        if self._count >= TEMPLATES_LIMIT:
            self._forget()
        node = self._root
        for piece in pieces:
            for known in node.behind:
                if known.piece == piece:
                    node = known
                    break
            else:
                if len(node.behind) >= BRANCHES_LIMIT:
                    # What came first may be what comes no more.
                    node.behind.clear()
                new: _Node[T] = _Node(piece)
                node.behind.append(new)
                node = new
        node.template = template
        self._count += 1

    def review(self) -> None:
        """Ask, once in a while, which fields vary. To be called for each head that fits no template."""
        self._unfit += 1
        if self._unfit < self._review:
            return
        self._unfit = 0
        self._review = min(2 * self._review, LAST_REVIEW)
        more = {name for name, values in self._new_values.items() if values >= VALUES}
        self._new_values.clear()
        if more <= self.varying:
            return
        together = self.varying | more
        self.varying = frozenset(together if len(together) <= VARYING_LIMIT else sorted(more)[:VARYING_LIMIT])
        # The pieces of before end elsewhere.
        self._forget()

    def _forget(self) -> None:
        self._root.behind.clear()
        self._count = 0
        self._lessons = 0
