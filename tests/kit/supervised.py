"""`shadowproxy run` as a whole: the control process, its workers and its admin API.

with SupervisedProxy(settings, directory) as proxy:
    Client(proxy.address("front")) ...
    proxy.api("GET", "/api/v1/status")
    proxy.reload(changed)
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.kit import network, process
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.kit.network import Address

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the admin API answered."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class SupervisedProxy:
    """A control process with workers; ready to serve once constructed.

    Args:
        config: plain config. Empty listener and admin addresses are filled with free ports; state and
            the token file go to `directory` unless the config names them.
        directory: for the config file, state, token and logs; a test's tmp_path.
        arguments: further arguments of `shadowproxy run`.
        environment: further environment variables.
        under: a command that becomes `shadowproxy run`, or starts it as its only child, such as unshare.
    """

    def __init__(
        self,
        config: Plain,
        directory: Path,
        *,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        under: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self.file = directory / "shadowproxy.yaml"
        self.token = secrets.token_urlsafe(24)
        token_file = directory / "token"
        token_file.write_text(self.token)
        token_file.chmod(0o600)
        self._fixed: Plain = {
            "admin": {"address": f"{network.HOST}:{network.free_port()}", "token_file": str(token_file)},
            "state": f"sqlite:///{directory / 'state.db'}",
        }
        self._ports: dict[str, str] = {}
        self.config = self._complete(config)
        self._write(self.config)
        self._log = (directory / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "shadowproxy", "run", "-c", str(self.file), *arguments],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=directory, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            self.wait_ready()
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self.abandon()

    @property
    def pid(self) -> int:
        """The control process."""
        started = self.process.pid
        return started if _command_line(started).startswith(sys.executable) else (process.children(started) or [started])[0]

    @property
    def admin(self) -> Address:
        """Where the admin API is."""
        return _split(self.config["admin"]["address"])

    def address(self, name: str) -> Address:
        """Where the listener `name` is."""
        for listener in self.config["listen"]:
            if listener["name"] == name:
                return _split(listener["address"])
        raise KeyError(name)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [pid for pid in process.children(self.pid) if "shadowproxy.dataplane.process" in _command_line(pid)]

    def api(self, method: str, path: str, body: Any = None, *, token: str | None = None, fields: Mapping[str, str] | None = None) -> Reply:
        """One request to the admin API, with our token unless another (or "" for none) is given."""
        connection = http.client.HTTPConnection(*self.admin, timeout=network.PATIENCE_S)
        try:
            headers = dict(fields or {})
            used = self.token if token is None else token
            if used:
                headers.setdefault("Authorization", f"Bearer {used}")
            payload = None
            if body is not None:
                payload = json.dumps(body).encode()
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        assert self.process.poll() is None, f"shadowproxy run ended with {self.process.returncode}: {self.log()}"
        try:
            return self.api("GET", "/readyz", token="").status == 200
        except OSError:
            return False

    def wait_ready(self) -> None:
        """Wait until it is ready to serve."""
        eventually(self.is_ready, "/readyz answers 200", patience_s=30)

    def write(self, config: Plain) -> None:
        """Replace the config file, addresses filled in, without telling anyone."""
        self.config = self._complete(config)
        self._write(self.config)

    def hup(self) -> None:
        """Ask for a reload by signal."""
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """What it wrote to stdout and stderr."""
        return (self.directory / "stderr").read_text("utf-8", "replace")

    def stop(self) -> None:
        """SIGTERM, and a clean end: exit code 0, no worker left, no traceback.

        Raises:
            AssertionError: something of that does not hold.
        """
        try:
            workers = self.workers()
            assert self.process.poll() is None, f"shadowproxy run ended with {self.process.returncode}: {self.log()}"
            os.kill(self.pid, signal.SIGTERM)
            code = self.process.wait(60)
            assert code == 0, f"shadowproxy run ended with {code}: {self.log()}"
            assert "Traceback" not in self.log(), self.log()
            for pid in workers:
                eventually(lambda pid=pid: not process.is_alive(pid), f"worker {pid} ended")  # type: ignore[misc]
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End everything without a check. Idempotent."""
        workers = self.workers() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in workers:
            eventually(lambda pid=pid: not process.is_alive(pid), f"worker {pid} ended")  # type: ignore[misc]
        self._log.close()

    def _complete(self, config: Plain) -> Plain:
        complete = {**self._fixed, **config}
        complete["admin"] = {**self._fixed["admin"], **config.get("admin", {})}
        complete["listen"] = [
            {
                **listener,
                "address": listener.get("address") or self._ports.setdefault(listener["name"], f"{network.HOST}:{network.free_port()}"),
            }
            for listener in config["listen"]
        ]
        return complete

    def _write(self, config: Plain) -> None:
        whole = self.file.with_suffix(".new")
        whole.write_text(yaml.safe_dump(config, sort_keys=False))
        whole.replace(self.file)


def _split(address: str) -> Address:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
