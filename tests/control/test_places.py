"""The files of an instance: private, locked, found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shadowproxy.control import places
from shadowproxy.control.places import Places
from shadowproxy.errors import ControlError


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "runtime"


@pytest.fixture
def here(tmp_path: Path) -> Places:
    """The files of an instance in the test's own directory."""
    return Places(tmp_path / "proxy.db")


def test_a_token_is_generated_once_and_private(here: Places) -> None:
    """256 bits, mode 0600 whatever the umask, the same at the next start; only its digest is kept."""
    old = os.umask(0)
    try:
        token = here.load_token("")
    finally:
        os.umask(old)
    assert here.token.stat().st_mode & 0o777 == 0o600
    text = here.token.read_bytes().strip()
    assert len(text) >= 43
    assert token.matches(text)
    assert not token.matches(text + b"x")
    assert not token.matches(b"")
    assert text.decode() not in repr(token)
    assert here.load_token("").digest == token.digest
    assert not token.warning


def test_a_token_file_that_others_can_read_is_complained_of(here: Places, tmp_path: Path) -> None:
    """It is used, as secrets are often mounted so, and said aloud."""
    file = tmp_path / "mounted"
    file.write_text("a" * 22)
    file.chmod(0o644)
    assert "can be read by others (mode 0644)" in here.load_token(str(file)).warning


@pytest.mark.parametrize("content", ["", "short", "a" * 21, "a" * 22 + " b" * 9, "\u00e9" * 30])
def test_a_weak_token_is_refused(here: Places, tmp_path: Path, content: str) -> None:
    """Fewer than 128 bits, or what a header cannot carry, is no token."""
    file = tmp_path / "weak"
    file.write_text(content)
    with pytest.raises(ControlError, match="at least 22 printable"):
        here.load_token(str(file))


def test_a_missing_token_file_is_one_line(here: Places, tmp_path: Path) -> None:
    """A named file is not generated."""
    with pytest.raises(ControlError, match="No such file"):
        here.load_token(str(tmp_path / "missing"))


def test_a_symlink_in_place_of_the_token_is_not_written_through(here: Places, tmp_path: Path) -> None:
    """Nobody can have us write a token elsewhere."""
    here.token.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlError):
        here.load_token("")
    assert not (tmp_path / "elsewhere").exists()


def test_a_running_instance_is_found_and_an_ended_one_is_not(
    here: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    """The run file counts while its lock is held: a stale file of a killed instance is ignored."""
    monkeypatch.chdir(tmp_path)
    assert list(places.running()) == []
    here.lock()
    here.announce({"admin": "http://x", "pid": 1})
    assert here.run.stat().st_mode & 0o777 == 0o600
    assert [facts["admin"] for facts in places.running()] == ["http://x"]
    monkeypatch.chdir(runtime)
    assert [facts["path"] for facts in places.running()] == [str(here.run)]
    monkeypatch.chdir(tmp_path)
    text = here.run.read_text()
    here.withdraw()
    assert list(places.running()) == []
    here.run.write_text(text)
    assert list(places.running()) == []
    assert not runtime.exists() or not list((runtime / "shadowproxy").glob("*"))


def test_a_state_is_claimed_once(here: Places, tmp_path: Path) -> None:
    """A second instance is refused, and may start when the first has gone."""
    here.lock()
    second = Places(tmp_path / "proxy.db")
    with pytest.raises(ControlError, match="another instance runs with this state"):
        second.lock()
    here.withdraw()
    second.lock()
    second.withdraw()


def test_nonsense_in_a_run_file_is_ignored(here: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds no object is nobody's."""
    monkeypatch.chdir(tmp_path)
    here.lock()
    here.run.write_text(json.dumps([1]))
    assert list(places.running()) == []
    here.run.write_text("{")
    assert list(places.running()) == []
    here.withdraw()


def test_a_ledger_is_never_where_nothing_is_kept() -> None:
    """Where the state's directory cannot be written to, other files move to a temporary one; rows that vanish with it would not be durable."""
    here = Places(Path("/proc/proxy.db"))
    try:
        assert here.is_temporary
        assert here.ledger == Path("/proc/proxy.ledger.db")
        assert here.token.parent != Path("/proc")
    finally:
        here.token.parent.rmdir()
