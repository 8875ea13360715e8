"""Experiment files cross the same border as configs: every problem at once, with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from shadowproxy.config.experiment_file import load_experiment_file, load_experiment_text
from shadowproxy.errors import ConfigError
from tests.experiments.samples import plain

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_read(tmp_path: Path) -> None:
    """YAML and JSON alike, with variables filled in."""
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump(plain(owner="${env:OWNER:-nobody}")))
    assert load_experiment_file(file, {"OWNER": "me"}).owner == "me"
    assert load_experiment_text(file.read_text()).owner == "nobody"


def test_every_problem_is_told_with_its_place() -> None:
    """Misspelt keys, wrong units and contradictions, each with line and column."""
    text = "name: one\nowmer: me\nslice: {percent: 60 %}\nduration: 5 parsecs\n"
    with pytest.raises(ConfigError) as error:
        load_experiment_text(text, file="x.yaml")
    told = [str(problem) for problem in error.value.problems]
    assert any(line.startswith("x.yaml:2:1: owmer: unknown key (did you mean 'owner'?)") for line in told)
    assert any(line.startswith("x.yaml:4:11: duration:") for line in told)
    assert any("hypothesis is required" in line for line in told)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\x00", "- 1", "name: &a [*a]"])
def test_what_is_no_experiment_is_refused(text: str) -> None:
    """Whatever it is, it ends in a report and not in an exception."""
    with pytest.raises(ConfigError):
        load_experiment_text(text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is said so."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment_file(tmp_path / "none.yaml")
