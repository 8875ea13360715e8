"""The scrub list: what tagged writes have changed where something changed, and how each may be undone.

Entries are in reverse order of the writes: what was built last is taken down first. A suggestion is one: how a service
undoes a write, nobody but its owners know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from shadowproxy.sinks.ledger_query import Row

TAKEN: Final = (
    "id",
    "time",
    "trace",
    "tenant",
    "route",
    "method",
    "host",
    "target",
    "digest",
    "fate",
    "to",
    "status",
    "location",
    "scrubbed",
)
"""The keys of a row that an entry has as well."""

COLUMNS: Final = ("seq", *TAKEN, "undo", "undo_method", "undo_target", "advice")

DELETE: Final = "delete"
RESTORE: Final = "restore"
FIND: Final = "find"
CHECK: Final = "check"

Entry = dict[str, Any]


def entry(row: Row) -> Entry:
    """What the list says about one write.

    Returns:
        TAKEN, and `undo`: delete (with `undo_method` and `undo_target`), restore, find (it created something, nobody said where) or
        check (nothing should have happened); `advice` says it in a sentence.
    """
    kind, target, advice = _suggestion(row)
    return {
        "seq": row["seq"],
        **{name: row[name] for name in TAKEN},
        "undo": kind,
        "undo_method": "DELETE" if kind == DELETE else "",
        "undo_target": target,
        "advice": advice,
    }


def _suggestion(row: Row) -> tuple[str, str, str]:
    method, status, target = row["method"], row["status"], row["target"]
    if 400 <= status < 500:
        return CHECK, "", f"{row['to']} refused it with {status}: nothing should have changed"
    doubt = (
        ""
        if 200 <= status < 400
        else (f" if it was carried out: the answer was {status}" if status else " if it was carried out: no answer is known")
    )
    if method == "POST":
        location = _path_of(row["location"])
        if location:
            return DELETE, location, f"it created {location}: delete that{doubt}"
        return FIND, "", f"find what it created by {_signs(row)}, and delete that{doubt}"
    if method == "PUT":
        if status == 201:
            return DELETE, target, f"it created {target}: delete that"
        return RESTORE, target, f"restore {target} to what it was before{doubt}"
    if method == "PATCH":
        return RESTORE, target, f"restore {target} to what it was before{doubt}"
    if method == "DELETE":
        return RESTORE, target, f"create {target} again{doubt}"
    return FIND, "", f"find what it changed by {_signs(row)}, and undo that{doubt}"


def _path_of(location: str) -> str:
    """Location as a target of the same service, where it is one; another scheme than HTTP is nothing to delete (RFC 9110 section 10.2.2)."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    if parts.scheme not in {"", "http", "https"} or not (parts.path or parts.netloc):
        return ""
    return location


def _signs(row: Row) -> str:
    signs = [f"trace {row['trace']}"] if row["trace"] else []
    return " or ".join([*signs, f"tenant {row['tenant']}", f"the SHA-256 of its body, {row['digest'][:16]}..."])
