"""The admin API as an aiohttp application: every endpoint, behind the guard."""

from __future__ import annotations

import json
import logging
import secrets
from typing import TYPE_CHECKING, Final

from aiohttp import web

from shadowproxy.control.admin.actions import ACTOR, REQUEST_ID, Actions, switched
from shadowproxy.control.admin.codeword import Codeword
from shadowproxy.control.admin.exemplars import ExemplarViews
from shadowproxy.control.admin.experiments import ExperimentViews
from shadowproxy.control.admin.gates import Gates, payload_token
from shadowproxy.control.admin.guard import FAILURES_ALLOWED, GATES, PROTECTED, Authenticator, check_change, check_host
from shadowproxy.control.admin.leaks import LeakViews
from shadowproxy.control.admin.ledger import LedgerViews
from shadowproxy.control.admin.openapi import ENDPOINTS, describe
from shadowproxy.control.admin.page import Page
from shadowproxy.control.admin.problem import Refusal, of_error, problem
from shadowproxy.control.admin.rollouts import RolloutViews
from shadowproxy.control.admin.sinks import SinkViews
from shadowproxy.control.admin.whois import WhoisViews
from shadowproxy.control.audit import Actor
from shadowproxy.errors import ShadowproxyError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from shadowproxy.control.supervisor import Supervisor

_log = logging.getLogger("shadowproxy.control")

BODY_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a request body: what a config file may have."""

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "shadowproxy",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def build_app(supervisor: Supervisor) -> web.Application:
    """The application of one instance; its token must have been loaded."""
    assert supervisor.token is not None
    authenticator = Authenticator(supervisor.token, lambda source, request, failures: _auth_failed(supervisor, source, request, failures))
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_outermost, _stopped_by(supervisor), _guarded(authenticator)])
    app.on_response_prepare.append(_stamp)
    handlers = {"openapi": _openapi}
    for holder in (
        Actions(supervisor),
        ExemplarViews(supervisor),
        LeakViews(supervisor),
        SinkViews(supervisor),
        LedgerViews(supervisor),
        ExperimentViews(supervisor),
        RolloutViews(supervisor),
        WhoisViews(supervisor),
        Gates(supervisor),
        Page(),
    ):
        handlers.update({name: getattr(holder, name) for name in dir(holder) if not name.startswith("_")})
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET":
            app.router.add_get(endpoint.path, handlers[endpoint.name])
        else:
            app.router.add_route(endpoint.method, endpoint.path, handlers[endpoint.name])
    return app


@web.middleware
async def _outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer leaves through here: errors as problem documents."""
    request_id = request[REQUEST_ID] = secrets.token_hex(8)
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = problem(refusal.status, refusal.detail, refusal.headers, request_id=request_id, **refusal.extra)
    except ShadowproxyError as error:
        response = of_error(error)
    except web.HTTPException as error:
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        response = problem(error.status, "", headers, request_id=request_id)
    except Exception:  # noqa: BLE001 the last border: a bug becomes a logged 500, not a dropped connection
        _log.exception("request %s failed", request_id)
        response = problem(500, "the log has the details", request_id=request_id)
    return response


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that all answers have, those that are streamed too."""
    response.headers.update(SECURITY_HEADERS)
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]


def _stopped_by(supervisor: Supervisor) -> Middleware:
    """The codeword counts before anything else is asked of a request."""

    def failed(source: str, failures: int) -> None:
        supervisor.auth_failures += 1
        detail = f"wrong codeword, {failures} of this address"
        _log.warning("admin API: %s from %s", detail, source)
        supervisor.audit.record(Actor("unknown", source), "kill", "refused", detail=detail)

    codeword = Codeword(lambda: supervisor.config.experiments.kill_header, failed)

    @web.middleware
    async def stopped(request: web.Request, handler: Handler) -> web.StreamResponse:
        speaker = codeword.speaker(request)
        if speaker is None:
            return await handler(request)
        return switched(await supervisor.switch.set(speaker, is_killed=True, request_id=request[REQUEST_ID]))

    return stopped


def _guarded(authenticator: Authenticator) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        check_host(request)
        check_change(request)
        if request.path.startswith(PROTECTED):
            is_bare_gate = request.path.startswith(GATES) and "Authorization" not in request.headers
            request[ACTOR] = authenticator.check(request, await payload_token(request) if is_bare_gate else None)
        else:
            request[ACTOR] = Actor("anyone", request.remote or "unknown")
        return await handler(request)

    return guarded


async def _openapi(_: web.Request) -> web.Response:
    return web.Response(body=json.dumps(describe()).encode(), content_type="application/json")


def _auth_failed(supervisor: Supervisor, source: str, request: web.Request, failures: int) -> None:
    supervisor.auth_failures += 1
    if failures > FAILURES_ALLOWED:
        return  # counted; a guesser must not be able to fill the disk
    detail = f"{request.method} {request.path}" + (
        ", further failures of this address are only counted" if failures == FAILURES_ALLOWED else ""
    )
    _log.warning("admin API: no right token from %s: %s", source, detail)
    supervisor.audit.record(Actor("unknown", source), "auth", "refused", detail=detail, request_id=request[REQUEST_ID])
