"""What the admin API offers of the ledger; `openapi` adds it to the rest."""

from __future__ import annotations

from typing import Final

from shadowproxy.control.admin.schema import (
    COUNT,
    COUNTS,
    FLAG,
    LINES,
    NUMBER,
    STRING,
    Endpoint,
    Schema,
    extended,
    list_of,
    or_null,
    structure,
)

Parameter = tuple[str, str, Schema]

_FATE: Final[Parameter] = ("fate", "Only writes with this fate.", {"type": "string", "enum": ["sunk", "partitioned", "refused", "passed"]})
_FILTERS: Final[tuple[Parameter, ...]] = (
    ("tenant", "Only writes of this tenant.", STRING),
    ("route", "Only those of this route.", STRING),
    ("trace", "Only those of this trace (32 hex digits).", STRING),
    ("since", "Not before: seconds since 1970.", NUMBER),
    ("until", "Before: seconds since 1970.", NUMBER),
)
_FORMAT: Final[Parameter] = ("format", "JSON lines or CSV.", {"type": "string", "enum": ["jsonl", "csv"], "default": "jsonl"})

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET",
        "/api/v1/ledger",
        "ledger",
        "Tagged writes as they were recorded, the newest first.",
        schema="LedgerRows",
        query=(
            _FATE,
            *_FILTERS,
            ("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
            ("cursor", "What the last answer called next.", STRING),
        ),
        refusals=(400, 503),
    ),
    Endpoint(
        "GET",
        "/api/v1/ledger/export",
        "ledger_export",
        "All of them, the oldest first; cut off where it cannot be read to its end.",
        answer=LINES,
        query=(_FATE, *_FILTERS, _FORMAT),
        refusals=(400, 503),
    ),
    Endpoint(
        "GET",
        "/api/v1/ledger/scrub",
        "ledger_scrub",
        "What to undo: writes that reached a partition, or live by rule, the newest first, each with a suggestion.",
        answer=LINES,
        query=(
            _FATE,
            *_FILTERS,
            _FORMAT,
            ("all", "1: also those that were marked as undone.", {"type": "string", "enum": ["0", "1"], "default": "0"}),
        ),
        refusals=(400, 503),
    ),
    Endpoint(
        "POST",
        "/api/v1/ledger/scrub",
        "mark_scrubbed",
        'Note that writes have been undone: {"ids": [...]}. Idempotent.',
        schema="Marked",
        has_body=True,
        refusals=(400, 403, 415, 413, 503),
    ),
    Endpoint(
        "GET",
        "/api/v1/ledger/law",
        "ledger_law",
        "The law of tagged writes, seen = sunk + partitioned + refused + passed + lost + pending, by route.",
        schema="LedgerLaw",
        query=(("check", "1: compared with the rows that are there; takes about a second.", {"type": "string", "enum": ["0", "1"]}),),
        refusals=(400, 503),
    ),
    Endpoint("GET", "/api/v1/ledger/{id}", "ledger_row", "One row.", schema="LedgerRow", refusals=(404, 503)),
)

ROW: Final = structure(
    seq=COUNT,
    id=STRING,
    time=NUMBER,
    trace=STRING,
    tenant=STRING,
    listener=STRING,
    route=STRING,
    method=STRING,
    host=STRING,
    target=STRING,
    digest=STRING,
    body_bytes=COUNT,
    fate=STRING,
    reason=STRING,
    to=STRING,
    origin=STRING,
    client=STRING,
    status=COUNT,
    location=STRING,
    scrubbed=NUMBER,
)
LEDGER: Final = structure(
    is_up=FLAG,
    problem=or_null("string"),
    path=STRING,
    bytes=COUNT,
    recorded=COUNT,
    refused=COUNT,
    waiting=COUNT,
    removed=COUNTS,
    removed_unscrubbed=COUNT,
    set_aside=or_null("string"),
)
_LAW: Final = {"seen": COUNT, "pending": COUNT, "fates": COUNTS, "is_conserved": FLAG}
TESTS: Final = structure(**_LAW)
"""The law of one route, as the status has it."""

SCHEMAS: Final[dict[str, Schema]] = {
    "LedgerRow": ROW,
    "LedgerRows": structure(rows=list_of(ROW), next=or_null("string"), ledger=LEDGER),
    "LedgerLaw": structure(
        routes=list_of(extended(structure(route=STRING, **_LAW), {"rows": COUNTS, "problems": list_of(STRING)})),
        is_compared=FLAG,
        is_kept=FLAG,
        ledger=LEDGER,
    ),
    "Marked": structure(marked=list_of(STRING)),
}
