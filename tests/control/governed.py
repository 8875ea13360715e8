"""Experiments for tests of what control does with them, and what workers would tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.control.audit import Actor
from shadowproxy.dataplane.messages import LEASE_WORD, LEASES
from tests.control.conftest import until

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Experiment
    from shadowproxy.control.runs import Run
    from shadowproxy.control.supervisor import Supervisor

ACTOR = Actor("token:test", "127.0.0.1")


def plain(**changed: Any) -> dict[str, Any]:
    """An experiment on the route of the tests' config."""
    return {
        "name": "slow",
        "owner": "shop@example.com",
        "hypothesis": {"fault": "answers are slow", "expect": "people wait", "impact": "none"},
        "inject": {"routes": ["all"], "faults": [{"abort": {"status": 503}}]},
        "slice": {"percent": 1, "key": "header:x-user-id"},
        "duration": "60s",
        "guards": [{"metric": "error_rate", "above": 50, "least": 1}],
        **changed,
    }


def experiment(**changed: Any) -> Experiment:
    """The same, accepted."""
    return experiment_from_plain(plain(**changed))


def leases_of(supervisor: Supervisor) -> list[int]:
    """The lease words that are not zero, of all workers."""
    return [word for worker in supervisor.crew.workers for word in worker.words[LEASE_WORD : LEASE_WORD + LEASES] if word]


async def running(supervisor: Supervisor, **changed: Any) -> Run:
    """A run that workers have been told of."""
    run = await supervisor.governor.submit(experiment(**changed), ACTOR)
    await until(lambda: run.is_running or run.life.has_ended, "the run begins")
    assert run.is_running, run.document()
    return run


def exposure(run: Run, *, requests: int = 10, errors: int = 0, **changed: Any) -> dict[str, Any]:
    """What a worker would tell: `requests` in each slice, `errors` of them with the fault failed."""
    good = {"requests": requests, "responses": {"200": requests}, "last": {"690": requests}, "injected": {}}
    fault = {
        "requests": requests,
        "responses": {"200": requests - errors, "503": errors},
        "last": {"690": requests},
        "injected": {"503": errors},
    }
    one = {
        "epoch": run.epoch,
        "fault": fault,
        "control": good,
        "outside": 980,
        "faults": {"abort": errors} if errors else {},
        "unharmed": {"every": requests - errors},
        "seen": requests,
        "units": {},
        "units_dropped": 0,
        "samples": [],
        "over": "",
        **changed,
    }
    return {"type": "exposure", "experiments": {run.id: one}, "splits": {}}
