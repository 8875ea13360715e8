"""git over smart HTTP: clone, push, fetch, with a repository each behind live and shadow."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients.passage import Passage
from tests.clients.servers import application, git_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(*arguments: str, at: Path) -> str:
    """Run git with no settings but ours; its output."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(at), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@shop.example", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@shop.example",
        "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    }  # fmt: skip
    done = subprocess.run(["git", *arguments], cwd=at, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    """A bare repository with a commit, twice."""
    work = tmp_path / "work"
    work.mkdir()
    git("init", "-q", "-b", "main", at=work)
    (work / "large.bin").write_bytes(random.Random(7).randbytes(2_000_000))
    for number in range(30):
        (work / f"file{number}.txt").write_text(f"line {number}\n" * 100)
    git("add", ".", at=work)
    git("commit", "-q", "-m", "first", at=work)
    roots = []
    for name in ("live", "shadow"):
        root = tmp_path / name
        root.mkdir()
        git("clone", "-q", "--bare", str(work), str(root / "shop.git"), at=tmp_path)
        git("config", "http.receivepack", "true", at=root / "shop.git")
        roots.append(root)
    return roots


@pytest.fixture
def passage(roots: list[Path]) -> Iterator[Passage]:
    """Both repositories behind git's own server program, and the proxy before them."""
    live_root, shadow_root = roots
    with (
        application(lambda: git_backend(live_root)) as live,
        application(lambda: git_backend(shadow_root)) as shadow,
        Passage(live, shadow) as passage,
    ):
        yield passage


def tips(repository: Path) -> str:
    """The branches of a bare repository."""
    return git("for-each-ref", at=repository)


def test_clone_push_and_fetch(passage: Passage, roots: list[Path], tmp_path: Path) -> None:
    """A clone through the proxy is the one made direct; a push arrives at both repositories; a fetch brings it to the other clone."""
    passage.go_direct()
    git("clone", "-q", f"{passage.url}/shop.git", "direct", at=tmp_path)
    passage.go_through()
    passage.forget()
    git("clone", "-q", f"{passage.url}/shop.git", "through", at=tmp_path)
    heard = passage.check()
    assert any(answer.target.endswith("/git-upload-pack") and len(answer.body) > 2_000_000 for answer in heard)
    through, direct = tmp_path / "through", tmp_path / "direct"
    assert git("rev-parse", "HEAD^{tree}", at=through) == git("rev-parse", "HEAD^{tree}", at=direct)
    git("fsck", "--strict", at=through)

    passage.forget()
    # Over http.postBuffer (1 MiB) git sends chunks; below it, a length.
    for name, size in (("small", 1000), ("large", 3_000_000)):
        (through / name).write_bytes(random.Random(name).randbytes(size))
        git("add", ".", at=through)
        git("commit", "-q", "-m", name, at=through)
        git("push", "-q", "origin", "main", at=through)
    passage.check()
    assert tips(roots[0] / "shop.git") == tips(roots[1] / "shop.git")
    assert git("rev-parse", "main", at=through) == git("rev-parse", "main", at=roots[0] / "shop.git")

    passage.forget()
    git("pull", "-q", "--ff-only", at=direct)
    passage.check()
    assert (direct / "large").read_bytes() == (through / "large").read_bytes()
    assert passage.world.fates().keys() == {"paired"}


def test_a_push_is_mirrored_only_where_the_methods_say_so(roots: list[Path], tmp_path: Path) -> None:
    """With the default methods (the safe ones) a push reaches live alone, and the shadow's repository stays as it was."""
    before = tips(roots[1] / "shop.git")
    with (
        application(lambda: git_backend(roots[0])) as live,
        application(lambda: git_backend(roots[1])) as shadow,
        Passage(live, shadow, mirror={"methods": ["GET", "HEAD", "OPTIONS"]}) as passage,
    ):
        git("clone", "-q", f"{passage.url}/shop.git", "clone", at=tmp_path)
        (tmp_path / "clone" / "new").write_text("new\n")
        git("add", ".", at=tmp_path / "clone")
        git("commit", "-q", "-m", "new", at=tmp_path / "clone")
        git("push", "-q", "origin", "main", at=tmp_path / "clone")
        passage.check(is_mirrored=False)
        fates = passage.world.fates()
    assert tips(roots[0] / "shop.git") != before
    assert tips(roots[1] / "shop.git") == before
    assert fates["method"] >= 2
    assert fates["paired"] >= 2
