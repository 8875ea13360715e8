"""Who is affected, held against the policy that decides it for requests."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiments import Rollout
from shadowproxy.control.exposure_shares import share_of_mirror, share_of_rollout, share_of_run
from shadowproxy.experiments.affected import Hits, Kind, Period, Place, Share, Step, in_order, is_over, periods, place_at, plain
from shadowproxy.hashspace import point_at
from shadowproxy.policy import mirrors, slices, splits
from shadowproxy.policy.compile import compile_policy
from tests.control.test_exposures import config, experiment

PERCENTS = st.integers(0, 50_000).map(lambda thousandths: thousandths / 1000)
UNITS = st.text(min_size=1, max_size=12)


@st.composite
def digests(draw: st.DrawFn, edges: tuple[float, ...]) -> int:
    """Digests of units, often right at an edge of the hash space (shares from 0 to 1)."""
    if draw(st.booleans()):
        near = int(draw(st.sampled_from(edges)) * 2**64) + draw(st.integers(-2, 2)) * 2**11
        return min(max(near, 0), 2**64 - 1)
    return draw(st.integers(0, 2**64 - 1))


@given(st.data())
def test_slices_are_those_of_the_policy(data: st.DataObject) -> None:
    """At every step of every ramp, for every digest, whois says what the policy decides."""
    span = data.draw(PERCENTS.filter(bool))
    offset = data.draw(st.integers(0, int((100 - 2 * span) * 1000))) / 1000
    run = experiment(slice={"percent": span, "offset": offset})
    percent = data.draw(st.one_of(st.just(span), PERCENTS.filter(bool)))
    policy = slices.compile_slice(run, percent)
    mark = data.draw(digests((policy.start, policy.end, policy.control_start, policy.control_end)))
    found = place_at(share_of_run("r-1", run), mark, Step(0.0, percent))
    assert found is not None
    assert slices.ARMS[policy.arm(b"unit", point_at(mark))] == str(found)


@given(UNITS, st.lists(UNITS, max_size=3), st.lists(UNITS, max_size=3), PERCENTS.filter(bool))
def test_lists_count_as_in_the_policy(unit: str, pinned: list[str], denied: list[str], percent: float) -> None:
    """Who is denied is in neither slice, whatever else holds; who is pinned has the fault."""
    run = experiment(slice={"percent": percent, "pinned": pinned, "deny": denied[:1]})
    policy = slices.compile_slice(run, percent, tuple(denied[1:]))
    share = share_of_run("r-1", run, tuple(denied[1:]))
    found = place_at(share, policy.digest_of(unit.encode()), Step(0.0, percent))
    expected = slices.ARMS[policy.arm_of(unit.encode())]
    assert str(found) == ("apart" if unit in denied else expected)
    assert unit not in denied or expected == "outside"


@given(st.data())
def test_mirrors_are_those_of_the_policy(data: st.DataObject) -> None:
    """Copied, held out or not sampled."""
    percent, holdout = data.draw(st.integers(0, 100)), data.draw(st.integers(0, 100))
    made = config(percent=percent, holdout=holdout, key="client")
    policy = compile_policy(made, 1).routes[0].mirrors[0]
    mark = data.draw(digests((policy.sampled, policy.copied)))
    route = made.routes[0]
    found = place_at(share_of_mirror(route, route.mirror[0]), mark, Step(0.0, percent))
    fate = policy.decide(b"GET", 0, is_upgrade=False, is_marked=False, point=point_at(mark), scale=1.0)
    expected = {mirrors.COPY: Place.COPIED, mirrors.HOLDOUT: Place.HOLDOUT, mirrors.NOT_SAMPLED: Place.OUTSIDE}[fate]
    assert found is (expected if percent else None)


@given(st.integers(0, 2**64 - 1), st.lists(PERCENTS, min_size=1, max_size=6))
def test_no_unit_is_ever_in_both_slices(mark: int, steps: list[float]) -> None:
    """Whatever a ramp does, a unit that was in one slice is never in the other."""
    share = replace(share_of_run("r-1", experiment()), steps=tuple(Step(float(at), percent) for at, percent in enumerate(steps)))
    assert len({one.place for one in periods(share, mark)} & {Place.FAULT, Place.CONTROL}) <= 1


def share(*steps: Step, **changed: object) -> Share:
    """An experiment on half of the units, in the lower half of the hash space."""
    whole = Share(kind=Kind.EXPERIMENT, id="r-1", name="r", key="client", salt=b"r", steps=steps, span=50.0)
    return replace(whole, **changed)  # type: ignore[arg-type]


def test_periods_are_joined_where_nothing_changes_for_the_unit() -> None:
    """A ramp that takes a unit in at its second step: outside, then with the fault to the end, in two pieces where it paused."""
    found = share(Step(10, 1), Step(20, 10), Step(30, 20), Step(40, 20, is_paused=True), Step(50, 0, is_over=True))
    mark = 2**64 // 20
    assert periods(found, mark) == [
        Period(Place.OUTSIDE, 10, 20, 1),
        Period(Place.FAULT, 20, 40, 20),
        Period(Place.FAULT, 40, 50, 20, is_paused=True),
    ]
    assert periods(found, mark, since=45) == [Period(Place.FAULT, 40, 50, 20, is_paused=True)]
    assert periods(found, mark, since=50) == []
    assert is_over(found)
    assert not is_over(share(Step(10, 1)))
    assert is_over(share())


def test_without_a_key_no_unit_has_a_place() -> None:
    """Each request is drawn by itself: nothing can be said of a user."""
    assert place_at(share(key=""), 0, Step(0, 10)) is Place.UNKNOWN


@given(UNITS, st.lists(UNITS, max_size=2), st.lists(UNITS, max_size=2), st.lists(UNITS, max_size=2), st.integers(1, 100))
def test_rollouts_are_those_of_the_policy(unit: str, pinned: list[str], first: list[str], denied: list[str], percent: int) -> None:
    """Who is served by the new version, whatever is listed."""
    plan = Rollout(to="v2", key="client", pinned=tuple(pinned), first=tuple(first))
    plain = {
        "route": "all",
        "to": "v2",
        "percent": percent,
        "unit": "client",
        "salt": "",
        "pinned": pinned,
        "first": first,
        "denied": denied,
    }
    policy = splits.compile_split(plain | {"epoch": 1})
    found = place_at(share_of_rollout("all-1", "all", plan, tuple(denied)), policy.digest_of(unit.encode()), Step(0.0, float(percent)))
    assert (found is Place.CANARY) == (policy.place_of(unit.encode()) in splits.SERVED_NEW)
    assert (found is Place.APART) == (unit in denied or (unit in pinned and unit not in first and percent < 100))


@given(st.data())
def test_rollouts_by_their_points(data: st.DataObject) -> None:
    """The range of the new version ends where the policy's does."""
    percent = data.draw(st.integers(1, 100_000)) / 1000
    plain = {
        "route": "all",
        "to": "v2",
        "percent": percent,
        "unit": "client",
        "salt": "",
        "pinned": [],
        "first": [],
        "denied": [],
        "epoch": 1,
    }
    policy = splits.compile_split(plain)
    mark = data.draw(digests((policy.share,)))
    found = place_at(share_of_rollout("all-1", "all", Rollout(to="v2", key="client")), mark, Step(0.0, percent))
    assert (found is Place.CANARY) == (policy.place(b"unit", point_at(mark)) in splits.SERVED_NEW)


def test_a_rollout_at_nothing_has_nobody_but_its_first_ring() -> None:
    """At 0 % nobody has a place, unless there is a ring."""
    half = share(kind=Kind.ROLLOUT)
    assert place_at(half, 0, Step(0, 0)) is None
    assert place_at(replace(half, listed=frozenset({0})), 0, Step(0, 0)) is Place.CANARY


def test_steps_that_change_nothing_are_left_out() -> None:
    """And they are put in order."""
    assert in_order([Step(2, 5), Step(1, 5), Step(3, 0, is_over=True)]) == (Step(1, 5), Step(3, 0, is_over=True))
    assert in_order([]) == ()


def test_the_document() -> None:
    """Where it is now and was, with hits, in values that JSON has."""
    found = plain(share(Step(10, 1), Step(20, 50)), 2**62, Hits(3, 21, 29), since=-inf)
    assert found["place"] == "fault"
    assert found["was"] == [
        {"place": "outside", "since": 10, "until": 20, "percent": 1, "is_paused": False},
        {"place": "fault", "since": 20, "until": None, "percent": 50, "is_paused": False},
    ]
    assert found["hits"] == {"count": 3, "first": 21, "last": 29}
    assert plain(share(Step(10, 1), Step(20, 0, is_over=True)), 0, None, since=-inf)["place"] is None
