"""An origin whose requests differ in difficulty, as real ones do: what is slow for one version is slow for the other.

`python -m load.bench.service --port N --counts M [--median 0.03] [--slower 5] [--new-errors 0.5]`. A request for /items/K takes
MEDIAN_S (or `--median`) times exp(normal) of K (standard deviation DIFFICULTY, the same in every process) times exp(normal) of its own
(NOISE), and fails for ERRORS of all K alike. `--slower` makes it so many percent slower, `--new-errors` fails so many
percent of requests beyond that. Scenario C4 of the reference figures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from functools import lru_cache
from math import exp
from typing import TYPE_CHECKING, Final

import uvloop

from load.bench.origin_server import SMALL_BODY, Counts, CountsPage, Origin, answer, listening_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIAN_S: Final = 0.03
DIFFICULTY: Final = 1.0
NOISE: Final = 0.2
LONGEST_S: Final = 1.0
"""Difficulty ends here: a minute-long request would hold up the head of the line, and the measurement."""

ERRORS: Final = 0.01
_ITEM: Final = re.compile(rb"/items/(\d+)")
_FAILURE: Final = answer(SMALL_BODY).replace(b"200 OK", b"503 Service Unavailable", 1)


@lru_cache(maxsize=100_000)
def difficulty(item: int) -> tuple[float, bool]:
    """How many times the median an item takes without noise, and whether it fails in every version."""
    chance = random.Random(item)
    return exp(chance.gauss(0.0, DIFFICULTY)), chance.random() < ERRORS


class Service(Origin):
    """One connection; a request at a time, as HTTP/1 clients send them."""

    def __init__(self, counts: Counts, *, median: float, factor: float, new_errors: float) -> None:
        super().__init__("answer", counts)
        self._median = median
        self._factor = factor
        self._new_errors = new_errors

    def on_message_complete(self) -> None:
        """Answer when the work is done."""
        found = _ITEM.match(self._path)
        times, has_failed = difficulty(int(found[1])) if found else (0.0, False)
        has_failed = has_failed or random.random() < self._new_errors
        taken = min(self._median * times, LONGEST_S) * self._factor * exp(random.gauss(0.0, NOISE))
        self._loop.call_later(taken, self._reply, has_failed)

    def _reply(self, has_failed: bool) -> None:
        if self._is_open:
            self._transport.write(_FAILURE if has_failed else answer(SMALL_BODY))


async def serve(port: int, counts_port: int, *, median: float, factor: float, new_errors: float) -> None:
    """Listen at both ports until cancelled."""
    loop = asyncio.get_running_loop()
    counts = Counts()
    await loop.create_server(lambda: CountsPage("answer", counts), sock=listening_socket(counts_port))
    await loop.create_server(lambda: Service(counts, median=median, factor=factor, new_errors=new_errors), sock=listening_socket(port))
    await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one service until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--counts", type=int, required=True)
    parser.add_argument("--median", type=float, default=MEDIAN_S, help="seconds")
    parser.add_argument("--slower", type=float, default=0.0, help="percent")
    parser.add_argument("--new-errors", type=float, default=0.0, help="percent of all requests")
    chosen = parser.parse_args(arguments)
    uvloop.run(
        serve(chosen.port, chosen.counts, median=chosen.median, factor=1.0 + chosen.slower / 100, new_errors=chosen.new_errors / 100)
    )


if __name__ == "__main__":
    main()
