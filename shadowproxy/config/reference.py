"""The tables of docs/configuration.md and docs/experiment-file.md, written from the models.

`python -m shadowproxy.config.reference PAGE` writes them anew between the two marks in that file; a test fails when they are
out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.declare import NOT_GIVEN
from shadowproxy.config.experiment import Experiment
from shadowproxy.config.model import Config
from shadowproxy.config.plain import value_to_plain
from shadowproxy.config.shape import Field, Shape, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BEGIN: Final = "<!-- from the model: begin -->"
END: Final = "<!-- from the model: end -->"

ROOTS: Final[Mapping[str, type[Any]]] = {"configuration.md": Config, "experiment-file.md": Experiment}
"""Which file each page is about."""

_KINDS: Final = {"boolean": "true or false", "integer": "whole number", "json": "any value"}


def reference(root: type[Any] = Config) -> str:
    """Return one Markdown section for the whole file and each part of it, in the order in which the model nests them."""
    sections = [_section(path, cls, keyed=keyed) for path, cls, keyed in _parts("", root, keyed=False)]
    return "\n".join(sections)


def render(document: str, root: type[Any] = Config) -> str:
    """Return `document` with what stands between the marks replaced by the reference.

    Raises:
        ValueError: a mark is missing.

    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN} and {END}")
    return f"{before}{begin}\n\n{reference(root)}\n{end}{after}"


def _parts(path: str, cls: type[Any], *, keyed: bool) -> Iterator[tuple[str, type[Any], bool]]:
    yield path, cls, keyed
    for field in fields_of(cls, keyed=keyed):
        shape = field.shape
        place = f"{path}.{field.name}" if path else field.name
        if shape.kind == "list" and shape.item is not None:
            place, shape = f"{place}[]", shape.item
        in_mapping = shape.kind == "mapping" and shape.item is not None
        if in_mapping and shape.item is not None:
            place, shape = f"{place}.NAME", shape.item
        if shape.kind == "object" and shape.cls is not None:
            yield from _parts(place, shape.cls, keyed=in_mapping)


def _section(path: str, cls: type[Any], *, keyed: bool) -> str:
    summary = " ".join((cls.__doc__ or "").split())
    lines = [f"### {f'`{path}`' if path else 'The file'}", "", summary, "", "| key | takes | default | meaning |", "|---|---|---|---|"]
    for field in fields_of(cls, keyed=keyed):
        default = "required" if field.is_required else _default(field)
        lines.append(f"| `{field.name}` | {_escape(_takes(field.shape, field.metadata))} | {default} | {_escape(field.doc)} |")
    return "\n".join([*lines, ""])


def _takes(shape: Shape, metadata: Mapping[str, Any]) -> str:
    if shape.kind == "object":
        return "mapping"
    if shape.kind == "list" and shape.item is not None:
        return f"list of {_takes(shape.item, {})}s" + _bounds(shape.item, metadata)
    if shape.kind == "mapping" and shape.item is not None:
        return f"mapping of names to {_takes(shape.item, {})}s"
    if shape.kind == "enum" and shape.cls is not None:
        return ", ".join(f"`{member}`" for member in shape.cls)
    keyword = f" or `{metadata['keyword']}`" if "keyword" in metadata else ""
    return _KINDS.get(shape.kind, shape.kind) + keyword + _bounds(shape, metadata)


def _bounds(shape: Shape, metadata: Mapping[str, Any]) -> str:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if low is not None and high is not None:
        return f", {_written(shape, low)} to {_written(shape, high)}"
    return f", at least {_written(shape, low)}" if low else ""


def _default(field: Field) -> str:
    if field.shape.kind == "object" and field.default is not None:
        return "see below"
    plain = None if field.default is NOT_GIVEN else value_to_plain(field.shape, field.default)
    if plain in ("", None, [], {}):
        return ""
    return f"`{_written(field.shape, plain)}`"


def _written(shape: Shape, plain: Any) -> str:
    """Return a default as a person would write it: 64KiB, 500ms."""
    if shape.kind == "size":
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if plain and plain % factor == 0:
                return f"{plain // factor}{unit}"
    if shape.kind == "duration" and plain:
        return f"{plain:g}s" if plain >= 1 else f"{plain * 1000:g}ms"
    if shape.kind in ("number", "percent", "duration"):
        return f"{plain:g}"
    return plain if isinstance(plain, str) else json.dumps(plain)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(render(target.read_text(encoding="utf-8"), ROOTS[target.name]), encoding="utf-8")
