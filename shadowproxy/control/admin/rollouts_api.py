"""What the admin API offers of rollouts and evacuation drills; `openapi` adds it to the rest."""

from __future__ import annotations

from typing import Final

from shadowproxy.control.admin.schema import COUNT, FLAG, NUMBER, STRING, Endpoint, Schema, extended, list_of, or_null, structure

_CHANGE: Final = (400, 403, 404, 409, 413, 415, 503)
_NUMBER_OR_NULL: Final = or_null("number")

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint("GET", "/api/v1/rollouts", "rollouts", "Every rollout that the config has, begun or not.", schema="Rollouts"),
    Endpoint(
        "GET", "/api/v1/rollouts/{route}", "rollout", "The rollout of a route: where it stands, and why.", schema="Rollout", refusals=(404,)
    ),
    Endpoint(
        "POST",
        "/api/v1/rollouts/{route}/{order}",
        "steer_rollout",
        'start, pause, resume, promote (to the next step, without waiting), complete (to 100 %) or abort: {"reason": ""}.',
        schema="Rollout",
        has_body=True,
        refusals=_CHANGE,
    ),
    Endpoint("GET", "/api/v1/evacuations", "evacuations", "What is evacuated, and what was since the start.", schema="Evacuations"),
    Endpoint(
        "POST",
        "/api/v1/evacuations",
        "evacuate",
        'Give endpoints no new requests: {"fleet": "", "label": "cell, zone or region", "value": "", "seconds": 0 for until it is ended}.',
        schema="Evacuation",
        has_body=True,
        refusals=_CHANGE,
    ),
    Endpoint(
        "POST",
        "/api/v1/evacuations/end",
        "end_evacuations",
        'Move traffic back: {"fleet": ""} for one fleet, else everywhere. Idempotent.',
        schema="Evacuations",
        has_body=True,
        refusals=(400, 403, 413, 415),
    ),
)

_ARM: Final = structure(requests=COUNT, errors=COUNT, error_rate=_NUMBER_OR_NULL, p50=_NUMBER_OR_NULL, p99=_NUMBER_OR_NULL)
_HALF: Final = extended(_ARM, {"units": COUNT, "failed_units": COUNT})
_BOUNDS: Final = structure(estimate=_NUMBER_OR_NULL, low=_NUMBER_OR_NULL, high=_NUMBER_OR_NULL)
_EVIDENCE: Final = structure(log_e=NUMBER, threshold=NUMBER)
_RATE: Final = structure(requests=COUNT, errors=COUNT, error_rate=_NUMBER_OR_NULL)

STANDING: Final = structure(route=STRING, to=STRING, state=STRING, percent=NUMBER, lacking=STRING)
"""One that is under way, in a status."""

_ROLLOUT: Final = structure(
    route=STRING,
    id=or_null("string"),
    epoch=COUNT,
    live=STRING,
    to=STRING,
    by=STRING,
    started=_NUMBER_OR_NULL,
    ended=_NUMBER_OR_NULL,
    problem=or_null("string"),
    key=STRING,
    pinned=COUNT,
    first=COUNT,
    is_adopted=FLAG,
    state={"type": "string", "enum": ["idle", "running", "paused", "rolled_back", "completed"]},
    code=STRING,
    reason=STRING,
    percent=NUMBER,
    step={"type": "integer"},
    steps=list_of(NUMBER),
    seconds=NUMBER,
    step_seconds=NUMBER,
    bake=NUMBER,
    patience=NUMBER,
    lacking=STRING,
    affected=structure(units=or_null("integer"), harmed_units=or_null("integer"), is_exact=FLAG, requests=COUNT, failed_requests=COUNT),
    halves=structure(canary=_HALF, stable=_HALF),
    ring=_ARM,
    more=_ARM,
    outside=COUNT,
    without_unit=COUNT,
    excess=_BOUNDS,
    slower=structure(p50=_BOUNDS, p99=_BOUNDS),
    evidence=structure(errors=_EVIDENCE, safe=_EVIDENCE, sample_ratio=_EVIDENCE),
    history=list_of(structure(seconds=NUMBER, event=STRING, percent=NUMBER, code=STRING, reason=STRING)),
)

_EVACUATION: Final = structure(
    fleet=STRING,
    label=STRING,
    value=STRING,
    is_over=FLAG,
    by=STRING,
    started=NUMBER,
    ended=_NUMBER_OR_NULL,
    reason=STRING,
    seconds=NUMBER,
    length=NUMBER,
    endpoints=list_of(STRING),
    left=list_of(STRING),
    workers=structure(all=COUNT, confirmed=COUNT),
    last_new_request_s=_NUMBER_OR_NULL,
    late=COUNT,
    under_way=COUNT,
    drained_s=_NUMBER_OR_NULL,
    before=_RATE,
    during=_RATE,
    after={"oneOf": [_RATE, {"type": "null"}]},
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Rollout": _ROLLOUT,
    "Rollouts": structure(rollouts=list_of(_ROLLOUT)),
    "Evacuation": _EVACUATION,
    "Evacuations": structure(evacuations=list_of(_EVACUATION)),
}
