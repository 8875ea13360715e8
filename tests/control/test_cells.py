"""What cells have answered, and what runs that are confined to some of them are told of the others."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config import load_text
from shadowproxy.control.cells import SPACING_S, Cells, Neighbours
from shadowproxy.control.counts import Counts
from shadowproxy.dataplane.messages import REPORT_S
from shadowproxy.experiments.errorrate import HISTORY_S, LAG_S
from tests.experiments.cases import INSTANCE, experiment, instance

A, B, C, D = (
    ("search", "http://10.0.0.1:80"),
    ("search", "http://10.0.0.2:80"),
    ("cart", "http://10.0.1.1:80"),
    ("cart", "http://10.0.1.2:80"),
)
IN_A: dict[str, Any] = {"domain": {"cells": ["a"]}}


class Place:
    """Cells of an instance, counts and a clock that are set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.config = instance()
        self.counts = Counts()
        self.cells = Cells(self.counts, lambda: self.config, lambda: self.now)

    def answer(self, place: tuple[str, str], answers: int, errors: int = 0) -> None:
        """Have an endpoint answer."""
        self.counts.endpoint_ended[place] += answers
        self.counts.endpoint_errors[place] += errors
        self.cells.note()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tally four times a second."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.cells.note()


def beside(place: Place, parts: dict[str, Any], *, is_dry: bool = False) -> Neighbours:
    """The cells beside those of a run."""
    found = place.cells.beside(experiment(**parts), is_dry=is_dry)
    assert found is not None
    return found


def test_history_is_of_the_last_ten_minutes_up_to_two_seconds_ago() -> None:
    """By cell; what is older is forgotten, what is newer is no history yet."""
    place = Place()
    place.answer(B, 900, 90)
    place.pass_time(HISTORY_S)
    place.answer(B, 1000, 1)
    place.answer(C, 10)
    place.pass_time(LAG_S + SPACING_S)
    place.answer(B, 50, 50)
    assert place.cells.before() == {"b": (1000, 1), "c": (10, 0)}


def test_notes_are_bounded() -> None:
    """However often workers tell."""
    place = Place()
    place.pass_time(3 * HISTORY_S)
    assert len(place.cells._notes) <= HISTORY_S / SPACING_S + 1


def test_a_run_is_told_of_all_cells_but_its_own() -> None:
    """Of every live fleet: history at first, then what is new, once."""
    place = Place()
    for endpoint in (A, B, C):
        place.answer(endpoint, 200, 2)
    place.pass_time(5)
    neighbours = beside(place, IN_A)
    assert neighbours.told() == {"before": {"b": [200, 2], "c": [200, 2], "d": [0, 0]}, "unwatched": ""}
    assert neighbours.take() == {}
    place.answer(A, 10, 10)
    place.answer(B, 10, 1)
    assert neighbours.take() == {}, "a tick a worker would be many"
    place.answer(B, 5)
    place.pass_time(REPORT_S)
    assert neighbours.take() == {"b": [15, 1]}
    place.pass_time(REPORT_S)
    assert neighbours.take() == {}


@pytest.mark.parametrize(
    ("parts", "others"),
    [
        (IN_A, {"b", "c", "d"}),
        ({"inject": {"endpoint": B[1]}}, {"a", "c", "d"}),
        ({"domain": {"cells": ["z1"]}}, {"b", "d"}),  # cell c of the other fleet is in that zone, too
        ({"domain": {"cells": ["a", "b"]}}, {"c", "d"}),
        ({"inject": {"fleet": "cart", "endpoint": D[1]}}, {"a", "b", "c"}),
    ],
)
def test_what_is_another_cell(parts: dict[str, Any], others: set[str]) -> None:
    """One with no endpoint that may be hit, and in no zone that the experiment keeps to."""
    assert set(beside(Place(), parts).told()["before"]) == others


def test_an_endpoint_without_a_cell_counts_by_its_zone() -> None:
    """Those who label zones alone are watched, too."""
    place = Place()
    place.config = load_text(INSTANCE.replace("cell: b, ", "")).config
    assert set(beside(place, IN_A).told()["before"]) == {"z2", "c", "d"}


def test_a_fault_on_a_new_version_has_a_cell_of_its_own() -> None:
    """Its fleet is live on no route, and yet what shares its cell is no other cell."""
    place = Place()
    url = "http://10.0.2.1:80"
    labels = f'cart-2: {{endpoints: ["{url}"], labels: [{{endpoint: "{url}", cell: c}}]}}'
    place.config = load_text(INSTANCE.replace(f'cart-2: {{endpoints: ["{url}"]}}', labels)).config
    parts = {"inject": {"fleet": "cart-2", "endpoint": url, "routes": ["cart"]}}
    assert set(beside(place, parts).told()["before"]) == {"a", "b", "d"}


@pytest.mark.parametrize(
    ("parts", "is_dry", "why"),
    [
        (IN_A, True, "a dry run breaks nothing"),
        ({"domain": {"cells": ["a", "b", "c", "d"]}}, False, "no other endpoint of a live fleet has a label of a cell or a zone"),
    ],
)
def test_a_run_is_told_why_nothing_is_watched(parts: dict[str, Any], is_dry: bool, why: str) -> None:
    """It is not silently unguarded."""
    place = Place()
    neighbours = beside(place, parts, is_dry=is_dry)
    place.answer(B, 10)
    assert neighbours.told() == {"before": {}, "unwatched": why}
    assert neighbours.take() == {}


def test_a_run_that_is_confined_to_nothing_has_no_other_cells() -> None:
    """There is nothing that its harm must not leave."""
    assert Place().cells.beside(experiment()) is None


def test_an_endpoint_that_moves_takes_nothing_with_it() -> None:
    """A reload gives it another cell: what it answered before stays where it was, what comes goes where it is."""
    place = Place()
    place.answer(B, 100, 50)
    neighbours = beside(place, IN_A)
    place.config = load_text(INSTANCE.replace("cell: b", "cell: c")).config
    place.answer(B, 10)
    place.pass_time(REPORT_S)
    assert place.cells.seen == {"b": (100, 50), "c": (10, 0)}
    assert neighbours.take() == {"c": [10, 0]}
    assert repr(place.cells) == "<Cells {'b': (100, 50), 'c': (10, 0)}>"
