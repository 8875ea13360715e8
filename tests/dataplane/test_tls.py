"""TLS contexts: read whole, or not at all. Handshakes are in tests/integration/test_tls.py."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from shadowproxy.config.model import ListenerTLS, UpstreamTLS
from shadowproxy.dataplane.tls import fingerprint, listener_context, upstream_context

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and a certificate of it with its key, in one directory."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    leaf = authority.issue_cert("shop.example")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    trustme.CA().issue_cert("other.example").private_key_pem.write_to_path(directory / "other.pem")
    return directory


def _listener(files: Path, key: str = "key.pem", client_ca: str = "") -> ListenerTLS:
    return ListenerTLS(cert=str(files / "cert.pem"), key=str(files / key), client_ca=client_ca and str(files / client_ca))


def test_listeners_ask_for_client_certificates_where_told(files: Path) -> None:
    """TLS 1.2 at least; without a client CA nobody is asked, with one everybody must show a certificate."""
    plain = listener_context(_listener(files))
    assert plain.minimum_version is ssl.TLSVersion.TLSv1_2
    assert plain.verify_mode is ssl.CERT_NONE
    asking = listener_context(_listener(files, client_ca="ca.pem"))
    assert asking.verify_mode is ssl.CERT_REQUIRED
    assert len(asking.get_ca_certs()) == 1


@pytest.mark.parametrize(("key", "client_ca"), [("other.pem", ""), ("none.pem", ""), ("key.pem", "none.pem"), ("ca.pem", "")])
def test_files_that_do_not_fit_are_an_error(files: Path, key: str, client_ca: str) -> None:
    """An OSError, of which ssl.SSLError is one: the caller keeps what it had."""
    with pytest.raises(OSError):
        listener_context(_listener(files, key, client_ca))


def test_upstreams_are_verified_unless_told_otherwise(files: Path) -> None:
    """By the system's authorities or the config's; a client certificate is shown where one is named."""
    usual = upstream_context(UpstreamTLS())
    assert usual.verify_mode is ssl.CERT_REQUIRED
    assert usual.check_hostname
    own = upstream_context(UpstreamTLS(ca=str(files / "ca.pem"), cert=str(files / "cert.pem"), key=str(files / "key.pem")))
    assert len(own.get_ca_certs()) == 1
    blind = upstream_context(UpstreamTLS(verify=False))
    assert blind.verify_mode is ssl.CERT_NONE
    assert not blind.check_hostname
    with pytest.raises(OSError):
        upstream_context(UpstreamTLS(ca=str(files / "none.pem")))


def test_a_fingerprint_changes_with_the_contents(files: Path, tmp_path: Path) -> None:
    """Not with the file's time: touching a file restarts nothing."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    assert fingerprint(_listener(tmp_path)) == fingerprint(_listener(files)) != fingerprint(_listener(files, client_ca="ca.pem"))
    (tmp_path / "cert.pem").write_bytes((files / "cert.pem").read_bytes() + b"\n")
    assert fingerprint(_listener(tmp_path)) != fingerprint(_listener(files))
    with pytest.raises(OSError):
        fingerprint(_listener(tmp_path, "none.pem"))
