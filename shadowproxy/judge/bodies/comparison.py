"""One answer compared with another to the same request: status, header fields, body.

When the status differs that is the finding: an error page is not compared with the order
that live sent. What cannot be read is compared by its bytes, and says why. Content codings are off before an answer comes
here: whoever takes secrets out has undone them, within limits (redaction.codings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies import documents, headers, paths, text
from shadowproxy.judge.bodies.difference import Bounds, Difference, Differences, Kind
from shadowproxy.judge.bodies.documents import ContentType, Media, Unreadable, text_of
from shadowproxy.judge.bodies.fields import Walk
from shadowproxy.judge.bodies.rules import Rules, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.judge.bodies.documents import Json
    from shadowproxy.judge.bodies.headers import Fields


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it was captured.

    `outcome` is its status code, or how else the leg ended (`timeout`, `reset`, ...).
    `body` is without content codings, whatever the fields say; `is_cut` says that the capture ends before it did.
    Of a body that was not kept `digest` tells whether it is another's, and `missing` why it was not.
    """

    outcome: str
    headers: Fields = ()
    body: bytes = b""
    is_cut: bool = False
    digest: str = ""
    missing: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether there was an answer to the end."""
        return self.outcome.isdigit()

    def header(self, name: str) -> str:
        """The value of a header field, its lines joined by commas; empty without it."""
        return ", ".join(value for field, value in self.headers if field.lower() == name)


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs between two answers.

    `problem` says why something was compared by its bytes only, or not at all. `agreed`
    counts equal values at watched paths.
    """

    differences: tuple[Difference, ...] = ()
    problem: str = ""
    dropped: int = 0
    is_comparable: bool = True
    agreed: Mapping[str, int] | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the answers were compared and say the same."""
        return self.is_comparable and not self.differences


def compare(
    live: Answer,
    shadow: Answer,
    *,
    rules: Rules | None = None,
    bounds: Bounds | None = None,
    watched: frozenset[str] = frozenset(),
) -> Compared:
    """What differs between live's answer and the shadow's. Never raises for any answers.

    Args:
        live: what live answered.
        shadow: what the shadow, or the control, answered.
        rules: what people pinned.
        bounds: bounds of comparing.
        watched: paths whose equal values are counted too.
    """
    if not (live.is_whole and shadow.is_whole):
        return Compared(problem="no whole answer on both sides", is_comparable=False)
    found = Differences(bounds)
    pinned = rules or _NO_RULES
    if live.outcome != shadow.outcome:
        if pinned.at(paths.STATUS).treat is not Treatment.IGNORE:
            found.add(Difference(paths.STATUS, Kind.VALUE, live.outcome, shadow.outcome, 1 if shadow.outcome > live.outcome else -1))
        return Compared(tuple(found), "the status differs: bodies are not compared")
    headers.compare(found, pinned, live.headers, shadow.headers)
    if _are_same_bytes(live, shadow) and not watched:
        return Compared(tuple(found), dropped=found.dropped)
    walk = Walk(found, pinned, watched)
    problem = _bodies(walk, live, shadow)
    if walk.is_exhausted and not problem:
        problem = f"more than {found.bounds.nodes} values: the rest was not compared"
    return Compared(tuple(found), problem, found.dropped, agreed=walk.agreed)


_NO_RULES: Final = Rules()


def _are_same_bytes(live: Answer, shadow: Answer) -> bool:
    return (live.body, live.is_cut, live.digest, live.missing) == (shadow.body, shadow.is_cut, shadow.digest, shadow.missing)


def _bodies(walk: Walk, live: Answer, shadow: Answer) -> str:
    if walk.rules.at(paths.BODY).treat is Treatment.IGNORE:
        return ""
    if live.missing or shadow.missing:
        return _by_digest(walk.found, live, shadow)
    one, other = live.body, shadow.body
    if live.is_cut or shadow.is_cut:
        return _beginnings(walk.found, live, shadow)
    type_live, type_shadow = (
        documents.content_type(live.header("content-type"), one),
        documents.content_type(shadow.header("content-type"), other),
    )
    if type_live.media is not type_shadow.media:
        _digest(walk.found, one, other)
        return f"{type_live.name or 'no type'} beside {type_shadow.name or 'no type'}: compared by bytes"
    if not (one and other):
        if one != other:
            kind, turn = (Kind.MISSING, 1) if one else (Kind.EXTRA, -1)
            walk.found.add(Difference(paths.BODY, kind, f"{len(one)} bytes", f"{len(other)} bytes", turn))
        return ""
    return _documents(walk, one, other, type_live, type_shadow)


def _documents(walk: Walk, live: bytes, shadow: bytes, type_live: ContentType, type_shadow: ContentType) -> str:
    media = type_live.media
    if media is Media.OTHER:
        _digest(walk.found, live, shadow)
        return ""
    one, other = text_of(live, type_live.charset), text_of(shadow, type_shadow.charset)
    if one is None or other is None:
        _digest(walk.found, live, shadow, is_unreadable=(one is None) != (other is None))
        return f"not in charset {(type_live if one is None else type_shadow).charset or 'utf-8'!r}: compared by bytes"
    reader = _READERS.get(media)
    if reader is None:
        problem = text.compare(walk.found, walk.rules, one, other, is_markup=media is Media.MARKUP)
        if problem:
            _digest(walk.found, live, shadow)
        return problem
    value, beside = reader(one), reader(other)
    if isinstance(value, Unreadable) or isinstance(beside, Unreadable):
        _digest(walk.found, live, shadow, is_unreadable=isinstance(value, Unreadable) != isinstance(beside, Unreadable))
        return f"{(value if isinstance(value, Unreadable) else beside).reason}: compared by bytes"
    walk.compare(paths.BODY, value, beside)
    return ""


_READERS: Final[Mapping[Media, Callable[[str], Json | Unreadable]]] = {
    Media.JSON: documents.read_json,
    Media.JSON_LINES: documents.read_json_lines,
    Media.FORM: documents.read_form,
}


def _beginnings(found: Differences, live: Answer, shadow: Answer) -> str:
    """Compare as much as there is of both. A whole body that ends where the other goes on is another one."""
    one, other = live.body, shadow.body
    length = min(len(one), len(other))
    if one[:length] != other[:length] or (not live.is_cut and length < len(other)) or (not shadow.is_cut and length < len(one)):
        _digest(found, one, other)
    return f"the capture was cut: the first {length} bytes were compared"


def _by_digest(found: Differences, live: Answer, shadow: Answer) -> str:
    reason = live.missing or shadow.missing
    if bool(live.missing) != bool(shadow.missing):
        found.add(
            Difference(paths.BODY, Kind.UNREADABLE, live.missing or "readable", shadow.missing or "readable", 1 if shadow.missing else -1)
        )
    elif live.digest != shadow.digest:
        found.add(Difference(paths.BODY, Kind.DIGEST, live.digest[:32], shadow.digest[:32]))
    return f"{reason}: compared by digest"


def _digest(found: Differences, live: bytes, shadow: bytes, *, is_unreadable: bool = False) -> None:
    if live == shadow:
        return
    turn = 1 if (len(shadow), shadow) > (len(live), live) else -1
    found.add(Difference(paths.BODY, Kind.UNREADABLE if is_unreadable else Kind.DIGEST, f"{len(live)} bytes", f"{len(shadow)} bytes", turn))
