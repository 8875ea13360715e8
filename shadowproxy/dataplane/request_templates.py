"""What a request says whose head fits a template (templates.py): all that the template's own head said, with other values."""

from __future__ import annotations

from typing import Final

from shadowproxy.dataplane.fields import ACTION, COLLECT, FORWARDED, HOST, LENGTH, SINGLETON, TAGS, TOUCH, TRACEPARENT, TRACESTATE, UPGRADE
from shadowproxy.dataplane.head import CRLF
from shadowproxy.dataplane.request_lines import AUTHORITY, Meaning, RequestHead, is_traceparent

_MAY_VARY: Final = (0, HOST, LENGTH, FORWARDED, TRACEPARENT, SINGLETON, TRACESTATE)


def may_vary(action: int) -> bool:
    """Whether a field of this action (fields.py) may be a blank: what its value says concerns no other field, or is looked at in `fill`."""
    return action & ACTION in _MAY_VARY and not action & TAGS


class _Blank:
    """One value that varies. The places are in the lists of the head that is filled in; -1 where it has none there."""

    __slots__ = ("action", "collected", "field", "forwarded", "name", "part", "touched")

    def __init__(self, action: int, name: bytes, field: bytes) -> None:
        self.action = action
        self.name = name
        """In lower case."""
        self.field = field
        """The name as it was spelt, and its colon."""
        self.part = -1
        self.collected = 0
        self.touched = -1
        self.forwarded = -1


class RequestTemplate:
    """A request's head with blanks, and what it says.

    Made by `cut` from a head that was read line by line; `fill` then reads the heads that fit.
    """

    __slots__ = ("_blanks", "_like", "_parts", "has_trace")

    def __init__(self, like: RequestHead, parts: list[bytes], blanks: list[_Blank]) -> None:
        self._like = like
        self._parts = parts
        self._blanks = blanks
        self.has_trace = any(blank.action & ACTION == TRACEPARENT for blank in blanks)
        """Whether each of these heads has an id of its own, so that hardly one ever comes again."""

    def __repr__(self) -> str:
        return f"RequestTemplate({[blank.name.decode('latin-1') for blank in self._blanks]})"

    def fill(self, values: list[bytes]) -> RequestHead | None:
        """The head with `values`, of bytes that a field line may have, in its blanks; None where one of them says more than a value of its kind."""
        like = self._like
        head = RequestHead(None, is_http10=False)
        head.is_keep_alive = like.is_keep_alive
        head.length = like.length
        head.authority = like.authority
        head.mark = like.mark
        head.traceparent = like.traceparent
        head.expects_continue = like.expects_continue
        head.te_trailers = like.te_trailers
        head.touched = like.touched
        head.forwarded = like.forwarded
        head.via = like.via
        head.connection_tokens = like.connection_tokens
        head.fields = like.fields
        parts = self._parts.copy()
        for index, blank in enumerate(self._blanks):
            sent = values[index]
            if blank.part >= 0:
                parts[blank.part] = sent
            flagged = blank.action
            if not flagged:
                continue
            value = sent.strip(b" \t")
            action = flagged & ACTION
            if action == TRACEPARENT:
                if not is_traceparent(value):
                    return None
                head.traceparent = value
            elif action == LENGTH:
                # The form that nobody reads differently; llhttp is asked about any other.
                if sent[:1] != b" " or not sent[1:].isdigit() or len(sent) > 19 or (sent[1:2] == b"0" and len(sent) > 2):
                    return None
                head.length = int(value)
            elif action == HOST:
                if not value or AUTHORITY.fullmatch(value) is None:
                    return None
                head.authority = value
            elif action == FORWARDED:
                if head.forwarded is like.forwarded:
                    head.forwarded = like.forwarded.copy()
                head.forwarded[blank.forwarded] = (blank.name, value)
            if flagged & COLLECT:
                if head.fields is like.fields:
                    head.fields = like.fields.copy()
                found = head.fields[blank.name].copy()
                found[blank.collected] = value
                head.fields[blank.name] = found
            if flagged & TOUCH:
                if head.touched is like.touched:
                    head.touched = like.touched.copy()
                head.touched[blank.touched] = (blank.name, blank.field + sent)
        head.common = b"".join(parts)
        return head


def cut(
    block: bytes, head: RequestHead, spellings: dict[bytes, Meaning], varying: frozenset[bytes]
) -> tuple[list[bytes], RequestTemplate | None]:
    """The pieces of `block`, the field lines that `head` was read from, and the template that they make.

    Args:
        block: with the CRLF of each line, and of the empty one at its end.
        head: what they say.
        spellings: what each name means, as it is spelt in `block`.
        varying: the names whose values become blanks.

    Returns:
        The template is None where other values could change what the rest of the head says.
    """
    lines = block.split(CRLF)
    lines.pop()
    lines.pop()
    kept = head.lines
    pieces: list[bytes] = []
    parts: list[bytes] = []
    blanks: list[_Blank] = []
    piece: list[bytes] = []
    part: list[bytes] = []
    collected: dict[bytes, int] = {}
    at = touched = forwarded = 0
    # Of these, a part of what is said hangs on values.
    is_sound = not (head.tenant or head.max_forwards >= 0 or head.is_http10 or head.traceparent == b"-" or not head.authority)
    for line in lines:
        spelt, _, value = line.partition(b":")
        meaning = spellings.get(spelt)
        if meaning is None:
            return [], None
        action = meaning.action
        is_kept = at < len(kept) and kept[at] == line
        if is_kept:
            at += 1
        if action & ACTION == UPGRADE:
            # It counts where there is no body.
            is_sound = False
        if spelt not in varying:
            piece += (line, CRLF)
            if is_kept:
                part += (line, CRLF)
        else:
            field = spelt + b":"
            blank = _Blank(action, meaning.name, field)
            blanks.append(blank)
            pieces.append(b"".join([*piece, field]))
            piece = [CRLF]
            if is_kept:
                blank.part = len(parts) + 1
                parts += (b"".join([*part, field]), value)
                part = [CRLF]
            blank.collected = collected.get(meaning.name, 0)
            blank.touched = touched
            blank.forwarded = forwarded
        if action & COLLECT:
            collected[meaning.name] = collected.get(meaning.name, 0) + 1
        touched += 1 if action & TOUCH else 0
        forwarded += 1 if action & ACTION == FORWARDED else 0
    piece.append(CRLF)
    pieces.append(b"".join(piece))
    parts.append(b"".join(part))
    # Not so where a line was rewritten.
    is_sound = is_sound and at == len(kept) and b"".join(parts) == head.common
    return pieces, RequestTemplate(head, parts, blanks) if is_sound else None
