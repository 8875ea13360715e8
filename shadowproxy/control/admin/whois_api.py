"""What the admin API offers about who is affected; `openapi` adds it to the rest."""

from __future__ import annotations

from typing import Final

from shadowproxy.control.admin.schema import COUNT, FLAG, NUMBER, STRING, Endpoint, Schema, list_of, optional, or_null, structure

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "GET",
        "/api/v1/whois",
        "whois",
        "Which experiments, rollouts and mirrors a user or tenant is and was a part of, and what really happened to it. The unit is kept nowhere.",
        schema="Whois",
        query=(
            ("unit", "The user, tenant, session or whatever keys name, as requests carry it.", {"type": "string"}),
            ("since", "What ended before it is left out, in seconds since 1970. Default: a week ago.", {"type": "number"}),
            ("key", "Only what goes by this key, such as `header:x-user-id`.", {"type": "string"}),
        ),
        refusals=(400, 503),
    ),
)

_PERIOD: Final = structure(place=STRING, since=NUMBER, until=or_null("number"), percent=NUMBER, is_paused=FLAG)
_PART: Final[Schema] = structure(
    kind={"type": "string", "enum": ["experiment", "rollout", "mirror"]},
    id=STRING,
    name=STRING,
    key=STRING,
    to=STRING,
    state=STRING,
    place=or_null("string"),
    is_paused=FLAG,
    was=list_of(_PERIOD),
    hits=optional(structure(count=COUNT, first=NUMBER, last=NUMBER)),
    is_tenant=FLAG,
    effect=STRING,
    conditions=list_of(STRING),
    unrecorded=COUNT,
    sentence=STRING,
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Whois": structure(
        now=NUMBER,
        since=NUMBER,
        remembered_since=NUMBER,
        is_complete=FLAG,
        problem=STRING,
        affected=list_of(STRING),
        experiments=list_of(_PART),
        rollouts=list_of(_PART),
        mirrors=list_of(_PART),
    )
}
