"""What a report is about: the answers of the admin API, gathered into one value.

The verdict document is the judge's (`GET /api/v1/verdict`), the comparison the control process's
(`GET /api/v1/compare?buckets=epoch`), exemplars are optional. They may be of any size and come from traffic in
part: `Subject` reads them with defaults, so that a report can be written however little has been measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.report import curves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Plain = dict[str, Any]

VERDICTS: Final = ("INVALID", "REGRESSION", "UNDECIDED", "SAFE")
"""Worst first."""

SHARED: Final = ("name", "to", "percent", "holdout", "key", "methods", "body_limit", "timeout", "control", "resend", "judge")
"""What a report shows of a mirror's config."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One mirror: its verdict, what was counted for it, and examples.

    Args:
        verdict: one entry of the verdict document.
        comparison: the mirror's entry of the comparison; empty when there is none.
        exemplars: discordant pairs, the worst first.
    """

    verdict: Plain
    comparison: Plain = field(default_factory=dict)
    exemplars: tuple[Plain, ...] = ()

    @property
    def name(self) -> str:
        """`route/mirror`."""
        return f"{self.verdict.get('route', '')}/{self.verdict.get('mirror', '')}"

    @property
    def state(self) -> str:
        """One of VERDICTS; what is not one of them counts as INVALID."""
        stated = str(self.verdict.get("verdict", ""))
        return stated if stated in VERDICTS else "INVALID"

    @property
    def baseline(self) -> str:
        """What the shadow is compared with: `live`, or `control` where there is an A/A arm."""
        return "control" if self.verdict.get("baseline") == "control" else "live"

    @property
    def fleets(self) -> tuple[str, str]:
        """Names of the live and the shadow fleet; empty when they are not known."""
        return str(self.comparison.get("live_fleet", "")), str(self.comparison.get("shadow_fleet", ""))

    @property
    def regression_threshold(self) -> float:
        """Natural logarithm of the evidence that makes a regression."""
        stated = number(self.part("log_e").get("threshold"))
        return stated if stated is not None else -log(number(self.verdict.get("alpha")) or 0.05)

    @property
    def safe_threshold(self) -> float:
        """Natural logarithm of the evidence that makes each test of safety pass."""
        return -log(number(self.verdict.get("beta")) or 0.05)

    @property
    def live(self) -> dict[int, int]:
        """The sketch of live's latencies; empty when the comparison has none."""
        return self._distribution("live")

    @property
    def shadow(self) -> dict[int, int]:
        """The sketch of the shadow's latencies."""
        return self._distribution("shadow")

    def part(self, name: str) -> Plain:
        """A part of the verdict that is an object; empty when it is absent or null."""
        found = self.verdict.get(name)
        return found if isinstance(found, dict) else {}

    def parts(self, name: str) -> list[Any]:
        """A part of the verdict that is a list; empty when it is absent or null."""
        found = self.verdict.get(name)
        return found if isinstance(found, list) else []

    @property
    def transitions(self) -> list[Plain]:
        """Pairs that ended differently, each two directions once: as the judge lists them, whose first has the most evidence."""
        found: dict[tuple[str, str], Plain] = {}
        for one in self.part("errors").get("transitions") or []:
            if isinstance(one, dict) and (str(one.get("shadow")), str(one.get("live"))) not in found:
                found[str(one.get("live")), str(one.get("shadow"))] = one
        return list(found.values())

    def count(self, name: str) -> int:
        """A count of the verdict; 0 when it is absent."""
        return int(number(self.verdict.get(name)) or 0)

    def _distribution(self, side: str) -> dict[int, int]:
        found = self.comparison.get("distribution")
        return curves.buckets_of(found.get(side, [])) if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report shows.

    Args:
        made_at: Unix time at which it was made.
        program: name and version of what made it.
        subjects: one a mirror, in the order of the verdict document.
        is_killed: whether the kill switch is on.
        started_at: RFC 3339 time at which the proxy was started; empty when it is not known.
        config: the routes and fleets of the config in force, without what is no part of a verdict.
    """

    made_at: float
    program: str
    subjects: tuple[Subject, ...]
    is_killed: bool = False
    started_at: str = ""
    config: Plain = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The worst verdict of all subjects; UNDECIDED when there are none."""
        return min((subject.state for subject in self.subjects), key=VERDICTS.index, default="UNDECIDED")


def gather(
    verdicts: Mapping[str, Any],
    compared: Mapping[str, Any],
    exemplars: Sequence[Plain] = (),
    *,
    made_at: float,
    program: str,
    status: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Report:
    """Put the documents of the admin API together, mirror by mirror.

    Args:
        verdicts: the verdict document.
        compared: the comparison, with buckets where there are to be curves.
        exemplars: examples of all mirrors, each naming its `route` and `mirror`.
        made_at: now, as Unix time.
        program: name and version of what makes the report.
        status: the status document.
        config: the plain config in force.
    """
    comparisons = {(one.get("route"), one.get("mirror")): one for one in compared.get("mirrors", [])}
    subjects = tuple(
        Subject(
            verdict,
            comparisons.get((verdict.get("route"), verdict.get("mirror")), {}),
            tuple(one for one in exemplars if (one.get("route"), one.get("mirror")) == (verdict.get("route"), verdict.get("mirror"))),
        )
        for verdict in verdicts.get("verdicts", [])
    )
    return Report(
        made_at,
        program,
        subjects,
        is_killed=bool(compared.get("is_killed")),
        started_at=str((status or {}).get("started", "")),
        config=shared(config or {}),
    )


def shared(config: Mapping[str, Any]) -> Plain:
    """What a report shows of a plain config: who is compared with whom, on what, by which margins.

    Header fields that are set, file names and everything else that may be secret or says nothing about a verdict is left out.
    """
    fleets = {name: {"endpoints": list(fleet.get("endpoints", []))} for name, fleet in config.get("fleets", {}).items()}
    routes = [
        {
            "name": route.get("name"),
            "match": {
                name: route.get("match", {})[name] for name in ("listener", "host", "path", "methods") if route.get("match", {}).get(name)
            },
            "live": route.get("live"),
            "mirror": [
                {name: mirror[name] for name in SHARED if mirror.get(name) not in (None, "", [], {})} for mirror in route.get("mirror", [])
            ],
        }
        for route in config.get("routes", [])
        if route.get("mirror")
    ]
    return {"fleets": fleets, "routes": routes} if routes else {}


def number(value: object) -> float | None:
    """A finite number; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if isfinite(value) else None


def ends(value: object) -> tuple[float | None, float | None]:
    """An interval; (None, None) for everything that is none."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None, None
    return number(value[0]), number(value[1])
