"""Plain data in, the frozen classes of `model` out, with every problem reported on the way.

Reading never stops at a problem: a value that cannot be used is reported and replaced by the
field's default (or something empty), so that the rest of the config is checked too. The caller
throws the result away when the report has errors.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.formats import CHECKS
from shadowproxy.config.report import child, closest, item
from shadowproxy.config.shape import Field, Shape, fields_of
from shadowproxy.config.units import read_percent, read_seconds, read_size, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.report import Report

EXTENSION: Final = "x-"
"""Keys at the top that start so are for the file's own use: a place to keep anchors."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

LARGEST_INTEGER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Literal:
    """A YAML scalar that would not be a string: its text, and the value that it would be.

    With `is_text` it may be a string as well: an environment variable was put into it.
    """

    text: str
    value: bool | float | str | None
    is_text: bool = False


class _Unknown:
    """The type of UNKNOWN."""


UNKNOWN: Final = _Unknown()
"""Stands for a value whose problem has been reported already."""


def read_object(cls: type[Any], value: Any, path: str, report: Report, *, key: str | None = None) -> Any:
    """Return an object of the dataclass `cls` read from the mapping `value`.

    Args:
        cls: a class of `model`.
        value: plain data; a Literal may stand for any scalar.
        path: where `value` is in the config; empty for all of it.
        report: gets every problem.
        key: the key of the mapping that holds the object, if one does: it becomes the object's name.

    """
    if not isinstance(value, dict):
        if value is not UNKNOWN:
            report.error(path, f"expected a mapping, got {_shown(value)}")
        value = None
    fields = fields_of(cls, keyed=key is not None)
    misspelt = _report_unknown_keys(value, fields, path, report) if value is not None else frozenset()
    arguments = {} if key is None else {"name": key}
    for field in fields:
        if value is not None and field.name in value:
            arguments[field.name] = _read_field(field, value[field.name], child(path, field.name), report)
        else:
            if value is not None and field.name not in misspelt:
                _report_omission(field, path, report)
            arguments[field.name] = _placeholder(field)
    return cls(**arguments)


def _report_unknown_keys(value: dict[Any, Any], fields: tuple[Field, ...], path: str, report: Report) -> frozenset[str]:
    """Report keys that the class does not have and return the fields that they were probably meant to be."""
    known = [field.name for field in fields]
    misspelt = set()
    for key in value:
        if not isinstance(key, str):
            report.error(path, f"keys are strings, got {shown(key)}")
        elif key not in known and not (not path and key.startswith(EXTENSION)):
            suggestion = closest(key, [name for name in known if name not in value])
            misspelt.add(suggestion)
            hint = "" if suggestion else f"; known here: {', '.join(known)}"
            report.error(child(path, key), f"unknown key{hint}", suggestion=suggestion, on_key=True)
    return frozenset(misspelt)


def _report_omission(field: Field, path: str, report: Report) -> None:
    if field.is_required:
        report.error(child(path, field.name), f"{field.name} is required")
    elif "omitted" in field.metadata:
        report.warning(child(path, field.name), field.metadata["omitted"])


def _placeholder(field: Field) -> Any:
    if not field.is_required:
        return field.default
    return {"list": (), "mapping": {}}.get(field.shape.kind, "")


def _read_field(field: Field, value: Any, path: str, report: Report) -> Any:
    shape, metadata = field.shape, field.metadata
    result = read_value(shape, value, path, metadata, report)
    if result is UNKNOWN:
        return _placeholder(field)
    if metadata.get("nonempty") and not result:
        report.error(path, "must not be empty")
    return result


def read_value(shape: Shape, value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    """Return `value` as `shape` says, or UNKNOWN when it cannot be, which has then been reported."""
    if shape.is_optional and (value is None or (isinstance(value, Literal) and value.value is None)):
        return None
    if shape.kind == "object":
        assert shape.cls is not None
        return read_object(shape.cls, _spelled_out(value, path, metadata, report), path, report)
    if value is UNKNOWN:
        return UNKNOWN
    if shape.kind == "list":
        return _read_list(shape, value, path, metadata, report)
    if shape.kind == "mapping":
        return _read_mapping(shape, value, path, metadata, report)
    if shape.kind == "json":
        return _read_json(value, path, report)
    return _read_scalar(shape, value, path, metadata, report)


def _read_list(shape: Shape, value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    if not isinstance(value, (list, tuple)):
        report.error(
            path, f"expected a list, got {_shown(value)}", suggestion=f"[{value}]" if isinstance(value, str) and len(value) < 60 else ""
        )
        return UNKNOWN
    assert shape.item is not None
    found = []
    for index, entry in enumerate(value):
        result = read_value(shape.item, entry, item(path, index), metadata, report)
        found.append("" if result is UNKNOWN else result)
    return tuple(found)


def _spelled_out(value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    """Return the mapping that a bare string is short for, where there is a short form."""
    shorthand = metadata.get("shorthand")
    if shorthand and (isinstance(value, str) or (isinstance(value, Literal) and value.is_text)):
        report.places.alias(child(path, shorthand), path)
        return {shorthand: value if isinstance(value, str) else value.text}
    return value


def _read_mapping(shape: Shape, value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    if not isinstance(value, dict):
        report.error(path, f"expected a mapping, got {_shown(value)}")
        return UNKNOWN
    assert shape.item is not None
    found: dict[str, Any] = {}
    lowered: dict[str, str] = {}
    for key, entry in value.items():
        place = child(path, str(key))
        if not isinstance(key, str):
            report.error(path, f"keys are strings, got {shown(key)}")
            continue
        if "key_pattern" in metadata and not _compiled(metadata["key_pattern"]).fullmatch(key):
            report.error(place, f"expected {metadata['form']}, got {shown(key)}", on_key=True)
        if "key_format" in metadata:
            _check_format(metadata["key_format"], key, place, report, on_key=True)
            if lowered.setdefault(key.lower(), key) != key:
                report.error(place, f"the same header as {lowered[key.lower()]!r}", on_key=True)
        if shape.item.kind == "object":
            assert shape.item.cls is not None
            found[key] = read_object(shape.item.cls, entry, place, report, key=key)
        else:
            result = read_value(shape.item, entry, place, {**metadata, "any_scalar": True}, report)
            found[key] = "" if result is UNKNOWN else result
    return found


def _read_json(value: Any, path: str, report: Report) -> Any:
    """Return what JSON would say: an unquoted scalar is the value that it looks like (YAML 1.2 core schema)."""
    if isinstance(value, Literal):
        return value.text if value.is_text else value.value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            report.error(path, "keys are strings")
            return UNKNOWN
        found = {key: _read_json(entry, child(path, key), report) for key, entry in value.items()}
        return UNKNOWN if UNKNOWN in found.values() else found
    if isinstance(value, (list, tuple)):
        entries = [_read_json(entry, item(path, index), report) for index, entry in enumerate(value)]
        return UNKNOWN if UNKNOWN in entries else entries
    if isinstance(value, float) and not math.isfinite(value):
        report.error(path, f"JSON has no {value}")
        return UNKNOWN
    if isinstance(value, str) and _SURROGATE.search(value):
        report.error(path, "is not Unicode text")
        return UNKNOWN
    if value is not None and not isinstance(value, (str, bool, int, float, _Unknown)):
        report.error(path, f"JSON has no {type(value).__name__}")
        return UNKNOWN
    return value


def _read_scalar(shape: Shape, value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    if shape.kind == "string":
        return _read_string(value, path, metadata, report)
    if isinstance(value, Literal):
        value = value.value
    if shape.kind == "enum":
        return _read_enum(shape, value, path, report)
    if shape.kind == "boolean":
        if isinstance(value, bool):
            return value
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), "") if isinstance(value, str) else ""
        report.error(path, f"expected true or false, got {shown(value)}", suggestion=meant)
        return UNKNOWN
    if metadata.get("keyword") == "auto" and value == "auto":
        value = len(os.sched_getaffinity(0))
    try:
        number = _NUMBERS[shape.kind](value)
    except ValueError as error:
        report.error(path, str(error))
        return UNKNOWN
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        report.error(path, f"must be {bounds}, got {shown(value)}")
        return UNKNOWN
    return number


def _read_string(value: Any, path: str, metadata: Mapping[str, Any], report: Report) -> Any:
    if isinstance(value, Literal):
        is_wanted = value.is_text or (metadata.get("any_scalar") and value.value is not None)
        value = value.text if is_wanted else value.value
    if metadata.get("any_scalar") and isinstance(value, (bool, int, float)):
        value = shown(value)
    if not isinstance(value, str):
        quoted = f'; put it in quotes: "{shown(value)}"' if isinstance(value, (bool, int, float)) else ""
        report.error(path, f"expected a string, got {shown(value)}{quoted}")
        return UNKNOWN
    if not value.isascii() and _SURROGATE.search(value):
        report.error(path, "is not Unicode text")
        return UNKNOWN
    if "pattern" in metadata and not _compiled(metadata["pattern"]).fullmatch(value):
        report.error(path, f"expected {metadata.get('form') or metadata['pattern']}, got {shown(value)}")
        return UNKNOWN
    if "max_bytes" in metadata and len(value.encode()) > metadata["max_bytes"]:
        report.error(path, f"has {len(value.encode())} bytes, limit {metadata['max_bytes']}")
        return UNKNOWN
    if value and "format" in metadata and not _check_format(metadata["format"], value, path, report):
        return UNKNOWN
    return value


def _read_enum(shape: Shape, value: Any, path: str, report: Report) -> Any:
    assert shape.cls is not None
    known = [str(member) for member in shape.cls]
    if isinstance(value, str) and value in known:
        return shape.cls(value)
    if value is False and "off" in known:
        return shape.cls("off")  # YAML 1.1 tools write off as false
    suggestion = closest(value, known) if isinstance(value, str) else ""
    report.error(path, f"expected one of {', '.join(known)}, got {shown(value)}", suggestion=suggestion)
    return UNKNOWN


def _read_integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {shown(value)}")  # noqa: TRY004  one exception for one meaning
    if abs(value) > LARGEST_INTEGER:
        raise ValueError(f"expected a whole number up to {LARGEST_INTEGER}, got {shown(value)}")
    return value


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > LARGEST_INTEGER:  # noqa: PLR0124  NaN
        raise ValueError(f"expected a number, got {shown(value)}")
    return float(value)


_NUMBERS: Final = {
    "integer": _read_integer,
    "number": _read_number,
    "duration": read_seconds,
    "size": read_size,
    "percent": read_percent,
}


def _check_format(name: str, text: str, path: str, report: Report, *, on_key: bool = False) -> bool:
    try:
        CHECKS[name](text)
    except Unfit as error:
        report.error(path, str(error), suggestion=error.suggestion, on_key=on_key)
        return False
    return True


def _shown(value: Any) -> str:
    return shown(value.value) if isinstance(value, Literal) else shown(value)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
