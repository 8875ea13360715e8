"""A process that writes to a ledger until it is killed: ledger_process.py PATH PREFIX [FILE_BYTES]

It prints the id of each row once that is acknowledged, `! id` when it is refused. Ids count on from PREFIX-0, and each is submitted
twice. FILE_BYTES limits every file of the process (RLIMIT_FSIZE); SIGUSR1 lifts the limit.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time

from shadowproxy.sinks.ledger import Ledger
from tests.sinks.ledgering import row

IN_FLIGHT = 50


def main(path: str, prefix: str, file_bytes: int = 0) -> None:
    """Write without end."""
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
        signal.signal(
            signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        )
    ledger = Ledger(path, 1e9, 1 << 30)
    answered = 0

    def done(ids: list[str], problem: str) -> None:
        nonlocal answered
        answered += 1
        os.write(1, "".join(f"! {one}\n" if problem else f"{one}\n" for one in ids).encode())

    submitted = 0
    while True:
        while submitted - answered >= IN_FLIGHT:
            time.sleep(0.001)
        one = row(id=f"{prefix}-{submitted // 2}", time=time.time())
        ledger.submit([one], done)
        ledger.update(one["id"], 201)
        submitted += 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:]))
