"""Waits until every worker has told control what it saw: lost tags come with its reports, four times a second.

Two reports are waited for, as the one that arrives first may have been on its way before the call that it should tell of.
A fixed time would be enough on most days; a regression test must not depend on what else the machine does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import AuditFailed

if TYPE_CHECKING:
    from shadowproxy.audit.records import Api

PATIENCE_S: Final = 15.0
"""Longer than control itself bears a silent worker before it replaces it."""

PAUSE_S: Final = 0.05

WANTED: Final = 2


def wait(api: Api, patience_s: float = PATIENCE_S) -> None:
    """Return when every worker that runs now has reported twice more, or has ended.

    Raises:
        AuditFailed: one has not, in time.
        AdminUnreachable, AdminRefused: the instance does not tell.
    """
    deadline = time.monotonic() + patience_s
    before = _reports(api)
    while True:
        now = _reports(api)
        late = [pid for pid, count in before.items() if now.get(pid, count + WANTED) < count + WANTED]
        if not late:
            return
        if time.monotonic() > deadline:
            raise AuditFailed(f"worker {late[0]} has not reported for {patience_s:g} s: it is not known which of its calls lost their tag")
        time.sleep(PAUSE_S)


def _reports(api: Api) -> dict[int, int]:
    return {int(one["pid"]): int(one["reports"]) for one in api.get("/api/v1/workers")["processes"]}
