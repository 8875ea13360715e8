"""Pairs to look at: for each way in which live and shadow disagree, the few that show it best.

A pair is offered once it has been scrubbed, and the type says so. It is discordant for one or more
reasons: a transition (`200 -> 504`), a shadow that took much longer, a field of the answer that differs.
Per mirror and reason the worst `PER_REASON` are kept; a pair that shows several is kept once.

Bounded in bytes: when full, the mildest and oldest go. What is kept is also written to the store,
slot by slot and never more than `SLOTS`, so that a verdict of yesterday can still be looked into.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.comparison import outcome_class
from shadowproxy.errors import StateError
from shadowproxy.judge.pairs import is_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.redaction import Scrubbed
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

PER_REASON: Final = 5
"""Pairs that show the same: more do not tell more."""

REASONS_LIMIT: Final = 64
"""Reasons of one mirror; a new one takes the place of the mildest."""

SLOTS: Final = 256
BYTES_LIMIT: Final = 32 * 1024 * 1024
ONE_LIMIT: Final = 1024 * 1024
"""Bytes of one exemplar as JSON; larger ones are kept without bodies."""

KEPT_S: Final = 7 * 24 * 3600.0
"""Age at which an exemplar is forgotten: captured traffic does not pile up."""

FLUSH_S: Final = 2.0

SLOWER: Final = 1.25
"""Ratio of the last bytes from which on a pair is one to look at for its latency."""

RENEWED_S: Final = 60.0
"""Among equals the newer wins, but at most once in this time: links to exemplars hold for a while."""

NS: Final = 1e9

_KEY: Final = "exemplar."
_FIELD_LIMIT: Final = 300

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """One way in which a pair is discordant. `kind` is `transition`, `latency` or `field`; `name` says which."""

    kind: str
    name: str


@dataclass(slots=True)
class Exemplar:
    """One pair that is kept.

    `severities` has a number for each of its reasons, larger is worse; `document` is what the API shows;
    `rules` is the digest of the redaction rules under which it was scrubbed.
    """

    id: str
    mirror: str
    at: float
    document: Plain
    size: int
    slot: int = -1
    rules: str = ""
    severities: dict[Reason, float] = field(default_factory=dict)

    @property
    def severity(self) -> float:
        """Of its worst reason."""
        return max(self.severities.values(), default=0.0)


class Exemplars:
    """The exemplars of one instance. Used from one event loop; nothing but `keep` and `restore` waits.

    Args:
        store: where they are written to.
        rules: digest of the redaction rules in force.
        bytes_limit: bytes of all of them, as JSON.
    """

    def __init__(self, store: Store, rules: str = "", *, bytes_limit: int = BYTES_LIMIT) -> None:
        self._store = store
        self._rules = rules
        self._bytes_limit = bytes_limit
        self._kept: dict[str, Exemplar] = {}
        self._by_reason: dict[tuple[str, Reason], list[Exemplar]] = {}
        self._free_slots = list(range(SLOTS - 1, -1, -1))
        self._dirty: dict[int, str] = {}
        self._has_work = asyncio.Event()
        self.held_bytes = 0
        self.offered = 0

    def __repr__(self) -> str:
        return f"<Exemplars {len(self._kept)} of {self.offered} offered, {self.held_bytes} bytes>"

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, capture: Scrubbed, fields: Iterable[Mapping[str, Any]] = ()) -> str | None:
        """Keep the pair if it is among the worst of a reason it has.

        Args:
            capture: a scrubbed pair.
            fields: how the answers differ, if they were compared: `path`, and `kind` of the difference.

        Returns:
            The id of the exemplar; None when the pair is not kept.
        """
        self.offered += 1
        why = _reasons(capture, fields)
        if not why:
            return None
        mirror, at = str(capture.get("mirror", "")), float(capture.get("at", 0.0))
        name = _id_of(mirror, str(capture.get("id", "")), at)
        if name in self._kept:
            return name
        severities = {reason: severity for reason, (severity, _) in why.items() if self._has_room(mirror, reason, severity, at)}
        if not severities:
            return None
        document = _document(name, capture, [detail for _, detail in why.values()])
        size = len(json.dumps(document))
        if size > ONE_LIMIT:
            _without_bodies(document)
            size = len(json.dumps(document))
        exemplar = Exemplar(name, mirror, at, document, size, rules=self._rules)
        for reason, severity in severities.items():
            self._admit(exemplar, reason, severity)
        self._place(exemplar)
        return name if name in self._kept else None

    def get(self, name: str) -> Plain | None:
        """The whole exemplar of that id; None when there is none (any more)."""
        exemplar = self._kept.get(name)
        return None if exemplar is None else exemplar.document

    def find(
        self,
        *,
        route: str | None = None,
        mirror: str | None = None,
        transition: str | None = None,
        path: str | None = None,
        limit: int = 100,
    ) -> list[Plain]:
        """Exemplars without headers and bodies, the worst first.

        Args:
            route: only of this route.
            mirror: only of this mirror.
            transition: only with this change of outcome, as `200 -> 504`, by statuses or classes (`2xx -> 5xx`).
            path: only with a difference in this field.
            limit: at most so many.
        """
        chosen = [
            exemplar
            for exemplar in self._kept.values()
            if (route is None or exemplar.document["route"] == route)
            and (mirror is None or exemplar.document["mirror"] == mirror)
            and (transition is None or _spaced(transition) in _transitions(exemplar))
            and (path is None or any(reason.kind == "field" and reason.name == path for reason in exemplar.severities))
        ]
        chosen.sort(key=lambda exemplar: (-exemplar.severity, -exemplar.at, exemplar.id))
        return [_summary(exemplar.document) for exemplar in chosen[:limit]]

    def ids(self, mirror: str, *, path: str | None = None, limit: int = 5) -> list[str]:
        """Ids of the worst exemplars of `route/mirror`, or of one of its fields."""
        route, _, name = mirror.partition("/")
        return [summary["id"] for summary in self.find(route=route, mirror=name, path=path, limit=limit)]

    def forget(self, now: float) -> None:
        """Drop what is older than KEPT_S at `now` (Unix seconds)."""
        for exemplar in [one for one in self._kept.values() if now - one.at > KEPT_S]:
            self._drop(exemplar)

    def follow(self, rules: str) -> None:
        """Drop what was scrubbed under other rules than those with the digest `rules`: it may hold what is secret now."""
        self._rules = rules
        for exemplar in [one for one in self._kept.values() if one.rules != rules]:
            self._drop(exemplar)

    async def restore(self, now: float) -> None:
        """Read what an earlier run left in the store. What cannot be read is left alone; never raises."""
        try:
            for slot in range(SLOTS):
                text = await self._store.get(f"{_KEY}{slot}")
                if text:
                    self._restore(slot, text)
        except StateError as error:
            _log.warning("exemplars of earlier runs: %s", error)
        self.forget(now)

    async def keep(self) -> None:
        """Restore, then write what changes to the store, for as long as the task runs. A store that does not work costs nothing else."""
        await self.restore(time.time())
        while True:
            await self._has_work.wait()
            await asyncio.sleep(FLUSH_S)
            self.forget(time.time())
            await self.flush()

    async def flush(self) -> None:
        """Write what changed since the last time. What the store refuses is tried again at the next change."""
        self._has_work.clear()
        while self._dirty:
            slot, text = next(iter(self._dirty.items()))
            try:
                await self._store.put(f"{_KEY}{slot}", text)
            except StateError:
                return
            if self._dirty.get(slot) == text:
                del self._dirty[slot]

    def _has_room(self, mirror: str, reason: Reason, severity: float, at: float) -> bool:
        shown = self._by_reason.get((mirror, reason), [])
        return len(shown) < PER_REASON or _rank(severity, at) > min(_rank(one.severities[reason], one.at) for one in shown)

    def _admit(self, exemplar: Exemplar, reason: Reason, severity: float) -> None:
        key = (exemplar.mirror, reason)
        if key not in self._by_reason and not self._has_room_for_reason(exemplar.mirror, severity):
            return
        shown = self._by_reason.setdefault(key, [])
        if len(shown) >= PER_REASON:
            self._forget_reason(min(shown, key=lambda one: _rank(one.severities[reason], one.at)), reason)
            shown = self._by_reason.setdefault(key, shown)
        exemplar.severities[reason] = severity
        shown.append(exemplar)

    def _has_room_for_reason(self, mirror: str, severity: float) -> bool:
        """Whether the mirror may have one more reason; the mildest goes if it must."""
        others = {
            reason: max(one.severities[reason] for one in shown) for (name, reason), shown in self._by_reason.items() if name == mirror
        }
        if len(others) < REASONS_LIMIT:
            return True
        mildest = min(others, key=lambda reason: others[reason])
        if others[mildest] >= severity:
            return False
        for one in list(self._by_reason[mirror, mildest]):
            self._forget_reason(one, mildest)
        return True

    def _place(self, exemplar: Exemplar) -> None:
        if not exemplar.severities:
            return
        self._kept[exemplar.id] = exemplar
        self.held_bytes += exemplar.size
        while self.held_bytes > self._bytes_limit or (exemplar.slot < 0 and not self._free_slots):
            mildest = min(self._kept.values(), key=lambda one: (one.severity, one.at))
            self._drop(mildest)
            if mildest is exemplar:
                return
        if exemplar.slot < 0:
            exemplar.slot = self._free_slots.pop()
            severities = [[reason.kind, reason.name, severity] for reason, severity in exemplar.severities.items()]
            self._write(
                exemplar.slot,
                json.dumps({"document": exemplar.document, "at": exemplar.at, "rules": exemplar.rules, "severities": severities}),
            )

    def _forget_reason(self, exemplar: Exemplar, reason: Reason) -> None:
        exemplar.severities.pop(reason, None)
        shown = self._by_reason.get((exemplar.mirror, reason), [])
        if exemplar in shown:
            shown.remove(exemplar)
        if not shown:
            self._by_reason.pop((exemplar.mirror, reason), None)
        if not exemplar.severities:
            self._drop(exemplar)

    def _drop(self, exemplar: Exemplar) -> None:
        if self._kept.pop(exemplar.id, None) is None:
            return
        self.held_bytes -= exemplar.size
        for reason in list(exemplar.severities):
            self._forget_reason(exemplar, reason)
        if exemplar.slot >= 0:
            self._free_slots.append(exemplar.slot)
            self._write(exemplar.slot, "")
            exemplar.slot = -1

    def _write(self, slot: int, text: str) -> None:
        self._dirty[slot] = text
        self._has_work.set()

    def _restore(self, slot: int, text: str) -> None:
        try:
            stored = json.loads(text)
            document, at = stored["document"], float(stored["at"])
            exemplar = Exemplar(
                document["id"], f"{document['route']}/{document['mirror']}", at, document, len(text), slot, str(stored["rules"])
            )
            why = {Reason(str(kind), str(name)): float(severity) for kind, name, severity in stored["severities"]}
            _summary(document)
        except (ValueError, KeyError, TypeError):
            self._write(slot, "")
            return
        if exemplar.id in self._kept or slot not in self._free_slots:
            return
        if exemplar.rules != self._rules:
            self._write(slot, "")
            return
        for reason, severity in why.items():
            if self._has_room(exemplar.mirror, reason, severity, at):
                self._admit(exemplar, reason, severity)
        if exemplar.severities:
            self._free_slots.remove(slot)
            self._place(exemplar)
        else:
            self._write(slot, "")


def _rank(severity: float, at: float) -> tuple[float, float]:
    return severity, at // RENEWED_S


def _reasons(capture: Mapping[str, Any], fields: Iterable[Mapping[str, Any]]) -> dict[Reason, tuple[float, Plain]]:
    """Why a pair is discordant: for each reason how bad it is, and what the API says of it."""
    live, shadow = capture.get("live"), capture.get("shadow")
    if not isinstance(live, dict) or not isinstance(shadow, dict):
        return {}
    found: dict[Reason, tuple[float, Plain]] = {}
    was, became = str(live.get("outcome", "")), str(shadow.get("outcome", ""))
    if was != became:
        name = f"{was} -> {became}"
        found[Reason("transition", name)] = (_severity(was, became), {"kind": "transition", "name": name})
    ratio = _ratio(live, shadow)
    if was.isdigit() and became.isdigit() and ratio is not None and ratio >= SLOWER:
        found[Reason("latency", "slower")] = (min(ratio, 1000.0) / 1001.0, {"kind": "latency", "name": "slower", "ratio": round(ratio, 3)})
    for one in fields:
        path = str(one.get("path", ""))[:_FIELD_LIMIT]
        found.setdefault(
            Reason("field", path), (0.5, {"kind": "field", "name": path, "difference": str(one.get("kind", ""))[:_FIELD_LIMIT]})
        )
    return found


def _severity(was: str, became: str) -> float:
    """Of a transition: 4 for a new error, 3 for another class, 2 for another status of the class, 1 for an error that went away."""
    if is_error(was) != is_error(became):
        return 4.0 if is_error(became) else 1.0
    return 3.0 if outcome_class(was) != outcome_class(became) else 2.0


def _ratio(live: Mapping[str, Any], shadow: Mapping[str, Any]) -> float | None:
    was, became = live.get("last_ns"), shadow.get("last_ns")
    return became / was if isinstance(was, int) and isinstance(became, int) and was > 0 else None


def _document(name: str, capture: Mapping[str, Any], why: list[Plain]) -> Plain:
    route, _, mirror = str(capture.get("mirror", "")).partition("/")
    arms = {arm: _answer(capture[arm]) for arm in ("live", "shadow", "control") if isinstance(capture.get(arm), dict)}
    return {
        "id": name,
        "at": capture.get("at", 0.0),
        "route": route,
        "mirror": mirror,
        "trace": capture.get("trace", ""),
        "why": why,
        "request": dict(capture.get("request") or {}),
        **arms,
    }


def _answer(answer: Mapping[str, Any]) -> Plain:
    shown = {name: value for name, value in answer.items() if name not in {"first_ns", "last_ns"}}
    return {**shown, "first_seconds": _seconds(answer.get("first_ns")), "last_seconds": _seconds(answer.get("last_ns"))}


def _seconds(ns: object) -> float | None:
    return ns / NS if isinstance(ns, int) else None


def _summary(document: Plain) -> Plain:
    """What a list shows of an exemplar."""
    short = {name: document[name] for name in ("id", "at", "route", "mirror", "trace", "why")}
    short["request"] = {name: document["request"].get(name, "") for name in ("method", "target")}
    for arm in ("live", "shadow", "control"):
        if arm in document:
            short[arm] = {name: document[arm].get(name) for name in ("outcome", "first_seconds", "last_seconds")}
    return short


def _without_bodies(document: Plain) -> None:
    for name in ("request", "live", "shadow", "control"):
        if name in document and document[name].get("body"):
            document[name] |= {
                "body": "",
                "dropped": {"reason": "too large to keep", "bytes": len(base64.b64decode(document[name]["body"])), "digest": ""},
            }


def _transitions(exemplar: Exemplar) -> set[str]:
    """The transition of an exemplar, by status and by class."""
    names = {reason.name for reason in exemplar.severities if reason.kind == "transition"}
    return names | {" -> ".join(outcome_class(side) for side in name.split(" -> ")) for name in names}


def _spaced(transition: str) -> str:
    """A transition as it is named, whatever blanks were left out."""
    return " -> ".join(side.strip() for side in transition.replace("→", "->").split("->"))


def _id_of(mirror: str, capture: str, at: float) -> str:
    return hashlib.blake2b(f"{mirror}\0{capture}\0{at!r}".encode(), digest_size=8).hexdigest()
