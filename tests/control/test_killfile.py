"""The kill file: looked for by a thread, and told in the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowproxy.control.killfile import KillFile
from tests.control.conftest import until

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_is_found_and_found_again(tmp_path: Path) -> None:
    """As long as it is there; a dangling link is there, too."""
    found: list[str] = []
    file = KillFile(found.append)
    path = tmp_path / "stop"
    file.follow(str(path))
    await asyncio.sleep(0.1)
    assert not found
    path.symlink_to("nowhere")
    await until(lambda: len(found) > 2, "it is found again and again")
    assert set(found) == {str(path)}
    assert str(path) in repr(file)
    file.close()


async def test_another_or_none_is_looked_for(tmp_path: Path) -> None:
    """A config that names another file, or none, counts from that moment on."""
    found: list[str] = []
    file = KillFile(found.append)
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    file.follow("")
    await asyncio.sleep(0.1)
    assert not found
    file.follow(str(one))
    await until(lambda: bool(found), "it is found")
    file.follow(str(other))
    found.clear()
    await asyncio.sleep(0.15)
    assert not found
    other.touch()
    await until(lambda: found == [str(other)], "the other is found")
    file.close()


async def test_a_closed_one_tells_nothing(tmp_path: Path) -> None:
    """Also not what it was about to tell."""
    found: list[str] = []
    file = KillFile(found.append)
    (tmp_path / "stop").touch()
    file.follow(str(tmp_path / "stop"))
    file.close()
    await asyncio.sleep(0.1)
    assert not found
