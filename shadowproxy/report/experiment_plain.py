"""The report of an experiment as JSON: the run document, its tests, and who made it, under a version.

Its schema is SCHEMA, and stays: a change that would break a reader changes VERSION. Fields may be added. `docs/experiment-reports.md`
explains it.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.lifecycle import State
from shadowproxy.report import numbers
from shadowproxy.report.checks import State as Ended
from shadowproxy.report.experiment import UNKNOWN, Verdict, count
from shadowproxy.report.experiment_checks import Of, checks
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from shadowproxy.report.experiment import Run

VERSION: Final = 1

_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "shadowproxy experiment report",
    "type": "object",
    "required": [
        "format", "version", "made_at", "program", "id", "name", "owner", "submitted_by", "approved_by", "is_dry", "force", "state", "verdict", "sentence", "hypothesis", "reason", "started",
        "ended", "units", "tests", "overridden", "journal_head", "run",
    ],
    "properties": {
        "format": {"const": "shadowproxy-experiment-report"},
        "version": {"const": VERSION},
        "made_at": {"type": "string", "format": "date-time"},
        "program": _TEXT,
        "id": _TEXT,
        "name": _TEXT,
        "owner": _TEXT,
        "submitted_by": _TEXT,
        "is_dry": {"type": "boolean", "description": "Whether it only decided and counted, and broke nothing."},
        "force": {**_TEXT, "description": "Why rules were overridden; empty when none were."},
        "approved_by": {**_TEXT, "description": "Empty when nobody did."},
        "state": {"enum": [*(str(state) for state in State), UNKNOWN]},
        "verdict": {"enum": [str(verdict) for verdict in Verdict]},
        "sentence": {**_TEXT, "description": "The verdict in a sentence."},
        "hypothesis": _TEXT,
        "reason": {**_TEXT, "description": "Why it ended; empty while it has not."},
        "started": _TIME,
        "ended": _TIME,
        "units": {**_COUNT, "description": "Different units that got the fault."},
        "look_back": {**_TEXT, "description": "What it would have touched of the requests before it began; empty where nobody looked."},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["of", "name", "state", "sentence"],
                "properties": {
                    "of": {"enum": [str(of) for of in Of]}, "name": _TEXT, "state": {"enum": [str(state) for state in Ended]}, "sentence": _TEXT,
                },
            },
        },
        "overridden": {"type": "array", "items": _TEXT, "description": "Objections that somebody overrode (break-glass)."},
        "journal_head": {**_TEXT, "description": "Hash of the journal's last entry of this run."},
        "run": {"type": "object", "description": "The document of GET /api/v1/experiments/{id}, whole."},
    },
}  # fmt: skip
"""JSON Schema (2020-12) of the report."""


def plain(run: Run) -> dict[str, Any]:
    """The report as values that JSON has."""
    journal = run.document.get("journal")
    objections = run.document.get("admission")
    return {
        "format": "shadowproxy-experiment-report",
        "version": VERSION,
        "made_at": numbers.rfc3339(run.made_at),
        "program": run.program,
        "id": run.id,
        "name": run.name,
        "owner": run.word("owner"),
        "submitted_by": run.word("submitted_by"),
        "approved_by": run.word("approved_by"),
        "is_dry": bool(run.document.get("is_dry")),
        "force": run.word("force"),
        "state": str(run.state),
        "verdict": str(run.verdict),
        "sentence": run.sentence,
        "hypothesis": run.hypothesis,
        "reason": run.word("reason"),
        "started": None if run.started is None else numbers.rfc3339(run.started),
        "ended": None if run.ended is None else numbers.rfc3339(run.ended),
        "units": count(run.document.get("units")),
        "look_back": visible(run.look_back),
        "tests": [{"of": str(one.of), "name": one.name, "state": str(one.state), "sentence": visible(one.sentence)} for one in checks(run)],
        "overridden": [
            str(one.get("sentence", ""))
            for one in (objections if isinstance(objections, list) else [])
            if isinstance(one, dict) and one.get("is_overridden")
        ],
        "journal_head": str(journal.get("head") or "") if isinstance(journal, dict) else "",
        "run": run.document,
    }


def text(run: Run) -> str:
    """The report as a JSON document, in ASCII."""
    return json.dumps(_finite(plain(run)), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same without numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
