"""Certificates, keys, a token and a calendar in a directory, under the names that the example configs use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


def write_certificates(directory: Path) -> None:
    """Write server, client and root files into `directory`."""
    authority = trustme.CA()
    server, client = authority.issue_cert("live.internal", "localhost"), authority.issue_cert("client.internal")
    for name, leaf in (("server", server), ("client", client)):
        leaf.private_key_pem.write_to_path(directory / f"{name}.key")
        for index, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(directory / f"{name}.pem", append=index > 0)
    authority.cert_pem.write_to_path(directory / "roots.pem")
    authority.cert_pem.write_to_path(directory / "partners.pem")
    (directory / "admin.token").write_text("0123456789abcdef0123456789abcdef\n")
    event = "BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101T000000Z\r\nDTEND:20260102T000000Z\r\nEND:VEVENT\r\n"
    (directory / "launches.ics").write_text(f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:shop\r\n{event}END:VCALENDAR\r\n")
    key = directory / "passport.key"
    key.write_text("a passport key has at least thirty-two bytes\n")
    key.chmod(0o600)
