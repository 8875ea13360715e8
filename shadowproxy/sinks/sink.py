"""One sink: asks each kind of answer in turn, and turns every failure into an answer.

    rules -> what is ready-made (preset) -> resources -> openapi -> respond

With both openapi and resources the document only says which requests are allowed. Each kind returns None for what is not its own.
"""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from shadowproxy.errors import StateError
from shadowproxy.sinks import latency
from shadowproxy.sinks.call import Answer, Refused, problem
from shadowproxy.sinks.rules import Rule, Scripted
from shadowproxy.sinks.shelf import Bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.config.sinks import Sink as SinkConfig
    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.shelf import Shelf

_log = logging.getLogger("shadowproxy.sinks")

NOT_HELD: Final = 421
"""What a read is answered that the sink knows nothing about: the worker then asks live, at once (RFC 9110 section 15.5.20)."""


class Responder(Protocol):
    """A kind of answers."""

    async def answer(self, call: Call) -> Answer | None:
        """What `call` is told, or None when it is not of this kind.

        Raises:
            Refused: the call is of this kind, and wrong.
            StateError: what is kept cannot be read or written.
        """


class Sink:
    """A mock service.

    Args:
        config: what it does.
        shelf: what it keeps.
        responders: preset, resources and openapi, as far as configured, in order.
        is_asked: whether the proxy asks live where this sink, which keeps things, answers 421.
        random: for latencies.
    """

    def __init__(
        self,
        config: SinkConfig,
        shelf: Shelf,
        responders: Sequence[Responder] = (),
        *,
        is_asked: bool = False,
        random: Random | None = None,
    ) -> None:
        self.name = config.name
        self.config = config
        self.problem = ""
        self._shelf = shelf
        self._is_asked = is_asked and config.keeps
        self._responders = responders
        self._strip = config.strip_prefix.rstrip("/")
        random = random or Random()  # noqa: S311  latencies are no secret
        self._rules = [Rule(rule, index, config.name, config.latency, random) for index, rule in enumerate(config.rules)]
        self._respond = Scripted(config.respond, config.name, config.latency, random)
        self._random = random
        limits = config.limits
        shelf.bound(config.name, Bounds(limits.items, limits.size, limits.age))

    def __repr__(self) -> str:
        return f"<Sink {self.name!r} {self.problem or 'ok'}>"

    async def answer(self, call: Call) -> Answer:
        """What `call` is told. Never raises."""
        losses = self._shelf.losses
        try:
            try:
                found = await self._answer(call)
            except Refused as refused:
                found = problem(refused)
            await self._shelf.committed(losses)
        except StateError:
            return problem(Refused(503, "state_unavailable", "what this sink keeps cannot be read or written at the moment"))
        except Exception:  # noqa: BLE001  the last border: a bug of ours becomes a logged 500
            _log.exception("sink %s failed", self.name)
            return problem(Refused(500, "internal", "the log has the details"))
        else:
            return found

    async def _answer(self, call: Call) -> Answer:
        if self.problem:
            raise Refused(503, "misconfigured", self.problem)
        if self._strip and (call.path == self._strip or call.path.startswith(f"{self._strip}/")):
            call.path = call.path[len(self._strip) :] or "/"
        for rule in self._rules:
            found = rule.answer(call, self._count)
            if found is not None:
                return found
        for responder in self._responders:
            found = await responder.answer(call)
            if found is not None:
                if found.status != NOT_HELD:
                    found.latency_s = latency.draw(self.config.latency, self._random)
                return found
        if self._is_asked and call.method in ("GET", "HEAD"):
            return Answer(NOT_HELD)
        return self._respond.answer(call, {}, self._count)

    def _count(self, tenant: str, name: str) -> int:
        return self._shelf.count(self.name, tenant, name)
