"""TLS on both sides: who is believed, what is refused, and certificates that change while connections live."""

from __future__ import annotations

import datetime as dt
import ssl
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.kit import Client, Origin, SupervisedProxy, answers, network, settings
from tests.kit.client import wire
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import MakeWorld
    from tests.kit import World

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Files:
    """A certificate authority and the PEM files made of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = self.write(self.authority, "ca.pem")

    def write(self, authority: trustme.CA, name: str) -> str:
        """An authority's certificate as a file."""
        path = self.directory / name
        authority.cert_pem.write_to_path(path)
        return str(path)

    def issue(self, name: str, leaf: trustme.LeafCert) -> dict[str, str]:
        """A leaf as `cert` and `key` files, whole or not at all."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return {"cert": str(cert), "key": str(key)}

    def client(self, authority: trustme.CA | None = None, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """A client that trusts `authority` (ours by default) and shows `leaf`."""
        context = ssl.create_default_context()
        (authority or self.authority).configure_trust(context)
        if leaf is not None:
            leaf.configure_cert(context)
        return context

    def server(self, *names: str, leaf: trustme.LeafCert | None = None, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
        """An endpoint of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (leaf or self.authority.issue_cert(*(names or ("127.0.0.1",)))).configure_cert(context)
        if client_ca is not None:
            client_ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An authority of the test's own."""
    return Files(tmp_path)


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    """Origins that a test starts by hand; stopped whatever happens."""
    started: list[Origin] = []
    yield started
    for origin in started:
        origin.stop()


def https_front(files: Files, **tls: str) -> dict[str, Any]:
    """Settings of a listener with a certificate for localhost."""
    return {"tls": {**files.issue("front", files.authority.issue_cert("localhost", "127.0.0.1")), **tls}}


# Listeners.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_listener_serves_https(make_world: MakeWorld, files: Files, version: ssl.TLSVersion) -> None:
    """Requests over TLS reach live and shadow like any other, keep the connection, and say so in X-Forwarded-Proto."""
    world = make_world(settings(listener=https_front(files)))
    world.live.answer = answers.echo()
    context = files.client()
    context.minimum_version = context.maximum_version = version
    with world.client(tls=context) as client:
        assert client.get("/first").status == 200
        body = bytes(range(256)) * 2000
        assert client.request("PUT", "/second", body=body).body == body
        live, shadow = world.legs("/second")
        assert live.body == shadow.body == body
        assert live.one("X-Forwarded-Proto") == shadow.one("X-Forwarded-Proto") == "https"


def test_alpn_is_http11(make_world: MakeWorld, files: Files) -> None:
    """Of what a client offers, http/1.1 is chosen."""
    world = make_world(settings(listener=https_front(files)))
    context = files.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with world.client(tls=context) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.get("/").status == 200


def test_tls_11_is_refused(make_world: MakeWorld, files: Files) -> None:
    """Below TLS 1.2 there is no handshake."""
    world = make_world(settings(listener=https_front(files)))
    context = files.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.client(tls=context)


def test_a_client_certificate_is_required(make_world: MakeWorld, files: Files) -> None:
    """With client_ca, a client without a certificate of that authority gets no answer, and nothing goes upstream."""
    world = make_world(settings(listener=https_front(files, client_ca=files.ca)))
    stranger = trustme.CA().issue_cert("stranger.example")
    for leaf in (None, stranger):
        assert not is_served(world, files.client(leaf=leaf))
    with world.client(tls=files.client(leaf=files.authority.issue_cert("friend.example"))) as client:
        assert client.get("/friend").status == 200
    assert [request.target for request in world.live.requests] == ["/friend"]


def is_served(world: World, context: ssl.SSLContext) -> bool:
    """Whether a client gets an answer. In TLS 1.3 it believes the handshake is done, and learns of a refusal when it reads."""
    try:
        with world.client(tls=context) as client:
            client.send(wire("GET", "/served"))
            return bool(client.receive())
    except (ssl.SSLError, ConnectionError):
        return False


def test_plain_http_on_a_tls_port_gets_nothing(make_world: MakeWorld, files: Files) -> None:
    """A request in the clear is no handshake: the connection ends, the worker goes on, and nothing is forwarded."""
    world = make_world(settings(listener=https_front(files)))
    with world.client() as client:
        client.send(wire("GET", "/clear"))
        # At most a TLS alert comes back.
        assert not client.remainder().startswith(b"HTTP")
    with world.client() as client:
        client.send(b"\x16\x03\x01\x00\x05hello")
        client.remainder()
    with world.client(tls=files.client()) as client:
        assert client.get("/after").status == 200
    assert world.live.seen("/clear") == []


def test_a_handshake_that_does_not_end_is_cut_off(make_world: MakeWorld, files: Files) -> None:
    """Clients that connect and say nothing, or half a hello, hold a socket for header_timeout only; others are served meanwhile."""
    world = make_world(settings(listener=https_front(files), limits={"header_timeout": "400ms"}))
    with world.client() as silent, world.client() as slow:
        slow.send(b"\x16\x03\x01\x02\x00\x01\x00")
        with world.client(tls=files.client()) as client:
            assert client.get("/meanwhile").status == 200
        silent.remainder()
        slow.remainder()


def test_a_client_that_closes_tls_early_is_gone(make_world: MakeWorld, files: Files) -> None:
    """The end of a TLS client cancels its request upstream."""
    world = make_world(settings(listener=https_front(files)))
    world.live.answer = answers.hang()
    with world.client(tls=files.client()) as client:
        client.send(wire("GET", "/hang"))
        world.live.wait_for("/hang")
    eventually(lambda: not world.live.open_connections, "live's connection ended")


def test_a_tunnel_through_tls(make_world: MakeWorld, files: Files) -> None:
    """Upgrades work over TLS; the client's end is the end of both sides, behind its last byte."""
    world = make_world(settings(listener=https_front(files)))
    heard: list[bytes] = []

    def talk(turn: Any) -> None:
        while received := turn.receive():
            heard.append(received)
            turn.send(received)

    world.live.answer = answers.tunnel(talk=talk)
    with world.client(tls=files.client()) as client:
        client.send(wire("GET", "/chat", ("Connection", "Upgrade"), ("Upgrade", "echo")))
        assert client.response(upgrade="echo").status == 101
        client.send(b"one")
        assert client.receive_exactly(3) == b"one"
        client.send(b"last words")
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.unwrap().close()
    eventually(lambda: b"".join(heard) == b"onelast words", "everything arrived")
    eventually(lambda: not world.live.open_connections, "the tunnel ended")


# Rotation.


def presented(world: World) -> bytes:
    """The certificate that a new handshake is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with world.client(tls=context) as client:
        assert isinstance(client.socket, ssl.SSLSocket)
        return client.socket.getpeercert(binary_form=True) or b""


def test_rotation_shows_new_certificates_and_keeps_connections(make_world: MakeWorld, files: Files) -> None:
    """After `rotate` new handshakes see the new certificate; connections that were open go on."""
    world = make_world(settings(listener=https_front(files)))
    before = presented(world)
    with world.client(tls=files.client()) as old:
        assert old.get("/1").status == 200
        other = Files(files.directory)
        files.issue("front", other.authority.issue_cert("localhost"))
        world.proxy.send({"type": "rotate"})
        after = eventually(lambda: (found := presented(world)) != before and found, "the new certificate is shown")
        assert after != before
        assert old.get("/2").status == 200
        with world.client(tls=other.client()) as new:
            assert new.get("/3").status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            world.client(tls=files.client(trustme.CA()))


@pytest.mark.parametrize("broken", ["missing", "garbage", "other key", "locked key"])
def test_a_rotation_that_cannot_be_done_changes_nothing(make_world: MakeWorld, files: Files, broken: str) -> None:
    """Files that are missing, no certificates, or no pair leave the old certificate in place, whole, and the worker alive."""
    world = make_world(settings(listener=https_front(files)))
    before = presented(world)
    cert = files.directory / "front.pem"
    if broken == "missing":
        cert.unlink()
    elif broken == "garbage":
        cert.write_text("no certificate")
    elif broken == "locked key":
        # Nobody is there to type a password.
        key = serialization.load_pem_private_key((files.directory / "front.key").read_bytes(), None)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret"))
        (files.directory / "front.key").write_bytes(key.private_bytes(*form))
    else:
        trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(cert)
    world.proxy.send({"type": "rotate"})
    eventually(lambda: world.proxy.refused, "the worker says so")
    world.proxy.refused.clear()
    assert presented(world) == before
    with world.client(tls=files.client()) as client:
        assert client.get("/").status == 200
    files.issue("front", files.authority.issue_cert("localhost"))
    world.proxy.send({"type": "rotate"})
    eventually(lambda: presented(world) != before, "a later rotation works")


def test_a_policy_with_a_broken_certificate_is_refused_whole(make_world: MakeWorld, files: Files) -> None:
    """Validate, then swap: a policy whose certificate cannot be used changes nothing, not even its routes."""
    config = settings(listener=https_front(files))
    world = make_world(config)
    with world.client(tls=files.client()) as client:
        assert client.get("/before").status == 200
        files.directory.joinpath("front.key").write_text("no key")
        changed = {**config, "routes": [{**config["routes"][0], "match": {"path": "/elsewhere"}}]}
        with pytest.raises(AssertionError):
            world.apply(changed)
        world.proxy.refused.clear()
        assert client.get("/after").status == 200


def test_a_client_authority_that_is_taken_away_is_no_longer_trusted(make_world: MakeWorld, files: Files) -> None:
    """Rotation replaces the client CA: its certificates are refused from then on, the new one's are accepted."""
    world = make_world(settings(listener=https_front(files, client_ca=files.ca)))
    old_leaf = files.authority.issue_cert("old.example")
    with world.client(tls=files.client(leaf=old_leaf)) as client:
        assert client.get("/").status == 200
    new = trustme.CA()
    new_leaf = new.issue_cert("new.example")
    files.write(new, "ca.pem")
    world.proxy.send({"type": "rotate"})
    eventually(lambda: is_served(world, files.client(leaf=new_leaf)), "the new authority is trusted")
    assert not is_served(world, files.client(leaf=old_leaf))


def test_no_connection_is_lost_while_certificates_rotate(make_world: MakeWorld, files: Files) -> None:
    """Connections that arrive while the listener takes a new certificate are served."""
    world = make_world(settings(listener=https_front(files)))
    context = files.client()
    for turn in range(10):
        files.issue("front", files.authority.issue_cert("localhost", f"turn{turn}.example"))
        world.proxy.send({"type": "rotate"})
        for _ in range(3):
            with world.client(tls=context) as client:
                assert client.get("/").status == 200


# Upstream.


def started(origins: list[Origin], name: str, context: ssl.SSLContext) -> Origin:
    """An https origin, stopped at the end of the test."""
    origin = Origin(name, tls=context)
    origins.append(origin)
    return origin


def test_upstreams_are_verified_and_reused(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """Live and shadow over https with an authority of ours: requests arrive, and the connection is kept."""
    live, shadow = started(origins, "live", files.server()), started(origins, "shadow", files.server())
    tls = {"tls": {"ca": files.ca}}
    # The first body may be there before the shadow's handshake is done.
    world = make_world(settings(mirror={"body_budget": "1MiB"}, live=tls, shadow=tls), live=live, shadow=shadow)
    body = b"x" * 300_000
    with world.client() as client:
        for _ in range(3):
            assert client.request("POST", "/a", body=body).status == 200
    seen = world.legs("/a", 3)
    assert [leg.body for leg in seen] == [body, body]
    assert len(live.connections) == 1
    assert world.fates() == {"paired": 3}


@pytest.mark.parametrize("fault", ["wrong name", "expired", "unknown authority"])
def test_an_endpoint_that_cannot_be_verified_is_not_used(make_world: MakeWorld, files: Files, origins: list[Origin], fault: str) -> None:
    """Verification is on by default. Live: 502 `upstream_tls`. Shadow: `failed_tls`, and live does not notice. No request is sent."""
    contexts = {
        "wrong name": lambda: files.server("other.example"),
        "expired": lambda: files.server(leaf=files.authority.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST)),
        "unknown authority": lambda: files.server(leaf=trustme.CA().issue_cert("127.0.0.1")),
    }
    bad = started(origins, "bad", contexts[fault]())
    tls = {"tls": {"ca": files.ca}, "endpoints": [bad.url]}
    world = make_world(settings(shadow=tls))
    with world.client() as client:
        assert client.get("/shadowed").status == 200
        assert client.get("/shadowed").status == 200
    assert world.fates() == {"failed_tls": 2}
    world.apply(settings(live=tls))
    with world.client() as client:
        answer = client.get("/live")
        assert answer.status == 502
        assert b'"upstream_tls"' in answer.body
    assert bad.requests == []
    assert world.proxy.settled()["routes"]["all"]["responses"]["tls"] == 1


def test_the_systems_authorities_are_the_default(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """Without `ca` an authority of ours is unknown; with `verify: false` it is not asked for."""
    live = started(origins, "live", files.server())
    world = make_world(settings(), live=live)
    with world.client() as client:
        assert client.get("/unknown").status == 502
    world.apply(settings(live={"tls": {"verify": False}}))
    with world.client() as client:
        assert client.get("/unverified").status == 200
    assert live.seen("/unknown") == []


def test_server_name_is_sent_and_verified(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """`server_name` takes the place of the endpoint's host in SNI and in the check."""
    asked: list[str | None] = []
    context = files.server("live.internal.example")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    live = started(origins, "live", context)
    world = make_world(settings(live={"tls": {"ca": files.ca, "server_name": "live.internal.example"}}), live=live)
    with world.client() as client:
        assert client.get("/").status == 200
    assert asked == ["live.internal.example"]


def test_client_certificates_are_shown_to_the_endpoint(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """An endpoint that asks for a certificate gets the fleet's; a fleet without one is refused by it."""
    live = started(origins, "live", files.server(client_ca=files.authority))
    ours = files.issue("ours", files.authority.issue_cert("proxy.example"))
    world = make_world(settings(live={"tls": {"ca": files.ca, **ours}}), live=live)
    with world.client() as client:
        assert client.get("/").status == 200
    world.apply(settings(live={"tls": {"ca": files.ca}}))
    with world.client() as client:
        assert client.get("/none").status == 502
    assert live.seen("/none") == []


def test_a_handshake_that_an_endpoint_does_not_answer_times_out(make_world: MakeWorld, files: Files) -> None:
    """An endpoint that accepts and never speaks TLS is a connect timeout: 504."""
    with network.listening() as silent:
        host, port = network.address_of(silent)
        tls = {"endpoints": [f"https://{host}:{port}"], "connect_timeout": "300ms", "tls": {"ca": files.ca}}
        world = make_world(settings(live=tls))
        with world.client() as client:
            answer = client.get("/")
            assert answer.status == 504
            assert b'"upstream_connect_timeout"' in answer.body


def test_a_truncated_answer_over_tls_is_an_abort(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """An https endpoint that ends inside its answer is passed on as a broken answer, never as a whole one."""
    live = started(origins, "live", files.server())
    live.answer = answers.raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    world = make_world(settings(live={"tls": {"ca": files.ca}}), live=live)
    with world.client() as client:
        client.send(wire("GET", "/"))
        raw = client.remainder()
    assert raw.endswith(b"\r\n\r\nhalf")


def test_rotation_reads_upstream_files_again(make_world: MakeWorld, files: Files, origins: list[Origin]) -> None:
    """A `ca` file that was replaced counts for new connections after `rotate`."""
    new = trustme.CA()
    live = started(origins, "live", files.server(leaf=new.issue_cert("127.0.0.1")))
    world = make_world(settings(live={"tls": {"ca": files.ca}}), live=live)
    with world.client() as client:
        assert client.get("/before").status == 502
    files.write(new, "ca.pem")
    world.proxy.send({"type": "rotate"})
    # Messages are carried out in order: when the kill is acknowledged, so is the rotation.
    world.proxy.kill()
    world.proxy.resume()
    with world.client() as client:
        assert client.get("/after").status == 200


def test_a_whole_proxy_rotates_on_sighup(files: Files, tmp_path: Path, origins: list[Origin]) -> None:
    """SIGHUP with the config unchanged and new files beside it: every worker shows the new certificate; files that do not fit are refused."""
    live = Origin("live")
    origins.append(live)
    config = settings(listener={"name": "front", **https_front(files)}, live={"endpoints": [live.url]}, shadow={"endpoints": [live.url]})
    config["workers"] = 2

    def presented_by(proxy: SupervisedProxy) -> set[bytes]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        found = set()
        for _ in range(12):
            with Client(proxy.address("front"), tls=context) as client:
                assert isinstance(client.socket, ssl.SSLSocket)
                found.add(client.socket.getpeercert(binary_form=True) or b"")
        return found

    with SupervisedProxy(config, tmp_path) as proxy:
        before = presented_by(proxy)
        assert len(before) == 1
        (files.directory / "front.key").write_text("no key")
        proxy.hup()
        eventually(lambda: "config refused, the old one stays" in proxy.log(), "the refusal is logged")
        assert presented_by(proxy) == before
        files.issue("front", files.authority.issue_cert("localhost", "127.0.0.1"))
        proxy.hup()
        eventually(lambda: not presented_by(proxy) & before, "no worker shows the old certificate")
        with Client(proxy.address("front"), tls=files.client()) as client:
            assert client.get("/").status == 200
