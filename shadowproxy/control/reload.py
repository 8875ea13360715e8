"""The config in force, and how another takes its place.

A change is validated, then applied whole, or refused with the reason while the old one
stays. Equal meaning (`canonical_digest`) is a no-op, except that files that the config only names (TLS)
are read again. What listens, or how many workers there are, changes by rolling
replacement; everything else by a new policy to the workers that run. One change at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shadowproxy.config import canonical_digest, load_file
from shadowproxy.errors import ConfigError, ControlError, Problem, StaleConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shadowproxy.config import Loaded
    from shadowproxy.config.model import Config
    from shadowproxy.control.audit import Actor, Audit
    from shadowproxy.control.crew import Crew
    from shadowproxy.control.listeners import Listeners

_log = logging.getLogger("shadowproxy.control")

OK = "ok"
UNCHANGED = "unchanged"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Changed:
    """The result of a change that was not refused."""

    result: str
    generation: int
    digest: str
    unanswered: tuple[int, ...] = ()
    """Slots of workers that will apply it, but have not said so yet."""


class Reloader:
    """Holds the config in force and replaces it.

    Args:
        config: the first config.
        file: where it came from, and what `reload` reads again.
        on_change: called with each config that has come into force.
    """

    def __init__(
        self, config: Config, file: Path | None, *, crew: Crew, listeners: Listeners, audit: Audit, on_change: Callable[[Config], None]
    ) -> None:
        self.config = config
        self.digest = canonical_digest(config)
        self.file = file
        self.generation = 1
        self._problem = ""
        self.results: Counter[str] = Counter({OK: 0, UNCHANGED: 0, REFUSED: 0})
        self._crew = crew
        self._listeners = listeners
        self._audit = audit
        self._on_change = on_change
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Reloader generation={self.generation} digest={self.digest[:8]}>"

    @property
    def problem(self) -> str:
        """Why the last change was refused, or TLS files could not be read again; empty when neither."""
        return self._problem or self._crew.rotation_problem

    async def reload(self, actor: Actor, request_id: str = "") -> Changed:
        """Read the file again and apply it.

        Raises:
            ConfigError: the file cannot be used; the old config stays.
            ControlError: there is no file, or the config cannot be applied; the old one stays.
        """
        try:
            loaded = await asyncio.to_thread(_load, self.file)
        except (ConfigError, ControlError) as error:
            self.refuse(actor, "config.reload", error, request_id)
            raise
        for warning in loaded.warnings:
            _log.warning("%s", warning)
        return await self.change(loaded.config, actor, "config.reload", request_id=request_id)

    async def change(self, config: Config, actor: Actor, action: str, *, replaces: str | None = None, request_id: str = "") -> Changed:
        """Apply `config`.

        Args:
            config: an accepted config.
            actor: who asked, for the audit log.
            action: what was asked for, for the audit log.
            replaces: digest that the config in force must have; None for any.
            request_id: for the audit log.

        Raises:
            StaleConfig: the config in force is not `replaces`.
            ConfigError: it changes what cannot change while running.
            ControlError: it cannot be applied (address in use, policy refused); the old one stays.
        """
        async with self._lock:
            before = self.digest
            try:
                if replaces is not None and replaces != self.digest:
                    raise StaleConfig(f"the config in force is {self.digest}, not {replaces}")
                changed = await self._apply(config)
            except (ConfigError, ControlError) as error:
                self.refuse(actor, action, error, request_id)
                raise
            self._problem = ""
            self.results[changed.result] += 1
            _log.info("config %s by %s: generation %d, digest %s", changed.result, actor.name, changed.generation, changed.digest[:12])
            self._audit.record(
                actor,
                action,
                changed.result,
                before=before,
                after=changed.digest,
                detail=f"generation {changed.generation}",
                request_id=request_id,
            )
            return changed

    async def _apply(self, config: Config) -> Changed:
        digest = await asyncio.to_thread(canonical_digest, config)
        if digest == self.digest:
            self._crew.rotate()
            self._on_change(self.config)
            return Changed(UNCHANGED, self.generation, digest)
        _check_fixed(self.config, config)
        generation = self.generation + 1
        # Whatever happens now, no two policies share a number: a refused change and its undoing use up two.
        unanswered: list[int] = []
        try:
            if config.listen != self.config.listen or config.workers != self.config.workers:
                await self._roll(config, generation)
            else:
                unanswered = await self._crew.apply(config, generation)
        except ControlError:
            self.generation = generation + 1
            raise
        self.generation = generation
        self.config = config
        self.digest = digest
        self._on_change(config)
        return Changed(OK, generation, digest, tuple(unanswered))

    async def _roll(self, config: Config, generation: int) -> None:
        try:
            self._listeners.open(config.listen, config.workers)
            await self._crew.roll(config, generation)
        except ControlError:
            self._listeners.retire(self.config.listen)
            raise
        self._listeners.retire(config.listen)

    def refuse(self, actor: Actor, action: str, error: Exception, request_id: str) -> None:
        """Log, count and record that a change was refused."""
        self._problem = str(error)
        self.results[REFUSED] += 1
        for line in self._problem.splitlines():
            _log.error("config refused, the old one stays: %s", line)
        self._audit.record(actor, action, REFUSED, before=self.digest, after=self.digest, detail=self._problem, request_id=request_id)


def _load(file: Path | None) -> Loaded:
    if file is None:
        raise ControlError("there is no config file to read again")
    return load_file(file)


def _check_fixed(old: Config, new: Config) -> None:
    """Refuse what a running instance cannot follow.

    Raises:
        ConfigError: names each such part.
    """
    parts = {"admin": old.admin != new.admin, "state": old.state != new.state}
    problems = [Problem(part, "cannot change while running; restart to change it") for part, is_changed in parts.items() if is_changed]
    if problems:
        raise ConfigError(problems)
