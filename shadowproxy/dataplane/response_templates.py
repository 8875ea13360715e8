"""What an answer says whose head fits a template (templates.py): all that the template's own head said, with other values."""

from __future__ import annotations

from typing import Final

from shadowproxy.dataplane.fields import DATE, LENGTH
from shadowproxy.dataplane.head import CRLF
from shadowproxy.dataplane.response_lines import ResponseHead

_MAY_VARY: Final = (0, DATE, LENGTH)


def may_vary(action: int) -> bool:
    """Whether a field of this action (fields.py) may be a blank: what its value says concerns no other field, or is looked at in `fill`."""
    return action in _MAY_VARY


class ResponseTemplate:
    """An answer's head with blanks, and what it says.

    Made by `cut` from a head that was read line by line; `fill` then reads the heads that fit.
    """

    __slots__ = ("_length_at", "_like", "_parts", "_places")

    def __init__(self, like: ResponseHead, parts: list[bytes], places: list[int], length_at: int) -> None:
        self._like = like
        self._parts = parts
        self._places = places
        self._length_at = length_at

    def __repr__(self) -> str:
        return f"ResponseTemplate({self._like.status}, {len(self._places)} blanks)"

    def fill(self, values: list[bytes]) -> ResponseHead | None:
        """The head with `values`, of bytes that a field line may have, in its blanks; None where a length is spelt in another way than usual."""
        like = self._like
        head = ResponseHead(like.status)
        head.length = like.length
        head.announced = like.announced
        head.is_reusable = like.is_reusable
        head.has_date = like.has_date
        parts = self._parts.copy()
        for index, place in enumerate(self._places):
            parts[place] = values[index]
        if self._length_at >= 0:
            sent = values[self._length_at]
            # The form that nobody reads differently; llhttp is asked about any other.
            if sent[:1] != b" " or not sent[1:].isdigit() or len(sent) > 19 or (sent[1:2] == b"0" and len(sent) > 2):
                return None
            head.announced = head.length = int(sent[1:])
        head.wire = b"".join(parts)
        return head


def cut(
    block: bytes, head: ResponseHead, spellings: dict[bytes, int], varying: frozenset[bytes]
) -> tuple[list[bytes], ResponseTemplate | None]:
    """The pieces of `block`, a whole head, and the template that they make.

    Args:
        block: from the status line to the empty line.
        head: what it says, a final answer to anything but a HEAD.
        spellings: the action of each name, as it is spelt in `block`.
        varying: the names whose values become blanks.

    Returns:
        The template is None where other values could change what the rest of the head says.
    """
    lines = block.split(CRLF)
    lines.pop()
    lines.pop()
    kept = head.wire.split(CRLF)
    kept.pop()
    pieces: list[bytes] = []
    parts: list[bytes] = []
    places: list[int] = []
    length_at = -1
    piece: list[bytes] = [lines[0], CRLF]
    part: list[bytes] = [lines[0], CRLF]
    at = 1
    for index in range(1, len(lines)):
        line = lines[index]
        spelt, _, value = line.partition(b":")
        action = spellings.get(spelt)
        if action is None:
            return [], None
        is_kept = at < len(kept) and kept[at] == line
        if is_kept:
            at += 1
        if spelt not in varying:
            piece += (line, CRLF)
            if is_kept:
                part += (line, CRLF)
            continue
        if action == LENGTH:
            length_at = len(pieces)
        field = spelt + b":"
        pieces.append(b"".join([*piece, field]))
        piece = [CRLF]
        places.append(len(parts) + 1)
        parts += (b"".join([*part, field]), value)
        part = [CRLF]
    piece.append(CRLF)
    pieces.append(b"".join(piece))
    parts.append(b"".join(part))
    # Not so where a line was rewritten, or what varies goes no further.
    is_whole = at == len(kept) and b"".join(parts) == head.wire
    # Of what has no body the length says nothing.
    is_sound = is_whole and not head.upgrade and head.status not in (204, 304)
    return pieces, ResponseTemplate(head, parts, places, length_at) if is_sound else None
