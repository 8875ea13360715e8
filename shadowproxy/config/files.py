"""Asks whether the files that a config names are there and fit together.

Certificates and keys are loaded the way the workers will load them, so that a key that does not
belong to its certificate is a line in a file, not a worker that cannot start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from shadowproxy.config.blockouts import check_blockouts
from shadowproxy.config.report import child

if TYPE_CHECKING:
    from shadowproxy.config.model import Config
    from shadowproxy.config.report import Report

SHORTEST_SECRET: Final = 32
"""Bytes of a key for hmac-sha256: as many as its hash has (RFC 2104 section 3)."""


def check_files(config: Config, report: Report) -> None:
    """Report every file that `config` names and that is missing, unreadable or not what it should be."""
    _check_present(config.admin.token_file, "admin.token_file", report)
    for index, listener in enumerate(config.listen):
        if listener.tls is not None:
            place = f"listen[{index}].tls"
            _check_pair(listener.tls.cert, listener.tls.key, place, report)
            _check_roots(listener.tls.client_ca, child(place, "client_ca"), report)
    for name, key in config.tenancy.passports.keys.items():
        place = child(child("tenancy.passports.keys", name), "file")
        if _check_present(key.file, place, report):
            _check_secret(key.file, place, report)
    for name, sink in config.sinks.items():
        if sink.openapi is not None:
            _check_present(sink.openapi.file, child(child(child("sinks", name), "openapi"), "file"), report)
    for name, fleet in config.fleets.items():
        place = child(child("fleets", name), "tls")
        _check_pair(fleet.tls.cert, fleet.tls.key, place, report)
        _check_roots(fleet.tls.ca, child(place, "ca"), report)
    check_blockouts(config, report)


def _check_secret(file: str, path: str, report: Report) -> None:
    size = len(read_secret(file))
    if size < SHORTEST_SECRET:
        report.error(path, f"{file}: {size} bytes, a key has at least {SHORTEST_SECRET}")
    elif os.stat(file).st_mode & 0o077:  # noqa: PTH116  beside the open() above
        report.warning(path, f"{file}: others than its owner may read the key")


def read_secret(file: str) -> bytes:
    """Return the secret in a file, without white space around it.

    Raises:
        OSError: it cannot be read.

    """
    with open(file, "rb") as opened:  # noqa: PTH123  as below
        return opened.read(65536).strip()


def _check_present(file: str, path: str, report: Report) -> bool:
    """Report a file that is named and cannot be read; say whether there is one to look into."""
    if not file:
        return False
    try:
        with open(file, "rb") as opened:  # noqa: PTH123  Path.open refuses nothing that this does not
            opened.read(1)
    except (OSError, ValueError) as error:
        report.error(path, f"{file}: {getattr(error, 'strerror', None) or error}")
        return False
    return True


def _check_pair(cert: str, key: str, path: str, report: Report) -> None:
    present = [_check_present(cert, child(path, "cert"), report), _check_present(key, child(path, "key"), report)]
    if not all(present):
        return
    import ssl  # noqa: PLC0415  configs without TLS do not pay for it

    try:
        # The password is never asked for at a terminal: an encrypted key is a problem.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        report.error(child(path, "cert"), f"cannot be used with {os.path.basename(key)}: {_reason(error)}")  # noqa: PTH119


def _check_roots(file: str, path: str, report: Report) -> None:
    if not _check_present(file, path, report):
        return
    import ssl  # noqa: PLC0415  as above

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (ssl.SSLError, OSError, ValueError) as error:
        report.error(path, f"not a PEM bundle of certificates: {_reason(error)}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).lower().replace("_", " ")
