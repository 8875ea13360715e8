"""Two texts or pages compared by lines.

A page is taken apart before each tag, so that one written on a single line has lines too.
Times and long ids in a line are replaced by their form before lines are compared. A line
that only one side has is told by its *shape*, which stays when its content changes: the
tag with its attribute names and what names it, or the words before a colon.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies import forms
from shadowproxy.judge.bodies.difference import Difference, Differences, Excuse, Kind, direction, preview
from shadowproxy.judge.bodies.paths import BODY
from shadowproxy.judge.bodies.rules import Rules, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable

LINES_LIMIT: Final = 20_000
"""Lines of one text; more are compared by digest."""

_TAG: Final = re.compile(r"(?=<)")
_SPACE: Final = re.compile(r"\s+")
_TAG_NAME: Final = re.compile(r"<(/?[A-Za-z!?][\w:.-]*)")
_ATTRIBUTE: Final = re.compile(r"""\s([A-Za-z_:@][\w:.@-]*)(?:=(?:"([^"<>]{0,200})"|'([^'<>]{0,200})'|([^\s"'<>]{1,200})))?""")
_NAMING: Final = frozenset({"id", "name", "property", "rel", "class", "itemprop", "data-testid"})
_LABEL: Final = re.compile(r"\s*([A-Za-z_][\w .-]{0,30}?)\s*[:=]")
_WORD: Final = re.compile(r"\s*([A-Za-z_]\w{0,30})")
_NAMES_LIMIT: Final = 8


def lines_of(text: str, *, is_markup: bool) -> list[str]:
    """The lines of a text, white space folded, empty ones left out."""
    parts = _TAG.split(text) if is_markup else text.splitlines()
    return [line for part in parts if (line := _SPACE.sub(" ", part).strip())]


def compare(found: Differences, rules: Rules, live: str, shadow: str, *, is_markup: bool) -> str:
    """Find what differs between two texts.

    Args:
        found: where differences go.
        rules: what is pinned; the place of a line is `body["SHAPE"]`.
        live: what live sent, decoded.
        shadow: what the shadow sent, decoded.
        is_markup: whether lines begin at tags.

    Returns:
        Why the texts were not compared by lines; empty when they were.
    """
    one, other = lines_of(live, is_markup=is_markup), lines_of(shadow, is_markup=is_markup)
    if max(len(one), len(other)) > LINES_LIMIT:
        return f"{max(len(one), len(other))} lines, limit {LINES_LIMIT}"
    settled_live, settled_shadow = [forms.settled(line) for line in one], [forms.settled(line) for line in other]
    counts_live, counts_shadow = Counter(settled_live), Counter(settled_shadow)
    if counts_live == counts_shadow:
        if settled_live != settled_shadow and rules.at(BODY).treat is not Treatment.IGNORE:
            found.add(Difference(BODY, Kind.ORDER, f"{len(one)} lines", f"{len(other)} lines"))
        elif one != other:
            _masked(found, rules, one, other, _markup_shape if is_markup else _line_shape)
        return ""
    shape = _markup_shape if is_markup else _line_shape
    only_live, only_shadow = _by_shape(counts_live - counts_shadow, shape), _by_shape(counts_shadow - counts_live, shape)
    for name in dict.fromkeys([*only_live, *only_shadow]):
        _one_shape(found, rules, name, only_live.get(name, []), only_shadow.get(name, []))
    return ""


def _by_shape(lines: Counter[str], shape: Callable[[str], str]) -> dict[str, list[str]]:
    shaped: defaultdict[str, list[str]] = defaultdict(list)
    for line, count in lines.items():
        shaped[shape(line)].extend([line] * min(count, _NAMES_LIMIT))
    return shaped


def _one_shape(found: Differences, rules: Rules, shape: str, live: list[str], shadow: list[str]) -> None:
    path = place_of(shape)
    if rules.at(path).treat is Treatment.IGNORE:
        return
    for one, other in zip(live, shadow, strict=False):
        found.add(Difference(path, Kind.VALUE, preview(one), preview(other), direction(one, other)))
    for line in live[len(shadow) :]:
        found.add(Difference(path, Kind.MISSING, preview(line), "absent", 1))
    for line in shadow[len(live) :]:
        found.add(Difference(path, Kind.EXTRA, "absent", preview(line), -1))


def _masked(found: Differences, rules: Rules, live: list[str], shadow: list[str], shape: Callable[[str], str]) -> None:
    """Lines that differ in times and ids only: noted, with that as their excuse."""
    for one, other in zip(live, shadow, strict=True):
        if one == other:
            continue
        path = place_of(shape(one))
        if rules.at(path).treat is not Treatment.IGNORE:
            excuse = Excuse.GENERATED if "<id>" in forms.settled(one) else Excuse.CLOCK
            found.add(Difference(path, Kind.VALUE, preview(one), preview(other), direction(one, other), excuse))


def place_of(shape: str) -> str:
    """The path of the lines of one shape."""
    quoted = shape.replace("\\", "").replace('"', "'")
    return f'{BODY}["{quoted}"]'


def _markup_shape(line: str) -> str:
    tag = _TAG_NAME.match(line)
    if tag is None:
        return _line_shape(line)
    head = line[: line.find(">")] if ">" in line else line
    names = []
    for match in list(_ATTRIBUTE.finditer(head, tag.end()))[:_NAMES_LIMIT]:
        name = match[1].lower()
        value = match[2] or match[3] or match[4] or ""
        names.append(f"{name}={value[:40]}" if name in _NAMING and not any(char.isdigit() for char in value) else name)
    return "<" + " ".join([tag[1].lower(), *names]) + ">"


def _line_shape(line: str) -> str:
    label = _LABEL.match(line)
    if label is not None:
        return label[1]
    word = _WORD.match(line)
    return word[1] if word is not None else "line"
