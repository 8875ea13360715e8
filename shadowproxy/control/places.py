"""The files of one instance, and how a command on the same machine finds it.

Beside the state file `NAME.db` stand `NAME.token` (the bearer token, mode 0600, kept),
`NAME.redaction.key` (what pseudonyms are made with, mode 0600, kept), `NAME.sinks.db` (what sinks keep), `NAME.exposures.db` (who was affected by experiments), `NAME.ledger.db` (the ledger, unless the config names another), `NAME.audit.jsonl` (kept), `NAME.experiments.jsonl` (the journal of experiments, with its older segments `NAME.experiments.NUMBER.jsonl`, kept) and `NAME.run.json` (mode 0600, only while the instance runs: address,
token file, process id). The run file is locked for as long as the instance lives, which
keeps two instances from sharing one state. A link to it stands in the user's runtime
directory, so that commands work from any directory.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_SUFFIX: Final = ".run.json"
TOKEN_BYTES: Final = 32
TOKEN_SHORTEST: Final = 22
"""Characters of a token that is brought along: 128 bits in base64."""

_TOKEN_LIMIT: Final = 4096
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Token:
    """The bearer token of the admin API. Only its digest stays in memory."""

    digest: bytes
    path: Path
    warning: str = ""

    @property
    def id(self) -> str:
        """What stands for the token in the audit log: the first 8 hex digits of its digest."""
        return self.digest.hex()[:8]

    def matches(self, presented: bytes) -> bool:
        """Whether `presented` is the token; takes equally long for every wrong one."""
        return secrets.compare_digest(hashlib.sha256(presented).digest(), self.digest)

    def opens_gates(self, presented: bytes) -> bool:
        """Whether `presented` is the gate token; as `matches`."""
        return secrets.compare_digest(presented, gate_token(self.digest).encode())


def gate_token(digest: bytes) -> str:
    """The token that opens gates and nothing else, made from the SHA-256 `digest` of the bearer token.

    It may stand where the bearer token must not, as in a manifest: it reveals nothing about that one, changes with it,
    and lets its holder read what a gate says.
    """
    return "gate-" + base64.urlsafe_b64encode(hmac.digest(digest, b"shadowproxy gates", "sha256")).decode().rstrip("=")


class Places:
    """Where the files of the instance with the state file `state` are.

    When the state's directory cannot be written, a private temporary directory stands in
    for it: `warning` says so.
    """

    def __init__(self, state: Path) -> None:
        self.warning = ""
        directory, name = state.absolute().parent, state.stem
        if not _is_writable(directory):
            self.warning = f"cannot write to {directory}: token and run file are in a temporary directory, nothing is kept"
            directory = Path(tempfile.mkdtemp(prefix="shadowproxy-"))
        self.is_temporary = bool(self.warning)
        self.token = directory / f"{name}.token"
        self.audit = directory / f"{name}.audit.jsonl"
        # As with the ledger below: what is not kept is no journal.
        self.journal = state.absolute().parent / f"{name}.experiments.jsonl"
        self.redaction_key = directory / f"{name}.redaction.key"
        # Never in the directory that stands in: rows that vanish with the process would not be durable.
        self.ledger = state.absolute().parent / f"{name}.ledger.db"
        self.sinks = directory / f"{name}.sinks.db"
        self.exposures = directory / f"{name}.exposures.db"
        self.run = directory / f"{name}{RUN_SUFFIX}"
        self._lock = -1

    def lock(self) -> None:
        """Claim the state for this process. Released by the system however the process ends.

        Raises:
            ControlError: another instance runs with this state, or the file cannot be opened.
        """
        try:
            descriptor = os.open(self.run, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
        except OSError as error:
            raise ControlError(f"{self.run}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise ControlError(f"another instance runs with this state (see {self.run})") from None
        os.fchmod(descriptor, _PRIVATE)
        self._lock = descriptor

    def announce(self, facts: dict[str, Any]) -> None:
        """Write the run file, and link it where commands look."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, json.dumps(facts, indent=1).encode() + b"\n", 0)
        link = _link(os.getpid())
        with contextlib.suppress(OSError):
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(self.run)

    def withdraw(self) -> None:
        """Remove the run file and its link, and what is temporary."""
        if self._lock < 0:
            return
        link = _link(os.getpid())
        for path in [link, self.run] + (
            [self.token, self.redaction_key, self.audit, *self.run.parent.glob("*.db*")] if self.is_temporary else []
        ):
            with contextlib.suppress(OSError):
                path.unlink()
        for directory in [link.parent] + ([self.run.parent] if self.is_temporary else []):
            with contextlib.suppress(OSError):
                directory.rmdir()
        os.close(self._lock)
        self._lock = -1

    def load_token(self, named: str) -> Token:
        """The token from the file `named` in the config, or from our own, generated at the first start.

        Raises:
            ControlError: the file cannot be read or made, or its token is too short.
        """
        path = Path(named).absolute() if named else self.token
        if not named:
            _generate(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(_TOKEN_LIMIT).strip()
        except OSError as error:
            raise ControlError(f"token file {path}: {error.strerror}") from None
        if len(text) < TOKEN_SHORTEST or not all(0x21 <= byte <= 0x7E for byte in text):
            raise ControlError(f"token file {path}: {len(text)} characters, at least {TOKEN_SHORTEST} printable ones are needed")
        warning = f"token file {path} can be read by others (mode {stat.S_IMODE(mode):04o})" if mode & 0o077 else ""
        return Token(hashlib.sha256(text).digest(), path, warning)


def running() -> Iterator[dict[str, Any]]:
    """The run files of living instances: those of the working directory first, then all of this user. Each has `path`."""
    seen: set[Path] = set()
    with contextlib.suppress(OSError):
        for path in sorted(Path.cwd().glob(f"*{RUN_SUFFIX}")) + sorted(_runtime_directory().glob("*.json")):
            real = path.resolve()
            facts = _read_run_file(real)
            if facts is not None and real not in seen:
                seen.add(real)
                yield {**facts, "path": str(real)}
            elif facts is None and path.is_symlink():
                path.unlink(missing_ok=True)


def _read_run_file(path: Path) -> dict[str, Any] | None:
    """What a run file says; None unless the instance holds its lock."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None  # somebody else's file in a shared directory would send our token to them
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                facts = json.loads(file.read(_TOKEN_LIMIT * 4))
                return facts if isinstance(facts, dict) else None
    except (OSError, ValueError):
        return None
    return None


def _generate(path: Path) -> None:
    """Make the token file unless there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
    except FileExistsError:
        return
    except OSError as error:
        raise ControlError(f"token file {path}: {error.strerror}") from None
    try:
        os.fchmod(descriptor, _PRIVATE)
        os.write(descriptor, secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
        os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ControlError(f"token file {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _is_writable(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"\0")
    except OSError:
        return False
    return True


def _runtime_directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "shadowproxy"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "shadowproxy" / "run"


def _link(pid: int) -> Path:
    return _runtime_directory() / f"{pid}.json"
