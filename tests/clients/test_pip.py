"""pip with a simple index behind the proxy: what it downloads is what the index holds."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.clients.passage import Passage
from tests.clients.servers import directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def wheel(path: Path, name: str, *, requires: str = "", size: int = 1000) -> str:
    """Write a wheel of one module; its SHA-256."""
    contents = {
        f"{name}.py": b"ANSWER = 42\n" + b"# padding\n" * (size // 10),
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for file, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(content)}\n"
    record += f"{name}-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in [*contents.items(), (f"{name}-1.0.dist-info/RECORD", record.encode())]:
            archive.writestr(zipfile.ZipInfo(file, (2024, 1, 1, 0, 0, 0)), content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simple index (PEP 503) of two wheels, one of which needs the other."""
    root = tmp_path_factory.mktemp("index")
    for name, requires, size in (("alpha", "Requires-Dist: beta\n", 1000), ("beta", "", 2_000_000)):
        page = root / "simple" / name
        page.mkdir(parents=True)
        file = f"{name}-1.0-py3-none-any.whl"
        digest = wheel(page / file, name, requires=requires, size=size)
        (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{file}#sha256={digest}">{file}</a></body></html>')
    return root


@pytest.fixture(scope="module")
def passage(index: Path) -> Iterator[Passage]:
    """The index twice, and the proxy before it."""
    with directory(index) as live, directory(index) as shadow, Passage(live, shadow) as passage:
        yield passage


def pip(passage: Passage, *arguments: str) -> None:
    """Run pip with our index and nothing else."""
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir", *arguments]
    done = subprocess.run([*command, "--index-url", f"{passage.url}/simple/"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_download(passage: Passage, index: Path, tmp_path: Path) -> None:
    """A package and what it requires, direct and through the proxy: the same files, with the hashes that the index names."""
    passage.go_direct()
    passage.forget()
    pip(passage, "download", "--dest", str(tmp_path / "direct"), "alpha")
    direct = passage.heard_direct()
    passage.go_through()
    passage.forget()
    pip(passage, "download", "--dest", str(tmp_path / "through"), "alpha")
    assert passage.check() == direct
    for name in ("alpha", "beta"):
        file = f"{name}-1.0-py3-none-any.whl"
        held = (index / "simple" / name / file).read_bytes()
        assert (tmp_path / "direct" / file).read_bytes() == held
        assert (tmp_path / "through" / file).read_bytes() == held
    assert passage.world.proxy.settled()["mirrors"]["all/shadow"]["bodies"].get("different", 0) == 0


def test_install(passage: Passage, tmp_path: Path) -> None:
    """What was installed through the proxy runs."""
    passage.go_through()
    passage.forget()
    pip(passage, "install", "--quiet", "--target", str(tmp_path / "site"), "alpha")
    passage.check()
    code = "import alpha, beta; print(alpha.ANSWER + beta.ANSWER)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path / "site")
    assert done.stdout == "84\n"
