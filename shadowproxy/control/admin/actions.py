"""The handlers of the admin API: reads return a view, changes go through the kill switch and the reloader."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from shadowproxy.config import to_plain
from shadowproxy.config.files import check_files
from shadowproxy.config.plain import read_config
from shadowproxy.config.report import Report
from shadowproxy.control import metrics
from shadowproxy.control.admin import views
from shadowproxy.control.admin.problem import Refusal
from shadowproxy.control.audit import KEPT, Actor
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from shadowproxy.config.model import Config
    from shadowproxy.control.killswitch import Switched
    from shadowproxy.control.reload import Changed
    from shadowproxy.control.supervisor import Supervisor

ACTOR: Final = web.RequestKey("actor", Actor)
REQUEST_ID: Final = web.RequestKey("request_id", str)


class Actions:
    """The handlers of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._registry = metrics.registry_of(supervisor)

    async def livez(self, _: web.Request) -> web.Response:
        """The control process runs."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Some worker serves; 503 otherwise."""
        return web.Response(text="ok\n") if self._supervisor.is_ready else web.Response(status=503, text="not ready\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """Metrics for Prometheus."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def status(self, _: web.Request) -> web.Response:
        """What runs and whether it works."""
        return _json(views.status(self._supervisor))

    async def workers(self, _: web.Request) -> web.Response:
        """Worker slots and processes."""
        return _json(views.workers(self._supervisor))

    async def compare(self, request: web.Request) -> web.Response:
        """Live and shadow side by side."""
        route = request.query.get("route")
        if route is not None and all(one.name != route for one in self._supervisor.config.routes):
            raise Refusal(404, "no route of that name")
        return _json(views.compare(self._supervisor, route, request.query.get("buckets", "")))

    async def verdict(self, request: web.Request) -> web.Response:
        """Whether each mirror's shadow is worse."""
        route, mirror = request.query.get("route"), request.query.get("mirror")
        document = await views.verdicts(self._supervisor, route, mirror)
        if not document["verdicts"] and (route is not None or mirror is not None):
            raise Refusal(404, "no mirror of that name on such a route")
        return _json(document)

    async def restart_evidence(self, request: web.Request) -> web.Response:
        """Forget what mirrors have shown, and begin anew."""
        route, mirror = request.query.get("route"), request.query.get("mirror")
        keys = self._supervisor.judging.keys(route, mirror)
        if not keys and (route is not None or mirror is not None):
            raise Refusal(404, "no mirror of that name on such a route")
        actor: Actor = request[ACTOR]
        for key in keys:
            self._supervisor.judging.restart(key, f"{actor.name} from {actor.source} asked for it")
        self._supervisor.audit.record(actor, "evidence.restart", "ok", detail=", ".join(keys)[:1000], request_id=request[REQUEST_ID])
        return _json({"restarted": keys, "is_persisted": await self._supervisor.evidence.save()})

    async def audit(self, request: web.Request) -> web.Response:
        """The newest audit records, newest first."""
        text = request.query.get("limit", "100")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= KEPT):
            raise Refusal(400, f"limit must be from 1 to {KEPT}")
        return _json({"head": self._supervisor.audit.head, "records": self._supervisor.audit.latest(int(text))})

    async def get_config(self, _: web.Request) -> web.Response:
        """The config in force."""
        configs = self._supervisor.configs
        document = {
            "generation": configs.generation,
            "digest": configs.digest,
            "file": str(configs.file) if configs.file else None,
            "config": to_plain(configs.config),
        }
        return _json(document, headers={"ETag": f'"{configs.digest}"'})

    async def put_config(self, request: web.Request) -> web.Response:
        """Validate a config and put it in force until the next reload or restart."""
        replaces = _if_match(request)
        value = await _body(request)
        if value is None:
            raise Refusal(400, "the body must be a config as a JSON object")
        actor, request_id = request[ACTOR], request[REQUEST_ID]
        try:
            config = await asyncio.to_thread(_checked, value)
        except ConfigError as error:
            self._supervisor.configs.refuse(actor, "config.put", error, request_id)
            raise
        return _changed(await self._supervisor.configs.change(config, actor, "config.put", replaces=replaces, request_id=request_id))

    async def reload(self, request: web.Request) -> web.Response:
        """Read the config file again."""
        await _body(request)
        return _changed(await self._supervisor.configs.reload(request[ACTOR], request[REQUEST_ID]))

    async def kill(self, request: web.Request) -> web.Response:
        """Stop mirroring everywhere."""
        return await self._switch(request, is_killed=True)

    async def resume(self, request: web.Request) -> web.Response:
        """Mirror again."""
        return await self._switch(request, is_killed=False)

    async def _switch(self, request: web.Request, *, is_killed: bool) -> web.Response:
        # The body is not waited for: what it says changes nothing, and a kill must not hang on a slow sender.
        return switched(await self._supervisor.switch.set(request[ACTOR], is_killed=is_killed, request_id=request[REQUEST_ID]))


def _json(document: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json", headers=headers)


async def _body(request: web.Request) -> dict[str, Any] | None:
    """The JSON object in the body; None when there is no body.

    Raises:
        Refusal: 400, when it is something else.
    """
    raw = await request.read()
    if not raw.strip():
        return None
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object")
    return value


def _if_match(request: web.Request) -> str | None:
    """The digest that If-Match asks for (RFC 9110 section 13.1.1); None for any.

    Raises:
        Refusal: 400, when it is neither `*` nor one strong entity tag.
    """
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')) or '"' in text[1:-1]:
        raise Refusal(400, "If-Match must be one entity tag as GET returned it")
    return text[1:-1]


def _checked(value: dict[str, Any]) -> Config:
    report = Report()
    config = read_config(value, report)
    if not report.has_errors:
        check_files(config, report)
    if report.has_errors:
        raise ConfigError(report.errors())
    return config


def _changed(changed: Changed) -> web.Response:
    document = {
        "result": changed.result,
        "generation": changed.generation,
        "digest": changed.digest,
        "unanswered_workers": list(changed.unanswered),
    }
    return _json(document, headers={"ETag": f'"{changed.digest}"'})


def switched(done: Switched) -> web.Response:
    """The answer to a pull or a release of the kill switch."""
    document = {
        "is_killed": done.is_killed,
        "was_killed": done.was_killed,
        "is_complete": done.is_complete,
        "is_persisted": done.is_persisted,
        "workers": [{"slot": w.slot, "pid": w.pid, "is_confirmed": w.is_confirmed, "seconds": w.seconds} for w in done.workers],
        "unconfirmed_workers": [w.slot for w in done.workers if not w.is_confirmed],
    }
    return _json(document)
