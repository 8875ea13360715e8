"""The documents that the admin API returns when asked. Each is computed from memory at that moment."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shadowproxy import __version__
from shadowproxy.control import comparison
from shadowproxy.experiments.rollout import PAUSED, RUNNING
from shadowproxy.judge.verdict import to_plain

if TYPE_CHECKING:
    from shadowproxy.control.supervisor import Supervisor
    from shadowproxy.control.worker import Worker

UNDER_WAY: Final = frozenset({RUNNING, PAUSED})
"""States of rollouts that split traffic and may still go either way."""


def status(supervisor: Supervisor) -> dict[str, Any]:
    """What runs, whether it works, and the conservation law of every mirror."""
    counts, configs = supervisor.counts, supervisor.configs
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": timestamp(supervisor.started_at),
        "uptime_seconds": round(supervisor.uptime_seconds, 3),
        "is_ready": supervisor.is_ready,
        "is_stopping": supervisor.is_stopping,
        "is_killed": supervisor.switch.is_on,
        "admin": supervisor.admin_url,
        "config": {
            "file": str(configs.file) if configs.file else None,
            "generation": configs.generation,
            "digest": configs.digest,
            "problem": configs.problem or None,
        },
        "store": {"is_up": not supervisor.store.problem, "problem": supervisor.store.problem or None},
        "audit": {"is_up": not supervisor.audit.problem, "problem": supervisor.audit.problem or None},
        "ledger": supervisor.books.state(),
        "listeners": [
            {
                "name": listener.name,
                "configured": listener.address,
                "address": str(supervisor.listeners.address(listener)),
                "tls": listener.tls is not None,
            }
            for listener in ([] if supervisor.is_stopping else supervisor.config.listen)
        ],
        "workers": [_worker(worker) for worker in supervisor.crew.workers],
        "clients": {
            "open": sum(a.open_clients for a in counts.accounts),
            **{n: counts.clients[n] for n in ("accepted", "requests", "turned_away")},
        },
        "routes": {
            name: {"requests": route.responses.total(), "outcomes": dict(sorted(route.responses.items()))}
            for name, route in counts.routes.items()
        },
        "mirrors": {key: _mirror(supervisor, key) for key in counts.mirrors},
        "tests": {one.pop("route"): one for one in supervisor.books.law()},
        "experiments": [
            {
                "id": run.id,
                "owner": run.experiment.owner,
                "state": "paused" if run.is_running and run.is_paused else str(run.state),
                "is_dry": run.is_dry,
                "percent": run.share,
                "seconds": run.seconds,
                "duration": run.experiment.duration,
            }
            for run in supervisor.governor.active
        ],
        "rollouts": [
            {
                "route": case.route,
                "to": case.rollout.to,
                "state": case.conductor.state,
                "percent": case.percent,
                "lacking": case.conductor.lacking(),
            }
            for case in supervisor.rollouts.cases.values()
            if case.conductor.state in UNDER_WAY
        ],
        "refusals": dict(sorted(counts.refusals.items())),
        "leaks": {"total": supervisor.leaks.total, "blamed": supervisor.leaks.blamed()[:10]},
    }


def compare(supervisor: Supervisor, route: str | None, buckets: str = "") -> dict[str, Any]:
    """Live and shadow side by side, for every mirror or those of one route.

    Args:
        supervisor: the instance.
        route: None for every route.
        buckets: `1` adds latency distributions since the start, `epoch` those of the evidence behind the verdict.
    """
    mirrors = comparison.comparison(supervisor.counts, supervisor.config, route, has_buckets=buckets == "1")
    if buckets == "epoch":
        evidence = {(case.route, case.mirror): case.evidence for case in supervisor.judging.cases}
        for entry in mirrors:
            known = evidence.get((entry["route"], entry["mirror"]))  # arms of control, and of what is sent again, have none
            if known is not None:
                entry["distribution"] = comparison.distribution(known.live_last, known.shadow_last)
    return {
        "time": timestamp(time.time()),
        "uptime_seconds": round(supervisor.uptime_seconds, 3),
        "generation": supervisor.configs.generation,
        "is_killed": supervisor.switch.is_on,
        "mirrors": mirrors,
    }


async def verdicts(supervisor: Supervisor, route: str | None = None, mirror: str | None = None) -> dict[str, Any]:
    """Whether each mirror's shadow is worse, with the evidence: the document of `judge.verdict`.

    Others have their turn between two mirrors: with hundreds of them all verdicts take seconds.
    """
    found = []
    for verdict in supervisor.judging.verdicts(route, mirror):
        found.append(to_plain(verdict))
        await asyncio.sleep(0)
    return {"verdicts": found}


def workers(supervisor: Supervisor) -> dict[str, Any]:
    """Every slot of the crew, and the processes in it."""
    counts = supervisor.counts
    return {
        "slots": [
            {
                "slot": place.slot,
                "restarts": place.restarts,
                "respawn_delay_seconds": place.delay,
                "cpu_seconds": round(counts.cpu_seconds(place.slot), 3) if place.slot in counts.processes else 0.0,
            }
            for place in supervisor.crew.places
        ],
        "processes": [
            _worker(worker)
            | {
                "rss_bytes": worker.account.rss_bytes,
                "open_clients": worker.account.open_clients,
                "reports": worker.account.reports,
            }
            for worker in supervisor.crew.workers
        ],
    }


def timestamp(seconds: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "slot": worker.slot,
        "pid": worker.pid,
        "state": str(worker.state),
        "generation": worker.generation,
        "is_silent": worker.is_silent,
    }


def _mirror(supervisor: Supervisor, key: str) -> dict[str, Any]:
    seen = list(supervisor.counts.mirror_accounts(key))
    breakers = [one.breaker for one in seen]
    return {
        **comparison.conservation(supervisor.counts, key),
        "range": min((one.range for one in seen), default=1.0),
        "breakers": {state: breakers.count(state) for state in ("closed", "open", "half-open")},
        "in_flight": sum(one.in_flight for one in seen),
        "held_bytes": sum(one.held_bytes for one in seen),
    }
