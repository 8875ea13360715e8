"""Between the typed config and plain data that JSON can carry: to workers, to the admin API, to a digest.

`from_plain` reads what a YAML file holds once parsed (`"5s"` or 5.0, `"64KiB"` or 65536, short
forms and omissions included) and applies every check that needs no file; `to_plain` writes
everything out. `from_plain(to_plain(config)) == config` for every config that was accepted.
Nothing here imports YAML: a worker starts without it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from shadowproxy.config.checks import check
from shadowproxy.config.complete import complete
from shadowproxy.config.declare import NOT_GIVEN
from shadowproxy.config.model import Config
from shadowproxy.config.read import read_object
from shadowproxy.config.report import Report
from shadowproxy.config.shape import Shape, fields_of
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def from_plain(mapping: Mapping[str, Any]) -> Config:
    """Return the config that plain data describes.

    Raises:
        ConfigError: with every problem; their lines are 0, as there is no file.

    """
    report = Report()
    config = read_config(dict(mapping), report)
    if report.has_errors:
        raise ConfigError(report.errors())
    return config


def read_config(value: Any, report: Report) -> Config:
    """Return the config that `value` describes, completed and checked; worthless if the report has errors then."""
    config: Config = complete(read_object(Config, value, "", report))
    check(config, report)
    return config


def to_plain(config: Config) -> dict[str, Any]:
    """Return everything that `config` says, defaults included, in the units of the model (seconds, bytes, percent)."""
    return _object_to_plain(config, keyed=False)


def canonical_digest(config: Config) -> str:
    """Return the SHA-256, in hexadecimal, of what `config` means.

    Comments, order of keys, units and defaults that are spelled out do not change it.
    """
    text = json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _object_to_plain(value: Any, *, keyed: bool) -> dict[str, Any]:
    given = ((field, getattr(value, field.name)) for field in fields_of(type(value), keyed=keyed))
    return {field.name: value_to_plain(field.shape, one) for field, one in given if one is not NOT_GIVEN}


def value_to_plain(shape: Shape, value: Any) -> Any:
    """Return the plain data of one value of that shape."""
    if value is None:
        return None
    if shape.kind == "object":
        return _object_to_plain(value, keyed=False)
    if shape.kind == "enum":
        return str(value)
    if shape.kind == "list":
        assert shape.item is not None
        if shape.item.kind == "object":
            return [_object_to_plain(entry, keyed=False) for entry in value]
        return list(value)
    if shape.kind == "mapping":
        assert shape.item is not None
        if shape.item.kind == "object":
            return {key: _object_to_plain(entry, keyed=True) for key, entry in value.items()}
        return dict(value)
    return value
