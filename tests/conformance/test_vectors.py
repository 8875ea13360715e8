"""Verdicts on raw HTTP/1 requests, sent whole and byte by byte: our own cases, and those of public parser suites.

The public cases are not part of this project. Where their file stands beside it they are run as well.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.verdicts import Case, Result, complete_before_fault, deliver
from tests.data.http1_cases import CASES
from tests.kit import World, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_FILE = Path(__file__).parents[2] / ".." / "shared" / "vectors" / "http1_requests.jsonl"

OWN = [Case(name, expect, raw) for name, expect, raw in CASES]


def _public() -> list[Case]:
    if not PUBLIC_FILE.exists():
        return []
    cases = []
    for number, line in enumerate(PUBLIC_FILE.read_text("utf-8").splitlines()):
        vector = json.loads(line)
        expect = "either" if vector["expect"] == "no_desync" else vector["expect"]
        cases.append(Case(f"{number}:{vector['suite']}:{vector['id'].rpartition('/')[2]}", expect, base64.b64decode(vector["raw_b64"])))
    return cases


PUBLIC = _public()
_NONE = [pytest.param(None, marks=pytest.mark.skip(reason="the public parser suites' file is not here"))]

WAYS = ("whole", "bytewise")


@pytest.fixture(scope="module")
def wide_world() -> Iterator[World]:
    """A world that mirrors every method and sheds nothing."""
    with World(settings(mirror={"in_flight": 4096}, live={"max_connections": 2048}, shadow={"max_connections": 2048})) as world:
        yield world


@pytest.fixture(scope="module")
def own_results(wide_world: World) -> dict[tuple[str, str], Result]:
    """Our cases, run both ways."""
    return _run(wide_world, OWN, 1)


@pytest.fixture(scope="module")
def public_results(wide_world: World) -> dict[tuple[str, str], Result]:
    """The public cases, run both ways."""
    return _run(wide_world, PUBLIC, 3)


def _run(world: World, cases: list[Case], net: int) -> dict[tuple[str, str], Result]:
    results = {}
    for offset, way in enumerate(WAYS):
        for result in deliver(world, cases, is_bytewise=way == "bytewise", net=net + offset):
            results[result.case.id, way] = result
    return results


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", OWN, ids=lambda case: case.id)
def test_own_case(own_results: dict[tuple[str, str], Result], case: Case, way: str) -> None:
    """The verdict on one of our requests is met."""
    failures = own_results[case.id, way].failures()
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", PUBLIC or _NONE, ids=lambda case: case.id if case else "none")
def test_public_case(public_results: dict[tuple[str, str], Result], case: Case, way: str) -> None:
    """The verdict of a public parser suite is met."""
    failures = public_results[case.id, way].failures()
    assert not failures, "\n".join(failures)


def test_nothing_ambiguous_went_upstream(wide_world: World, own_results: object, public_results: object) -> None:
    """Every byte of every connection to live and to shadow is read alike by h11, llhttp and our strict reader."""
    wide_world.proxy.settled()
    assert [*wide_world.live.problems(), *wide_world.shadow.problems()] == []


def test_own_case_names_are_unique() -> None:
    """A case is found by its name."""
    assert len({case.id for case in OWN}) == len(OWN)


@pytest.mark.parametrize(
    ("raw", "complete"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbad\r\n\r\n", 1),
        (b"bad\r\n\r\n", 0),
    ],
)
def test_what_is_complete_before_a_fault(raw: bytes, complete: int) -> None:
    """Only requests before a byte that llhttp refuses are let through, and none where it refuses none."""
    assert complete_before_fault(raw) == complete
