"""`shadowproxy gameday run`: one after another, as far as they go well."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli.gameday import load
from shadowproxy.errors import ConfigError
from tests.control.governed import plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run


def written(directory: Path, name: str, **changed: Any) -> str:
    """An experiment file of that name, of the shortest kind."""
    quick = {
        "duration": "300ms",
        "guards": [{"metric": "error_rate", "above": 50}],
        "inject": {"routes": ["all"], "faults": [{"delay": "1ms"}]},
    }
    (directory / f"{name}.yaml").write_text(json.dumps(plain(name=name, **quick | changed)))
    return f"{name}.yaml"


@pytest.mark.usefixtures("proxy")
def test_it_stops_at_the_first_that_is_not_upheld(command: Run, tmp_path: Path) -> None:
    """Without a request nothing is upheld: with `continue` the next one runs, without it none."""
    listed = [{"file": written(tmp_path, "one"), "continue": True}, written(tmp_path, "two"), written(tmp_path, "three")]
    (tmp_path / "day.yaml").write_text(json.dumps({"name": "autumn", "pause": "10ms", "experiments": listed}))
    ended = command("gameday", "run", "day.yaml")
    assert ended.returncode == 98, ended.stdout + ended.stderr
    assert "GameDay autumn" in ended.stdout
    assert "not run" in ended.stdout
    told = json.loads(command("gameday", "run", "day.yaml", "--output", "json").stdout)
    assert [(one["id"], one["state"], one["exit_code"]) for one in told["results"]] == [
        ("one-2", "completed", 98),
        ("two-2", "completed", 98),
    ]
    assert told["listed"] == 3


@pytest.mark.usefixtures("proxy")
def test_what_is_refused_is_a_result(command: Run, tmp_path: Path) -> None:
    """And the worst of all is the exit code."""
    routes = {"inject": {"routes": ["nowhere"], "faults": [{"delay": "1ms"}]}}
    listed = [{"file": written(tmp_path, "wrong", **routes), "continue": True}, written(tmp_path, "right")]
    (tmp_path / "day.yaml").write_text(json.dumps({"experiments": listed}))
    ended = command("gameday", "run", "day.yaml", "--output", "json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert [one["state"] for one in told["results"]] == ["refused", "completed"]
    assert "nowhere" in told["results"][0]["sentence"]
    assert told["name"] == "day"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a.yaml", "a GameDay has name, pause and experiments"),
        ("experiments: []", "from 1 to 100"),
        ("experiment: [a.yaml]", "a GameDay has"),
        ("experiments: [7]", r"experiments\[0\]"),
        ("experiments: [{file: a.yaml, continue: often}]", r"experiments\[0\]"),
        ("experiments: [nowhere.yaml]", "nowhere.yaml"),
        ("experiments: [good.yaml]\npause: soon", "pause"),
        ("experiments: [good.yaml, bad.yaml]", "bad.yaml"),
    ],
)
def test_every_problem_is_told_before_anything_runs(tmp_path: Path, text: str, told: str) -> None:
    """Those of the files that it names, too."""
    written(tmp_path, "good")
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    (tmp_path / "day.yaml").write_text(textwrap.dedent(text))
    with pytest.raises(ConfigError, match=told):
        load(tmp_path / "day.yaml")
