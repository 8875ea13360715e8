"""What is said of past requests: put together from workers, and the sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.experiments.lookback import LookBack, Step, merged, percents, since
from tests.experiments.samples import plain

EXPERIMENT = experiment_from_plain(plain())
SECOND = 10**9


def answer(**changed: Any) -> dict[str, Any]:
    """What a worker would answer; `step` are parts of its step."""
    step = {"percent": 10.0, "seen": 5, "reads": 3, "writes": 2, "units": ["a", "b"], "control": 4, **changed.pop("step", {})}
    return {"requests": 50, "first": 100 * SECOND, "of_routes": 40, "denied": 0, "too_long": 0, "unread": 0, "steps": [step], **changed}


def look_back(**changed: Any) -> LookBack:
    """One of 10,000 requests; `step` are parts of its full share."""
    step = {"percent": 10.0, "seen": 312, "touched": 312, "writes": 14, "units": 298, "control": 300, **changed.pop("step", {})}
    known = {"wanted": 10000, "requests": 10000, "seconds": 37.2, "of_routes": 3120, "workers": 2, "steps": (Step(**step),)}
    return LookBack(**{**known, **changed})


@given(
    arrivals=st.lists(st.lists(st.integers(1, 1000), unique=True).map(sorted), max_size=4),
    wanted=st.integers(1, 60),
)  # fmt: skip
def test_the_last_of_all_workers_are_found(arrivals: list[list[int]], wanted: int) -> None:
    """As many as are wanted came since then, or all there are; of two at the same moment both count."""
    begun = since(arrivals, wanted)
    moments = [moment for one in arrivals for moment in one]
    if begun is None:
        assert not moments
        return
    counted = sum(moment >= begun for moment in moments)
    assert counted >= min(wanted, len(moments))
    assert sum(moment > begun for moment in moments) < wanted


def test_answers_add_up_and_a_unit_counts_once() -> None:
    """Two workers have met the same user: one unit. The span is that of the oldest request."""
    found = merged(
        EXPERIMENT,
        [answer(), answer(first=90 * SECOND, denied=1, too_long=2, step={"units": ["b", "c"], "writes": 0})],
        LookBack(wanted=100, workers=2),
        now_ns=110 * SECOND,
    )
    assert (found.requests, found.of_routes, found.denied, found.too_long, found.seconds) == (100, 80, 1, 2, 20.0)
    (step,) = found.steps
    assert (step.seen, step.touched, step.writes, step.units, step.control) == (10, 8, 2, 3, 8)


def test_requests_by_themselves_have_no_units() -> None:
    """What nobody can count is not said to be none."""
    alone = experiment_from_plain(plain(slice={"percent": 10, "key": ""}))
    found = merged(alone, [answer()], LookBack(wanted=100, workers=1), now_ns=110 * SECOND)
    assert found.steps[0].units is None
    assert "units" not in found.sentence


def test_nobody_answered() -> None:
    """No answer is no knowledge, and not a zero."""
    found = merged(EXPERIMENT, [], LookBack(wanted=100, workers=2, silent=2), now_ns=1)
    assert (found.requests, found.seconds, found.steps) == (0, 0.0, ())


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (look_back(), "over the last 10,000 requests (37 s) this would have touched 312, 14 of them writes; 298 different units"),
        (look_back(seconds=7200.0, step={"units": 1}), "over the last 10,000 requests (2 hours) this would have touched 312, 14 of them writes; 1 unit"),
        (look_back(requests=1, seconds=0.5, step={"seen": 0, "touched": 0}), "over the last request (0.5 s) this would have touched none"),
        (look_back(of_routes=0, step={"seen": 0, "touched": 0}), "over the last 10,000 requests (37 s) this would have touched none; none was of its routes"),
        (
            look_back(denied=3, too_long=2, unread=1, silent=1, step={"seen": 400}),
            ("over the last 10,000 requests (37 s) this would have touched 312, 14 of them writes; 298 different units; 88 more in its slice would have been spared by "
            "its limits; 3 more would have been touched and are on a deny list; 2 had heads that are too long to tell; 1 would be refused by the config of now; "
            "1 of 2 workers did not answer in time, and what they remember is missing"),
        ),
        (look_back(empty=1), "over the last 10,000 requests (37 s) this would have touched 312, 14 of them writes; 298 different units; 1 of 2 workers remembers nothing yet"),
        (LookBack(wanted=0), "nothing is known of past requests: experiments.recent_requests is 0"),
        (LookBack(wanted=9, workers=2, empty=2), "nothing is known of past requests: none is remembered yet"),
        (LookBack(wanted=9, workers=2, silent=2), "nothing is known of past requests: no worker answers"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_known_and_no_more(known: LookBack, said: str) -> None:
    """Numbers, their span, and whatever is missing from them."""
    assert known.sentence == said
    assert known.to_plain()["sentence"] == said


def test_a_ramp_tells_its_first_step() -> None:
    """The first step and the whole; one share where there is no ramp, or its first step is the whole."""
    assert percents(EXPERIMENT) == (10.0,)
    assert percents(experiment_from_plain(plain(ramp={"steps": [2.5, 5, 10]}))) == (2.5, 10.0)
    steps = (Step(percent=1.0, seen=30, touched=30, writes=2, units=29, control=31), look_back().steps[0])
    assert "; at its first step of 1 % 30, 2 of them writes" in look_back(steps=steps).sentence
