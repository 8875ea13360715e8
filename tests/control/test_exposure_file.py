"""The file of exposures: one transaction at a time, nobody else's file, and what is too much goes."""

from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from shadowproxy.control import exposure_file
from shadowproxy.control.exposure_file import ExposureFile, FileProblem
from shadowproxy.control.exposure_shares import share_of_run
from shadowproxy.experiments.affected import Hits, Step
from tests.control.test_exposures import experiment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ExposureFile]:
    """An empty one."""
    made = ExposureFile(tmp_path / "e.db")
    yield made
    made.close()


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file of another program is not written to."""
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE shares (id)")
    theirs.commit()
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(FileProblem, match="not one of exposures"):
        ExposureFile(path).together([lambda file: file.shares(0.0)])
    assert path.read_bytes() == before


def test_what_is_done_together_is_done_whole_or_not(file: ExposureFile, tmp_path: Path) -> None:
    """A failure in the middle leaves nothing of the batch, and the file works afterwards."""

    def fail(_: ExposureFile) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    share = share_of_run("slow-1", experiment())
    with pytest.raises(FileProblem, match="disk I/O error"):
        file.together([lambda kept: kept.step(share, Step(1.0, 5.0)), fail])
    assert file.together([lambda kept: kept.shares(0.0)]) == [[]]
    assert stat.S_IMODE((tmp_path / "e.db").stat().st_mode) == 0o600


def test_a_share_comes_back_as_it_was(file: ExposureFile) -> None:
    """Every field, lists of digests too."""
    run = experiment(slice={"percent": 20, "pinned": ["a"], "deny": ["b"], "tenants": ["c"], "offset": 3, "salt": "s"})
    share = share_of_run("slow-1", run, ("d",))
    file.together([lambda kept: kept.step(share, Step(1.0, 5.0))])
    ((found,),) = file.together([lambda kept: kept.shares(0.0)])
    assert (found.steps, found.state) == ((Step(1.0, 5.0),), "running")
    for name in ("listed", "apart", "tenants", "salt", "offset", "span", "key", "name", "effect", "conditions"):
        assert getattr(found, name) == getattr(share, name), name


def test_digests_with_every_bit(file: ExposureFile) -> None:
    """The least and the greatest 64 bits are found again."""
    marks = (0, 2**63, 2**64 - 1)
    share = share_of_run("r-1", experiment())
    file.together(
        [lambda kept: kept.step(share, Step(1.0, 5.0)), lambda kept: kept.add_units("r-1", {f"{mark:016x}": 1 for mark in marks}, 5.0)]
    )
    assert [file.together([lambda kept, of=mark: kept.hits("r-1", of)])[0] for mark in marks] == [Hits(1, 5.0, 5.0)] * 3  # type: ignore[misc]


def test_too_many_shares_make_room(file: ExposureFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ended first go; what goes on stays."""
    monkeypatch.setattr(exposure_file, "SHARES_LIMIT", 2)
    for at in range(4):
        share = share_of_run(f"slow-{at}", experiment())
        file.together([lambda kept, share=share: kept.step(share, Step(1.0, 5.0))])  # type: ignore[misc]
    for at in (1, 2, 3):
        file.together([lambda kept, at=at: kept.end(f"slow-{at}", "completed", 10.0 + at)])  # type: ignore[misc]
    file.together([lambda kept: kept.forget(0.0)])
    ((*found,),) = file.together([lambda kept: kept.shares(0.0)])
    assert {share.id for share in found} == {"slow-0", "slow-3"}


def test_endless_steps_are_bounded(file: ExposureFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is recorded all the same."""
    monkeypatch.setattr(exposure_file, "STEPS_LIMIT", 3)
    share = share_of_run("slow-1", experiment())
    for at in range(6):
        file.together([lambda kept, at=at: kept.step(share, Step(float(at), 1.0 + at))])  # type: ignore[misc]
    file.together([lambda kept: kept.end("slow-1", "completed", 9.0), lambda kept: kept.end("unknown", "completed", 9.0)])
    ((found,),) = file.together([lambda kept: kept.shares(0.0)])
    assert [step.time for step in found.steps] == [0.0, 1.0, 2.0, 9.0]
