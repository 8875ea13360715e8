"""The image: small, from wheels, and nobody's root."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "deploy" / "Dockerfile").read_text()


def _instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), with continued lines joined and comments left out."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in found]


def _last_stage() -> list[tuple[str, str]]:
    instructions = _instructions()
    begin = max(index for index, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[begin:]


def test_it_does_not_run_as_root() -> None:
    """The last USER of the last stage is a number other than 0, set after everything that needs root."""
    words = [word for word, _ in _last_stage()]
    (user,) = [rest for word, rest in _last_stage() if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert "RUN" not in words[words.index("USER") :]


def test_it_is_slim_and_needs_no_compiler() -> None:
    """Both stages are the slim image of a supported Python; nothing is installed by apt, and dependencies come as wheels."""
    images = [rest.split()[0] for word, rest in _instructions() if word == "FROM"]
    assert images == ["python:3.11-slim"] * 2
    assert "apt-get" not in TEXT
    assert "--only-binary :all:" in TEXT


def test_what_it_copies_is_there_and_not_ignored() -> None:
    """Every file that is copied from the tree exists, and .dockerignore lets it through."""
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [name for word, rest in _instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatch.fnmatch(name, pattern) for pattern in let_through), name


def test_it_drains_when_stopped_and_says_whether_it_is_well() -> None:
    """Docker stops it by SIGTERM, and its health is what the proxy says of itself."""
    stage = dict(_last_stage())
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert '"shadowproxy", "status"' in stage["HEALTHCHECK"]
    assert stage["ENTRYPOINT"] == '["shadowproxy"]'
