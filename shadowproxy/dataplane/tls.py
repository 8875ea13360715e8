"""TLS contexts, read from the files that the config names.

A context is never changed once it is in use: rotation makes a new one, so that a file that cannot be read
or does not fit its key leaves the old one whole, and a client CA that is no longer named is no longer trusted.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowproxy.config.model import ListenerTLS, UpstreamTLS


_NO_PASSWORD = b""


def listener_context(tls: ListenerTLS) -> ssl.SSLContext:
    """What a listener shows its clients.

    Raises:
        OSError: a file cannot be read, or is not what it should be (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A key with a password is refused; without this OpenSSL would ask for it on the terminal, and everybody would wait.
    context.load_cert_chain(tls.cert, tls.key, password=_NO_PASSWORD)
    if tls.client_ca:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def upstream_context(tls: UpstreamTLS) -> ssl.SSLContext:
    """What connections to https endpoints use: verification is on unless the config turns it off.

    Raises:
        OSError: a file cannot be read, or is not what it should be (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None, password=_NO_PASSWORD)
    context.set_alpn_protocols(["http/1.1"])
    return context


def fingerprint(tls: ListenerTLS) -> tuple[bytes, ...]:
    """The contents of a listener's files: the same contents need no new context.

    Raises:
        OSError: a file cannot be read.
    """
    contents = []
    for name in (tls.cert, tls.key, tls.client_ca):
        if name:
            with open(name, "rb") as file:  # noqa: PTH123 -- three small local files, at a reload
                contents.append(file.read())
        else:
            contents.append(b"")
    return tuple(contents)
