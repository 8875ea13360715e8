"""The report as JSON: what was gathered, and the tests, under a version.

Its schema is SCHEMA, and stays: a change that would break a reader changes VERSION. Fields may be added.
`docs/reports.md` explains it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.report import numbers
from shadowproxy.report.checks import State, checks
from shadowproxy.report.document import VERDICTS
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from shadowproxy.report.document import Report, Subject

VERSION: Final = 1

_TEXT: Final = {"type": "string"}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "shadowproxy report",
    "type": "object",
    "required": ["format", "version", "made_at", "program", "verdict", "is_killed", "mirrors"],
    "properties": {
        "format": {"const": "shadowproxy-report"},
        "version": {"const": VERSION},
        "made_at": {"type": "string", "format": "date-time"},
        "program": _TEXT,
        "verdict": {"enum": list(VERDICTS), "description": "The worst of all mirrors."},
        "is_killed": {"type": "boolean"},
        "started_at": _TEXT,
        "config": {"type": "object"},
        "mirrors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["route", "mirror", "verdict", "tests", "evidence", "comparison", "exemplars"],
                "properties": {
                    "route": _TEXT,
                    "mirror": _TEXT,
                    "verdict": {"enum": list(VERDICTS)},
                    "tests": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "state", "sentence"],
                            "properties": {"name": _TEXT, "state": {"enum": [str(state) for state in State]}, "sentence": _TEXT},
                        },
                    },
                    "evidence": {"type": "object", "description": "The mirror's entry of GET /api/v1/verdict."},
                    "comparison": {"type": "object", "description": "The mirror's entry of GET /api/v1/compare; empty when there is none."},
                    "exemplars": {"type": "array", "items": {"type": "object"}},
                },
            },
        },
    },
}
"""JSON Schema (2020-12) of the report."""


def plain(report: Report) -> dict[str, Any]:
    """The report as values that JSON has."""
    return {
        "format": "shadowproxy-report",
        "version": VERSION,
        "made_at": numbers.rfc3339(report.made_at),
        "program": report.program,
        "verdict": report.worst,
        "is_killed": report.is_killed,
        "started_at": report.started_at,
        "config": report.config,
        "mirrors": [_mirror(subject) for subject in report.subjects],
    }


def text(report: Report) -> str:
    """The report as a JSON document, in ASCII."""
    return json.dumps(plain(report), indent=2) + "\n"


def _mirror(subject: Subject) -> dict[str, Any]:
    return {
        "route": subject.verdict.get("route", ""),
        "mirror": subject.verdict.get("mirror", ""),
        "verdict": subject.state,
        "tests": [{"name": one.name, "state": str(one.state), "sentence": visible(one.sentence)} for one in checks(subject)],
        "evidence": subject.verdict,
        "comparison": subject.comparison,
        "exemplars": list(subject.exemplars),
    }
