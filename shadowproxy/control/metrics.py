"""Prometheus metrics, made from merged totals at the moment of a scrape.

SPECS names every metric once: what it is, its labels and what it means. docs/metrics.md is
checked against it. Histogram bounds are the log-bucket edges nearest to OpenTelemetry's
recommended boundaries, so that each cumulative count is exact: no bucket straddles a bound.
"""

from __future__ import annotations

import resource
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from shadowproxy import __version__
from shadowproxy.control import comparison, experiment_metrics, rollout_metrics
from shadowproxy.control.metric_spec import COUNTER, GAUGE, HISTOGRAM, Spec
from shadowproxy.judge import sketch
from shadowproxy.judge.bodies.fieldcounts import Standing
from shadowproxy.judge.verdict import Outcome
from shadowproxy.sinks.ledger_query import FATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from shadowproxy.control.captures import Captures
    from shadowproxy.control.judging import Judging
    from shadowproxy.control.ledger import Bookkeeping
    from shadowproxy.control.sinkhouse import SinkHouse
    from shadowproxy.control.supervisor import Supervisor

PREFIX: Final = "shadowproxy_"

BOUNDARIES_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's boundaries of http.server.request.duration, and three below, where a proxy's own time shows."""

_EDGES: Final = tuple(sketch.nearest_bucket(boundary * comparison.NS) for boundary in BOUNDARIES_S)
BOUNDS: Final = tuple(f"{sketch.edge_ns(edge) / comparison.NS:.9f}".rstrip("0") for edge in _EDGES)
"""The `le` labels."""

_MIRROR: Final = ("route", "mirror")
_FLEET: Final = ("fleet", "endpoint")

SPECS: Final[tuple[Spec, ...]] = (
    Spec(
        "shadowproxy_requests_total",
        COUNTER,
        "requests",
        ("route", "outcome"),
        "Requests answered, by route and outcome class (2xx or a failure).",
    ),
    Spec("shadowproxy_request_first_byte_seconds", HISTOGRAM, "seconds", ("route",), "Dispatch to the first byte of the live answer."),
    Spec("shadowproxy_request_duration_seconds", HISTOGRAM, "seconds", ("route",), "Dispatch to the last byte of the live answer."),
    Spec("shadowproxy_received_bytes_total", COUNTER, "bytes", ("route",), "Request body bytes received from clients."),
    Spec("shadowproxy_sent_bytes_total", COUNTER, "bytes", ("route",), "Answer body bytes sent to clients."),
    Spec(
        "shadowproxy_refusals_total", COUNTER, "requests", ("reason",), "Requests that the proxy itself answered with an error, by reason."
    ),
    Spec("shadowproxy_connections_accepted_total", COUNTER, "connections", (), "Client connections accepted."),
    Spec(
        "shadowproxy_connections_turned_away_total", COUNTER, "connections", (), "Client connections closed at once for limits.connections."
    ),
    Spec("shadowproxy_connections_open", GAUGE, "connections", (), "Client connections open now."),
    Spec("shadowproxy_client_requests_total", COUNTER, "requests", (), "Requests read from clients, refused ones included."),
    Spec(
        "shadowproxy_mirror_eligible_total",
        COUNTER,
        "requests",
        _MIRROR,
        "Requests that the mirror could copy; equals the sum of fates and pending.",
    ),
    Spec(
        "shadowproxy_mirror_fates_total",
        COUNTER,
        "requests",
        (*_MIRROR, "fate"),
        "Where each eligible request ended; `lost` is what a killed worker had not reported.",
    ),
    Spec("shadowproxy_mirror_pending", GAUGE, "requests", _MIRROR, "Eligible requests whose fate is not known yet."),
    Spec(
        "shadowproxy_mirror_is_conserved",
        GAUGE,
        "boolean",
        _MIRROR,
        "1 while eligible = sum of fates + pending holds; anything else is a bug.",
    ),
    Spec(
        "shadowproxy_mirror_pairs_total",
        COUNTER,
        "pairs",
        (*_MIRROR, "live", "shadow"),
        "Compared pairs, by live and shadow outcome class: the status matrix.",
    ),
    Spec("shadowproxy_mirror_bodies_total", COUNTER, "pairs", (*_MIRROR, "result"), "Compared pairs by body: equal, different or unknown."),
    Spec(
        "shadowproxy_mirror_first_byte_seconds",
        HISTOGRAM,
        "seconds",
        (*_MIRROR, "side"),
        "Dispatch to first byte of each leg of the pairs (side is live or shadow).",
    ),
    Spec(
        "shadowproxy_mirror_duration_seconds",
        HISTOGRAM,
        "seconds",
        (*_MIRROR, "side"),
        "Dispatch to last byte of each leg of the pairs (side is live or shadow).",
    ),
    Spec(
        "shadowproxy_mirror_unmirrored_duration_seconds",
        HISTOGRAM,
        "seconds",
        _MIRROR,
        "Live dispatch to last byte of eligible requests that were held out or not sampled.",
    ),
    Spec(
        "shadow_live_penalty_seconds",
        GAUGE,
        "seconds",
        (*_MIRROR, "quantile"),
        "What mirroring costs live: quantile of live's last byte, mirrored minus unmirrored requests. Absent until both were seen.",
    ),
    Spec(
        "shadowproxy_mirror_sampled_range_ratio",
        GAUGE,
        "ratio",
        _MIRROR,
        "Share of the configured range still sampled by the most loaded worker; below 1 it sheds.",
    ),
    Spec(
        "shadowproxy_mirror_breaker_workers",
        GAUGE,
        "workers",
        (*_MIRROR, "state"),
        "Workers by state of the mirror's circuit breaker: closed, open or half-open.",
    ),
    Spec("shadowproxy_mirror_in_flight", GAUGE, "requests", _MIRROR, "Copies under way."),
    Spec("shadowproxy_mirror_held_bytes", GAUGE, "bytes", _MIRROR, "Body bytes held for slow shadows."),
    Spec(
        "shadowproxy_verdict",
        GAUGE,
        "boolean",
        (*_MIRROR, "verdict"),
        "1 for the verdict of now, 0 for the others: SAFE, UNDECIDED, REGRESSION or INVALID.",
    ),
    Spec("shadowproxy_verdict_epoch", GAUGE, "epochs", _MIRROR, "How often evidence has begun, this time included."),
    Spec("shadowproxy_evidence_pairs", GAUGE, "pairs", _MIRROR, "Pairs that the verdict rests on, since the evidence began."),
    Spec("shadowproxy_evidence_coverage_ratio", GAUGE, "ratio", _MIRROR, "Those pairs as a share of the eligible requests."),
    Spec(
        "shadowproxy_evidence_lag_seconds",
        GAUGE,
        "seconds",
        _MIRROR,
        "Age of the head of line: how long the oldest request under way keeps others from being counted.",
    ),
    Spec(
        "shadowproxy_evidence_log_e_nats",
        GAUGE,
        "nats",
        (*_MIRROR, "claim", "test"),
        "Log e-value for a claim (regression, safe or invalid) by test; `combined` is what a regression is judged by.",
    ),
    Spec(
        "shadowproxy_evidence_threshold_nats",
        GAUGE,
        "nats",
        (*_MIRROR, "claim"),
        "Log e-value at which a claim is made; safe needs it of every test.",
    ),
    Spec(
        "shadowproxy_error_difference_ratio",
        GAUGE,
        "ratio",
        (*_MIRROR, "bound"),
        "Share of errors, shadow minus baseline: estimate, and the interval from low to high that holds at any time.",
    ),
    Spec(
        "shadowproxy_latency_ratio",
        GAUGE,
        "ratio",
        (*_MIRROR, "bound"),
        "Time to the last byte, shadow over baseline on the same requests: estimate, low and high.",
    ),
    Spec(
        "shadowproxy_fields",
        GAUGE,
        "fields",
        (*_MIRROR, "standing"),
        "Fields of answers in which live and shadow were seen to differ, by what is known of them: regression, undecided, noise or ids.",
    ),
    Spec("shadowproxy_captures_received_total", COUNTER, "captures", (), "Captured pairs that workers sent, each arm by itself."),
    Spec(
        "shadowproxy_captures_total",
        COUNTER,
        "captures",
        ("result",),
        "Requests whose captured answers were compared, and captures that were not: unpaired, dropped (no room) or failed.",
    ),
    Spec("shadowproxy_captures_cpu_seconds_total", COUNTER, "seconds", (), "CPU time for redacting and comparing them, of control's."),
    Spec("shadowproxy_upstream_connects_total", COUNTER, "connections", _FLEET, "Connections opened to an endpoint."),
    Spec(
        "shadowproxy_upstream_requests_total",
        COUNTER,
        "requests",
        _FLEET,
        "Exchanges that ended at an endpoint, tries that no connection could be opened for included; not those that we gave up.",
    ),
    Spec(
        "shadowproxy_upstream_errors_total",
        COUNTER,
        "requests",
        _FLEET,
        "Those that failed: 5xx, or no whole answer. What a fault does to an answer on its way is not among them.",
    ),
    Spec(
        "shadowproxy_upstream_failures_total",
        COUNTER,
        "failures",
        (*_FLEET, "outcome"),
        "Connections to an endpoint that could not be opened, by outcome.",
    ),
    Spec("shadowproxy_upstream_outstanding", GAUGE, "requests", _FLEET, "Requests under way at an endpoint."),
    Spec("shadowproxy_upstream_connections_open", GAUGE, "connections", _FLEET, "Connections open to an endpoint."),
    Spec("shadowproxy_upstream_connections_idle", GAUGE, "connections", _FLEET, "Open connections that wait for a request."),
    Spec("shadowproxy_upstream_ejected_workers", GAUGE, "workers", _FLEET, "Workers that have ejected the endpoint."),
    Spec("shadowproxy_worker_cpu_seconds_total", COUNTER, "seconds", ("worker",), "CPU time of a worker slot, over all its incarnations."),
    Spec("shadowproxy_worker_resident_memory_bytes", GAUGE, "bytes", ("worker",), "Resident memory of a worker slot."),
    Spec("shadowproxy_worker_loop_lag_seconds", HISTOGRAM, "seconds", ("worker",), "How late the worker's event loop ran its timer."),
    Spec("shadowproxy_worker_stalls_total", COUNTER, "stalls", ("worker",), "Times that a worker's event loop was held up."),
    Spec("shadowproxy_worker_stalled_seconds_total", COUNTER, "seconds", ("worker",), "Time that a worker's event loop was held up."),
    Spec("shadowproxy_worker_errors_total", COUNTER, "errors", ("worker",), "Unexpected exceptions in a worker."),
    Spec("shadowproxy_worker_restarts_total", COUNTER, "restarts", ("worker",), "Times that a worker slot was filled again after a death."),
    Spec("shadowproxy_worker_bad_messages_total", COUNTER, "messages", (), "Messages from workers that control could not read."),
    Spec("shadowproxy_workers", GAUGE, "workers", ("state",), "Worker processes by state: starting, ready or draining."),
    Spec("shadowproxy_kill_switch_on", GAUGE, "boolean", (), "1 while the kill switch stops mirroring and experiments."),
    Spec("shadowproxy_config_generation", GAUGE, "generations", (), "Generation of the config in force."),
    Spec(
        "shadowproxy_config_reloads_total",
        COUNTER,
        "reloads",
        ("result",),
        "Config changes asked for, by result: ok, unchanged or refused.",
    ),
    Spec("shadowproxy_config_last_reload_successful", GAUGE, "boolean", (), "1 unless the last config change was refused."),
    Spec(
        "shadowproxy_store_up",
        GAUGE,
        "boolean",
        (),
        "1 while the state store works; 0 is an alarm: the kill switch then lives in memory and in the audit log.",
    ),
    Spec("shadowproxy_sink_requests_total", COUNTER, "requests", ("sink", "status"), "Requests that a sink has answered, by status."),
    Spec("shadowproxy_sink_items", GAUGE, "items", ("sink",), "Items that a sink keeps, of all tenants."),
    Spec("shadowproxy_sink_kept_bytes", GAUGE, "bytes", ("sink",), "Bytes that a sink keeps, of all tenants."),
    Spec(
        "shadowproxy_sink_evicted_total", COUNTER, "items", ("sink",), "Items that made room for others before they were old enough to go."
    ),
    Spec("shadowproxy_sink_up", GAUGE, "boolean", ("sink",), "1 while the process of the sinks runs and this one has no problem."),
    Spec("shadowproxy_sink_restarts_total", COUNTER, "restarts", (), "Deaths of the process of the sinks."),
    Spec(
        "shadow_lost_tags_total",
        COUNTER,
        "calls",
        ("service", "listener", "action"),
        "Outgoing calls of tagged traces that had lost their tag, by who made them and what became of them: retag, refuse or report.",
    ),
    Spec("shadowproxy_lost_tags_undescribed_total", COUNTER, "calls", (), "Lost tags beyond what a worker reports one by one."),
    Spec("shadow_test_writes_seen_total", COUNTER, "writes", ("route",), "Tagged writes; equals the sum of fates and pending."),
    Spec(
        "shadow_test_writes_total",
        COUNTER,
        "writes",
        ("route", "fate"),
        "Where they went: sunk, partitioned, refused, passed (live, by rule), or lost (a killed worker had not told).",
    ),
    Spec("shadow_test_writes_pending", GAUGE, "writes", ("route",), "Tagged writes that wait for their row to be durable."),
    Spec(
        "shadow_test_writes_is_conserved",
        GAUGE,
        "boolean",
        ("route",),
        "1 while seen = sum of fates + pending holds; anything else is a bug.",
    ),
    Spec(
        "shadow_test_answers_total",
        COUNTER,
        "answers",
        ("route", "outcome"),
        "Answers of sinks and partitions to tagged requests, by outcome class.",
    ),
    Spec("shadowproxy_ledger_up", GAUGE, "boolean", (), "1 while the ledger works; while it does not, tagged writes are refused."),
    Spec("shadowproxy_ledger_rows_total", COUNTER, "rows", (), "Rows that were made durable."),
    Spec("shadowproxy_ledger_refused_total", COUNTER, "rows", (), "Rows that could not be made durable; their writes were refused."),
    Spec("shadowproxy_ledger_commit_seconds", HISTOGRAM, "seconds", (), "How long commits took, the disk included; many rows share one."),
    Spec("shadowproxy_ledger_waiting", GAUGE, "rows", (), "Rows that wait for their commit."),
    Spec("shadowproxy_ledger_size_bytes", GAUGE, "bytes", (), "What the ledger's file takes, with its log."),
    Spec("shadowproxy_ledger_removed_total", COUNTER, "rows", ("fate",), "Rows that left by their age, or for the size of the file."),
    Spec(
        "shadowproxy_ledger_removed_unscrubbed_total",
        COUNTER,
        "rows",
        (),
        "Of those, rows that left for the size while they were still to be undone: the file is too small.",
    ),
    Spec("shadowproxy_ledger_set_aside_total", COUNTER, "files", (), "Corrupt ledgers that were renamed, and begun anew."),
    Spec("shadowproxy_ledger_dropped_statuses_total", COUNTER, "rows", (), "Rows whose answer was not noted, as the disk was too slow."),
    *experiment_metrics.SPECS,
    *rollout_metrics.SPECS,
    Spec("shadowproxy_audit_up", GAUGE, "boolean", (), "1 while audit records reach their file."),
    Spec("shadowproxy_audit_dropped_total", COUNTER, "records", (), "Audit records that did not reach their file."),
    Spec(
        "shadowproxy_passports_total",
        COUNTER,
        "passports",
        ("use",),
        "Passports with a right signature, by use: fresh, replayed, expired or replay_cache_full; all but the first were refused.",
    ),
    Spec("shadowproxy_passports_remembered", GAUGE, "passports", (), "Used passports that have not expired, of at most a million."),
    Spec("shadowproxy_admin_auth_failures_total", COUNTER, "requests", (), "Admin requests without a right token."),
    Spec("shadowproxy_access_log_written_total", COUNTER, "lines", (), "Access log lines written."),
    Spec("shadowproxy_access_log_dropped_total", COUNTER, "lines", ("where",), "Access log lines dropped, in the worker or at the sink."),
    Spec("shadowproxy_log_dropped_total", COUNTER, "lines", (), "Lines of control's own log dropped because stderr was blocked."),
    Spec("shadowproxy_control_cpu_seconds_total", COUNTER, "seconds", (), "CPU time of the control process."),
    Spec("shadowproxy_control_max_resident_memory_bytes", GAUGE, "bytes", (), "Highest resident memory of the control process so far."),
    Spec("shadowproxy_admin_connections_open", GAUGE, "connections", (), "Connections open to the admin API."),
    Spec("shadowproxy_start_time_seconds", GAUGE, "seconds", (), "When control started, in seconds since the epoch."),
    Spec("shadowproxy_build_info", GAUGE, "constant", ("version",), "1, with the version as a label."),
)


class Exposition(Collector):
    """Collects every metric of SPECS from a supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def describe(self) -> Iterable[Metric]:
        """The families without samples, so that registering needs no counts."""
        return [_family(spec) for spec in SPECS]

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples of now."""
        families = {spec.name: _family(spec) for spec in SPECS}
        sampled = _Samples(families)
        _routes(self._supervisor, sampled)
        _mirrors(self._supervisor, sampled)
        _verdicts(self._supervisor.judging, sampled)
        _captures(self._supervisor.captures, sampled)
        _fleets(self._supervisor, sampled)
        _workers(self._supervisor, sampled)
        _control(self._supervisor, sampled)
        experiment_metrics.collect(self._supervisor.governor, sampled.add)
        rollout_metrics.collect(self._supervisor.rollouts, self._supervisor.evacuations, sampled.add)
        yield from families.values()


def registry_of(supervisor: Supervisor) -> CollectorRegistry:
    """The one registry of an instance."""
    registry = CollectorRegistry()
    registry.register(Exposition(supervisor))
    return registry


class _Samples:
    """Adds samples by the metric's full name, which must be in SPECS."""

    def __init__(self, families: Mapping[str, Any]) -> None:
        self._families = families

    def add(self, name: str, value: float, *labels: str) -> None:
        self._families[PREFIX + name if PREFIX + name in self._families else name].add_metric(labels, value)

    def add_sketch(self, name: str, counted: Mapping[int, int], *labels: str) -> None:
        """A histogram; its sum is approximate (within 1 %), its counts are exact."""
        counts = sketch.cumulative(counted, _EDGES)
        buckets = [*zip(BOUNDS, counts, strict=True), ("+Inf", sketch.total(counted))]
        self._families[PREFIX + name].add_metric(labels, buckets=buckets, sum_value=sketch.approximate_sum(counted) / comparison.NS)


def _family(spec: Spec) -> Any:
    if spec.kind == COUNTER:
        return CounterMetricFamily(spec.name.removesuffix("_total"), spec.meaning, labels=spec.labels)
    if spec.kind == GAUGE:
        return GaugeMetricFamily(spec.name, spec.meaning, labels=spec.labels)
    return HistogramMetricFamily(spec.name, spec.meaning, labels=spec.labels)


def _routes(supervisor: Supervisor, samples: _Samples) -> None:
    counts = supervisor.counts
    for name, route in counts.routes.items():
        by_class: dict[str, int] = {}
        for outcome, count in route.responses.items():
            outcome_class = comparison.outcome_class(outcome)
            by_class[outcome_class] = by_class.get(outcome_class, 0) + count
        for outcome_class, count in by_class.items():
            samples.add("requests_total", count, name, outcome_class)
        samples.add_sketch("request_first_byte_seconds", route.first, name)
        samples.add_sketch("request_duration_seconds", route.last, name)
        samples.add("received_bytes_total", route.received_bytes, name)
        samples.add("sent_bytes_total", route.sent_bytes, name)
    for reason, count in counts.refusals.items():
        samples.add("refusals_total", count, reason)
    samples.add("connections_accepted_total", counts.clients["accepted"])
    samples.add("connections_turned_away_total", counts.clients["turned_away"])
    samples.add("client_requests_total", counts.clients["requests"])
    samples.add("connections_open", sum(account.open_clients for account in counts.accounts))


def _mirrors(supervisor: Supervisor, samples: _Samples) -> None:
    counts = supervisor.counts
    for key, totals in counts.mirrors.items():
        route, _, mirror = key.partition("/")
        samples.add("mirror_eligible_total", totals.eligible, route, mirror)
        for fate, count in totals.fates.items():
            samples.add("mirror_fates_total", count, route, mirror, fate)
        samples.add("mirror_pending", counts.pending(key), route, mirror)
        samples.add("mirror_is_conserved", counts.is_conserved(key), route, mirror)
        for (live, shadow), count in comparison.classes(totals.matrix).items():
            samples.add("mirror_pairs_total", count, route, mirror, live, shadow)
        for result, count in totals.bodies.items():
            samples.add("mirror_bodies_total", count, route, mirror, result)
        for side in ("live", "shadow"):
            samples.add_sketch("mirror_first_byte_seconds", totals.latency[f"{side}_first"], route, mirror, side)
            samples.add_sketch("mirror_duration_seconds", totals.latency[f"{side}_last"], route, mirror, side)
        samples.add_sketch("mirror_unmirrored_duration_seconds", totals.latency["holdout_last"], route, mirror)
        penalty = comparison.penalty(totals)
        for quantile, name in comparison.QUANTILE_NAMES.items():
            value = penalty[name]
            if value is not None:
                samples.add("shadow_live_penalty_seconds", value, route, mirror, str(quantile))
        seen = list(counts.mirror_accounts(key))
        samples.add("mirror_sampled_range_ratio", min((one.range for one in seen), default=1.0), route, mirror)
        for state in ("closed", "open", "half-open"):
            samples.add("mirror_breaker_workers", sum(one.breaker == state for one in seen), route, mirror, state)
        samples.add("mirror_in_flight", sum(one.in_flight for one in seen), route, mirror)
        samples.add("mirror_held_bytes", sum(one.held_bytes for one in seen), route, mirror)


def _verdicts(judging: Judging, samples: _Samples) -> None:
    for case in judging.cases:
        of = (case.route, case.mirror)
        evidence, standing = case.evidence, judging.standing(case)
        for outcome in Outcome:
            samples.add("verdict", outcome is standing.outcome, *of, str(outcome))
        samples.add("verdict_epoch", case.epoch, *of)
        samples.add("evidence_pairs", evidence.pairs.pairs, *of)
        samples.add("evidence_coverage_ratio", evidence.coverage or 0.0, *of)
        samples.add("evidence_lag_seconds", judging.lag_seconds(case), *of)
        for claim, parts in standing.log_e.items():
            for test, log_e in parts.items():
                samples.add("evidence_log_e_nats", log_e, *of, claim, test)
        criteria = case.criteria
        thresholds = {"regression": criteria.threshold, "safe": criteria.safe_threshold, "invalid": criteria.control_threshold}
        for claim in standing.log_e:
            samples.add("evidence_threshold_nats", thresholds[claim], *of, claim)
        for name, bounds in (("error_difference_ratio", standing.errors), ("latency_ratio", standing.latency)):
            for bound, value in zip(("low", "estimate", "high"), bounds, strict=True):
                if value is not None:
                    samples.add(name, value, *of, bound)


def _captures(captures: Captures | None, samples: _Samples) -> None:
    if captures is None:
        return
    for key, snapshot in captures.snapshots.items():
        route, _, mirror = key.partition("/")
        standings = Counter(finding.standing for finding in snapshot.findings)
        for standing in Standing:
            samples.add("fields", standings[standing], route, mirror, standing.value)
    samples.add("captures_received_total", captures.counters["received"])
    for result in ("compared", "unpaired", "dropped", "failed"):
        samples.add("captures_total", captures.counters[result], result)
    samples.add("captures_cpu_seconds_total", captures.cpu_seconds)


def _fleets(supervisor: Supervisor, samples: _Samples) -> None:
    counts = supervisor.counts
    for (fleet, endpoint), count in counts.connects.items():
        samples.add("upstream_connects_total", count, fleet, endpoint)
    for (fleet, endpoint), count in counts.endpoint_ended.items():
        samples.add("upstream_requests_total", count, fleet, endpoint)
        samples.add("upstream_errors_total", counts.endpoint_errors[fleet, endpoint], fleet, endpoint)
    for (fleet, endpoint, outcome), count in counts.endpoint_failures.items():
        samples.add("upstream_failures_total", count, fleet, endpoint, outcome)
    for (fleet, endpoint), seen in counts.endpoints().items():
        samples.add("upstream_outstanding", seen.outstanding, fleet, endpoint)
        samples.add("upstream_connections_open", seen.open, fleet, endpoint)
        samples.add("upstream_connections_idle", seen.idle, fleet, endpoint)
        samples.add("upstream_ejected_workers", seen.ejected_workers, fleet, endpoint)


def _workers(supervisor: Supervisor, samples: _Samples) -> None:
    counts = supervisor.counts
    for slot, process in counts.processes.items():
        worker = str(slot)
        samples.add("worker_cpu_seconds_total", counts.cpu_seconds(slot), worker)
        samples.add_sketch("worker_loop_lag_seconds", process.lag, worker)
        samples.add("worker_stalls_total", process.stalls, worker)
        samples.add("worker_stalled_seconds_total", process.stalled_seconds, worker)
        samples.add("worker_errors_total", process.errors, worker)
        samples.add("worker_resident_memory_bytes", sum(a.rss_bytes for a in counts.accounts if a.slot == slot), worker)
        samples.add("worker_restarts_total", supervisor.crew.restarts_of(slot), worker)
    samples.add("worker_bad_messages_total", supervisor.crew.bad_messages)
    states = [str(worker.state) for worker in supervisor.crew.workers]
    for state in ("starting", "ready", "draining"):
        samples.add("workers", states.count(state), state)


def _sinks(house: SinkHouse, samples: _Samples) -> None:
    for name, counts in house.counts.items():
        for status, count in counts.requests.items():
            samples.add("sink_requests_total", count, name, status)
        samples.add("sink_items", counts.items, name)
        samples.add("sink_kept_bytes", counts.bytes, name)
        samples.add("sink_evicted_total", counts.evicted, name)
        samples.add("sink_up", bool(house.pid and not counts.problem), name)
    samples.add("sink_restarts_total", house.restarts)


def _tests(books: Bookkeeping, samples: _Samples) -> None:
    for law in books.law():
        route = law["route"]
        samples.add("shadow_test_writes_seen_total", law["seen"], route)
        samples.add("shadow_test_writes_pending", law["pending"], route)
        samples.add("shadow_test_writes_is_conserved", law["is_conserved"], route)
        for fate, count in law["fates"].items():
            samples.add("shadow_test_writes_total", count, route, fate)
        answers: Counter[str] = Counter()
        for outcome, count in books.counts.writes[route].answers.items():
            answers[comparison.outcome_class(outcome)] += count
        for outcome_class, count in answers.items():
            samples.add("shadow_test_answers_total", count, route, outcome_class)
    ledger = books.ledger
    figures, removed = ledger.figures, ledger.retention.removed
    samples.add("ledger_up", not ledger.problem)
    samples.add("ledger_rows_total", figures.committed)
    samples.add("ledger_refused_total", figures.refused)
    samples.add_sketch("ledger_commit_seconds", dict(figures.latency))
    samples.add("ledger_waiting", ledger.waiting)
    samples.add("ledger_size_bytes", ledger.size_bytes())
    for fate in FATES:
        samples.add("ledger_removed_total", removed.total[fate], fate)
    samples.add("ledger_removed_unscrubbed_total", removed.unscrubbed)
    samples.add("ledger_set_aside_total", figures.set_aside)
    samples.add("ledger_dropped_statuses_total", figures.dropped_statuses)


def _control(supervisor: Supervisor, samples: _Samples) -> None:
    samples.add("kill_switch_on", supervisor.crew.is_killed)
    samples.add("config_generation", supervisor.configs.generation)
    for result, count in supervisor.configs.results.items():
        samples.add("config_reloads_total", count, result)
    samples.add("config_last_reload_successful", not supervisor.configs.problem)
    samples.add("store_up", not supervisor.store.problem)
    samples.add("audit_up", not supervisor.audit.problem)
    _sinks(supervisor.sinks, samples)
    _tests(supervisor.books, samples)
    for labels, count in supervisor.leaks.actions.items():
        samples.add("shadow_lost_tags_total", count, *labels)
    samples.add("lost_tags_undescribed_total", supervisor.leaks.dropped)
    for use, count in supervisor.passports.nonces.uses.items():
        samples.add("passports_total", count, str(use))
    samples.add("passports_remembered", len(supervisor.passports.nonces))
    samples.add("audit_dropped_total", supervisor.audit.dropped)
    samples.add("admin_auth_failures_total", supervisor.auth_failures)
    samples.add("access_log_written_total", supervisor.access.written)
    samples.add("access_log_dropped_total", supervisor.counts.access_dropped, "worker")
    samples.add("access_log_dropped_total", supervisor.access.dropped, "sink")
    samples.add("log_dropped_total", supervisor.log_dropped)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    samples.add("control_cpu_seconds_total", usage.ru_utime + usage.ru_stime)
    samples.add("control_max_resident_memory_bytes", usage.ru_maxrss * 1024)
    samples.add("admin_connections_open", supervisor.admin_connections)
    samples.add("start_time_seconds", supervisor.started_at)
    samples.add("build_info", 1, __version__)
