"""README's example of tests in production: its commands are run, and print what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.kit import Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("## Tests in production\n")[2].partition("\n## ")[0]


def block(kind: str) -> str:
    """The section's block in one language."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    return str(found)


def commands() -> Iterator[tuple[str, str]]:
    """Each command, and what it prints; without the first, which runs the proxy."""
    first, *others = re.split(r"^\$ ", block("console"), flags=re.MULTILINE)[1:]
    assert first == ".venv/bin/shadowproxy run -c tests.yaml &\n"
    for part in others:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: README's commands are not run")
def test_tests_in_production(tmp_path: Path) -> None:
    """The tester sees the order, the ledger has it, and live has seen nothing of it."""
    config = yaml.safe_load(block("yaml"))
    live = Origin("live")
    try:
        config["fleets"]["live"]["endpoints"] = [live.url]
        ours = {name: value for name, value in config.items() if name not in {"admin", "state"}} | {"listen": [{"name": "front"}]}
        with SupervisedProxy(ours, tmp_path) as proxy:
            front, admin = ("{}:{}".format(*address) for address in (proxy.address("front"), proxy.admin))
            places = dict(zip((config["listen"][0], config["admin"]["address"]), (front, admin), strict=True))

            def said(command: str) -> str:
                text = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], command)
                text = text.replace(".venv/bin/shadowproxy", f"{sys.executable} -m shadowproxy").replace("curl ", "curl -s ")
                done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False, cwd=tmp_path)
                assert done.returncode == 0, done.stderr
                return done.stdout

            for command, expected in commands():
                if "curl" in command:
                    assert said(command).strip() == expected.strip()
                else:  # counters come with the next report
                    eventually(lambda command=command, expected=expected: said(command).split() == expected.split())  # type: ignore[misc]
        assert live.requests == []
    finally:
        live.stop()
