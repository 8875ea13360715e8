"""What the admin API offers: one table, from which the routes and their OpenAPI description are made."""

from __future__ import annotations

import re
from typing import Any, Final

from shadowproxy import __version__
from shadowproxy.control.admin import experiments_api, ledger_api, rollouts_api, whois_api
from shadowproxy.control.admin.schema import COUNT as _COUNT
from shadowproxy.control.admin.schema import COUNTS as _COUNTS
from shadowproxy.control.admin.schema import FLAG as _FLAG
from shadowproxy.control.admin.schema import HTML, JSON, TEXT, Endpoint, Schema
from shadowproxy.control.admin.schema import NUMBER as _NUMBER
from shadowproxy.control.admin.schema import STRING as _TEXT
from shadowproxy.control.admin.schema import extended as _extended
from shadowproxy.control.admin.schema import list_of as _list_of
from shadowproxy.control.admin.schema import map_of as _map_of
from shadowproxy.control.admin.schema import optional as _optional
from shadowproxy.control.admin.schema import or_null as _or_null
from shadowproxy.control.admin.schema import structure as _object

_CHANGE: Final = (403, 415)

_GATE: Final[tuple[tuple[str, str, Schema], ...]] = (
    ("route", "Only the mirrors of this route.", {"type": "string"}),
    ("mirror", "Only mirrors of this name.", {"type": "string"}),
    ("revision", "The build that is being rolled out: evidence about any other is UNDECIDED.", {"type": "string"}),
)
_HOOKS: Final = (
    "confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout", "rollback", "event",
)  # fmt: skip

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint("GET", "/", "page", "The page that shows live and shadow side by side.", answer=HTML),
    Endpoint("GET", "/page/{name}", "page_file", "A file of the page.", answer=TEXT, refusals=(404,)),
    Endpoint("GET", "/livez", "livez", "Whether the control process runs.", answer=TEXT),
    Endpoint("GET", "/readyz", "readyz", "Whether at least one worker serves.", answer=TEXT, refusals=(503,)),
    Endpoint("GET", "/metrics", "metrics", "Metrics in the Prometheus or OpenMetrics text format.", answer=TEXT),
    Endpoint("GET", "/api/v1/status", "status", "What runs, whether it works, and the conservation law of every mirror.", schema="Status"),
    Endpoint("GET", "/api/v1/workers", "workers", "Worker slots and processes.", schema="Workers"),
    Endpoint(
        "GET",
        "/api/v1/compare",
        "compare",
        "Live and shadow side by side, per mirror.",
        schema="Compare",
        query=(
            ("route", "Only the mirrors of this route.", {"type": "string"}),
            (
                "buckets",
                "With the latency distributions: 1 since the start, epoch of the evidence behind the verdict.",
                {"type": "string", "enum": ["1", "epoch"]},
            ),
        ),
        refusals=(404,),
    ),
    Endpoint(
        "GET",
        "/api/v1/verdict",
        "verdict",
        "Whether each mirror's shadow is worse, with the evidence.",
        schema="Verdicts",
        query=(
            ("route", "Only the mirrors of this route.", {"type": "string"}),
            ("mirror", "Only mirrors of this name.", {"type": "string"}),
        ),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/api/v1/verdict/restart",
        "restart_evidence",
        "Forget what mirrors have shown, and begin anew: after a repair, or before a new question.",
        schema="Restarted",
        query=(
            ("route", "Only the mirrors of this route.", {"type": "string"}),
            ("mirror", "Only mirrors of this name.", {"type": "string"}),
        ),
        refusals=(*_CHANGE, 404),
    ),
    Endpoint(
        "GET",
        "/api/v1/exemplars",
        "exemplars",
        "Discordant pairs that are kept, the worst first, without header fields and bodies.",
        schema="Exemplars",
        query=(
            ("route", "Only those of this route.", {"type": "string"}),
            ("mirror", "Only those of this mirror.", {"type": "string"}),
            ("transition", "Only those with this change of outcome, `200 -> 504` or `2xx -> 5xx`.", {"type": "string"}),
            ("field", "Only those that differ in this field.", {"type": "string"}),
            ("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
        refusals=(400,),
    ),
    Endpoint(
        "GET",
        "/api/v1/exemplars/{id}",
        "exemplar",
        "One discordant pair whole: the request and both answers, redacted.",
        schema="Exemplar",
        refusals=(404,),
    ),
    Endpoint(
        "GET",
        "/api/v1/leaks",
        "leaks",
        "Calls of tagged traces that had lost their tag, the newest first, and which service is to blame.",
        schema="Leaks",
        query=(
            ("service", "Only calls of this service, and those that it is to blame for.", {"type": "string"}),
            ("trace", "Only calls of this trace.", {"type": "string"}),
            ("since", "Only calls at this time or later, in seconds since 1970.", {"type": "number", "default": 0}),
            ("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
        refusals=(400,),
    ),
    Endpoint(
        "GET",
        "/api/v1/gates/argo",
        "gate_argo",
        "The verdict for Argo Rollouts' web metric provider.",
        schema="Gate",
        query=_GATE,
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/api/v1/gates/flagger",
        "gate_flagger",
        "The verdict for Flagger's webhooks: 200 opens the gate, 409 does not.",
        answer=TEXT,
        query=(
            *_GATE,
            ("hook", "Which hook asks; may also stand in the metadata of the payload.", {"type": "string", "enum": list(_HOOKS)}),
            ("require", "What opens a hook that waits.", {"type": "string", "enum": ["safe", "no-regression"]}),
        ),
        has_body=True,
        refusals=(400, *_CHANGE, 404, 408, 409, 413),
    ),
    Endpoint("GET", "/api/v1/sinks", "sinks", "Every sink: where it is, what it has answered and keeps.", schema="Sinks"),
    Endpoint(
        "GET",
        "/api/v1/sinks/{name}/items",
        "sink_items",
        "A tenant's items in a sink, the newest first; without a tenant, how many each has.",
        schema="SinkItems",
        query=(
            ("tenant", "Whose.", {"type": "string"}),
            ("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
        refusals=(400, 404, 503),
    ),
    Endpoint(
        "POST",
        "/api/v1/sinks/{name}/reset",
        "reset_sink",
        "Forget all that a tenant has in a sink.",
        schema="SinkReset",
        query=(("tenant", "Whose.", {"type": "string"}),),
        refusals=(400, *_CHANGE, 404, 503),
    ),
    *ledger_api.ENDPOINTS,
    *experiments_api.ENDPOINTS,
    *rollouts_api.ENDPOINTS,
    *whois_api.ENDPOINTS,
    Endpoint("GET", "/api/v1/config", "get_config", "The config in force; its ETag goes into If-Match of a PUT.", schema="Config"),
    Endpoint(
        "PUT",
        "/api/v1/config",
        "put_config",
        "Validate a config and put it in force, whole, until the next reload or restart.",
        schema="Changed",
        has_body=True,
        takes_etag=True,
        refusals=(400, *_CHANGE, 409, 412, 413, 422),
    ),
    Endpoint(
        "POST",
        "/api/v1/config/reload",
        "reload",
        "Read the config file again and put it in force.",
        schema="Changed",
        refusals=(400, *_CHANGE, 409, 413, 422),
    ),
    Endpoint(
        "POST",
        "/api/v1/kill",
        "kill",
        "Stop mirroring in every worker, now and after a restart. Idempotent.",
        schema="Switched",
        refusals=_CHANGE,
    ),
    Endpoint("POST", "/api/v1/resume", "resume", "Mirror again. Idempotent.", schema="Switched", refusals=_CHANGE),
    Endpoint(
        "GET",
        "/api/v1/audit",
        "audit",
        "The newest audit records, newest first.",
        schema="AuditRecords",
        query=(("limit", "How many records.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),),
        refusals=(400,),
    ),
    Endpoint("GET", "/api/v1/openapi.json", "openapi", "This description.", schema="Description"),
)

_SLOTS: Final = _list_of(_COUNT)
_OUTCOME: Final[Schema] = {"type": "string", "enum": ["SAFE", "UNDECIDED", "REGRESSION", "INVALID"]}
_QUANTILES: Final = {name: _or_null("number") for name in ("p50", "p90", "p99", "p999")}
_LATENCY: Final = _object(first=_object(count=_COUNT, **_QUANTILES), last=_object(count=_COUNT, **_QUANTILES))
_ERRORS: Final = _object(count=_COUNT, rate=_or_null("number"))
_BUCKETS: Final[Schema] = _list_of({"type": "array", "prefixItems": [_NUMBER, _COUNT], "minItems": 2, "maxItems": 2})
_LAW: Final = {"eligible": _COUNT, "pending": _COUNT, "fates": _COUNTS, "is_conserved": _FLAG}
_BLAMED: Final = _object(service=_TEXT, calls=_COUNT, consequences=_COUNT)
_PART: Final = _object(is_up=_FLAG, problem=_or_null("string"))
_WORKER: Final = {
    "slot": _COUNT,
    "pid": _COUNT,
    "state": {"type": "string", "enum": ["starting", "ready", "draining"]},
    "generation": _COUNT,
    "is_silent": _FLAG,
}

_INTERVAL: Final[Schema] = {"type": ["array", "null"], "items": _or_null("number"), "minItems": 2, "maxItems": 2}
_VERDICT: Final = _object(
    route=_TEXT,
    mirror=_TEXT,
    verdict=_OUTCOME,
    summary=_TEXT,
    reasons=_list_of(_TEXT),
    cause=_or_null("string"),
    since=_NUMBER,
    epoch=_COUNT,
    revisions=_map_of(_list_of(_TEXT)),
    previous=_optional(_object(epoch=_COUNT, verdict=_TEXT, summary=_TEXT, pairs=_COUNT, ended=_NUMBER)),
    pairs=_COUNT,
    eligible=_COUNT,
    coverage=_or_null("number"),
    pairs_per_second=_NUMBER,
    baseline={"type": "string", "enum": ["live", "control"]},
    alpha=_NUMBER,
    beta=_NUMBER,
    log_e=_object(combined=_NUMBER, threshold=_NUMBER),
    errors=_object(
        live_rate=_or_null("number"),
        shadow_rate=_or_null("number"),
        difference=_or_null("number"),
        interval=_INTERVAL,
        live_only=_COUNT,
        shadow_only=_COUNT,
        log_e_regression=_NUMBER,
        log_e_safe=_NUMBER,
        margin_safe=_NUMBER,
        margin_regression=_NUMBER,
        transitions=_list_of(_object(live=_TEXT, shadow=_TEXT, count=_COUNT, reverse=_COUNT, log_e=_NUMBER)),
    ),
    latency=_object(
        pairs=_COUNT,
        ratio=_or_null("number"),
        interval=_INTERVAL,
        log_e_regression=_NUMBER,
        log_e_safe=_NUMBER,
        sign=_object(above=_COUNT, below=_COUNT, log_e=_NUMBER),
        margin_safe=_NUMBER,
        margin_regression=_NUMBER,
    ),
    slo=_list_of(
        _object(
            threshold_seconds=_NUMBER,
            live_only=_COUNT,
            shadow_only=_COUNT,
            interval=_INTERVAL,
            log_e_regression=_NUMBER,
            log_e_safe=_NUMBER,
        )
    ),
    control=_optional(
        _object(
            log_e=_NUMBER,
            threshold=_NUMBER,
            is_tripped=_FLAG,
            pairs=_COUNT,
            live_only=_COUNT,
            control_only=_COUNT,
            latency_ratio=_or_null("number"),
            interval=_INTERVAL,
        )
    ),
    sample_ratio=_optional(_object(expected=_NUMBER, observed=_or_null("number"), log_e=_NUMBER, is_tripped=_FLAG)),
    late_fault=_object(log_detector=_or_null("number"), threshold=_NUMBER, is_tripped=_FLAG),
    coverage_by_decile=_list_of(_object(upto_seconds=_NUMBER, compared=_COUNT, left_out=_COUNT)),
    excluded=_COUNTS,
    needs=_optional(_object(what=_TEXT, more_pairs=_or_null("integer"), seconds=_or_null("number"))),
    lag_seconds=_NUMBER,
    quantiles=_map_of(
        _object(live=_or_null("number"), shadow=_or_null("number"), difference=_or_null("number"), interval=_INTERVAL),
    ),
    fields=_list_of({"type": "object"}),
    exemplars=_list_of(_TEXT),
    history=_list_of({"type": "array", "minItems": 5, "maxItems": 5}),
)

_REASON: Final[Schema] = {
    **_object(kind={"type": "string", "enum": ["transition", "latency", "field"]}, name=_TEXT),
    "properties": {"kind": _TEXT, "name": _TEXT, "ratio": _NUMBER, "difference": _TEXT},
}
_TIMES: Final = {"outcome": _TEXT, "first_seconds": _or_null("number"), "last_seconds": _or_null("number")}
_CONTENT: Final[dict[str, Schema]] = {
    "headers": _list_of({"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}),
    "body": {"type": "string", "contentEncoding": "base64", "description": "Without its content codings."},
    "cut": {"type": "boolean", "description": "The body goes on; what is here is its beginning."},
}
_OPTIONAL: Final[dict[str, Schema]] = {
    "decoded": {"type": "array", "items": _TEXT, "description": "Content codings that were undone."},
    "dropped": {**_object(reason=_TEXT, bytes=_COUNT, digest=_TEXT), "description": "Why the body is not kept, and what stands for it."},
}
_MET: Final = {"id": _TEXT, "at": _NUMBER, "route": _TEXT, "mirror": _TEXT, "trace": _TEXT, "why": _list_of(_REASON)}


_ANSWER: Final = _extended(_object(**_TIMES, **_CONTENT), _OPTIONAL)

SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": _COUNT,
            "detail": _TEXT,
            "request_id": _TEXT,
            "problems": _list_of(_object(path=_TEXT, message=_TEXT, line=_COUNT, column=_COUNT, file=_TEXT, suggestion=_TEXT)),
        },
    },
    "Status": _object(
        version=_TEXT,
        pid=_COUNT,
        started=_TEXT,
        uptime_seconds=_NUMBER,
        is_ready=_FLAG,
        is_stopping=_FLAG,
        is_killed=_FLAG,
        admin=_TEXT,
        config=_object(file=_or_null("string"), generation=_COUNT, digest=_TEXT, problem=_or_null("string")),
        store=_PART,
        audit=_PART,
        ledger=ledger_api.LEDGER,
        listeners=_list_of(_object(name=_TEXT, configured=_TEXT, address=_TEXT, tls=_FLAG)),
        workers=_list_of(_object(**_WORKER)),
        clients=_object(open=_COUNT, accepted=_COUNT, requests=_COUNT, turned_away=_COUNT),
        routes=_map_of(_object(requests=_COUNT, outcomes=_COUNTS)),
        mirrors=_map_of(_object(**_LAW, range=_NUMBER, breakers=_COUNTS, in_flight=_COUNT, held_bytes=_COUNT)),
        tests=_map_of(ledger_api.TESTS),
        experiments=_list_of(experiments_api.STANDING),
        rollouts=_list_of(rollouts_api.STANDING),
        refusals=_COUNTS,
        leaks=_object(total=_COUNT, blamed=_list_of(_BLAMED)),
    ),
    "Workers": _object(
        slots=_list_of(_object(slot=_COUNT, restarts=_COUNT, respawn_delay_seconds=_NUMBER, cpu_seconds=_NUMBER)),
        processes=_list_of(_object(**_WORKER, rss_bytes=_COUNT, open_clients=_COUNT, reports=_COUNT)),
    ),
    "Compare": _object(
        time=_TEXT,
        uptime_seconds=_NUMBER,
        generation=_COUNT,
        is_killed=_FLAG,
        mirrors=_list_of(
            _extended(
                _object(
                    route=_TEXT,
                    mirror=_TEXT,
                    live_fleet=_TEXT,
                    shadow_fleet=_TEXT,
                    **_LAW,
                    pairs=_COUNT,
                    coverage=_or_null("number"),
                    latency=_object(live=_LATENCY, shadow=_LATENCY),
                    errors=_object(live=_ERRORS, shadow=_ERRORS),
                    matrix=_list_of(_object(live=_TEXT, shadow=_TEXT, count=_COUNT)),
                    bodies=_object(equal=_COUNT, different=_COUNT, unknown=_COUNT),
                    live_penalty=_object(**_QUANTILES),
                    unmirrored=_COUNT,
                ),
                {"distribution": _object(live=_BUCKETS, shadow=_BUCKETS)},
            )
        ),
    ),
    "Verdicts": _object(verdicts=_list_of(_VERDICT)),
    "Exemplars": _object(
        exemplars=_list_of(
            _extended(
                _object(**_MET, request=_object(method=_TEXT, target=_TEXT), live=_object(**_TIMES), shadow=_object(**_TIMES)),
                {"control": _object(**_TIMES)},
            )
        ),
        kept=_COUNT,
        held_bytes=_COUNT,
    ),
    "Exemplar": _extended(
        _object(**_MET, request=_extended(_object(method=_TEXT, target=_TEXT, **_CONTENT), _OPTIONAL), live=_ANSWER, shadow=_ANSWER),
        {"control": _ANSWER},
    ),
    "Leaks": _object(
        total=_COUNT,
        undescribed=_COUNT,
        kept=_COUNT,
        blamed=_list_of(_BLAMED),
        calls=_list_of(_object(service=_TEXT, listener=_TEXT, host=_TEXT, count=_COUNT)),
        leaks=_list_of(
            _object(
                time=_NUMBER,
                service=_TEXT,
                trace=_TEXT,
                tenant=_TEXT,
                listener=_TEXT,
                method=_TEXT,
                host=_TEXT,
                path=_TEXT,
                action={"type": "string", "enum": ["retag", "refuse", "report"]},
                culprit=_TEXT,
                is_consequence=_FLAG,
            )
        ),
    ),
    "Gate": _object(
        verdict=_OUTCOME,
        value={"type": "integer", "enum": [1, 0, -1, -2]},
        success=_FLAG,
        failure=_FLAG,
        summary=_TEXT,
        mirrors=_list_of(_object(route=_TEXT, mirror=_TEXT, verdict=_OUTCOME, summary=_TEXT, cause=_or_null("string"), pairs=_COUNT)),
    ),
    "Sinks": _object(
        pid=_or_null("integer"),
        restarts=_COUNT,
        problem=_or_null("string"),
        sinks=_list_of(
            _object(
                name=_TEXT,
                url=_TEXT,
                requests=_COUNTS,
                items=_COUNT,
                bytes=_COUNT,
                evicted=_COUNT,
                in_flight=_COUNT,
                problem=_or_null("string"),
            )
        ),
    ),
    "SinkItems": _object(
        sink=_TEXT,
        tenants=_COUNTS,
        items=_list_of(_object(collection=_TEXT, id=_TEXT, version=_COUNT, at=_NUMBER, over_live=_FLAG, value={})),
    ),
    "SinkReset": _object(sink=_TEXT, tenant=_TEXT, removed=_COUNT),
    **ledger_api.SCHEMAS,
    **experiments_api.SCHEMAS,
    **rollouts_api.SCHEMAS,
    **whois_api.SCHEMAS,
    "Config": _object(generation=_COUNT, digest=_TEXT, file=_or_null("string"), config={"type": "object"}),
    "Changed": _object(result={"type": "string", "enum": ["ok", "unchanged"]}, generation=_COUNT, digest=_TEXT, unanswered_workers=_SLOTS),
    "Switched": _object(
        is_killed=_FLAG,
        was_killed=_FLAG,
        is_complete=_FLAG,
        is_persisted=_FLAG,
        workers=_list_of(_object(slot=_COUNT, pid=_COUNT, is_confirmed=_FLAG, seconds=_NUMBER)),
        unconfirmed_workers=_SLOTS,
    ),
    "Restarted": _object(restarted=_list_of(_TEXT), is_persisted=_FLAG),
    "AuditRecords": _object(
        head=_TEXT,
        records=_list_of(
            {
                **_object(seq=_COUNT, time=_TEXT, actor=_TEXT, source=_TEXT, action=_TEXT, result=_TEXT, prev=_TEXT),
                "additionalProperties": _TEXT,
            }
        ),
    ),
    "Description": {"type": "object"},
}


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document of ENDPOINTS."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "shadowproxy admin API", "version": __version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {
        endpoint.answer: {"schema": {"$ref": f"#/components/schemas/{endpoint.schema}"} if endpoint.schema else {"type": "string"}}
    }
    responses: dict[str, Any] = {str(endpoint.success): {"description": "Done.", "content": content}}
    refusals = (*endpoint.refusals, 421, *((401, 429) if endpoint.is_protected else ()))
    for status in sorted(set(refusals)):
        is_text = (endpoint.name, status) in {("readyz", 503), ("gate_flagger", 409)}
        refused = (
            {TEXT: {"schema": {"type": "string"}}}
            if is_text
            else {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        )
        responses[str(status)] = {"description": "Refused.", "content": refused}
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary, "responses": responses}
    if endpoint.is_protected:
        operation["security"] = [{"token": []}]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": text, "schema": schema} for name, text, schema in endpoint.query
    ]
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    if endpoint.takes_etag:
        parameters.append(
            {"name": "If-Match", "in": "header", "description": "Digest of the config to replace.", "schema": {"type": "string"}}
        )
    if endpoint.has_body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
    if parameters:
        operation["parameters"] = parameters
    return operation
