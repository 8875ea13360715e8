"""Gates that roll-out controllers ask: Argo Rollouts' web metric provider and Flagger's webhooks, as they come.

The rules of all gates:

* several mirrors are asked as one, and the worst of them counts;
* SAFE opens a gate only while it is about what is being rolled out: with `revision` given, evidence about any other
  build of the shadow is UNDECIDED, and so is SAFE while the kill switch is on;
* what cannot be answered (no such mirror, no such hook, a wrong token) is never an answer that opens a gate.

Flagger cannot send header fields, so its token may stand in the payload: `metadata.token`. Payloads are never logged.
`docs/gates.md` has manifests.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.control.admin.problem import Refusal
from shadowproxy.judge.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.control.supervisor import Supervisor
    from shadowproxy.judge.verdict import Verdict

PAYLOAD_LIMIT: Final = 64 * 1024
"""Bytes of a payload that are read before anybody has proved who they are; Flagger's have some hundred."""

PAYLOAD_S: Final = 10.0
"""Longest wait for a payload."""

PAYLOAD: Final = web.RequestKey("payload", dict)

VALUES: Final = {Outcome.SAFE: 1, Outcome.UNDECIDED: 0, Outcome.REGRESSION: -1, Outcome.INVALID: -2}
"""Verdicts as numbers: positive is go, zero is wait, negative is stop."""

SAFE: Final = "safe"
NO_REGRESSION: Final = "no-regression"
REGRESSION: Final = "regression"
ALWAYS: Final = "always"

HOOKS: Final = {
    "confirm-rollout": SAFE,
    "pre-rollout": NO_REGRESSION,
    "rollout": NO_REGRESSION,
    "confirm-traffic-increase": SAFE,
    "confirm-promotion": SAFE,
    "post-rollout": ALWAYS,
    "rollback": REGRESSION,
    "event": ALWAYS,
}
"""What opens the gate of each of Flagger's hooks. For `rollback` open means: roll back."""

_REQUIRED: Final = (SAFE, NO_REGRESSION)


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known of the mirrors that are asked for, as one."""

    outcome: Outcome
    sentence: str
    mirrors: tuple[dict[str, Any], ...]

    @property
    def value(self) -> int:
        """See VALUES."""
        return VALUES[self.outcome]

    def is_open(self, required: str) -> bool:
        """Whether that is enough for what is `required`: one of the values of HOOKS."""
        if required == ALWAYS:
            return True
        if required == REGRESSION:
            return self.outcome is Outcome.REGRESSION
        return self.value > 0 if required == SAFE else self.value >= 0


def judge(verdicts: Iterable[Verdict], revision: str | None = None, *, is_killed: bool = False) -> Gate:
    """The mirrors' verdicts as one gate: the worst counts.

    Args:
        verdicts: at least one.
        revision: the build of the shadow that is being rolled out; None for any.
        is_killed: whether the kill switch is on.
    """
    found = [_read(verdict, revision, is_killed=is_killed) for verdict in verdicts]
    worst = min(found, key=lambda one: VALUES[one[0]])
    mirrors = tuple(
        {"route": verdict.route, "mirror": verdict.mirror, "verdict": str(outcome), "summary": sentence, "cause": verdict.cause, "pairs": verdict.pairs}
        for outcome, sentence, verdict in found
    )  # fmt: skip
    return Gate(worst[0], f"{worst[2].route}/{worst[2].mirror} is {worst[0]}: {worst[1]}", mirrors)


async def payload_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that a webhook sent; read once, in bounds.

    Raises:
        Refusal: 400, 408 or 413.
    """
    if PAYLOAD in request:
        return request[PAYLOAD]
    raw = bytearray()
    try:
        async with asyncio.timeout(PAYLOAD_S):
            while chunk := await request.content.readany():
                raw += chunk
                if len(raw) > PAYLOAD_LIMIT:
                    raise Refusal(413, f"a payload has at most {PAYLOAD_LIMIT} bytes")
    except TimeoutError:
        raise Refusal(408, "the payload did not come") from None
    try:
        value = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise Refusal(400, "the payload is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the payload must be a JSON object")
    request[PAYLOAD] = value
    return value


async def payload_token(request: web.Request) -> bytes | None:
    """The token in a webhook's `metadata.token`; None when there is none. Raises as `payload_of`."""
    if request.method != "POST":
        return None
    token = _metadata(await payload_of(request)).get("token")
    return token.encode("utf-8", "surrogateescape") if isinstance(token, str) and token else None


class Gates:
    """The gates of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def gate_argo(self, request: web.Request) -> web.Response:
        """For Argo Rollouts: always 200 and JSON, to be judged by conditions on it."""
        gate = await self._judge(dict(request.query))
        document = {
            "verdict": str(gate.outcome),
            "value": gate.value,
            "success": gate.value > 0,
            "failure": gate.value < 0,
            "summary": gate.sentence,
            "mirrors": gate.mirrors,
        }
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")

    async def gate_flagger(self, request: web.Request) -> web.Response:
        """For Flagger: 200 opens the gate, 409 does not; the text says why and ends up in Flagger's events."""
        payload = await payload_of(request)
        told = {name: value for name, value in _metadata(payload).items() if isinstance(value, str)} | dict(request.query)
        hook = told.get("hook", "")
        if hook not in HOOKS:
            raise Refusal(400, f"hook must be one of {', '.join(HOOKS)}")
        required = told.get("require", HOOKS[hook])
        if required != HOOKS[hook] and (HOOKS[hook] not in _REQUIRED or required not in _REQUIRED):
            raise Refusal(400, f"require must be one of {', '.join(_REQUIRED)}, and is for hooks that wait")
        gate = await self._judge(told)
        is_open = gate.is_open(required)
        does = "roll back" if required == REGRESSION else "go on"
        return web.Response(status=200 if is_open else 409, text=f"{does if is_open else f'do not {does}'}: {gate.sentence}\n")

    async def _judge(self, told: Mapping[str, str]) -> Gate:
        verdicts = []
        for verdict in self._supervisor.judging.verdicts(told.get("route"), told.get("mirror")):
            verdicts.append(verdict)
            await asyncio.sleep(0)  # a verdict takes milliseconds: others have their turn between two
        if not verdicts:
            raise Refusal(404, "no mirror of that name on such a route")
        return judge(verdicts, told.get("revision") or None, is_killed=self._supervisor.switch.is_on)


def _read(verdict: Verdict, revision: str | None, *, is_killed: bool) -> tuple[Outcome, str, Verdict]:
    """A verdict as it counts for a gate."""
    seen = list(verdict.revisions.get("shadow", ()))
    if revision is not None and seen != [revision]:
        about = f"of {', '.join(seen)}" if seen else "of a shadow that has named no build"
        return Outcome.UNDECIDED, f"the evidence is {about}, not of {revision}", verdict
    if is_killed and verdict.verdict is Outcome.SAFE:
        return Outcome.UNDECIDED, "the kill switch is on: nothing is mirrored", verdict
    return verdict.verdict, verdict.summary, verdict


def _metadata(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    found = payload.get("metadata")
    return found if isinstance(found, dict) else {}
