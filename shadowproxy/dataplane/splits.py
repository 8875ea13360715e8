"""Rollouts in a worker: which version answers a request, and how the two halves that are compared fare.

A split comes in a message and says nothing about the requests of other routes: `routes` is empty while no rollout is under
way, which is all that they pay for. It stays as it is while control lives, whatever becomes of the rollout's evidence, and
control that dies takes the worker with it: no user goes to and fro because somebody else had a problem.

What is counted: both halves that are compared, the others that the new version answers, and which units are among them and
were failed, as digests. Control knows a unit that several workers have told; a worker only avoids to tell it over and over.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane.mirroring import leave_out
from shadowproxy.dataplane.outcome import CLIENT_GONE, SERVED_ELSEWHERE
from shadowproxy.dataplane.part import ArmTally, Part
from shadowproxy.dataplane.trace import Trace
from shadowproxy.hashspace import Weyl, point_at
from shadowproxy.policy.splits import CANARY, CONTROL, MORE, RING, SERVED_NEW, STABLE, SplitPolicy, compile_split
from shadowproxy.policy.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.policy import MirrorPolicy

TOLD_LIMIT: Final = 65536
"""Units of a kind that a worker remembers to have told: beyond it, it forgets them and tells them again."""

OVER_KEPT: Final = 16
"""Rollouts that are over and still counted: more cannot end while a request lasts."""


class Split:
    """One route's rollout, as far as this worker is concerned."""

    def __init__(self, policy: SplitPolicy, live: str, weyl: Weyl, tell_soon: Callable[[], None]) -> None:
        self.policy = policy
        self.live = live
        self.is_changed = False
        self._weyl = weyl
        self._tell_soon = tell_soon
        self._sides = {CONTROL: Side(), CANARY: Side(), MORE: Side(), RING: Side()}
        self._outside = self._without_unit = 0

    def __repr__(self) -> str:
        return f"Split({self.policy.route} -> {self.policy.fleet}, {self.policy.share:.3%}, epoch={self.policy.epoch})"

    def follow(self, policy: SplitPolicy, live: str) -> None:
        """Take up another step."""
        self.policy = policy
        self.live = live

    def serves_new(self, exchange: Exchange) -> bool:
        """Decide about one request: whether the new version answers it. It is counted where its place is."""
        policy = self.policy
        unit: bytes | None = None
        digest = 0
        if policy.unit is None:
            point = self._weyl.next()
        else:
            if exchange.trace is None:
                exchange.trace = Trace(exchange.head.traceparent)
            unit = unit_of(policy.unit, exchange.path, exchange.head.fields, exchange.client.address, exchange.trace.trace_id)
            digest = policy.digest_of(unit) if unit is not None else 0
            point = point_at(digest)
            self._without_unit += unit is None
        place = policy.place(unit, point)
        self.changed()
        if place == STABLE:
            self._outside += 1
            return False
        side = self._sides[place]
        exchange.take_part(Half(self, side, digest))
        if digest:
            side.units.add(digest)
        return place in SERVED_NEW

    def changed(self) -> None:
        """There is something to tell."""
        self.is_changed = True
        self._tell_soon()

    def report(self) -> dict[str, Any]:
        """The deltas since the last report, as `Halves` of messages.py; they begin anew."""
        self.is_changed = False
        report = {
            "epoch": self.policy.epoch,
            "stable": self._sides[CONTROL].report(),
            "canary": self._sides[CANARY].report(),
            "more": self._sides[MORE].report(),
            "ring": self._sides[RING].report(),
            "outside": self._outside,
            "without_unit": self._without_unit,
        }
        self._outside = self._without_unit = 0
        return report


class Told:
    """Digests that control is told of, once as long as there is room to remember them."""

    __slots__ = ("_fresh", "_known")

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._fresh: list[int] = []

    def __repr__(self) -> str:
        return f"Told({len(self._known)} known, {len(self._fresh)} to tell)"

    def add(self, digest: int) -> None:
        """Tell of it, unless that was done."""
        if digest not in self._known:
            if len(self._known) >= TOLD_LIMIT:
                self._known.clear()
            self._known.add(digest)
            self._fresh.append(digest)

    def take(self) -> list[int]:
        """What has come since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh


class Side:
    """One arm, and the units that were in it."""

    __slots__ = ("arm", "failed", "units")

    def __init__(self) -> None:
        self.arm = ArmTally()
        self.units = Told()
        self.failed = Told()

    def __repr__(self) -> str:
        return f"Side({self.arm!r}, {self.units!r})"

    def report(self) -> dict[str, Any]:
        """The deltas since the last report, as a `Side` of messages.py."""
        return {**self.arm.report(), "units": self.units.take(), "failed": self.failed.take()}


class Half(Part):
    """One request, counted in the half that its unit is in."""

    __slots__ = ("_digest", "_side", "_split")

    def __init__(self, split: Split, side: Side, digest: int) -> None:
        self._split = split
        self._side = side
        self._digest = digest

    def answered(self, status: int, last: int) -> None:
        """Count it; a 5xx is a failure of the service."""
        self._side.arm.answered(status, last)
        if status >= 500 and self._digest:
            self._side.failed.add(self._digest)
        self._split.changed()

    def failed(self, ended: int) -> None:
        """Count it."""
        self._side.arm.failed(ended)
        if self._digest:
            self._side.failed.add(self._digest)
        self._split.changed()

    def injected(self, status: int) -> None:
        """An experiment made the answer up: that is no version's doing."""
        self._side.arm.was_injected(status)
        self._split.changed()

    def client_gone(self) -> None:
        """Count it; nobody knows how it would have ended."""
        self._side.arm.failed(CLIENT_GONE)
        self._split.changed()


class Splits:
    """All rollouts of a worker, by route.

    Args:
        tell_soon: called when there is something to tell control; it may be called often.
    """

    def __init__(self, tell_soon: Callable[[], None]) -> None:
        self._tell_soon = tell_soon
        self.routes: dict[str, Split] = {}
        self.wanted: frozenset[bytes] = frozenset()
        self._over: list[Split] = []
        self._weyl = Weyl(random.random())  # noqa: S311  spreads workers over the sequence, guards nothing

    def __repr__(self) -> str:
        return f"Splits({list(self.routes.values())})"

    def configure(self, splits: Iterable[dict[str, Any]]) -> None:
        """Make the rollouts what control says, and nothing else.

        Raises:
            KeyError: a split lacks a member; nothing has changed.
            ValueError: a share is none; nothing has changed.
        """
        made = {one["route"]: (compile_split(one), str(one["live"])) for one in splits}
        routes: dict[str, Split] = {}
        for name, (policy, live) in made.items():
            known = self.routes.get(name)
            if known is not None and known.policy.epoch == policy.epoch:
                known.follow(policy, live)
                routes[name] = known
            else:
                routes[name] = Split(policy, live, self._weyl, self._tell_soon)
        over = [split for split in self.routes.values() if routes.get(split.policy.route) is not split]
        # Requests that were under way when a rollout ended still tell how they fared.
        self._over = (self._over + over)[-OVER_KEPT:]
        self.routes = routes
        self.wanted = frozenset(name for split in routes.values() for name in _wanted(split.policy))

    def divert(self, exchange: Exchange, fleet_name: str, mirrors: tuple[MirrorPolicy, ...]) -> tuple[str, tuple[MirrorPolicy, ...]]:
        """Where a request goes, and who gets copies of it: the new version where its place is there, and then nobody.

        Only what would go to the route's live fleet as such is split: neither a test's partition nor a sink.
        """
        split = self.routes.get(exchange.route_name)
        admission = exchange.admission
        is_elsewhere = admission is not None and admission.is_diverted
        if split is None or fleet_name != split.live or is_elsewhere or split.policy.fleet not in exchange.client.worker.fleets:
            return fleet_name, mirrors
        if not split.serves_new(exchange):
            return fleet_name, mirrors
        leave_out(exchange, mirrors, SERVED_ELSEWHERE)
        return split.policy.fleet, ()

    def report(self) -> dict[str, Any]:
        """What has changed since the last report, by route."""
        told = {split.policy.route: split.report() for split in self._over if split.is_changed}
        return told | {name: split.report() for name, split in self.routes.items() if split.is_changed}


def _wanted(policy: SplitPolicy) -> Iterable[bytes]:
    if policy.unit is not None and policy.unit[0] == "header":
        yield policy.unit[1]
    elif policy.unit is not None and policy.unit[0] == "cookie":
        yield b"cookie"
