"""Every file under config/experiments/ is what a user may start from, on the proxy of config/experiments.yaml."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shadowproxy.config import load_file
from shadowproxy.config.experiment import Level
from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain, load_experiment_file
from shadowproxy.experiments.admission import Circumstances, admit
from shadowproxy.experiments.expectations import Expectations

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "config" / "experiments").glob("*.yaml"))
TUESDAY = datetime(2026, 11, 24, 10, tzinfo=UTC)


def circumstances(now: datetime = TUESDAY, *levels: Level) -> Circumstances:
    """The example's proxy, with nothing running."""
    return Circumstances(now=now, config=load_file(ROOT / "config" / "experiments.yaml", {}).config, completed=frozenset(levels))


def test_the_examples_are_there() -> None:
    """The documented ones exist, and no others."""
    assert [file.stem for file in FILES] == [
        "flaky-inventory",
        "recommendations-away",
        "slow-payments",
        "truncated-catalogue",
        "zone-drill",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_accepted_and_admitted(file: Path) -> None:
    """It says nothing wrong, is called as its file, can look at its answers, and may begin on the example's proxy."""
    experiment = load_experiment_file(file, {})
    assert experiment.name == file.stem
    assert experiment_from_plain(experiment_to_plain(experiment)) == experiment
    assert len(Expectations(experiment.expect)) == len(experiment.expect)
    assert admit(experiment, circumstances(TUESDAY, Level.CANARY, Level.CLUSTER)).to_plain() == []


def test_a_drill_of_a_zone_comes_last() -> None:
    """Without runs at the levels before it, the drill is refused."""
    drill = load_experiment_file(ROOT / "config" / "experiments" / "zone-drill.yaml", {})
    assert not admit(drill, circumstances()).is_admitted


@pytest.mark.parametrize("page", ["docs/experiment-file.md"])
def test_each_is_linked(page: str) -> None:
    """Who reads about the file finds every example."""
    linked = re.findall(r"\]\(\.\./config/experiments/([^)]+)\)", (ROOT / page).read_text())
    assert sorted(linked) == [file.name for file in FILES]
