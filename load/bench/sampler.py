"""A sampling profiler inside a worker: where its CPU time goes, by Python function.

`install` asks the kernel for a signal per slice of *CPU* time (ITIMER_PROF) and counts the Python frames
that the signal meets. The handler runs between two bytecodes, so what a C function took (a socket write, a
parser call) counts for the function that called it, and what the event loop did with no Python function
running (epoll, reads) counts for the callback that it called next. Costs a few microseconds per sample, and
nothing per call, as a tracing profiler would.
"""

from __future__ import annotations

import atexit
import json
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PERIOD_S = 0.002
"""Asked for; a kernel delivers at most one per tick (4 ms at 250 Hz)."""

WRITE_EVERY = 100


class Samples:
    """Counts of the innermost functions and of all functions on the stack."""

    def __init__(self) -> None:
        self.total = 0
        self.own: Counter[str] = Counter()
        self.inclusive: Counter[str] = Counter()

    def add(self, frame: FrameType | None) -> None:
        """Count one stack; a function that recurses counts once."""
        self.total += 1
        seen: set[str] = set()
        while frame is not None:
            code = frame.f_code
            name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
            if not seen:
                self.own[name] += 1
            seen.add(name)
            frame = frame.f_back
        self.inclusive.update(seen)

    def write(self, path: Path) -> None:
        """Store as JSON."""
        path.write_text(json.dumps({"total": self.total, "own": self.own, "inclusive": self.inclusive}))


def install(path: Path) -> Samples:
    """Sample this process's main thread from now on; the file is rewritten as it goes and at exit."""
    samples = Samples()

    def on_signal(_: int, frame: FrameType | None) -> None:
        samples.add(frame)
        if samples.total % WRITE_EVERY == 0:
            samples.write(path)

    def end() -> None:
        # A signal after the interpreter took its handlers down would kill the process.
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        samples.write(path)

    signal.signal(signal.SIGPROF, on_signal)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    atexit.register(end)
    return samples
