"""`shadowproxy check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from shadowproxy.cli.main import main
from shadowproxy.config import load_file

GOOD = """\
listen: ["127.0.0.1:8080"]
fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}, shadow: {endpoints: ["http://127.0.0.1:9002"]}}
routes: [{live: live, mirror: [{to: shadow, percent: 10}]}]
"""
WARNED = GOOD.replace(", percent: 10", "")
BAD = WARNED.replace("listen:", "lisen:").replace("to: shadow", "to: shdow")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a good, a warned and a bad file where the command runs."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        Path(f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["good.yaml"], 0, "ok: 1 route, 2 fleets, 1 mirror\n"),
        (["good.yaml", "--strict"], 0, "ok: 1 route, 2 fleets, 1 mirror\n"),
        (["warned.yaml"], 0, (
            "warned.yaml:3:32: routes[0].mirror[0].percent: warning: percent not given: 100 % is mirrored\n"
            "ok: 1 route, 2 fleets, 1 mirror, 1 warning\n"
        )),
        (["warned.yaml", "--strict"], 3, (
            "warned.yaml:3:32: routes[0].mirror[0].percent: warning: percent not given: 100 % is mirrored\n"
            "ok: 1 route, 2 fleets, 1 mirror, 1 warning\n"
        )),
        (["bad.yaml"], 1, (
            "bad.yaml:1:1: lisen: unknown key (did you mean 'listen'?)\n"
            "bad.yaml:3:32: routes[0].mirror[0].percent: warning: percent not given: 100 % is mirrored\n"
            "bad.yaml:3:37: routes[0].mirror[0].to: no fleet is called 'shdow' (did you mean 'shadow'?)\n"
            "2 problems, 1 warning\n"
        )),
        (["none.yaml"], 1, "none.yaml:1:1: config: cannot be read: No such file or directory\n1 problem\n"),
        (["bad.yaml", "--strict"], 1, None),
    ],
)  # fmt: skip
def test_text(arguments: list[str], code: int, output: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem and warning is a line with its place, and the last line sums up; the exit code says whether the file can be used."""
    assert main(["check", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    if output is not None:
        assert printed.out == output


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same findings for programs."""
    assert main(["check", "bad.yaml", "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["ok"], found["errors"], found["warnings"], found["digest"]) == ("bad.yaml", False, 2, 1, None)
    assert found["problems"][0] == {
        "path": "lisen",
        "message": "unknown key",
        "line": 1,
        "column": 1,
        "file": "bad.yaml",
        "suggestion": "listen",
        "is_warning": False,
    }
    assert main(["check", "good.yaml", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["problems"], found["digest"]) == (True, [], load_file("good.yaml").digest)


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is printed without a file."""
    assert main(["check", "--schema"]) == 0
    Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a file nor --schema is a usage error."""
    with pytest.raises(SystemExit) as caught:
        main(["check"])
    assert caught.value.code == 2
    assert "FILE is missing" in capsys.readouterr().err


def test_documents_of_sinks_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An OpenAPI document that cannot be used is a problem of the config that names it."""
    document, config = tmp_path / "shop.yaml", tmp_path / "config.yaml"
    config.write_text(
        'listen: ["127.0.0.1:8080"]\nfleets: {live: {endpoints: ["http://10.0.0.1:80"]}}\n'
        f"routes: [{{live: live, test_traffic: {{writes: {{sink: s}}}}}}]\nsinks: {{s: {{openapi: {document}}}}}\n"
    )
    document.write_text("openapi: 3.1.0\npaths: {/a: {$ref: 'other.yaml'}}\n")
    assert main(["check", str(config)]) == 1
    assert capsys.readouterr().out == (
        f"{config}: sinks.s.openapi.file: {document}: 'other.yaml' leads out of the document: only references within it are followed\n1 problem\n"
    )
    document.write_text("openapi: 3.1.0\npaths: {}\n")
    assert main(["check", str(config)]) == 0
