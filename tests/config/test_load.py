"""Files and texts as they come: readable or not, YAML or not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import canonical_digest, load_file, load_text
from shadowproxy.config.load import LARGEST_FILE
from shadowproxy.errors import ConfigError
from tests.config.strategies import junk, plain_configs

SMALL = """\
listen: ["127.0.0.1:8080"]
fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}}
routes: [{live: live}]
"""
EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


def refusal(content: bytes, tmp_path: Path) -> list[str]:
    """Return the problems of a file with this content."""
    file = tmp_path / "f.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_file(file)
    return [str(problem).replace(f"{file}", "f.yaml") for problem in caught.value.problems]


def test_a_file(tmp_path: Path) -> None:
    """A good file gives the config, its digests and no warnings."""
    file = tmp_path / "f.yaml"
    file.write_text(SMALL)
    loaded = load_file(str(file))
    assert loaded.config.fleets["live"].endpoints == ("http://127.0.0.1:9001",)
    assert loaded.warnings == ()
    assert loaded.digest == canonical_digest(loaded.config)
    assert loaded.text_digest == hashlib.sha256(SMALL.encode()).hexdigest()
    assert loaded.file == str(file)


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file sees the process's environment unless it is given another; a text sees only what it is given."""
    file = tmp_path / "f.yaml"
    file.write_text(SMALL + "workers: ${env:SHADOWPROXY_TEST_WORKERS:-1}\n")
    monkeypatch.setenv("SHADOWPROXY_TEST_WORKERS", "3")
    assert load_file(file).config.workers == 3
    assert load_file(file, {}).config.workers == 1
    assert load_file(file, {"SHADOWPROXY_TEST_WORKERS": "5"}).config.workers == 5
    assert load_text(file.read_bytes()).config.workers == 1


def test_warnings_come_with_the_config() -> None:
    """Warnings do not stop a config from being used."""
    loaded = load_text(SMALL.replace("[{live: live}]", "[{live: live, mirror: [{to: live}]}]"), file="f")
    assert [str(warning) for warning in loaded.warnings] == [
        "f:3:32: routes[0].mirror[0].percent: warning: percent not given: 100 % is mirrored",
        "f:3:37: routes[0].mirror[0].to: warning: live serves the copies as well, from http://127.0.0.1:9001: they are load on it",
    ]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"", ["f.yaml:1:1: config: the file is empty"]),
        (b"a: b\n\xff", ["f.yaml:2:1: config: not UTF-8: byte 0xff"]),
        ("é: \udcff".encode("utf-8", "surrogateescape"), ["f.yaml:1:4: config: not UTF-8: byte 0xff"]),
        (b"a: \0", ["f.yaml:1:4: config: the character U+0000 cannot stand in YAML"]),
        (SMALL.encode("utf-16"), ["f.yaml:1:1: config: not UTF-8: byte 0xff"]),
        (b"- a\n", ["f.yaml:1:1: config: expected a mapping, got a list"]),
        (b"text", ["f.yaml:1:1: config: expected a mapping, got 'text'"]),
        (b"#" * (LARGEST_FILE + 1), ["f.yaml:1:1: config: has more than 8388608 bytes"]),
    ],
)
def test_unusable_files(content: bytes, problems: list[str], tmp_path: Path) -> None:
    """What is not a UTF-8 text of YAML of a sensible size is one problem with a place."""
    assert refusal(content, tmp_path) == problems


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file, a directory and a device are problems, not exceptions."""
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "not a regular file"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_file(path)
        (problem,) = caught.value.problems
        assert reason in problem.message
        assert (problem.line, problem.column, problem.file) == (1, 1, str(path))


def test_a_file_without_permission(tmp_path: Path) -> None:
    """A file that may not be read says so. Root reads everything, so it is nobody for the moment."""
    file = tmp_path / "f.yaml"
    file.write_text(SMALL)
    file.chmod(0)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            load_file(file)
    finally:
        os.seteuid(user)


def test_every_problem_of_a_file_at_once(tmp_path: Path) -> None:
    """Problems of every stage come together, in file order."""
    content = (
        SMALL.replace("listen:", "workers: ${env:SHADOWPROXY_NOT_SET}\nlisten:").replace("[{live: live}]", "[{live: lief, mach: {}}]")
        + "routes: []\nadmin: {token_file: /nowhere/x}\n"
    )
    assert refusal(content.encode(), tmp_path) == [
        "f.yaml:1:10: workers: the environment variable SHADOWPROXY_NOT_SET is not set",
        "f.yaml:4:17: routes[0].live: no fleet is called 'lief' (did you mean 'live'?)",
        "f.yaml:4:23: routes[0].mach: unknown key (did you mean 'match'?)",
        "f.yaml:5:1: routes: given twice, first on line 4",
        "f.yaml:6:21: admin.token_file: /nowhere/x: No such file or directory",
    ]


def check_refusal(content: bytes | str) -> None:
    """Load a text; if it is refused, every problem must have a place in it."""
    try:
        load_text(content, file="f")
    except ConfigError as error:
        assert error.problems  # noqa: PT017  both outcomes are right; only other exceptions are not
        assert any(not problem.is_warning for problem in error.problems)  # noqa: PT017
        for problem in error.problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert problem.file == "f"
            assert "\n" not in problem.message


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """Whatever the bytes, the answer is a config or problems with places."""
    check_refusal(content)


@given(st.text(max_size=100))
def test_any_text(content: str) -> None:
    """Whatever the text, the answer is a config or problems with places."""
    check_refusal(content)


@given(st.dictionaries(st.sampled_from(["listen", "fleets", "routes", "admin", "limits", "workers", "x-a", "zz"]), junk, max_size=6))
def test_any_yaml(value: dict[str, Any]) -> None:
    """Whatever YAML says, the answer is a config or problems with places."""
    check_refusal(yaml.safe_dump(value, allow_unicode=True))


@given(plain_configs(), st.data())
def test_a_spoilt_config(plain: dict[str, Any], data: st.DataObject) -> None:
    """A config with anything in the place of any one value is a config or problems with places."""
    holder: Any = plain
    while True:
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(junk)
    check_refusal(yaml.safe_dump(plain, allow_unicode=True))


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_damaged_example(file: Path, data: st.DataObject) -> None:
    """A real file, cut or changed in any place, is a config or problems with places."""
    text = file.read_text()
    at = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 30))
    check_refusal(text[:at] + data.draw(st.text("{}[]:,&*!|>-\"'\n\t #%@`$x1", max_size=5)) + text[at + removed :])
