"""Markup that cannot be broken into: text becomes markup only by being escaped.

`tag` takes text and `Markup`; whatever is not `Markup` is escaped. So a path, a header or a body that
came from traffic is text wherever it is put, and only what this package wrote is markup. Two more rules:

* characters that cannot be seen, or that turn the direction of reading around, are shown as escapes
  (`visible`), for a report that can be made to read differently than it is would be worthless;
* attribute names come from code, attribute values are escaped like text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

VOID: Final = frozenset({"meta", "link", "br", "hr", "col"})
"""HTML elements without an end tag (HTML standard, section 13.1.2)."""

_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_SPACE: Final = frozenset("\n\t \N{NO-BREAK SPACE}")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Markup({str.__repr__(self)})"


def visible(text: str) -> str:
    r"""`text` with every character that has no glyph of its own as an escape: `\x1b`, `\u202e`, a lone surrogate.

    Newline, tab and spaces stay. What is returned can be encoded as UTF-8 and is valid in XML 1.0.
    """
    return "".join(one if one in _SPACE or one.isprintable() else _escape(one) for one in text)


def escape(text: str) -> Markup:
    """`text` as markup that shows it and does nothing else."""
    return Markup(visible(text).translate(_ESCAPES))


def render(content: object) -> Markup:
    """Anything as markup: Markup as it is, None as nothing, an iterable as its parts one after another, else escaped text."""
    if isinstance(content, Markup):
        return content
    if content is None:
        return Markup()
    if isinstance(content, str):
        return escape(content)
    if isinstance(content, (list, tuple)):
        return Markup("".join(render(part) for part in content))
    return escape(str(content))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """One element. `class_` is `class`, `aria_label` is `aria-label`; an attribute that is None or False is left out.

    Args:
        name: the element's name.
        content: what is inside, in order; see `render`.
        attributes: True gives an attribute without a value.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(attribute if value is True else f'{attribute}="{escape(str(value))}"')
    opened = f"<{' '.join(parts)}>"
    return Markup(opened if name in VOID else f"{opened}{render(content)}</{name}>")


def join(parts: Iterable[object], separator: str = "\n") -> Markup:
    """Parts one after another, with text between them."""
    return Markup(escape(separator).join(render(part) for part in parts))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
