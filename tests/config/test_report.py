"""Paths, places and the order of problems."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.report import NOWHERE, Place, Places, Report, child, closest, item, parent


@given(st.lists(st.text(min_size=1, max_size=8) | st.integers(0, 99), min_size=1, max_size=5))
def test_parents(steps: list[str | int]) -> None:
    """Whatever the keys are called, the parent of a path is the path it was made from."""
    paths = [""]
    for step in steps:
        paths.append(item(paths[-1], step) if isinstance(step, int) else child(paths[-1], step))
    for holder, held in pairwise(paths):
        assert parent(held) == holder


@pytest.mark.parametrize(
    ("holder", "key", "path"),
    [
        ("", "listen", "listen"),
        ("fleets", "live", "fleets.live"),
        ("fleets", "v2.next", 'fleets["v2.next"]'),
        ("headers", 'a"b', 'headers["a\\"b"]'),
    ],
)
def test_children(holder: str, key: str, path: str) -> None:
    """Keys that are words are joined by dots, others stand in brackets and quotes."""
    assert child(holder, key) == path


def test_the_nearest_place_is_found() -> None:
    """A value that the file leaves out is shown where what holds it begins; a key where the key stands."""
    places = Places("f", {"": Place(1, 1), "routes[0]": Place(3, 5), "routes[0].live": Place(3, 11)}, {"routes[0].live": Place(3, 5)})
    assert places.find("routes[0].live") == (3, 11)
    assert places.find("routes[0].live", on_key=True) == (3, 5)
    assert places.find("routes[0].mirror[2].to") == (3, 5)
    assert places.find("listen") == (1, 1)
    assert Places().find("routes[0]") == NOWHERE


def test_problems_come_in_file_order_and_once() -> None:
    """Problems are sorted by place, and what an alias repeats is said once."""
    report = Report(Places("f", {"b": Place(1, 2), "a": Place(2, 1), "c": Place(1, 2)}))
    report.error("a", "late")
    report.warning("b", "early")
    report.error("c", "early")
    assert [str(problem) for problem in report.in_order()] == ["f:1:2: b: warning: early", "f:2:1: a: late"]
    assert [problem.path for problem in report.errors()] == ["a"]
    assert [problem.path for problem in report.warnings()] == ["b"]
    assert report.has_errors


def test_problems_without_a_file_keep_their_paths_apart() -> None:
    """Without places, the same message about two paths is two problems."""
    report = Report()
    report.error("a", "wrong", suggestion="right")
    report.error("b", "wrong")
    assert [str(problem) for problem in report.errors()] == ["a: wrong (did you mean 'right'?)", "b: wrong"]


@pytest.mark.parametrize(
    ("word", "meant"), [("endponts", "endpoints"), ("Timeout", "timeout"), ("connect-timeout", "connect_timeout"), ("zzz", ""), ("", "")]
)
def test_closest(word: str, meant: str) -> None:
    """A misspelt word finds the word it was meant to be, and nonsense finds nothing."""
    assert closest(word, ["endpoints", "timeout", "connect_timeout"]) == meant
