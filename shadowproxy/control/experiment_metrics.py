"""Metrics of experiments and their journal; `metrics` adds them to the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from shadowproxy.control.metric_spec import COUNTER, GAUGE, Spec
from shadowproxy.experiments.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.control.experiments import Governor
    from shadowproxy.control.runs import Run

SHOWN_S: Final = 300.0
"""How long a run that has ended is still scraped: several scrapes, so that none is missed."""

_LIVING: Final = (State.DRAFT, State.ADMITTED, State.RUNNING)
_NAME: Final = ("experiment",)

SPECS: Final[tuple[Spec, ...]] = (
    Spec("shadowproxy_experiment_runs", GAUGE, "runs", ("state",), "Runs that have not ended, by state: draft, admitted or running."),
    Spec("shadowproxy_experiment_ended_total", COUNTER, "runs", ("state", "code"), "Runs that have ended, by how and why."),
    Spec("shadowproxy_experiment_refused_total", COUNTER, "experiments", (), "Experiments that were not admitted."),
    Spec("shadowproxy_experiment_share_ratio", GAUGE, "ratio", _NAME, "Share of the units that gets the fault now."),
    Spec(
        "shadowproxy_experiment_seen_total",
        COUNTER,
        "requests",
        _NAME,
        "Requests in the slice that the fault concerns, of the newest run. Like the next three it begins anew with each run.",
    ),
    Spec("shadowproxy_experiment_faults_total", COUNTER, "faults", (*_NAME, "kind"), "What was done to them."),
    Spec("shadowproxy_experiment_unharmed_total", COUNTER, "requests", (*_NAME, "reason"), "Those that got no fault, by reason."),
    Spec(
        "shadowproxy_experiment_errors_total",
        COUNTER,
        "requests",
        (*_NAME, "slice"),
        "Requests that failed; injected answers do not count.",
    ),
    Spec("shadowproxy_experiment_units", GAUGE, "units", _NAME, "Different units that got the fault."),
    Spec("shadowproxy_experiment_journal_up", GAUGE, "boolean", (), "1 while the journal works; while it does not, no experiment begins."),
    Spec("shadowproxy_experiment_journal_entries_total", COUNTER, "entries", (), "Entries that were made durable."),
    Spec("shadowproxy_experiment_journal_lost_total", COUNTER, "entries", (), "Entries that were not."),
    Spec("shadowproxy_experiment_journal_waiting", GAUGE, "entries", (), "Entries that wait for the disk."),
)


def collect(governor: Governor, add: Callable[..., None]) -> None:
    """Add every sample of now.

    Args:
        governor: of the instance.
        add: called with a name, a value and the values of the labels.
    """
    states = [run.state for run in governor.active]
    for state in _LIVING:
        add("experiment_runs", states.count(state), str(state))
    for (ended, code), count in governor.ends.items():
        add("experiment_ended_total", count, ended, code)
    add("experiment_refused_total", governor.refused)
    for name, run in _newest(governor).items():
        add("experiment_share_ratio", run.share / 100.0, name)
        add("experiment_seen_total", run.totals.seen, name)
        for kind, count in run.totals.faults.items():
            add("experiment_faults_total", count, name, kind)
        for reason, count in run.totals.unharmed.items():
            add("experiment_unharmed_total", count, name, reason)
        for arm, errors in run.errors.items():
            add("experiment_errors_total", errors, name, arm)
        add("experiment_units", run.totals.unit_count, name)
    journal = governor.journal
    add("experiment_journal_up", not journal.problem)
    add("experiment_journal_entries_total", journal.written)
    add("experiment_journal_lost_total", journal.lost)
    add("experiment_journal_waiting", journal.waiting)


def _newest(governor: Governor) -> dict[str, Run]:
    """The newest run of each name that runs, or ended a short while ago."""
    since = time.time() - SHOWN_S
    return {run.experiment.name: run for run in governor.runs if run.ended is None or run.ended > since}
