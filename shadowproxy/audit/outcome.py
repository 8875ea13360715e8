"""A finished audit as one value: what programs read, and what people and CI servers are shown is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shadowproxy.audit.fates import CALL, as_plain, culprits

if TYPE_CHECKING:
    from shadowproxy.audit.fates import Result
    from shadowproxy.audit.plan import Skipped
    from shadowproxy.audit.records import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an audit has found.

    Args:
        run: the 10 digits in its tokens.
        tenant: whose tests its probes were.
        began: when, in seconds since 1970.
        seconds: how long it took.
        results: every probe's.
        skipped: what was not asked.
        orphans: writes of its tenant under other traces, of which it is not known which probe they belong to.
        searched: databases and pages that were searched, without their secrets.
        is_strict: whether something that was not asked is a failure.
    """

    run: str
    tenant: str
    began: float
    seconds: float
    results: tuple[Result, ...]
    skipped: tuple[Skipped, ...]
    orphans: tuple[Row, ...] = ()
    searched: tuple[str, ...] = ()
    is_strict: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether every probe ended where its rule says, and nothing leaked. An audit that asked nothing has found nothing out."""
        return bool(self.results) and all(result.is_ok for result in self.results) and not (self.is_strict and self.skipped)

    @property
    def culprits(self) -> list[str]:
        """The services that dropped tags."""
        return culprits(self.results)

    @property
    def fates(self) -> dict[str, int]:
        """How many probes ended how."""
        return dict(sorted(Counter(str(result.fate) for result in self.results).items()))

    def as_plain(self) -> dict[str, Any]:
        """The document of `--output json`."""
        return {
            "run": self.run,
            "tenant": self.tenant,
            "time": self.began,
            "seconds": round(self.seconds, 3),
            "is_clean": self.is_clean,
            "fates": self.fates,
            "dropped_by": self.culprits,
            "searched": list(self.searched),
            "probes": [as_plain(result) for result in self.results],
            "orphans": [{name: row[name] for name in CALL} for row in self.orphans],
            "skipped": [{"route": one.route, "listener": one.listener, "method": one.method, "reason": one.reason} for one in self.skipped],
        }
