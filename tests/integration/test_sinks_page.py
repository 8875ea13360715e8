"""docs/sinks.md: every command on the page is run, and answers as the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shadowproxy.config import load_text
from shadowproxy.sinks.payment import DECLINES

PAGE = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()


def blocks(kind: str) -> list[str]:
    """The blocks of the page in one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def shown() -> list[tuple[str, str]]:
    """Commands and what the page says that they print."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def test_the_config_has_no_warning() -> None:
    """The one that readers copy."""
    assert load_text(blocks("yaml")[0]).warnings == ()


def test_the_table_of_cards_is_complete() -> None:
    """Every number and token that declines, with its reason."""
    for number, code in DECLINES.items():
        assert re.search(rf"^\|[^|]*\b{number}\b[^|]*\| `{code}` \|$", PAGE, re.MULTILINE)


def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    """From top to bottom, against the page's own config; `...` stands for anything."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: the page's commands are not run")
    for text in blocks("yaml"):
        (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    (_, listed), *commands = shown()
    command = [sys.executable, "-m", "shadowproxy", "sink", "run", "-c", "shop.yaml", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        try:
            assert process.stdout is not None
            real = [process.stdout.readline().split() for _ in listed.splitlines()]
            assert [name for name, _ in real] == [line.split()[0] for line in listed.splitlines()]
            ports = dict(zip([line.split()[1] for line in listed.splitlines()], [url for _, url in real], strict=True))
            for text, expected in commands:
                asked = re.sub("|".join(map(re.escape, ports)), lambda found: ports[found[0]], text)
                said = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
                pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
                assert re.fullmatch(pattern, said.strip()), f"{text}\n{said}"
        finally:
            process.terminate()
            process.wait(30)
