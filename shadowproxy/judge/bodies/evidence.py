"""Evidence per field, over many pairs: whether its differences are more than noise.

Three bases, by what there is to compare with (STATISTICS C2, C8, C11):

* **control**: live's answer L, the shadow's S and the control's C to the same request. A field
  that is no worse in the shadow differs from L as readily in C as in S, so of the triples in
  which exactly one of both differs each is a fair coin: McNemar, one-sided.
* **resend**: the same with a second answer of live to the few requests that were sent to it
  again, and half of the stake on direction as long as that sample has shown no noise there.
* **direction**: nothing to compare with. If the shadow is as good as live, the two answers
  can change places: missing is as frequent as extra, greater as less, longer as shorter.
  McNemar, two-sided, on which way a difference points. It cannot see a difference that
  points nowhere, and what was generated counts as noise.

Per field half of the stake is on "differs at all" and the other half is spread over the
kinds of difference, so that a field that always differs can still lose its type. The mean of
e-processes is one, so each field has one number, valid however often one looks. Which fields
are reported is decided over all of them by e-BH: on average at most a share alpha of what is
reported is noise. A field counts as tested from its first discordant pair on, whichever side
it was on: that choice does not favour either.

Excused (difference.Excuse): readings of clocks never count, since the shadow is always the
later one; generated ids count only against a sample; what a mapping of ids explains
(identities) counts only where the mapping breaks.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies.difference import Kind
from shadowproxy.judge.bodies.fieldcounts import Basis, Coin, FieldCounts, FieldFinding, Label, Seen, Standing
from shadowproxy.judge.bodies.identities import Identities
from shadowproxy.judge.bodies.rules import Rules, Treatment
from shadowproxy.judge.mcnemar import log_e_one_sided, log_e_two_sided
from shadowproxy.judge.multiplicity import ebh, mean_log_e

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.judge.bodies.comparison import Compared
    from shadowproxy.judge.bodies.difference import Difference

PATHS_LIMIT: Final = 512
"""Fields that are told apart per mirror; what differs beyond them is one field, `OTHERS`."""

OTHERS: Final = "(others)"

CERTAIN: Final = 700.0
"""Log evidence of a rule that was broken: a number, because JSON has no infinity."""

_FIRST: Final = 64  # fields that share the first half of the stake of `Evidence.log_e`
_PROBLEMS: Final = 64  # reasons told apart
_KIND_STAKE: Final = 0.5 / len(Kind)
_PRESENCE: Final = "presence"  # missing and extra: two directions of one thing
_TURNS: Final[Mapping[str, float]] = {
    _PRESENCE: 0.25,
    Kind.VALUE.value: 0.25,
    **{kind.value: 0.5 / (len(Kind) - 3) for kind in Kind if kind not in (Kind.VALUE, Kind.MISSING, Kind.EXTRA)},
}


class Evidence:
    """Everything known of the fields of one mirror. Bounded memory, no clock, merges by addition.

    Args:
        basis: what the shadow is compared with.
        rules: what people pinned; the same that answers were compared under.
        limit: fields to tell apart.
    """

    def __init__(self, basis: Basis = Basis.DIRECTION, rules: Rules | None = None, limit: int = PATHS_LIMIT) -> None:
        self.basis = basis
        self.rules = rules or Rules()
        self.limit = limit
        self.restart()

    def __repr__(self) -> str:
        return f"<Evidence basis={self.basis} compared={self.compared} fields={len(self._fields)}>"

    def restart(self) -> None:
        """Forget everything: another build is another question."""
        self.compared = 0
        self.sampled = 0
        self.not_comparable = 0
        self.problems: Counter[str] = Counter()
        self.watched: frozenset[str] = frozenset()
        self._fields: dict[str, FieldCounts] = {}
        self._tested = 0
        self._shadow_ids = Identities()
        self._sample_ids = Identities()

    def observe(self, pair: str, shadow: Compared, sample: Compared | None = None) -> bool:
        """Count one request. Compare its answers with `watched` given, so that ids which agree are seen too.

        Args:
            pair: its id, kept as the example of what differs.
            shadow: live's answer against the shadow's.
            sample: live's answer against the control's, or against live's second one; None when there is none.

        Returns:
            Whether the shadow differs in something that neither its look nor the sample explains.
        """
        if shadow.problem:
            self._note(shadow.problem)
        if not shadow.is_comparable or (sample is not None and not sample.is_comparable):
            self.not_comparable += 1
            return False
        self.compared += 1
        self.sampled += sample is not None
        for path, count in (shadow.agreed or {}).items():
            if path in self._fields:
                self._fields[path].agreed += count
        mine, theirs = self._by_field(shadow), self._by_field(sample)
        is_odd = False
        for path in {**mine, **theirs}:
            seen = Seen.of(mine.get(path, ()), self._shadow_ids)
            beside = None if sample is None else Seen.of(theirs.get(path, ()), self._sample_ids)
            counts = self._fields[path]
            if seen.has_ids and len(self.watched) < self.limit:
                self.watched |= {path}
            is_odd |= self._count(counts, pair, seen, beside, self.rules.at(path).treat)
            self._rank(counts)
        return is_odd

    def merge(self, other: Evidence) -> None:
        """Count what `other`, of the same mirror and basis, counted. Mappings of ids stay each their own."""
        self.compared += other.compared
        self.sampled += other.sampled
        self.not_comparable += other.not_comparable
        for problem, count in other.problems.items():
            self._note(problem, count)
        for path, counts in other._fields.items():
            mine = self._fields.setdefault(self._room_for(path), FieldCounts())
            mine.merge(counts)
            self._rank(mine)

    def findings(self, alpha: float = 0.05) -> list[FieldFinding]:
        """Every field that ever differed, the reported ones first, then by evidence.

        Args:
            alpha: the greatest share of noise among the reported, on average over runs.
        """
        evidence = {path: self._log_e(path, counts) for path, counts in self._fields.items()}
        tested = [path for path, counts in self._fields.items() if counts.is_tested]
        chosen = {tested[index] for index in ebh([evidence[path] for path in tested], alpha)}
        found = [self._finding(path, counts, evidence[path], is_chosen=path in chosen) for path, counts in self._fields.items()]
        found.sort(key=lambda finding: (not finding.is_reported, -(inf if finding.log_e is None else finding.log_e), finding.path))
        return found

    def log_e(self) -> float:
        """Evidence that *some* field is worse, as one e-process: half of the stake is on the first 64 fields that are tested, half on the rest.

        How much is on a field is settled before its first discordant pair is, and does not change.
        """
        if any(counts.pinned for counts in self._fields.values()):
            return CERTAIN
        parts = [(self._stake(counts.rank), self._log_e(path, counts)) for path, counts in self._fields.items() if counts.is_tested]
        return min(CERTAIN, mean_log_e([*parts, (max(0.0, 1.0 - sum(stake for stake, _ in parts)), 0.0)]))

    def _rank(self, counts: FieldCounts) -> None:
        if counts.rank < 0 and counts.is_tested:
            counts.rank = self._tested
            self._tested += 1

    def _stake(self, rank: int) -> float:
        return 0.5 / _FIRST if rank < _FIRST else 0.5 / max(1, self.limit + 1 - _FIRST)

    def _note(self, problem: str, count: int = 1) -> None:
        reason = problem[:80]
        self.problems[reason if reason in self.problems or len(self.problems) < _PROBLEMS else "other reasons"] += count

    def _room_for(self, path: str) -> str:
        return path if path in self._fields or len(self._fields) < self.limit else OTHERS

    def _by_field(self, compared: Compared | None) -> dict[str, list[Difference]]:
        """The differences by the field that counts them. What has no room of its own is one field, and so one coin a pair."""
        by_field: dict[str, list[Difference]] = {}
        for difference in compared.differences if compared is not None else ():
            path = self._room_for(difference.path)
            self._fields.setdefault(path, FieldCounts())
            by_field.setdefault(path, []).append(difference)
        return by_field

    def _count(self, counts: FieldCounts, pair: str, seen: Seen, beside: Seen | None, treat: Treatment) -> bool:
        counts.see(seen, beside)
        if treat is Treatment.EQUAL and seen.kinds:
            counts.pinned += 1
        if beside is not None:
            odd = counts.toss(seen, beside)
        else:
            odd = set(seen.turns) if self.basis is not Basis.CONTROL else set()
            for kind, turn in _grouped(seen.turns).items():
                counts.turn(kind, turn)
        if treat is Treatment.EQUAL:
            odd |= seen.kinds
        for kind in odd:
            counts.examples[kind] = pair
        return bool(odd)

    def _log_e(self, path: str, counts: FieldCounts) -> float:
        if self.basis is Basis.CONTROL:
            return self._coins(path, counts)
        turns = mean_log_e((stake, _two_sided(counts.turns.get(kind))) for kind, stake in _TURNS.items())
        if self.basis is Basis.DIRECTION:
            return turns
        # Giving up a stake for what the sample showed only ever loses: still an e-process.
        return mean_log_e([(0.5, self._coins(path, counts)), (0.5, -inf if counts.sample_differs else turns)])

    def _coins(self, path: str, counts: FieldCounts) -> float:
        raw = _staked(counts.coins, Label.ANY, Kind.VALUE.value)
        if counts.may_be_ids or self.rules.at(path).treat is Treatment.IDS:
            return min(raw, _staked(counts.coins, Label.UNEXPLAINED, Label.UNEXPLAINED_VALUE))
        return raw

    def _finding(self, path: str, counts: FieldCounts, log_e: float, *, is_chosen: bool) -> FieldFinding:
        standing, why = self._standing(path, counts, log_e, is_chosen=is_chosen)
        kind = self._worst(counts)
        return FieldFinding(
            path=path,
            kind=kind,
            standing=standing,
            basis=self.basis,
            compared=self.compared,
            differs=counts.differs,
            noise=None if not self.sampled else counts.sample_differs,
            log_e=None if counts.pinned else round(log_e, 6),
            why=why,
            live=counts.shown.get(kind, ("", ""))[0],
            shadow=counts.shown.get(kind, ("", ""))[1],
            example=counts.examples.get(kind, ""),
        )

    def _standing(self, path: str, counts: FieldCounts, log_e: float, *, is_chosen: bool) -> tuple[Standing, str]:
        if counts.pinned:
            return Standing.REGRESSION, f"a rule says that it must be equal; it was not in {counts.pinned} of {self.compared} pairs"
        if is_chosen:
            return Standing.REGRESSION, self._because(counts)
        if counts.is_ids or self.rules.at(path).treat is Treatment.IDS:
            return (
                Standing.IDS,
                f"live and shadow issue their own ids, one to one: {counts.confirmed} times confirmed, {counts.contradicted} times not",
            )
        if counts.clock == counts.differs and counts.differs:
            return Standing.NOISE, "readings of a clock"
        if self.basis is Basis.DIRECTION and counts.differs and counts.clock + counts.generated == counts.differs:
            return Standing.NOISE, "generated anew by each answer; a control arm would tell more"
        if counts.sample_differs and log_e <= 0.0:
            return Standing.NOISE, f"the {'control' if self.basis is Basis.CONTROL else 'second answer of live'} differs there too"
        if counts.may_be_ids:
            return Standing.UNDECIDED, "these may be ids of two worlds; none was seen often enough to tell"
        return Standing.UNDECIDED, "not enough evidence either way"

    def _because(self, counts: FieldCounts) -> str:
        kind = self._worst(counts)
        coin = counts.coins.get(kind.value, Coin())
        if coin.shadow > coin.sample:
            return f"{kind}: {coin.shadow} pairs in which only the shadow differs, {coin.sample} in which only the sample does"
        turn = counts.turns.get(_PRESENCE if kind in (Kind.MISSING, Kind.EXTRA) else kind.value, Coin())
        return f"{kind}: it points one way {max(turn.shadow, turn.sample)} times, the other way {min(turn.shadow, turn.sample)} times"

    def _worst(self, counts: FieldCounts) -> Kind:
        """The kind of difference with the most evidence, and the most frequent of those with none."""

        def weight(kind: Kind) -> tuple[float, int]:
            turn = counts.turns.get(_PRESENCE if kind in (Kind.MISSING, Kind.EXTRA) else kind.value)
            return max(_one_sided(counts.coins.get(kind.value)), _two_sided(turn)), counts.kinds[kind]

        return max(counts.kinds or [Kind.VALUE], key=weight)


def _grouped(turns: Mapping[Kind, int]) -> dict[str, int]:
    grouped: dict[str, int] = {}
    for kind, turn in turns.items():
        group = _PRESENCE if kind in (Kind.MISSING, Kind.EXTRA) else kind.value
        grouped[group] = grouped.get(group, 0) + turn
    return grouped


def _one_sided(coin: Coin | None) -> float:
    return log_e_one_sided(coin.shadow, coin.sample) if coin is not None else 0.0


def _two_sided(coin: Coin | None) -> float:
    return log_e_two_sided(coin.shadow, coin.sample) if coin is not None else 0.0


def _staked(coins: Mapping[str, Coin], whole: str, value: str) -> float:
    """Half on any difference, half spread over the kinds; kinds never seen keep their stake."""
    kinds: Sequence[str] = [value if kind is Kind.VALUE else kind.value for kind in Kind]
    return mean_log_e([(0.5, _one_sided(coins.get(whole))), *((_KIND_STAKE, _one_sided(coins.get(kind))) for kind in kinds)])
