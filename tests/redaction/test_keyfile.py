"""The key file: private, made once, refused when others can read it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from shadowproxy.errors import ControlError
from shadowproxy.redaction.keyfile import load_key
from shadowproxy.redaction.pseudonyms import KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    """Mode 0600, 256 bits, the same at the next start, and nothing beside it."""
    path = tmp_path / "s.redaction.key"
    key = load_key(path)
    assert len(key) == KEY_BYTES
    assert len(set(key)) > 8
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert [one.name for one in tmp_path.iterdir()] == ["s.redaction.key"]
    path.unlink()
    assert load_key(path) != key


def test_starts_at_the_same_time_agree(tmp_path: Path) -> None:
    """Whoever is first makes it; nobody reads half of one."""
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(tmp_path / "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    load_key(tmp_path / "k")
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(ControlError, match=r"can be read by others \(mode 0640\): delete it"):
        load_key(tmp_path / "k")


@pytest.mark.parametrize("content", [b"", b"00", b"zz" * 32, b"\xff" * 64, b"00" * 64])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Truncated, too long, or something else."""
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ControlError, match="32 are needed"):
        load_key(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody can have a key of theirs used."""
    (tmp_path / "theirs").write_text("00" * 32)
    (tmp_path / "k").symlink_to(tmp_path / "theirs")
    with pytest.raises(ControlError):
        load_key(tmp_path / "k")


def test_a_place_that_cannot_be_written_is_a_control_error(tmp_path: Path) -> None:
    """One line with the system's reason."""
    with pytest.raises(ControlError, match="No such file or directory"):
        load_key(tmp_path / "no" / "such" / "k")
