"""The handlers of the admin API that run, show and stop experiments."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.config.experiment_file import experiment_from_plain, load_experiment_text
from shadowproxy.control.admin.actions import ACTOR, REQUEST_ID
from shadowproxy.control.admin.problem import Refusal
from shadowproxy.control.admin.schema import LINES
from shadowproxy.control.attachments import LEAST_S, MOST_S
from shadowproxy.control.playback import verdict_of
from shadowproxy.errors import ExperimentRefused, StateError
from shadowproxy.experiments.allowance import Traffic
from shadowproxy.experiments.planning import Effect, plan

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Experiment
    from shadowproxy.control.experiments import Governor
    from shadowproxy.control.runs import Run
    from shadowproxy.control.supervisor import Supervisor

TRAFFIC: Final = ("requests_per_s", "error_rate", "units_per_s", "p50", "p99")
"""What can be said of traffic that was not seen."""

TEXT_LIMIT: Final = 500
"""Characters of a reason."""


class ExperimentViews:
    """Runs and shows the experiments of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def _governor(self) -> Governor:
        return self._supervisor.governor

    async def experiments(self, _: web.Request) -> web.Response:
        """Every run that can be shown, the newest first."""
        governor = self._governor
        journal = {"is_up": not governor.journal.problem, "problem": governor.journal.problem or None, "path": str(governor.journal.path)}
        return _json({"experiments": [run.summary() for run in reversed(governor.runs)], "journal": journal})

    async def armed(self, _: web.Request) -> web.Response:
        """What workers are told of experiments, rollouts and evacuations now."""
        return _json(self._supervisor.arming.state())

    async def run_experiment(self, request: web.Request) -> web.Response:
        """Admit an experiment and begin it; 409 with every reason when it may not begin."""
        asked = await _asked(request)
        experiment = await _experiment(asked)
        actor, request_id = request[ACTOR], request[REQUEST_ID]
        try:
            run = await self._governor.submit(
                experiment,
                actor,
                is_dry=_flag(asked, "dry_run"),
                force=_text(asked, "force"),
                attached_s=_attached(asked),
                request_id=request_id,
            )
        except ExperimentRefused as error:
            raise Refusal(409, str(error), refusals=error.refusals) from None
        return _json(self._document(run), status=201)

    async def plan_experiment(self, request: web.Request) -> web.Response:
        """What an experiment would take with the traffic that was seen, or is given, and what speaks against it now."""
        asked = await _asked(request)
        experiment = await _experiment(asked)
        supervisor = self._supervisor
        traffic = _traffic(asked) or supervisor.traffic.of(experiment) or Traffic(requests_per_s=0.0)
        document = plan(experiment, traffic, _effect(asked, experiment)).to_plain()
        coming = supervisor.calendars.coming(datetime.now(UTC) + timedelta(seconds=experiment.duration))
        force = _text(asked, "force")
        admission, past = await asyncio.gather(self._governor.check(experiment, force), supervisor.look_backs.ask(experiment))
        return _json({
            **document, "admission": admission.to_plain(), "is_admitted": admission.is_admitted, "coming": list(coming), "look_back": past.to_plain(),
        })  # fmt: skip

    async def experiment(self, request: web.Request) -> web.Response:
        """One run, by its id; by a name its newest."""
        return _json(self._document(self._run(request)))

    async def keep_experiment(self, request: web.Request) -> web.Response:
        """Whoever waits for an attached run is still there. Nothing but this keeps it alive."""
        run = self._run(request)
        self._governor.keep(run)
        return _json(self._document(run))

    async def stop_experiment(self, request: web.Request) -> web.Response:
        """End a run now. Idempotent."""
        run = self._run(request)
        asked = await _asked(request)
        self._governor.stop(run, request[ACTOR], _text(asked, "reason"), request[REQUEST_ID])
        return _json(self._document(run))

    async def experiment_journal(self, request: web.Request) -> web.StreamResponse:
        """The journal's lines of one run; cut off where it cannot be read to its end."""
        run = self._run(request)
        await self._governor.journal.caught_up()
        lines = self._governor.journal.lines(run.id)
        batch = await _next(lines)
        response = web.StreamResponse(headers={"Content-Type": LINES})
        await response.prepare(request)
        if request.method == "HEAD":  # what is written would be read as the next answer (RFC 9110 section 9.3.2)
            return response
        try:
            while batch:
                await response.write(batch)
                batch = await _next(lines)
        except ConnectionResetError:
            return response
        except Refusal:
            if request.transport is not None:
                request.transport.abort()  # it must not seem to be whole
            return response
        await response.write_eof()
        return response

    async def replay_experiment(self, request: web.Request) -> web.Response:
        """The verdict once more, from the journal, which is verified for it."""
        run = self._run(request)
        await self._governor.journal.caught_up()
        try:
            return _json(await verdict_of(run, self._governor.journal))
        except StateError as error:
            raise Refusal(503, str(error)) from None

    def _run(self, request: web.Request) -> Run:
        run = self._governor.find(request.match_info["id"])
        if run is None:
            raise Refusal(404, "no run of that id, and none of an experiment of that name")
        return run

    def _document(self, run: Run) -> dict[str, Any]:
        run.journal = self._governor.journal.of(run.id)
        return run.document()


async def _next(lines: Any) -> bytes:
    """Some more lines, read in another thread; empty at the end.

    Raises:
        Refusal: 503, they cannot be read.
    """

    def some() -> bytes:
        batch = bytearray()
        for line in lines:
            batch += line + b"\n"
            if len(batch) > 65536:
                break
        return bytes(batch)

    try:
        return await asyncio.to_thread(some)
    except StateError as error:
        raise Refusal(503, str(error)) from None


async def _asked(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; nothing for no body.

    Raises:
        Refusal: 400, it is something else.
    """
    raw = await request.read()
    try:
        value = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object")
    return value


async def _experiment(asked: dict[str, Any]) -> Experiment:
    """What is to be run: `experiment`, as plain data, or `text`, as a file has it.

    Raises:
        ConfigError: with every problem.
        Refusal: 400, neither is given, or both.
    """
    plain, text = asked.get("experiment"), asked.get("text")
    if isinstance(plain, dict) and text is None:
        return await asyncio.to_thread(experiment_from_plain, plain)
    if isinstance(text, str) and plain is None:
        # Of nobody's environment: whoever may use this API is not always one who may read it.
        return await asyncio.to_thread(lambda: load_experiment_text(text, {}, file="experiment"))
    raise Refusal(400, 'the body must have one of "experiment" (an object) and "text" (YAML)')


def _traffic(asked: dict[str, Any]) -> Traffic | None:
    """The traffic that is given; None to take what was seen.

    Raises:
        Refusal: 400, it is none.
    """
    given = asked.get("traffic")
    if given is None:
        return None
    known = _numbers(given, "traffic", TRAFFIC)
    if "requests_per_s" not in known or known.get("error_rate", 0.0) > 1.0:
        raise Refusal(400, "traffic needs requests_per_s; error_rate is from 0 to 1")
    return Traffic(**known)


def _effect(asked: dict[str, Any], experiment: Experiment) -> Effect:
    given = _numbers(asked.get("effect", {}), "effect", ("errors", "slower"))
    standard = Effect.of(experiment)
    if given.get("errors", 0.0) > 1.0:
        raise Refusal(400, "effect.errors is a share of answers, from 0 to 1")
    return Effect(errors=given.get("errors", standard.errors), slower=given.get("slower", standard.slower))


def _numbers(given: Any, name: str, known: tuple[str, ...]) -> dict[str, float]:
    """The numbers, 0 or more and finite, that an object has.

    Raises:
        Refusal: 400, it is something else.
    """
    is_right = isinstance(given, dict) and all(
        key in known and isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
        for key, value in given.items()
    )
    if not is_right:
        raise Refusal(400, f"{name} must be an object of numbers, 0 or more: {', '.join(known)}")
    return {key: float(value) for key, value in given.items()}


def _flag(asked: dict[str, Any], name: str) -> bool:
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name} must be true or false")
    return value


def _attached(asked: dict[str, Any]) -> float | None:
    """After how many seconds without `keep` the run is to end; None for one that goes on by itself.

    Raises:
        Refusal: 400, it is something else.
    """
    value = asked.get("attached")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST_S <= value <= MOST_S:
        raise Refusal(400, f"attached must be seconds, from {LEAST_S:g} to {MOST_S:g}")
    return float(value)


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise Refusal(400, f"{name} must be a text of at most {TEXT_LIMIT} characters")
    return value.strip()


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), status=status, content_type="application/json")
