"""The key of the pseudonyms: made once, in a file that only its owner can read.

Pseudonyms of two runs can be joined while the key stays; delete the file and the next
run cannot be linked with those before.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import ControlError
from shadowproxy.redaction.pseudonyms import KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

_PRIVATE: Final = 0o600


def load_key(path: Path) -> bytes:
    """The key in `path`, which is made (mode 0600) when it is not there.

    Raises:
        ControlError: the file cannot be made or read, others can read it, or it holds no key.
    """
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            _make(path)
            continue
        except OSError as error:
            raise ControlError(f"redaction key {path}: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & 0o077:
                raise ControlError(f"redaction key {path} can be read by others (mode {mode:04o}): delete it, and another is made")
            try:
                key = bytes.fromhex(file.read(4 * KEY_BYTES).decode("ascii"))
            except ValueError:
                key = b""
        if len(key) != KEY_BYTES:
            raise ControlError(f"redaction key {path}: {len(key)} bytes in hex, {KEY_BYTES} are needed")
        return key
    raise ControlError(f"redaction key {path}: it vanishes")


def _make(path: Path) -> None:
    """Write a new key beside `path` and link it there: a reader never sees half of one."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
        try:
            os.fchmod(descriptor, _PRIVATE)
            os.write(descriptor, secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
            path.hardlink_to(fresh)
    except OSError as error:
        raise ControlError(f"redaction key {path}: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
