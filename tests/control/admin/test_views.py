"""Documents of the admin API, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowproxy.control.admin import views
from tests.control.conftest import plain
from tests.control.test_counts import full_tally

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control.conftest import Api, Start


async def test_status_sums_over_workers(start: Start) -> None:
    """Gauges of all workers are added, the range is the smallest, breakers are counted by state."""
    supervisor = await start(workers=2)
    for account in supervisor.counts.accounts:
        tally = full_tally()
        tally["mirrors"]["all/shadow"] = tally["mirrors"].pop("a/s")
        supervisor.counts.add(account, tally)
    document = views.status(supervisor)
    mirror = document["mirrors"]["all/shadow"]
    assert mirror["range"] == 0.5
    assert mirror["breakers"]["open"] == 2
    assert mirror["in_flight"] == 4
    assert document["clients"] == {"open": 4, "accepted": 10, "requests": 12, "turned_away": 2}
    assert document["routes"]["a"] == {"requests": 6, "outcomes": {"200": 4, "reset": 2}}
    assert document["refusals"] == {"no_route": 2}


async def test_status_while_stopping(api: Api) -> None:
    """Once a stop was asked for there are no listeners to name, and it is not ready."""
    api.supervisor.stop()
    document = views.status(api.supervisor)
    assert (document["is_ready"], document["is_stopping"], document["listeners"]) == (False, True, [])


async def test_distributions_of_the_evidence(start: Start, tmp_path: Path) -> None:
    """Every mirror with a verdict has one; its control arm has no verdict, and none."""
    shape = plain(tmp_path, routes=[{"name": "all", "live": "live", "mirror": [{"to": "shadow", "control": {"to": "twin"}}]}])
    supervisor = await start(fleets=shape["fleets"] | {"twin": {"endpoints": ["http://127.0.0.1:3"]}}, routes=shape["routes"])
    found = {entry["mirror"]: entry.get("distribution") for entry in views.compare(supervisor, None, "epoch")["mirrors"]}
    # Whether the worker has reported by now is a matter of chance.
    assert found["shadow"] is not None
    assert set(found["shadow"]) == {"live", "shadow"}
    assert found["shadow.control"] is None
    assert "distribution" not in views.compare(supervisor, None)["mirrors"][0]


async def test_workers_lists_slots_and_processes(start: Start) -> None:
    """Each slot with its restarts, each process with its memory."""
    supervisor = await start(workers=2)
    document = views.workers(supervisor)
    assert [slot["slot"] for slot in document["slots"]] == [0, 1]
    assert {process["pid"] for process in document["processes"]} == {worker.pid for worker in supervisor.crew.workers}


def test_timestamps_are_utc() -> None:
    """RFC 3339 with milliseconds."""
    assert views.timestamp(0.25) == "1970-01-01T00:00:00.250+00:00"
