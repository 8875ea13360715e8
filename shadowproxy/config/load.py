"""Config files and texts into accepted configs: the one border that everything from outside crosses."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from shadowproxy.config.files import check_files
from shadowproxy.config.plain import canonical_digest, read_config
from shadowproxy.config.read import UNKNOWN
from shadowproxy.config.report import Place, Places, Report
from shadowproxy.config.source import place_of, read_yaml
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.model import Config
    from shadowproxy.errors import Problem

START: Final = Place(1, 1)

LARGEST_FILE: Final = 8 * 1024 * 1024
"""Bytes of a config file: fifty thousand routes fit, a log file given by mistake does not."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An accepted config and what came with it."""

    config: Config
    warnings: tuple[Problem, ...]
    digest: str
    """SHA-256 of the meaning (`canonical_digest`): equal digests make a reload a no-op."""

    text_digest: str
    """SHA-256 of the bytes that were read."""

    file: str = ""


def load_file(path: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> Loaded:
    """Return the config in a YAML file, with the files that it names checked too.

    Args:
        path: the file; at most 8 MiB.
        env: variables for `${env:NAME}`; the process's environment by default.

    Raises:
        ConfigError: with every problem in the file, each with its line and column.

    """
    name = os.fspath(path)
    report = Report(Places(name))
    content = _read_bytes(name, report)
    return _load(content, report, os.environ if env is None else env, are_files_checked=True)


def read_file(path: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> tuple[Any, Report]:
    """Return what a YAML file says, for a reader of its shape, and the report that further problems belong to.

    Raises:
        ConfigError: it cannot be read, or is not YAML.

    """
    name = os.fspath(path)
    report = Report(Places(name))
    return _value(_read_bytes(name, report), report, os.environ if env is None else env), report


def read_text(text: str | bytes, env: Mapping[str, str] | None = None, *, file: str = "<text>") -> tuple[Any, Report]:
    """As `read_file`, of a text that `file` is the name of.

    Raises:
        ConfigError: it is not YAML.

    """
    report = Report(Places(file))
    return _value(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), report, env or {}), report


def load_text(text: str | bytes, env: Mapping[str, str] | None = None, *, file: str = "<text>") -> Loaded:
    """Return the config that a YAML (or JSON) text describes; files that it names are not looked at.

    Args:
        text: the whole text; bytes are UTF-8.
        env: variables for `${env:NAME}`; none by default.
        file: what problems call the text.

    Raises:
        ConfigError: with every problem in the text, each with its line and column.

    """
    report = Report(Places(file))
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return _load(content, report, env or {}, are_files_checked=False)


def _load(content: bytes, report: Report, env: Mapping[str, str], *, are_files_checked: bool) -> Loaded:
    value = _value(content, report, env)
    config = read_config(value, report)
    if are_files_checked:
        check_files(config, report)
    if report.has_errors:
        raise ConfigError(report.in_order())
    return Loaded(config, report.warnings(), canonical_digest(config), hashlib.sha256(content).hexdigest(), report.places.file)


def _value(content: bytes, report: Report, env: Mapping[str, str]) -> Any:
    value = read_yaml(_decode(content, report), report, env)
    if value is UNKNOWN:
        raise ConfigError(report.errors())
    return value


def _read_bytes(name: str, report: Report) -> bytes:
    """Read a whole file, or refuse it: anything but a regular file or a pipe could be without end."""
    try:
        with Path(name).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                _refuse(report, "not a regular file")
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _refuse(report, f"cannot be read: {reason}")
    if len(content) > LARGEST_FILE:
        _refuse(report, f"has more than {LARGEST_FILE} bytes")
    return content


def _decode(content: bytes, report: Report) -> str:
    if len(content) > LARGEST_FILE:
        _refuse(report, f"has {len(content)} bytes, limit {LARGEST_FILE}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        _refuse(report, f"not UTF-8: byte 0x{content[error.start]:02x}", place_of(before, len(before)))


def _refuse(report: Report, message: str, place: Place = START) -> NoReturn:
    report.places.values[""] = place
    report.error("", message)
    raise ConfigError(report.errors())
