"""What routes had of requests lately."""

from __future__ import annotations

from collections import Counter

from shadowproxy.control.counts import Counts, RouteTotals
from shadowproxy.control.traffic import RECENT_S, SPACING_S, RecentTraffic


class Clock:
    """Seconds that are set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def test_rates_are_of_the_last_minutes_and_errors_of_all_time() -> None:
    """A rush an hour ago is no rate now, but what failed in it is spent."""
    counts, clock = Counts(), Clock()
    traffic = RecentTraffic(counts, clock)
    counts.routes = {"a": RouteTotals(Counter({"200": 9000, "503": 1000})), "b": RouteTotals(Counter({"200": 10}))}
    for _ in range(int(3600 / SPACING_S)):
        clock.now += SPACING_S
        traffic.note()
    counts.routes["a"].responses.update({"200": 297, "timeout": 3, "client_gone": 50})
    found = traffic.of_routes(("a", "b", "a", "unknown"))
    assert found is not None
    assert found.requests_per_s == 300 / RECENT_S
    assert (found.error_rate, found.errors, found.seconds) == (0.01, 1003, 3600)


def test_notes_are_bounded() -> None:
    """However often it is told, it remembers one note a while, of the last minutes."""
    clock = Clock()
    traffic = RecentTraffic(Counts(), clock)
    for _ in range(20000):
        clock.now += 0.1
        traffic.note()
    assert len(traffic._notes) <= RECENT_S / SPACING_S + 1


def test_without_time_there_is_no_rate() -> None:
    """The first seconds say nothing; no request at all is a rate of nothing."""
    clock = Clock()
    traffic = RecentTraffic(Counts(), clock)
    assert traffic.of_routes(("a",)) is None
    clock.now += 60
    found = traffic.of_routes(("a",))
    assert found is not None
    assert (found.requests_per_s, found.error_rate, found.p99) == (0.0, 0.0, None)
