"""All that a rollout has counted: its arms, of the whole run and of the present step, and the units that were in them.

A unit fails once, whichever worker tells of it and however often: what `half_evidence.FailedUnits` is fed are units that had not failed
before. All of it can be written down and taken up again, so that a restart of control forgets nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.half_evidence import Arm, FailedUnits
from shadowproxy.experiments.unit_sample import UnitSample
from shadowproxy.judge.rates import log_e_sample_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

ARMS: Final = ("canary", "stable", "more", "ring", "step_canary", "step_stable")
UNITS: Final = ("canary", "stable", "served", "failed", "harmed")
"""Different units: in either half, on the new version, failed in either half, failed on the new version."""


class RolloutCounts:
    """See the module's text.

    Args:
        has_units: whether requests belong to units, or each is its own.
    """

    def __init__(self, *, has_units: bool) -> None:
        self.has_units = has_units
        self.arms = {name: Arm() for name in ARMS}
        self.units = {name: UnitSample() for name in UNITS}
        self.failures = FailedUnits()
        self.outside = self.without_unit = 0

    def __repr__(self) -> str:
        return f"RolloutCounts(canary {self.arms['canary']!r}, stable {self.arms['stable']!r}, {self.failures!r})"

    def begin_step(self) -> None:
        """What is counted of a step begins anew."""
        self.arms["step_canary"], self.arms["step_stable"] = Arm(), Arm()

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add `Halves` as a worker tells them (dataplane/messages.py).

        Raises:
            KeyError: a member is missing.
        """
        failed = {}
        for name in ("canary", "stable"):
            _, failed[name] = self.arms[name].add(counts[name])
            self.arms[f"step_{name}"].add(counts[name])
        for name in ("more", "ring"):
            self.arms[name].add(counts[name])
        self.outside += counts["outside"]
        self.without_unit += counts["without_unit"]
        if self.has_units:
            failed = {name: self._add_units(name, counts[name]) for name in ("canary", "stable")}
            for name in ("canary", "more", "ring"):
                for digest in counts[name]["units"]:
                    self.units["served"].add(digest)
                for digest in counts[name]["failed"]:
                    self.units["harmed"].add(digest)
        self.failures.update(failed["canary"], failed["stable"])

    def _add_units(self, name: str, side: Mapping[str, Any]) -> int:
        """Add the units of a half; returns how many of them have failed for the first time."""
        for digest in side["units"]:
            self.units[name].add(digest)
        return sum(self.units["failed"].add(digest) for digest in side["failed"])

    @property
    def halves(self) -> tuple[int, int]:
        """Units (requests, where each is its own) in the canary half and in the stable one."""
        if self.has_units:
            return self.units["canary"].count, self.units["stable"].count
        return self.arms["canary"].requests, self.arms["stable"].requests

    @property
    def log_e_ratio(self) -> float:
        """Log evidence that the halves are not of equal size."""
        return log_e_sample_ratio(self.halves, (0.5, 0.5))

    @property
    def served(self) -> tuple[int, int]:
        """Requests that the new version answered, and how many of them failed."""
        arms = [self.arms[name] for name in ("canary", "more", "ring")]
        return sum(arm.requests for arm in arms), sum(arm.errors for arm in arms)

    def errors(self) -> tuple[int, int, int, int]:
        """Requests and errors of the canary half, and of the stable one."""
        canary, stable = self.arms["canary"], self.arms["stable"]
        return canary.requests, canary.errors, stable.requests, stable.errors

    def to_plain(self) -> dict[str, Any]:
        """As JSON can say."""
        return {
            "arms": {name: arm.to_plain() for name, arm in self.arms.items()},
            "units": {name: units.to_plain() for name, units in self.units.items()},
            "failures": self.failures.to_plain(),
            "outside": self.outside,
            "without_unit": self.without_unit,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, has_units: bool) -> RolloutCounts:
        """The way back.

        Raises:
            KeyError, TypeError, ValueError: `plain` is nothing that `to_plain` returned.
        """
        made = cls(has_units=has_units)
        made.arms = {name: Arm.from_plain(plain["arms"][name]) for name in ARMS}
        made.units = {name: UnitSample.from_plain(plain["units"][name]) for name in UNITS}
        made.failures = FailedUnits.from_plain(plain["failures"])
        made.outside, made.without_unit = int(plain["outside"]), int(plain["without_unit"])
        return made
