"""Keeps the evidence of every mirror: feeds it what workers count, and begins anew when what is compared changes.

Every tally of a worker is one tick. Evidence begins anew, in a new epoch, when a fleet of the mirror gets another set
of endpoints or answers with other builds, or when the criteria change. Of each worker that runs then, the pairs that it
had under way still belong to the old: whole ticks are left out until as many pairs are counted as were pending, or
their deadline has passed. How many are left out is known before they are seen, so nothing is chosen.

Evidence of the process before goes on (`resume`) where the same is compared by the same program. Who answers is only known
once they answer: until every fleet has named a build of before, the verdict is that of no evidence.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from shadowproxy import __version__
from shadowproxy.config.arms import CONTROL, RESEND
from shadowproxy.config.model import BodyFindings
from shadowproxy.control.history import History, Rate
from shadowproxy.control.revisions import Builds, Revisions
from shadowproxy.judge.conclusion import conclude, outcome_of, standing
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence, combined
from shadowproxy.judge.snapshot import Plain, dump, load
from shadowproxy.judge.verdict import Circumstances, Outcome, Previous
from shadowproxy.judge.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from shadowproxy.config.model import Config, Fleet, Mirror, Route
    from shadowproxy.control.counts import Account, Counts
    from shadowproxy.control.history import Point
    from shadowproxy.dataplane.messages import Message
    from shadowproxy.judge.conclusion import Standing
    from shadowproxy.judge.verdict import Verdict

_log = logging.getLogger("shadowproxy.control")

NS: Final = 1e9

LOOK_S: Final = 1.0
"""Seconds between looks at a verdict for its curve and the log; whoever asks gets the verdict of that moment."""

STANDING_S: Final = 2.0
"""Seconds for which the numbers for metrics are good: intervals cost a millisecond or two a mirror."""

UNKNOWN: Final = -1
"""Pairs to leave out of a worker that has not said yet how many it had pending."""

GRACE_S: Final = 1.0
"""Beyond a pair's deadline, until its worker has surely reported it."""

CONFIRMED_S: Final = 60.0
"""From the first pair after a restart until its fleets must have named the builds of before: captures are a few a second."""


@dataclass(slots=True)
class Findings:
    """What others than the tallies know of a mirror, by its key ("route/mirror"). The defaults know nothing.

    `fields` are the compared fields of answers, `bodies` their combined log e-value, `exemplars` the ids of kept pairs;
    `restart` is called when the evidence of a mirror begins anew, so that theirs does too.
    """

    fields: Callable[[str], Sequence[Mapping[str, Any]]] = lambda _: ()
    bodies: Callable[[str], float] = lambda _: 0.0
    exemplars: Callable[[str], Sequence[str]] = lambda _: ()
    restart: Callable[[str], None] = lambda _: None


@dataclass(slots=True)
class Case:
    """One mirror, and its evidence of this epoch."""

    route: str
    mirror: str
    fleets: dict[str, str]
    identity: str
    criteria: Criteria
    evidence: MirrorEvidence
    pair_timeout: float
    since: float
    rate: Rate
    epoch: int = 1
    previous: Previous | None = None
    history: History = field(default_factory=History)
    outcome: Outcome = Outcome.UNDECIDED
    next_look: float = 0.0
    looked_at: int = 0
    standing: Standing | None = None
    standing_rests_on: tuple[int, bool] = (0, True)
    standing_until: float = 0.0
    lags: dict[Account, float] = field(default_factory=dict)
    left_out: dict[tuple[Account, str], int] = field(default_factory=dict)
    left_out_until: float = 0.0
    unconfirmed: set[str] = field(default_factory=set)
    """Fleets that have named a build before a restart, and none since."""
    unconfirmed_until: float = 0.0
    are_builds_seen: bool = True
    """Whether pairs are captured, in which builds are seen."""
    is_closed: bool = False

    @property
    def key(self) -> str:
        """What tallies call it."""
        return f"{self.route}/{self.mirror}"

    @property
    def shown(self) -> MirrorEvidence:
        """What a verdict may rest on: nothing, while those who answer may be others than before."""
        return MirrorEvidence(self.criteria) if self.unconfirmed else self.evidence

    @property
    def mark(self) -> tuple[object, ...]:
        """Differs when what it holds of a snapshot would: see `Judging.mark`."""
        evidence = self.evidence
        control = 0 if evidence.calibration is None else evidence.calibration.pairs
        return self.epoch, evidence.eligible, evidence.fates.total(), evidence.pairs.pairs, control, self.outcome, len(self.unconfirmed)


class Judging:
    """The evidence of all mirrors of the config in force. No I/O but the log; never blocks.

    Args:
        config: the config in force.
        counts: where the living workers and the conservation law are.
        findings: what is known of bodies and exemplars.
        monotonic: seconds that only grow.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        config: Config,
        counts: Counts,
        findings: Findings | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.findings = findings or Findings()
        self._counts = counts
        self._monotonic = monotonic
        self._wall = wall
        self._cases: dict[str, Case] = {}
        self._controls: dict[str, Case] = {}
        self._revisions: dict[str, Revisions] = {}
        self.on_turn: Callable[[], None] = lambda: None
        """Called when a verdict has changed or evidence has begun anew: what must not be lost."""
        self.configure(config)

    def __repr__(self) -> str:
        return f"<Judging {', '.join(f'{key}: {case.outcome}' for key, case in self._cases.items())}>"

    def configure(self, config: Config) -> None:
        """Follow a config that has come into force: evidence stays where nothing of what is compared has changed."""
        before, self._cases = self._cases, {}
        self._builds = Builds(config)
        for route in config.routes:
            for mirror in route.mirror:
                key = f"{route.name}/{mirror.name}"
                identity = _identity(config, route, mirror)
                case = before.get(key)
                if case is None:
                    case = self._open(route, mirror, identity)
                elif case.identity != identity:
                    case.fleets, case.identity, case.criteria = _fleets(route, mirror), identity, criteria_of(mirror)
                    case.pair_timeout = mirror.pair_timeout
                    self._restart(case, "the config of its fleets or of the judge has changed")
                case.are_builds_seen = mirror.capture.per_second > 0
                self._cases[key] = case
        self._controls = {case.key + CONTROL: case for case in self._cases.values() if case.criteria.has_control}
        used = set(config.fleets)
        self._revisions = {fleet: seen for fleet, seen in self._revisions.items() if fleet in used}

    def add(self, account: Account, tally: Message) -> None:
        """Count one tally of a living worker, already added to the counts."""
        now = self._monotonic()
        for key, counted in tally.get("mirrors", {}).items():
            case = self._cases.get(key) or self._controls.get(key)
            if case is None or case.is_closed:
                continue
            if key == case.key:
                self._add(case, account, counted, now)
            elif not self._is_left_out(case, account, key, counted, now):
                case.evidence.add_control(counted)

    def seen_revision(self, fleet: str, name: str) -> None:
        """An answer of `fleet` named its build: evidence about another set of builds begins anew."""
        seen = self._revisions.setdefault(fleet, Revisions())
        if seen.see(name, self._monotonic()):
            for case in self._cases.values():
                if fleet in case.fleets.values():
                    self._restart(case, f"fleet {fleet} now answers with {', '.join(seen.names)}")
        for case in self._cases.values():
            case.unconfirmed.discard(fleet)

    def take_captured(self, pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Look in captured pairs for the builds that answered; those that belong to the present evidence are returned."""
        for pair in pairs:
            for fleet, name in self._builds.seen(pair):
                self.seen_revision(fleet, name)
        return [pair for pair in pairs if self._is_of_now(pair)]

    def _is_of_now(self, pair: Mapping[str, Any]) -> bool:
        """Whether a captured request came after the evidence of its mirror began."""
        key = str(pair.get("mirror")).removesuffix(CONTROL).removesuffix(RESEND)
        case = self._cases.get(key)
        return case is not None and (case.epoch == 1 or pair.get("at", 0.0) >= case.since)

    def restart(self, key: str, reason: str) -> None:
        """Begin the evidence of one mirror anew.

        Raises:
            KeyError: there is no such mirror.
        """
        self._restart(self._cases[key], reason)

    def mark(self, case: Case) -> tuple[object, ...]:
        """Differs when a snapshot would: also when a build is first seen, which adds nothing to the evidence and is what it must wait for."""
        return *case.mark, *(self._revisions[fleet].names for fleet in case.fleets.values() if fleet in self._revisions)

    def snapshot(self, case: Case) -> Plain:
        """A mirror's evidence and what it belongs to, as JSON has it. Shares nothing with the evidence, which may go on."""
        return {
            "key": case.key,
            "program": __version__,
            "identity": case.identity,
            "builds": {fleet: list(self._revisions[fleet].names) for fleet in case.fleets.values() if fleet in self._revisions},
            "epoch": case.epoch,
            "since": case.since,
            "previous": None if case.previous is None else asdict(case.previous),
            "outcome": str(case.outcome),
            "history": case.history.to_plain(),
            "evidence": dump(case.evidence),
        }

    def resume(self, snapshot: Mapping[str, Any]) -> bool:
        """Go on with the evidence of an earlier process, given what `snapshot` made of it, before any worker has reported.

        Returns:
            Whether it goes on. If not, nothing of it is taken over but the number of its epoch, and the log says why.
        """
        case = self._cases.get(str(snapshot.get("key")))
        if case is None:
            return False
        try:
            builds = {str(fleet): [str(name) for name in names] for fleet, names in snapshot["builds"].items() if names}
            problem = _hindrance(snapshot, case, is_blind=bool(builds) and not case.are_builds_seen)
            if not problem:
                self._resume(case, snapshot, builds)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            problem = f"it cannot be read: {error}"
        if problem:
            epoch = snapshot.get("epoch")
            case.epoch = epoch + 1 if isinstance(epoch, int) else case.epoch
            _log.warning("evidence of %s before the restart is dropped: %s", case.key, problem)
        return not problem

    def _resume(self, case: Case, snapshot: Mapping[str, Any], builds: Mapping[str, Sequence[str]]) -> None:
        evidence, history = load(case.criteria, snapshot["evidence"]), History.of_plain(snapshot["history"])
        outcome, since, epoch = Outcome(snapshot["outcome"]), float(snapshot["since"]), int(snapshot["epoch"])
        previous = None if snapshot["previous"] is None else Previous(**snapshot["previous"])
        case.evidence, case.history, case.outcome = evidence, history, outcome
        case.since, case.epoch, case.previous = since, epoch, previous
        now = self._monotonic()
        for fleet, names in builds.items():
            self._revisions.setdefault(fleet, Revisions()).resume(names, now)
            case.unconfirmed.add(fleet)
        _log.info("evidence of %s goes on: %s, %d pairs", case.key, case.outcome, evidence.pairs.pairs)

    def close(self, drain_timeout: float) -> None:
        """A stop was asked for. Where pairs may be cut off by the end of the drain, nothing more is counted: it would be the slow ones."""
        for case in self._cases.values():
            case.is_closed = case.pair_timeout > drain_timeout

    def verdicts(self, route: str | None = None, mirror: str | None = None) -> Iterator[Verdict]:
        """The verdict of every mirror, in the order of the config; only those of `route` or called `mirror` when given.

        One takes some ten milliseconds, so they are made one by one as they are asked for.
        """
        for case in [self._cases[key] for key in self.keys(route, mirror)]:
            yield self._conclude(case)

    def keys(self, route: str | None = None, mirror: str | None = None) -> list[str]:
        """The mirrors of `route`, or called `mirror`, or all, as "route/mirror"."""
        chosen = (one for one in self._cases.values() if (route is None or one.route == route) and (mirror is None or one.mirror == mirror))
        return [one.key for one in chosen]

    @property
    def cases(self) -> Collection[Case]:
        """Every mirror, in the order of the config."""
        return self._cases.values()

    def standing(self, case: Case) -> Standing:
        """How the evidence of a mirror stands; not made anew while no pair was added, nor more than once in STANDING_S."""
        now = self._monotonic()
        rests_on = (case.evidence.pairs.pairs, self.is_conserved(case.key))
        if case.standing is None or (case.standing_rests_on != rests_on and now >= case.standing_until):
            case.standing = standing(case.shown, is_conserved=rests_on[1])
            case.standing_rests_on, case.standing_until = rests_on, now + STANDING_S
        return case.standing

    def is_conserved(self, key: str) -> bool:
        """Whether the counters of a mirror, and of its control arm, add up."""
        return all(self._counts.is_conserved(one) for one in (key, key + CONTROL) if one in self._counts.mirrors)

    def lag_seconds(self, case: Case) -> float:
        """Age of the head of line: how long the oldest pair under way has been waiting, of the slowest worker."""
        living = set(self._counts.accounts)
        case.lags = {account: lag for account, lag in case.lags.items() if account in living}
        return max(case.lags.values(), default=0.0)

    def pairs_per_second(self, case: Case) -> float:
        """How fast pairs come at present."""
        return case.rate.at(self._monotonic())

    def _open(self, route: Route, mirror: Mirror, identity: str) -> Case:
        criteria = criteria_of(mirror)
        return Case(
            route=route.name,
            mirror=mirror.name,
            fleets=_fleets(route, mirror),
            identity=identity,
            criteria=criteria,
            evidence=MirrorEvidence(criteria),
            pair_timeout=mirror.pair_timeout,
            since=self._wall(),
            rate=Rate(self._monotonic()),
        )

    def _restart(self, case: Case, reason: str) -> None:
        case.unconfirmed = set()
        case.unconfirmed_until = 0.0
        ended = self._conclude(case)
        now = self._wall()
        _log.info("evidence of %s begins anew: %s; it was %s: %s", case.key, reason, ended.verdict, ended.summary)
        if ended.pairs:
            case.previous = Previous(case.epoch, str(ended.verdict), ended.summary, ended.pairs, now)
        case.epoch += 1
        case.evidence = MirrorEvidence(case.criteria)
        case.since = now
        case.history = History()
        case.outcome = Outcome.UNDECIDED
        case.standing = None
        self._leave_out(case)
        self.findings.restart(case.key)
        self.on_turn()

    def leave_out_under_way(self) -> None:
        """Mirroring was stopped. Of the pairs under way those go on whose shadow has answered: the slow ones would be missing, so none counts."""
        for case in self._cases.values():
            self._leave_out(case)

    def _leave_out(self, case: Case) -> None:
        case.left_out = {(account, key): UNKNOWN for account in self._counts.accounts for key in (case.key, case.key + CONTROL)}
        case.left_out_until = self._monotonic() + case.pair_timeout + GRACE_S

    def _add(self, case: Case, account: Account, counted: Mapping[str, Any], now: float) -> None:
        case.lags[account] = counted.get("lag_ns", 0) / NS
        if self._is_left_out(case, account, case.key, counted, now):
            return
        before = case.evidence.pairs.pairs
        case.evidence.add(counted)
        case.rate.add(case.evidence.pairs.pairs - before, now)
        if case.unconfirmed and case.evidence.pairs.pairs > before:
            case.unconfirmed_until = case.unconfirmed_until or now + CONFIRMED_S
            if now >= case.unconfirmed_until:
                self._restart(case, f"{', '.join(sorted(case.unconfirmed))} named no build since the restart")
        if now >= case.next_look and (case.evidence.pairs.pairs != case.looked_at or case.criteria.are_bodies_judged):
            case.next_look, case.looked_at = now + LOOK_S, case.evidence.pairs.pairs
            self._look(case, now)

    def _is_left_out(self, case: Case, account: Account, key: str, counted: Mapping[str, Any], now: float) -> bool:
        """Whether a tick may have pairs of the epoch before, or of those that a kill went through."""
        left = case.left_out.get((account, key))
        if left is None:
            return False
        if now >= case.left_out_until:
            case.left_out.clear()
            return False
        if left == UNKNOWN:
            left = counted.get("pending", 0)
        else:
            left -= sum(counted.get("matrix", {}).values())
        if left > 0:
            case.left_out[account, key] = left
        else:
            del case.left_out[account, key]
        return True

    def _look(self, case: Case, now: float) -> None:
        """Note how the evidence stands, and log what it says when that has changed."""
        self.lag_seconds(case)  # forgets workers that have ended
        if case.criteria.are_bodies_judged:
            case.evidence.note_bodies(self.findings.bodies(case.key))
        if case.unconfirmed:
            return
        outcome = outcome_of(case.evidence, is_conserved=self.is_conserved(case.key))
        case.history.note(self._point(case, outcome), now)
        if outcome is not case.outcome:
            before, case.outcome = case.outcome, outcome
            _log.warning("verdict on %s: %s -> %s: %s", case.key, before, outcome, self._conclude(case).summary)
            self.on_turn()

    def _point(self, case: Case, outcome: Outcome) -> Point:
        evidence = case.shown
        safest = min(part.log_e for part in evidence.pairs.safety_parts())
        return self._wall(), evidence.pairs.pairs, combined(evidence.regression_parts()), safest, str(outcome)

    def _conclude(self, case: Case) -> Verdict:
        is_conserved = self.is_conserved(case.key)
        outcome = outcome_of(case.shown, is_conserved=is_conserved)
        verdict = conclude(
            case.shown,
            Circumstances(
                route=case.route,
                mirror=case.mirror,
                since=case.since,
                epoch=case.epoch,
                revisions={role: self._revisions[fleet].names if fleet in self._revisions else () for role, fleet in case.fleets.items()},
                previous=case.previous,
                pairs_per_second=self.pairs_per_second(case),
                lag_seconds=self.lag_seconds(case),
                is_conserved=is_conserved,
                fields=tuple(self.findings.fields(case.key)),
                exemplars=tuple(self.findings.exemplars(case.key)),
                history=case.history.points(self._point(case, outcome)),
            ),
        )
        if not case.unconfirmed or outcome is not Outcome.UNDECIDED:
            return verdict
        fleets, seen = " and ".join(sorted(case.unconfirmed)), count(case.evidence.pairs.pairs, "pair")
        waits = f"{seen} from before a restart of the proxy count as soon as {fleets} answers with the same build as then"
        return replace(verdict, summary=waits, reasons=(waits,))


def criteria_of(mirror: Mirror) -> Criteria:
    """What the config of a mirror asks of its shadow."""
    judge = mirror.judge
    sampled = mirror.percent / 100 * (1 - mirror.holdout / 100)
    return Criteria(
        alpha=judge.alpha,
        beta=judge.beta,
        errors_regression=judge.errors.regression / 100,
        errors_safe=judge.errors.safe / 100,
        latency_regression=judge.latency.regression / 100,
        latency_safe=judge.latency.safe / 100,
        resolution_seconds=judge.latency.resolution,
        slo_ns=tuple(round(threshold * NS) for threshold in judge.slo),
        has_control=mirror.control is not None,
        sampled=None if mirror.key or not 0.0 < sampled < 1.0 else sampled,
        are_bodies_judged=judge.bodies is BodyFindings.FAIL,
    )


def _fleets(route: Route, mirror: Mirror) -> dict[str, str]:
    """The fleets that are compared, by what they are in the comparison."""
    fleets = {"live": route.live, "shadow": mirror.to}
    return fleets if mirror.control is None else {**fleets, "control": mirror.control.to}


def _identity(config: Config, route: Route, mirror: Mirror) -> str:
    """A digest of what must stay the same for evidence to stay: who is compared, on which requests, sent how, and by which criteria."""
    fleets: list[Fleet] = [config.fleets[name] for name in _fleets(route, mirror).values()]
    endpoints = [(fleet.name, sorted(set(fleet.endpoints)), fleet.revision) for fleet in fleets]
    scrubbed = asdict(config.redaction) if mirror.scrub else None
    sent = (mirror.methods, mirror.key, mirror.timeout, mirror.credentials, asdict(mirror.headers), mirror.host, scrubbed)
    whole = json.dumps((endpoints, asdict(criteria_of(mirror)), sent), sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def _hindrance(snapshot: Mapping[str, Any], case: Case, *, is_blind: bool) -> str:
    """Why evidence cannot go on; empty when it can."""
    if snapshot["program"] != __version__:
        return f"it is of shadowproxy {str(snapshot['program'])[:40]}"
    if snapshot["identity"] != case.identity:
        return "the config of its fleets or of the judge has changed"
    if is_blind:
        return "its builds cannot be seen without captures"
    return ""
