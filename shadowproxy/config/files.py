"""Asks whether the files that a config names are there and fit together.

Certificates and keys are loaded the way the workers will load them, so that a key that does not
belong to its certificate is a line in a file, not a worker that cannot start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shadowproxy.config.report import child

if TYPE_CHECKING:
    from shadowproxy.config.model import Config
    from shadowproxy.config.report import Report


def check_files(config: Config, report: Report) -> None:
    """Report every file that `config` names and that is missing, unreadable or not what it should be."""
    _check_present(config.admin.token_file, "admin.token_file", report)
    for index, listener in enumerate(config.listen):
        if listener.tls is not None:
            place = f"listen[{index}].tls"
            _check_pair(listener.tls.cert, listener.tls.key, place, report)
            _check_roots(listener.tls.client_ca, child(place, "client_ca"), report)
    for name, fleet in config.fleets.items():
        place = child(child("fleets", name), "tls")
        _check_pair(fleet.tls.cert, fleet.tls.key, place, report)
        _check_roots(fleet.tls.ca, child(place, "ca"), report)


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
