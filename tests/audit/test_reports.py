"""What workers have seen is waited for, however slow the machine is, and not without end."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.audit.reports import wait
from shadowproxy.errors import AuditFailed


class Api:
    """An instance whose workers have reported so often, at each time of asking; the last holds on."""

    def __init__(self, *seen: dict[int, int]) -> None:
        self.seen = list(seen)
        self.asked = 0

    def get(self, path: str) -> Any:
        """The workers."""
        assert path == "/api/v1/workers"
        now = self.seen[min(self.asked, len(self.seen) - 1)]
        self.asked += 1
        return {"processes": [{"pid": pid, "reports": count} for pid, count in now.items()]}


def test_every_worker_reports_twice() -> None:
    """The report that was on its way is not enough, and one worker's are not the other's."""
    api = Api({1: 5, 2: 9}, {1: 6, 2: 11}, {1: 6, 2: 20}, {1: 7, 2: 20})
    wait(api, 5)
    assert api.asked == 4


def test_workers_that_end_or_begin_are_not_waited_for() -> None:
    """One that died can tell nothing more; one that began after has nothing to tell."""
    api = Api({1: 5, 2: 9}, {1: 7, 3: 0})
    wait(api, 5)
    assert api.asked == 2


def test_a_silent_worker_fails_the_audit() -> None:
    """What it has seen is not known."""
    with pytest.raises(AuditFailed, match="worker 1 has not reported"):
        wait(Api({1: 5}), 0.1)
