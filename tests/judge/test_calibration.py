"""The A/A test and the sample-ratio check."""

from __future__ import annotations

import random

import pytest

from shadowproxy.judge.calibration import Calibration, Sampling
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.pairs import Tick, log_ratio_of
from tests.judge.ticks import World


def calibrated(world: World, ticks: int, criteria: Criteria | None = None) -> Calibration:
    """Live against control of `world`."""
    calibration = Calibration(criteria or Criteria(has_control=True))
    for _ in range(ticks):
        counted = world.tick(50)["control"]
        calibration.add(Tick.from_tally(counted), log_ratio_of(counted["back"]))
    return calibration


def test_alike_fleets_hardly_ever_trip_it() -> None:
    """In 100 runs with a look after each tick no more than one per cent's worth."""
    tripped = sum(calibrated(World(random.Random(seed), control=True), 10).is_tripped for seed in range(100))
    assert tripped <= 5


@pytest.mark.parametrize("slower", [1.5, 1 / 1.5])
def test_a_difference_either_way_trips_it(slower: float) -> None:
    """Control slower, or faster, by more than the margin."""
    assert calibrated(World(random.Random(1), control=True, control_slower=slower), 40).is_tripped


def test_the_cost_of_being_the_second_leg_does_not_trip_it() -> None:
    """Ten per cent, either way: the shadow, which is compared with control, has it too."""
    for slower in (1.1, 1 / 1.1):
        assert not calibrated(World(random.Random(1), control=True, control_slower=slower), 60).is_tripped


def test_errors_of_one_side_trip_it_for_good() -> None:
    """Twelve failures of control alone are enough, whatever comes afterwards."""
    calibration = Calibration(Criteria(has_control=True))
    calibration.add(Tick.from_tally({"matrix": {"200,500": 12}}), log_ratio_of({}))
    calibration.add(Tick.from_tally({"matrix": {"500,200": 12, "500,500": 3}}), log_ratio_of({}))
    assert (calibration.live_only, calibration.control_only, calibration.pairs) == (12, 12, 27)
    assert calibration.log_e < 0 < calibration.peak
    assert calibration.is_tripped
    assert "pairs=27" in repr(calibration)


def test_without_a_resolution_there_is_one_ratio_for_both_sides() -> None:
    """A worker that sends no second one need not."""
    criteria = Criteria(has_control=True, resolution_seconds=0.0)
    calibration = Calibration(criteria)
    calibration.add(Tick.from_tally({"matrix": {"200,200": 100}, "ratio": {"n": 100, "s1": -30.0, "s2": 10.0}}), log_ratio_of({}))
    assert calibration.is_tripped


def test_what_is_pending_counts_as_copied() -> None:
    """Not sampled is decided at once and a copy ends later: counting ends would find too few copies."""
    sampling = Sampling(0.5)
    for _ in range(50):
        sampling.add(100, {"not_sampled": 50})  # all copies of these requests are still under way
    assert sampling.observed == 0.5
    assert not sampling.is_tripped


def test_what_cannot_be_attributed_is_left_out() -> None:
    """Methods are sorted out before the sampling; too large may be before or after, so such a tick says nothing."""
    sampling = Sampling(0.5)
    sampling.add(130, {"not_sampled": 40, "holdout": 10, "method": 20, "marked": 6, "upgrade": 4})
    assert (sampling.copied, sampling.left_out) == (50, 50)
    sampling.add(1000, {"not_sampled": 10, "too_large": 3})
    assert (sampling.copied, sampling.left_out) == (50, 50)


def test_a_wrong_share_trips_it() -> None:
    """Sixty of a hundred instead of fifty, sixty times; before anything was seen, nothing is known."""
    sampling = Sampling(0.5)
    assert sampling.observed is None
    for _ in range(60):
        sampling.add(100, {"not_sampled": 40})
    assert sampling.is_tripped
    assert "3600 of 6000" in repr(sampling)
