"""`shadowproxy judge kayenta`: files in, table or document and exit code out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shadowproxy.cli.main import main

CONFIG: dict[str, Any] = {
    "metrics": [
        {"name": "latency", "groups": ["speed"], "analysisConfigurations": {"canary": {"direction": "increase"}}},
        {"name": "errors [5xx]", "groups": ["quality"], "analysisConfigurations": {"canary": {"nanStrategy": "replace"}}},
    ],
    "classifier": {"groupWeights": {"speed": 60, "quality": 40}, "scoreThresholds": {"pass": 95, "marginal": 60}},
}
BASE = {"latency": [100 + 7 * k % 13 for k in range(30)], "errors [5xx]": [0] * 30}
SLOW = {**BASE, "latency": [150 + 7 * k % 13 for k in range(30)]}
FAILING = {**BASE, "errors [5xx]": [5 + k % 3 for k in range(30)]}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the files where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    pairs = [{"name": name, "values": {"control": BASE[name], "experiment": SLOW[name]}} for name in BASE]
    for name, document in (("config", CONFIG), ("base", BASE), ("slow", SLOW), ("failing", FAILING), ("pairs", pairs), ("number", 3)):
        Path(f"{name}.json").write_text(json.dumps(document))
    Path("broken.json").write_text('{"latency":\n nothing}')
    Path("latin.json").write_bytes(b'{"\xe9": 1}')
    Path("deep.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("arguments", "code", "end"),
    [
        (["config.json", "base.json", "base.json"], 0, "Pass, score 100\n"),
        (["config.json", "base.json", "failing.json"], 98, "Marginal, score 60\n"),
        (["config.json", "base.json", "slow.json"], 99, "Fail, score 40\n"),
        (["config.json", "pairs.json"], 99, "Fail, score 40\n"),
        (["config.json", "base.json", "slow.json", "--pass", "40", "--marginal", "0"], 0, "Pass, score 40\n"),
    ],
)
def test_the_exit_code_is_the_outcome(arguments: list[str], code: int, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0 pass, 98 marginal, 99 fail, and the last line says so; thresholds may be given."""
    assert main(["judge", "kayenta", *arguments]) == code
    assert capsys.readouterr().out.endswith(end)


def test_the_table_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Each metric with class, ratio and numbers; brackets in a name are no markup."""
    main(["judge", "kayenta", "config.json", "base.json", "slow.json"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "groups", "is", "ratio", "why"]
    assert lines[1].startswith("latency")
    assert " High " in lines[1]
    assert " 1.4" in lines[1]
    assert any("errors [5xx]" in line and "both series are identical" in line for line in lines)
    assert "group speed: 0 of weight 60" in lines


def test_the_document_is_kayentas(capsys: pytest.CaptureFixture[str]) -> None:
    """With --output json one object and nothing else."""
    assert main(["judge", "kayenta", "config.json", "base.json", "slow.json", "--output", "json"]) == 99
    document = json.loads(capsys.readouterr().out)
    assert document["score"]["classification"] == "Fail"
    assert [result["classification"] for result in document["results"]] == ["High", "Pass"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json", "base.json", "base.json"], "none.json: file: cannot be read: No such file or directory"),
        (["broken.json", "base.json", "base.json"], "broken.json:2:2: file: is no JSON: Expecting value"),
        (["latin.json", "base.json"], "latin.json: file: is no JSON: it is not UTF-8"),
        (["deep.json", "base.json"], "deep.json: file: is no JSON of ours: it is nested too deeply"),
        (["number.json", "base.json"], "number.json: config: must be an object, not 3"),
        (["config.json", "base.json"], "base.json: metrics: must be a list of metric sets, not {'latency': [100, 107, 101, 108, 102,..."),
        (["config.json", "number.json", "base.json"], "number.json: metrics: must be a list of metric sets, not 3"),
        (
            ["config.json", "base.json", "config.json"],
            "config.json: metrics[0]: must be a number or null, not {'name': 'latency', 'groups': ['speed...",
        ),
    ],
)
def test_files_that_cannot_be_used_are_said_to_be(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With file and place, on standard error; exit code 1."""
    assert main(["judge", "kayenta", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[0] == said


def test_the_documented_example_is_what_happens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The three files of docs/kayenta.md give the output below them, line by line."""
    text = (Path(__file__).parents[2] / "docs" / "kayenta.md").read_text()
    files = re.findall(r"^`(\S+\.json)`[^\n]*\n\n```json\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert len(files) == 3
    for name, content in files:
        Path(name).write_text(content)
    command, _, said = re.findall(r"^```\n\$ shadowproxy (.*?)```", text, re.MULTILINE | re.DOTALL)[0].partition("\n")
    monkeypatch.setenv("COLUMNS", "180")
    assert main(command.split()) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == said.splitlines()


def test_a_judge_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors are exit code 2."""
    with pytest.raises(SystemExit) as raised:
        main(["judge"])
    assert raised.value.code == 2
    assert "JUDGE" in capsys.readouterr().err
