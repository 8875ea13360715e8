"""YAML text into plain data that remembers where everything stood.

Only plain data: no tags, no objects. The text is read as parser events, never through a YAML
constructor, so that each limit holds while reading: nesting of 32 levels, 100,000 nodes repeated
by aliases (a "billion laughs" file stops there), one document. Duplicate keys are problems.

A scalar keeps its text until the field it is for says how to read it: `x-version: 1.10` stays
1.10 and `country: no` stays no (YAML 1.2 core schema, chapter 10.3.2).

`${env:NAME}` and `${env:NAME:-default}` are replaced in every scalar that is not a key; the
default also stands in for a variable that is set but empty, as in a shell. `$$` is one `$`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.read import UNKNOWN, Literal
from shadowproxy.config.report import Place, child, item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowproxy.config.report import Report

DEEPEST: Final = 32
"""Levels of nesting: the model has seven."""

MOST_REPEATED: Final = 100_000
"""Nodes that aliases may add: a thousand routes that share a mirror, not an alias bomb."""

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{env:([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|(\{[^}]*\}?))")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,40}")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,32}|0o[0-7]{1,40}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


class _Unreadable(Exception):
    """Reading cannot go on: the text is not YAML, or it is over a limit."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


@dataclass(slots=True)
class _Node:
    """One node of the document. `weight` counts it and all below it, `height` the levels below it."""

    place: Place
    text: str = ""
    is_plain: bool = False
    items: list[_Node] | None = None
    pairs: list[tuple[_Node, _Node]] | None = None
    weight: int = 1
    height: int = 0
    pending: _Node | None = None
    anchor: str | None = None


def read_yaml(text: str, report: Report, env: Mapping[str, str]) -> Any:
    """Return the plain data of a YAML text, or UNKNOWN when it is not YAML, which has then been reported.

    Args:
        text: the whole file; what must be a string or a number is decided later, see `read.Literal`.
        report: gets every problem, and in `report.places` the place of every value and key.
        env: the variables for `${env:NAME}`.

    """
    try:
        root = _compose(text)
    except _Unreadable as error:
        report.places.values[""] = error.place
        report.error("", str(error))
        return UNKNOWN
    if root is None:
        report.places.values[""] = Place(1, 1)
        report.error("", "the file is empty")
        return UNKNOWN
    return _Builder(report, env).build(root, "")


def _compose(text: str) -> _Node | None:
    import yaml  # noqa: PLC0415  workers never read YAML, and importing it takes 20 ms

    forbidden = _FORBIDDEN.search(text.removeprefix("\ufeff"))
    if forbidden is not None:
        offset = forbidden.start() + text.startswith("\ufeff")
        raise _Unreadable(place_of(text, offset), f"the character U+{ord(text[offset]):04X} cannot stand in YAML")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer().compose(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        if "nesting depth" in (error.problem or ""):
            # libyaml scans ahead of its events: text that is far too deep meets its limit (1,000 levels)
            # before the event that meets ours. Older ones (PyYAML before 6.0.4) have none.
            raise _Unreadable(place, f"nested deeper than {DEEPEST} levels") from None
        context = f" {error.context}" if error.context else ""
        raise _Unreadable(place, f"not YAML: {error.problem or 'unreadable'}{context}") from None
    except yaml.YAMLError as error:
        raise _Unreadable(Place(1, 1), f"not YAML: {str(error).splitlines()[0]}") from None


def place_of(text: str, offset: int) -> Place:
    """Return the line and column of the character at `offset`."""
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


@dataclass(slots=True)
class _Composer:
    """Builds nodes from parser events with a stack of its own: depth is a number, not recursion."""

    stack: list[_Node] = field(default_factory=list)
    anchors: dict[str, _Node | None] = field(default_factory=dict)
    repeated: int = 0
    root: _Node | None = None

    def compose(self, events: Iterator[Any]) -> _Node | None:
        """Return the root of the only document, or None for none."""
        for event in events:
            name = type(event).__name__
            place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
            if getattr(event, "tag", None) is not None and getattr(event, "tag", None) != "!":
                raise _Unreadable(place, f"tags are not supported: {event.tag}")
            if name == "DocumentStartEvent" and self.root is not None:
                raise _Unreadable(place, "a config is one YAML document")
            if name == "ScalarEvent":
                self._close(_Node(place, event.value, is_plain=event.implicit[0], anchor=event.anchor))
            elif name == "AliasEvent":
                self._add(self._find(event.anchor, place))
            elif name in ("SequenceStartEvent", "MappingStartEvent"):
                self._open(_Node(place, anchor=event.anchor), is_list=name == "SequenceStartEvent")
            elif name in ("SequenceEndEvent", "MappingEndEvent"):
                self._close(self.stack.pop())
        return self.root

    def _find(self, anchor: str, place: Place) -> _Node:
        if anchor not in self.anchors:
            raise _Unreadable(place, f"unknown alias *{anchor}")
        node = self.anchors[anchor]
        if node is None:
            raise _Unreadable(place, f"*{anchor} contains itself")
        self.repeated += node.weight
        if self.repeated > MOST_REPEATED:
            raise _Unreadable(place, f"aliases repeat more than {MOST_REPEATED} nodes")
        # The same node at another place: problems are shown where its text is.
        return node

    def _open(self, node: _Node, *, is_list: bool) -> None:
        if is_list:
            node.items = []
        else:
            node.pairs = []
        if node.anchor:
            self.anchors[node.anchor] = None
        self.stack.append(node)
        self._check_depth(node, 0)

    def _close(self, node: _Node) -> None:
        if node.anchor:
            self.anchors[node.anchor] = node
        self._add(node)

    def _add(self, node: _Node) -> None:
        if not self.stack:
            self.root = node
            return
        self._check_depth(node, node.height)
        parent = self.stack[-1]
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        if parent.items is not None:
            parent.items.append(node)
        elif parent.pending is None:
            parent.pending = node
        else:
            assert parent.pairs is not None
            parent.pairs.append((parent.pending, node))
            parent.pending = None

    def _check_depth(self, node: _Node, height: int) -> None:
        if len(self.stack) + height > DEEPEST:
            raise _Unreadable(node.place, f"nested deeper than {DEEPEST} levels")


@dataclass(slots=True)
class _Builder:
    """Turns nodes into plain data; recursion is safe, depth is bounded."""

    report: Report
    env: Mapping[str, str]

    def build(self, node: _Node, path: str) -> Any:
        """Return the plain data of `node`, whose path is `path`."""
        self.report.places.values[path] = node.place
        if node.items is not None:
            return [self.build(entry, item(path, index)) for index, entry in enumerate(node.items)]
        if node.pairs is not None:
            return self._build_mapping(node, path)
        return self._build_scalar(node, path)

    def _build_mapping(self, node: _Node, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: dict[str, Place] = {}
        merged: list[_Node] = []
        for key, value in node.pairs or ():
            if key.items is not None or key.pairs is not None:
                self.report.error_at(key.place, path, "a key is a string, not a list or mapping")
            elif key.text == "<<" and key.is_plain:
                merged.append(value)
            elif key.text in own:
                self.report.error_at(key.place, child(path, key.text), f"given twice, first on line {own[key.text].line}")
            else:
                own[key.text] = key.place
                place = child(path, key.text)
                self.report.places.keys[place] = key.place
                found[key.text] = self.build(value, place)
        for source in merged:
            self._merge(source, path, found)
        return found

    def _merge(self, source: _Node, path: str, found: dict[str, Any]) -> None:
        """Add what `<<: *anchor` brings; keys that the mapping has itself win."""
        for mapping in source.items if source.items is not None else (source,):
            if mapping.pairs is None:
                self.report.error_at(mapping.place, path, "<< takes a mapping or a list of mappings")
                continue
            for key, value in mapping.pairs:
                if key.items is None and key.pairs is None and key.text == "<<" and key.is_plain:
                    self._merge(value, path, found)
                elif key.items is None and key.pairs is None and key.text not in found:
                    place = child(path, key.text)
                    self.report.places.keys[place] = key.place
                    found[key.text] = self.build(value, place)

    def _build_scalar(self, node: _Node, path: str) -> Any:
        text = node.text
        is_replaced = False
        if "$" in text:
            replaced = self._replace_references(text, path)
            if replaced is None:
                return UNKNOWN
            is_replaced = "${env:" in text
            text = replaced
        if not node.is_plain and not is_replaced:
            return text
        value = resolve(text)
        return value if isinstance(value, str) else Literal(text, value, is_text=is_replaced)

    def _replace_references(self, text: str, path: str) -> str | None:
        is_sound = True

        def replacement(found: re.Match[str]) -> str:
            nonlocal is_sound
            dollar, name, has_default, default, foreign = found.groups()
            if dollar:
                return "$"
            if foreign:
                is_sound = False
                self.report.error(path, f"not a reference: ${foreign}; write ${{env:NAME}}, or $$ for a dollar sign")
                return ""
            value = self.env.get(name)
            if has_default:
                return value or str(default)
            if value is None:
                is_sound = False
                self.report.error(path, f"the environment variable {name} is not set")
                return ""
            return value

        replaced = _REFERENCE.sub(replacement, text)
        return replaced if is_sound else None


def resolve(text: str) -> bool | float | str | None:
    """Return what a plain scalar means: nothing, a boolean, a number, or itself (YAML 1.2 core schema)."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    if len(text) <= 60 and _FLOAT.fullmatch(text):
        return float(text)
    return text
