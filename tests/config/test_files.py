"""Files that a config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.config import load_file
from shadowproxy.errors import ConfigError
from tests.config.certificates import write_certificates

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
listen:
  - address: 127.0.0.1:8443
    tls:
      cert: {d}/server.pem
      key: {d}/server.key
      client_ca: {d}/partners.pem
admin:
  token_file: {d}/admin.token
fleets:
  live:
    endpoints: ["https://a"]
    tls:
      ca: {d}/roots.pem
      cert: {d}/client.pem
      key: {d}/client.key
routes: [{{live: live}}]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with every file that CONFIG names."""
    write_certificates(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(d=tmp_path))
    return tmp_path


def problems(directory: Path) -> list[str]:
    """Return the problems of the config there, without directory."""
    with pytest.raises(ConfigError) as caught:
        load_file(directory / "config.yaml")
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


def test_all_there(directory: Path) -> None:
    """Certificates and keys that fit together are accepted."""
    assert load_file(directory / "config.yaml").warnings == ()


@pytest.mark.parametrize(
    ("name", "place", "path"),
    [
        ("server.pem", "4:13", "listen[0].tls.cert"),
        ("server.key", "5:12", "listen[0].tls.key"),
        ("partners.pem", "6:18", "listen[0].tls.client_ca"),
        ("admin.token", "8:15", "admin.token_file"),
        ("roots.pem", "13:11", "fleets.live.tls.ca"),
        ("client.pem", "14:13", "fleets.live.tls.cert"),
        ("client.key", "15:12", "fleets.live.tls.key"),
    ],
)
def test_missing(directory: Path, name: str, place: str, path: str) -> None:
    """A file that is not there is a problem at the value that names it."""
    (directory / name).unlink()
    assert problems(directory) == [f"config.yaml:{place}: {path}: {name}: No such file or directory"]


def test_a_directory_is_not_a_file(directory: Path) -> None:
    """A name that leads to a directory is a problem."""
    (directory / "admin.token").unlink()
    (directory / "admin.token").mkdir()
    assert problems(directory) == ["config.yaml:8:15: admin.token_file: admin.token: Is a directory"]


def test_a_key_of_another_certificate(directory: Path) -> None:
    """A key that does not belong to its certificate is found when the file is checked, not when a worker starts."""
    (directory / "server.key").write_bytes((directory / "client.key").read_bytes())
    (problem,) = problems(directory)
    assert problem.startswith("config.yaml:4:13: listen[0].tls.cert: cannot be used with server.key: ")
    assert "mismatch" in problem


@pytest.mark.parametrize("name", ["server.pem", "client.key", "roots.pem"])
def test_not_pem(directory: Path, name: str) -> None:
    """A file that holds something else is a problem."""
    (directory / name).write_text("not a certificate")
    assert len(problems(directory)) == 1


def test_an_encrypted_key_asks_nobody(directory: Path) -> None:
    """A key that needs a password is a problem; nothing waits at a terminal for it."""
    (directory / "server.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
    assert len(problems(directory)) == 1
