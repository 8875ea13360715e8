"""Control's part in passports: the same keys for all workers, an answer for each nonce, and no secret anywhere else."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.audit import SYSTEM
from shadowproxy.control.nonces import Nonces
from shadowproxy.control.passports import Passports
from tests.control.conftest import Api, Start, plain, until

if TYPE_CHECKING:
    import aiohttp

    from shadowproxy.config.model import Config

FIRST = "the first secret, of enough bytes ..."
SECOND = "the second secret, of enough bytes .."


def tenancy(tmp_path: Path, **keys: str) -> dict[str, Any]:
    """A config's part with these keys, in files."""
    for name, secret in keys.items():
        file = tmp_path / f"{name}.key"
        file.write_text(f"{secret}\n")
        file.chmod(0o600)
    return {"passports": {"keys": {name: {"file": str(tmp_path / f"{name}.key")} for name in keys}, "skew": "2s"}}


def config_of(tmp_path: Path, **keys: str) -> Config:
    """A config with these keys."""
    return from_plain(plain(tmp_path, tenancy=tenancy(tmp_path, **keys)))


def encoded(**keys: str) -> dict[str, str]:
    """Keys as workers are told them."""
    return {name: base64.b64encode(secret.encode()).decode() for name, secret in keys.items()}


def test_workers_are_told_keys_and_a_beginning(tmp_path: Path) -> None:
    """Secrets without the line's end; passports count from a moment that no process before this one can have seen."""
    config = config_of(tmp_path, k1=FIRST, k2=SECOND)
    passports = Passports(config, 1000.25)
    assert passports.tell(config) == {"passport_keys": encoded(k1=FIRST, k2=SECOND), "since": 1003}


def test_files_count_as_they_were_when_the_config_came_into_force(tmp_path: Path) -> None:
    """A worker that is started later gets the keys that the others have; a reload makes a new file count."""
    config = config_of(tmp_path, k1=FIRST)
    passports = Passports(config, 1000.0)
    (tmp_path / "k1.key").write_text(SECOND)
    assert passports.tell(config)["passport_keys"] == encoded(k1=FIRST)
    assert passports.refresh(config)
    assert passports.tell(config)["passport_keys"] == encoded(k1=SECOND)
    assert not passports.refresh(config)


def test_another_config_brings_its_own_keys(tmp_path: Path) -> None:
    """A key that it does not name is not told any more."""
    before, after = config_of(tmp_path, k1=FIRST, k2=SECOND), config_of(tmp_path, k2=SECOND)
    passports = Passports(before, 1000.0)
    assert passports.tell(after)["passport_keys"] == encoded(k2=SECOND)
    assert passports.tell(before)["passport_keys"] == encoded(k1=FIRST, k2=SECOND)


def test_a_file_that_has_gone_leaves_its_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be read stays as it was and is said; a key that was never read is none."""
    config = config_of(tmp_path, k1=FIRST)
    passports = Passports(config, 1000.0)
    (tmp_path / "k1.key").unlink()
    assert not passports.refresh(config)
    assert passports.tell(config)["passport_keys"] == encoded(k1=FIRST)
    assert passports.problem == f"passport key k1: {tmp_path}/k1.key: No such file or directory"
    assert passports.problem in caplog.text
    assert Passports(config, 1000.0).tell(config)["passport_keys"] == {}


def test_nothing_shows_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not what it is printed as, and not what is logged when a file goes."""
    caplog.set_level(logging.DEBUG)
    config = config_of(tmp_path, k1=FIRST)
    passports = Passports(config, 1000.0)
    (tmp_path / "k1.key").unlink()
    passports.refresh(config)
    for text in (repr(passports), caplog.text, passports.problem):
        assert FIRST not in text
        assert encoded(k1=FIRST)["k1"] not in text


class Asking:
    """A worker that asks."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        """Take an answer."""
        self.sent.append(message)


def test_every_worker_is_answered_from_one_memory(tmp_path: Path) -> None:
    """What one worker has used is used for all, and each answer has the number of its question."""
    config = config_of(tmp_path, k1=FIRST)
    passports = Passports(config, 1000.0, Nonces(clock=lambda: 2000.0))
    one, two = Asking(), Asking()
    passports.on_nonces(one, {"type": "nonces", "id": 7, "nonces": [["k1", "a", 2060], ["k1", "b", 2060]]})  # type: ignore[arg-type]
    passports.on_nonces(two, {"type": "nonces", "id": 7, "nonces": [["k1", "b", 2060], ["k1", "c", 1997], ["k1", "d", 1998]]})  # type: ignore[arg-type]
    assert one.sent == [{"type": "nonces_done", "id": 7, "uses": ["fresh", "fresh"]}]
    assert two.sent == [{"type": "nonces_done", "id": 7, "uses": ["replayed", "expired", "fresh"]}]


@pytest.mark.parametrize("wrong", [{}, {"id": 1}, {"nonces": []}, {"id": 1, "nonces": [["k1"]]}, {"id": 1, "nonces": None}])
def test_what_cannot_be_read_is_not_answered(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """The crew counts it as a bad message; the worker refuses what it asked for when no answer comes."""
    passports = Passports(config_of(tmp_path, k1=FIRST), 1000.0)
    worker = Asking()
    with pytest.raises((KeyError, TypeError, ValueError)):
        passports.on_nonces(worker, {"type": "nonces", **wrong})  # type: ignore[arg-type]
    assert worker.sent == []


async def test_no_secret_leaves_by_another_way(
    start: Start, session: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Config, status and metrics over the admin API, the audit, the log, and the arguments and environment of every process."""
    caplog.set_level(logging.DEBUG)
    supervisor = await start(file=tmp_path / "proxy.yaml", tenancy=tenancy(tmp_path, k1=FIRST))
    api = Api(session, supervisor)
    shown = [caplog.text]
    for path in ("/api/v1/config", "/api/v1/status", "/api/v1/audit", "/metrics", "/api/v1/openapi.json"):
        status, _, body = await api("GET", path)
        assert status == 200, path
        shown.append(str(body))
    for worker in supervisor.crew.workers:
        shown += [_process(worker.pid, "cmdline"), _process(worker.pid, "environ")]
    shown += [_process(os.getpid(), "cmdline"), supervisor.places.audit.read_text(), repr(supervisor), repr(supervisor.crew)]
    shown += [str(path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".key"]
    assert len(shown) > 10
    for text in shown:
        assert FIRST not in text
        assert encoded(k1=FIRST)["k1"] not in text


def _process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_bytes().decode("latin-1")


async def test_a_reload_makes_new_keys_count(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same config: the file's new secret is sent; a file that has gone is a problem, and its key stays."""
    file = tmp_path / "proxy.yaml"
    supervisor = await start(file=file, tenancy=tenancy(tmp_path, k1=FIRST))
    sent: list[Any] = []
    monkeypatch.setattr(supervisor.crew.workers[0], "send_frame", sent.append)
    assert (await supervisor.configs.reload(SYSTEM)).result == "unchanged"
    assert sent == []
    tenancy(tmp_path, k1=SECOND)
    assert (await supervisor.configs.reload(SYSTEM)).result == "unchanged"
    await until(lambda: len(sent) == 1, "a policy")
    assert encoded(k1=SECOND)["k1"].encode() in sent[0]
    assert supervisor.configs.problem == ""
