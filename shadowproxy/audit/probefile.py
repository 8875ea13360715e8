"""Probes that people write, for routes that want more than what can be made up: a YAML file, by route.

::

    checkout:                          # the route
      - method: POST
        path: /checkout                # and query; from the route's match if not given
        headers: {X-Shop: "7"}
        json: {sku: A1, note: "{{honey}}"}
        status: 201                    # another answer is a failure: it did not get to where harm could be done
      - {method: DELETE, path: "/checkout/{{honey}}"}

`{{honey}}` is replaced by the probe's token wherever it stands in path, headers and body. A token also goes into a
header, so that a probe without any place for it can be found too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.declare import Json, doc
from shadowproxy.config.read import UNKNOWN, read_object
from shadowproxy.config.report import Places, Report, child, item
from shadowproxy.config.source import read_yaml
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOT: Final = "{{honey}}"

OURS: Final = frozenset(
    {
        "x-test-traffic",
        "traceparent",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "content-digest",
        "signature",
        "signature-input",
    }
)
"""Fields by which a probe is a probe: one that could change them would prove nothing."""

LARGEST: Final = 1024 * 1024
"""Bytes of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One request of a file."""

    method: str = field(metadata=doc("The method.", format="method", nonempty=True))
    path: str = field(
        default="",
        metadata=doc(
            "Path and query; from the route's match if not given.", pattern=r"(/[\x21-\x7e]*)?", form="a path: / and visible ASCII"
        ),
    )
    headers: dict[str, str] = field(
        default_factory=dict,
        metadata=doc("Fields, also in place of those that an audit sets.", key_format="header-name", format="header-value"),
    )
    json: Json = field(default=None, metadata=doc("Body, as JSON."))  # type: ignore[assignment]  # nothing is JSON too
    body: str = field(default="", metadata=doc("Body, as it stands."))
    status: int = field(default=0, metadata=doc("Status that the answer must have; 0 for any.", minimum=0, maximum=599))


def read_file(path: str | os.PathLike[str]) -> Mapping[str, tuple[Template, ...]]:
    """The templates in a file, by route.

    Raises:
        ConfigError: with every problem in the file, each with its line and column.
    """
    report = Report(Places(os.fspath(path)))
    templates = _templates(read_yaml(_text(path, report), report, os.environ), report)
    if report.has_errors:
        raise ConfigError(report.in_order())
    return templates


def _text(path: str | os.PathLike[str], report: Report) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content.decode("utf-8")
        report.error("", f"has more than {LARGEST} bytes")
    except OSError as error:
        report.error("", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        report.error("", "not UTF-8")
    raise ConfigError(report.in_order())


def _templates(value: Any, report: Report) -> dict[str, tuple[Template, ...]]:
    if not isinstance(value, dict):
        if value is not UNKNOWN:
            report.error("", "must map routes to requests")
        return {}
    found: dict[str, tuple[Template, ...]] = {}
    for route, told in value.items():
        place = child("", route)
        several = told if isinstance(told, list) else [told]
        read = [read_object(Template, one, item(place, at) if told is several else place, report) for at, one in enumerate(several)]
        found[route] = tuple(one for one in read if isinstance(one, Template))
        for at, one in enumerate(found[route]):
            _check(one, item(place, at) if told is several else place, report)
    return found


def _check(template: Template, path: str, report: Report) -> None:
    if template.body and template.json is not None:
        report.error(path, "json or body, not both")
    for name in template.headers:
        if name.lower() in OURS:
            report.error(child(child(path, "headers"), name), "an audit sets this field itself", on_key=True)
