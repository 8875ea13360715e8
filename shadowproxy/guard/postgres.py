"""The guard of a PostgreSQL database: scripts that set it up, take it away, and say what is missing.

Rules of the file:
- The scripts carry functions that read the catalogs when they are run, so that they can be made without a database,
  and quote every name there. Names get into the text as literals only.
- Each is one transaction: all of it is done, or nothing.
- Whoever sets `shadowproxy.tenant` in a session to anything but "" makes it a test session. All hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal, get_args

from shadowproxy.guard.literals import literal, text_array

Mode = Literal["refuse", "divert", "column"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

REFUSED: Final = "SP001"
"""SQLSTATE of a test session's write to production data."""
NO_TENANT: Final = "SP002"
"""SQLSTATE of a write to a shadow table by a session without a tenant."""
DEFINITION_REFUSED: Final = "SP003"
"""SQLSTATE of a test session's change of a definition, where event triggers are installed."""

LOCK_TIMEOUT_MS: Final = 5000
"""Milliseconds to wait for a table: a trigger is created under a lock that writers queue behind."""

_PARTS: Final[dict[Mode, tuple[str, ...]]] = {
    "refuse": ("install", "apply"),
    "divert": ("install", "divert", "divert_writes", "divert_schema", "apply"),
    "column": ("install", "column", "apply"),
}


@dataclass(frozen=True, slots=True)
class Guard:
    """What is to be guarded, and how.

    Attributes:
        mode: what becomes of a test session's write: it is refused, diverted into shadow tables, or kept to rows whose
            tenant column has the session's tenant.
        schemas: names as the catalogs have them, unquoted.
        tables: only these, in whichever of the schemas; None for all, those included that come later.
        column: the tenant column of mode `column`; tables without it refuse.
        live_value: what that column has in production's rows, beside NULL.
        has_events: install event triggers, which guard new tables as they come; takes a superuser.
        lock_timeout_ms: milliseconds to wait for each table's lock; 0 waits for ever.

    Raises:
        ValueError: a mode that there is not, no schema, a column without mode `column` or the other way round.
    """

    mode: Mode = "refuse"
    schemas: tuple[str, ...] = ("public",)
    tables: tuple[str, ...] | None = None
    column: str | None = None
    live_value: str = ""
    has_events: bool = False
    lock_timeout_ms: int = LOCK_TIMEOUT_MS

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is none of {', '.join(MODES)}")
        if not self.schemas or not all(self.schemas):
            raise ValueError("no schema is named")
        if (self.mode == "column") != (self.column is not None):
            raise ValueError("mode column needs the name of the tenant column, and no other mode has one")
        if self.lock_timeout_ms < 0:
            raise ValueError(f"a lock timeout of {self.lock_timeout_ms} ms")


def setup(guard: Guard) -> str:
    """The script that guards; run again, it mends what is missing. Its last result lists tables and what became of them.

    Raises:
        ValueError: a name that no SQL can hold.
    """
    live_value = literal(guard.live_value if guard.mode == "column" else None)
    call = ", ".join([literal(guard.mode), text_array(guard.schemas), text_array(guard.tables), literal(guard.column), live_value])
    parts = [*_PARTS[guard.mode], *(["events"] if guard.has_events else [])]
    return _transaction(guard.lock_timeout_ms, *(_part(name) for name in parts), f"SELECT * FROM shadowproxy.apply({call});")  # noqa: S608  literals only


def removal(lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> str:
    """The script that undoes everything: triggers, policies, shadow schemas with what tenants wrote, the guard's own schema."""
    return _transaction(lock_timeout_ms, _part("remove"))


def check(schemas: tuple[str, ...], tables: tuple[str, ...] | None = None) -> str:
    """The query whose rows (schema, table or NULL, problem) are what is not guarded. It changes nothing.

    Raises:
        ValueError: a name that no SQL can hold.
    """
    return f"WITH wanted (schema_name, tables) AS (SELECT unnest({text_array(schemas)}), {text_array(tables)})\n{_part('check')};\n"


def _transaction(lock_timeout_ms: int, *parts: str) -> str:
    head = (
        "BEGIN;\n"
        f"SET LOCAL lock_timeout = {lock_timeout_ms};\n"
        "SET LOCAL client_min_messages = warning;\n"
        "-- Whoever is a test session by role or database guards all the same, and the guard's event triggers let it.\n"
        "SET LOCAL shadowproxy.tenant = '';\n"
        "SET LOCAL shadowproxy.guarding = 'on';"
    )
    return "\n\n".join([head, *parts, "COMMIT;\n"])


def _part(name: str) -> str:
    return (resources.files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8").strip()
