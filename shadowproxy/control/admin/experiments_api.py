"""What the admin API offers of experiments; `openapi` adds it to the rest."""

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
    map_of,
    or_null,
    structure,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint("GET", "/api/v1/experiments", "experiments", "Runs of experiments, the newest first.", schema="Experiments"),
    Endpoint("GET", "/api/v1/armed", "armed", "What workers are told of experiments, rollouts and evacuations now.", schema="Armed"),
    Endpoint(
        "POST",
        "/api/v1/experiments",
        "run_experiment",
        'Run an experiment: {"experiment": {...}} or {"text": "YAML"}, "dry_run", "force": a reason to break glass, "attached": seconds '
        "after which it ends when nobody has said `keep`. "
        "Answers 201, or 409 with every reason against it in `refusals`.",
        schema="Experiment",
        has_body=True,
        refusals=(400, 403, 415, 409, 413, 422),
        success=201,
    ),
    Endpoint(
        "POST",
        "/api/v1/experiments/plan",
        "plan_experiment",
        'What an experiment would take, without running it: {"experiment": {...}} or {"text": "YAML"}, "traffic" and "effect" in place of what was '
        "seen and `sequential.margin`. `admission` has what speaks against it now.",
        schema="Plan",
        has_body=True,
        refusals=(400, 403, 415, 413, 422),
    ),
    Endpoint("GET", "/api/v1/experiments/{id}", "experiment", "One run; by a name its newest.", schema="Experiment", refusals=(404,)),
    Endpoint(
        "POST",
        "/api/v1/experiments/{id}/keep",
        "keep_experiment",
        "Whoever waits for an attached run is still there: {}. Answers the run. Looking at it does not keep it alive.",
        schema="Experiment",
        refusals=(403, 415, 404),
    ),
    Endpoint(
        "POST",
        "/api/v1/experiments/{id}/stop",
        "stop_experiment",
        'End a run now: {"reason": ""}. Idempotent.',
        schema="Experiment",
        refusals=(400, 403, 415, 404),
    ),
    Endpoint(
        "GET",
        "/api/v1/experiments/{id}/journal",
        "experiment_journal",
        "The journal's lines of one run, as they are on the disk.",
        answer=LINES,
        refusals=(404, 503),
    ),
    Endpoint(
        "GET",
        "/api/v1/experiments/{id}/replay",
        "replay_experiment",
        "The verdict once more, from the journal, which is verified from the segment on that the run begins in.",
        schema="Replay",
        refusals=(404, 503),
    ),
)

_STATE: Final[Schema] = {"type": "string", "enum": ["draft", "admitted", "running", "completed", "aborted", "expired", "killed"]}
_SHOWN: Final[dict[str, Schema]] = {
    "id": STRING,
    "name": STRING,
    "owner": STRING,
    "state": _STATE,
    "code": STRING,
    "reason": STRING,
    "submitted_by": STRING,
    "approved_by": STRING,
    "is_dry": FLAG,
    "force": STRING,
    "attached": or_null("number"),
    "epoch": COUNT,
    "percent": NUMBER,
    "created": NUMBER,
    "started": or_null("number"),
    "ended": or_null("number"),
    "hypothesis": structure(fault=STRING, expect=STRING, impact=STRING),
    "units": COUNT,
    "faults": COUNTS,
    "unharmed": COUNTS,
    "seen": COUNT,
    "hit": COUNT,
    "outside": COUNT,
    "journal": structure(entries=COUNT, head=STRING),
}
REFUSAL: Final = structure(code=STRING, sentence=STRING, is_overridden=FLAG)
STANDING: Final = structure(id=STRING, owner=STRING, state=STRING, is_dry=FLAG, percent=NUMBER, seconds=or_null("number"), duration=NUMBER)
"""One that is under way, in a status."""
_VERDICT: Final[Schema] = {"type": ["string", "null"], "enum": ["upheld", "refuted", "undecided", "environment", None]}

_SEEN: Final = structure(requests=or_null("integer"), seconds=or_null("number"))

_LOOK_BACK: Final = structure(
    wanted=COUNT,
    requests=COUNT,
    seconds=NUMBER,
    of_routes=COUNT,
    denied=COUNT,
    too_long=COUNT,
    unread=COUNT,
    workers=COUNT,
    silent=COUNT,
    empty=COUNT,
    steps=list_of(structure(percent=NUMBER, seen=COUNT, touched=COUNT, writes=COUNT, units=or_null("integer"), control=COUNT)),
    sentence=STRING,
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Armed": structure(
        armed=list_of(
            structure(
                id=STRING,
                epoch=COUNT,
                lease=COUNT,
                lease_ns=COUNT,
                percent=NUMBER,
                paused=FLAG,
                dry=FLAG,
                workers=COUNT,
                deny=list_of(STRING),
                endpoints={"type": ["array", "null"], "items": STRING},
                experiment={"type": "object"},
            )
        ),
        splits=list_of(
            structure(
                route=STRING,
                live=STRING,
                to=STRING,
                percent=NUMBER,
                unit=STRING,
                salt=STRING,
                pinned=list_of(STRING),
                first=list_of(STRING),
                denied=list_of(STRING),
                epoch=COUNT,
            )
        ),
        evacuated=list_of(structure(fleet=STRING, label=STRING, value=STRING)),
    ),
    "Experiments": structure(
        experiments=list_of(structure(**_SHOWN, verdict=_VERDICT, sentence=STRING)),
        journal=structure(is_up=FLAG, problem=or_null("string"), path=STRING),
    ),
    "Experiment": structure(
        **_SHOWN,
        experiment={"type": "object"},
        samples=structure(unknown=COUNTS, dropped=COUNT, problems=map_of(STRING)),
        admission=list_of(REFUSAL),
        look_back={**_LOOK_BACK, "type": ["object", "null"]},
        timeline=list_of(structure(time=NUMBER, seconds=or_null("number"), event=STRING, detail=STRING)),
        result=extended(structure(), {"verdict": _VERDICT, "sentence": STRING}),
    ),
    "Plan": structure(
        name=STRING,
        traffic=structure(
            requests_per_s=NUMBER,
            error_rate=NUMBER,
            units_per_s=or_null("number"),
            p50=or_null("number"),
            p99=or_null("number"),
            seconds=NUMBER,
        ),
        effect=structure(errors=NUMBER, slower=NUMBER),
        detect=structure(errors=_SEEN, abort=_SEEN, p99=_SEEN),
        ramp=list_of(
            structure(percent=NUMBER, from_s=NUMBER, seconds=or_null("number"), requests=or_null("number"), needed=or_null("integer"))
        ),
        requests=NUMBER,
        units=or_null("number"),
        charge=structure(expected=NUMBER, most=NUMBER),
        budget={"type": ["object", "null"]},
        duration=NUMBER,
        needed_s=or_null("number"),
        is_enough=FLAG,
        sentences=list_of(STRING),
        admission=list_of(REFUSAL),
        is_admitted=FLAG,
        coming=list_of(STRING),
        look_back=_LOOK_BACK,
    ),
    "Replay": structure(id=STRING, entries=COUNT, is_same=or_null("boolean"), result={"type": "object"}),
}
"""Of a run that never began, `result` is empty."""
