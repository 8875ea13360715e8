"""FWD: what is forwarded as it came, and what the proxy says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.config import load_text
from shadowproxy.errors import ConfigError
from tests.kit import World, answers, settings
from tests.kit.client import wire
from tests.kit.network import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeWorld


@pytest.mark.requirement("FWD-01")
def test_via_is_appended(world: World) -> None:
    """A Via of the client stays, in order; ours comes behind it."""
    with world.client() as client:
        client.get("/via", ("Via", "1.0 fred, 1.1 a"), ("via", "1.1 b"))
    for leg in world.legs("/via"):
        assert ", ".join(leg.all("Via")) == "1.0 fred, 1.1 a, 1.1 b, 1.1 shadowproxy"


@pytest.mark.requirement("FWD-01")
def test_via_is_added(world: World) -> None:
    """A request without Via gets ours."""
    with world.client() as client:
        client.get("/no-via")
    for leg in world.legs("/no-via"):
        assert leg.one("Via") == "1.1 shadowproxy"


@pytest.mark.requirement("FWD-02")
def test_a_loop_through_a_mirror_ends(make_world: MakeWorld) -> None:
    """A mirror that leads back to the proxy gives 508 to the copy at its second coming, and no storm."""
    config = settings()
    world = make_world(config)
    config["fleets"]["shadow"]["endpoints"] = [f"http://{HOST}:{world.address[1]}"]
    try:
        world.apply(config)
    except ConfigError:
        return  # refused at the border, which is better still
    with world.client() as client:
        assert client.get("/loop").status == 200
    tally = world.proxy.tally_where(lambda tally: tally["mirrors"]["all/shadow"]["matrix"], "the copy is answered")
    assert tally["mirrors"]["all/shadow"]["matrix"] == {"200,508": 1}
    assert len(world.live.seen("/loop")) == 1


@pytest.mark.requirement("FWD-02")
def test_a_config_that_mirrors_to_itself_is_refused() -> None:
    """Our own listener as an endpoint is a config error."""
    text = """
        listen: [{name: front, address: "127.0.0.1:18080"}]
        fleets: {live: {endpoints: ["http://127.0.0.1:19001"]}, shadow: {endpoints: ["http://127.0.0.1:18080"]}}
        routes: [{name: all, match: {path: /}, live: live, mirror: [{to: shadow, percent: 100}]}]
    """
    with pytest.raises(ConfigError, match="18080"):
        load_text(text)


@pytest.mark.requirement("FWD-03")
def test_x_forwarded_for_is_appended_for_a_trusted_proxy(make_world: MakeWorld) -> None:
    """Lines from a trusted proxy are kept in order, and the peer's address comes last."""
    world = make_world(settings(listener={"trusted_proxies": ["127.0.0.0/8"]}))
    with world.client(source="127.0.0.9") as client:
        client.get("/xff", ("X-Forwarded-For", "192.0.2.1, 198.51.100.2"), ("x-forwarded-for", "203.0.113.3"))
    for leg in world.legs("/xff"):
        assert ", ".join(leg.all("X-Forwarded-For")).replace(" ", "") == "192.0.2.1,198.51.100.2,203.0.113.3,127.0.0.9"


@pytest.mark.requirement("FWD-03")
def test_forwarding_fields_can_be_turned_off(make_world: MakeWorld) -> None:
    """`forwarded: off` writes none, and still passes none from strangers."""
    world = make_world(settings(forwarded="off"))
    with world.client() as client:
        client.get("/off", ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"))
    for leg in world.legs("/off"):
        for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"):
            assert not leg.has(name), name


SPOOFED = [
    ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443"), ("X-Real-IP", "192.0.2.1"),
    ("Forwarded", "for=192.0.2.1;host=evil.example;proto=https"), ("X-Shadow-Mirror", "forged"), ("X-Shadow-Anything", "forged"), ("X-Fault-Delay", "5s"),
    ("x_shadow_mirror", "forged"), ("X.Fault.Delay", "5s"),
]  # fmt: skip


@pytest.mark.requirement("FWD-04")
def test_a_private_address_earns_no_trust(world: World) -> None:
    """From 127.0.0.1 with an empty trust list, forwarding and control fields are overwritten or stripped."""
    with world.client() as client:
        assert client.get("/spoof", *SPOOFED).status == 200
    live, shadow = world.legs("/spoof")
    for leg in (live, shadow):
        assert leg.one("X-Forwarded-For") == "127.0.0.1"
        assert leg.one("X-Forwarded-Host") == "shop.example"
        assert leg.one("X-Forwarded-Proto") == "http"
        for name in (
            "X-Real-IP",
            "Forwarded",
            "X-Forwarded-Port",
            "X-Shadow-Anything",
            "X-Fault-Delay",
            "x_shadow_mirror",
            "X.Fault.Delay",
        ):
            assert not any("192.0.2.1" in value or "forged" in value or value in ("443", "5s") for value in leg.all(name)), (name, leg)
    assert not live.has("X-Shadow-Mirror")
    assert "forged" not in shadow.one("X-Shadow-Mirror")
    assert "marked" not in world.fates(), "a forged mark does not keep a request out of the comparison"


@pytest.mark.requirement("FWD-05")
@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_forwarded_host_and_proto_are_ours(make_world: MakeWorld, spelling: Callable[[str], str]) -> None:
    """Forwarded, X-Forwarded-Host and -Proto of an untrusted client are replaced, in RFC 7239 form too."""
    world = make_world(settings(forwarded="both"))
    with world.client() as client:
        client.get("/ours", *((spelling(name), value) for name, value in SPOOFED[:6]))
    for leg in world.legs("/ours"):
        assert leg.one("X-Forwarded-Host") == "shop.example"
        assert leg.one("X-Forwarded-Proto") == "http"
        forwarded = leg.one("Forwarded")
        assert "for=127.0.0.1" in forwarded
        assert "evil" not in forwarded
        assert "192.0.2.1" not in forwarded


@pytest.mark.requirement("FWD-06")
def test_max_forwards_is_decremented(world: World) -> None:
    """OPTIONS with Max-Forwards loses one; other methods keep theirs."""
    with world.client() as client:
        client.request("OPTIONS", "/max", ("Max-Forwards", "5"))
        client.request("GET", "/max-get", ("Max-Forwards", "5"))
    for leg in world.legs("/max"):
        assert leg.one("Max-Forwards") == "4"
    for leg in world.legs("/max-get"):
        assert leg.one("Max-Forwards") == "5"


@pytest.mark.requirement("FWD-06")
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_max_forwards_zero_is_answered_here(world: World, method: str) -> None:
    """Max-Forwards: 0 goes no further, and TRACE echoes no secrets."""
    with world.client() as client:
        answer = client.request(method, "/zero", ("Max-Forwards", "0"), ("Cookie", "secret=1"))
        assert answer.status in (200, 405)
        assert b"secret" not in answer.body
        assert client.get("/after-zero").status == 200
    world.legs("/after-zero")
    assert not world.live.seen("/zero")
    assert not world.shadow.seen("/zero")


@pytest.mark.requirement("FWD-06")
def test_trace_max_forwards_is_decremented(world: World) -> None:
    """TRACE passes on with one less, to live alone."""
    with world.client() as client:
        client.request("TRACE", "/trace", ("Max-Forwards", "2"))
    assert world.live.wait_for("/trace").one("Max-Forwards") == "1"
    assert world.fates()
    assert not world.shadow.seen("/trace")


@pytest.mark.requirement("FWD-07")
def test_nothing_is_invented(world: World) -> None:
    """No User-Agent, Accept, Accept-Encoding or Content-Type is added to a request that has none."""
    with world.client() as client:
        client.send(b"POST /bare HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
        client.response()
    for leg in world.legs("/bare"):
        for name in ("User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Connection"):
            assert not leg.has(name), name


TARGETS = [
    "/a%2Fb//c/./%7e?x=%20+;y=&z", "/a/../b", "//", "/%2e%2e/%2E", "/?", "/a?", "/a??b", "/a?b#".rstrip("#"), "/[x]?[y]={z}", "/;p=1;q", "/a%", "/%zz", "/*", "/a:b@c", "/~%7E",
    "/a?x=%00%0d%0a", "/'\"<>\\^`|", "/a?next=http://h/x?y",
]  # fmt: skip


@pytest.mark.requirement("FWD-08")
@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_forwarded_byte_for_byte(world: World, target: str) -> None:
    """Path and query are neither decoded, nor encoded, nor normalised."""
    with world.client() as client:
        assert client.get(target).status == 200
    for leg in world.legs(target.partition("?")[0]):
        assert leg.target == target


@pytest.mark.requirement("FWD-09")
@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://a.example/p?q", "a.example", "/p?q"),
        ("http://a.example", "a.example", "/"),
        ("http://a.example?q", "a.example", "/?q"),
        ("HTTP://A.example:8080/p", "A.example:8080", "/p"),
        ("https://a.example/p", "a.example", "/p"),
        ("http://user:secret@a.example/p", "a.example", "/p"),
        ("http://[::1]:80/p", "[::1]:80", "/p"),
    ],
)
def test_absolute_form_becomes_origin_form(world: World, target: str, host: str, path: str) -> None:
    """The target's authority replaces a conflicting Host, and only path and query are forwarded."""
    with world.client() as client:
        client.send(wire("GET", target, host="b.example"))
        assert client.response().status == 200
    for leg in world.legs(path.partition("?")[0]):
        assert leg.target == path
        assert leg.one("Host") == host
        assert leg.one("X-Forwarded-Host") == host


@pytest.mark.requirement("FWD-10")
@pytest.mark.parametrize(
    "lines",
    [
        "", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhOsT: a\r\n", "Host: u@a\r\n", "Host: a/b\r\n", "Host: a,b\r\n", "Host: a b\r\n",
        "Host: a:b\r\n", "Host: a:80:81\r\n", "Host: [::1\r\n", "Host: a?b\r\n", "Host: a#b\r\n", "Host: a\\b\r\n", "Host: a:999999\r\n", 'Host: "a"\r\n', "Host: \xe4\r\n",
    ],
)  # fmt: skip
def test_a_missing_or_malformed_host_is_refused(world: World, lines: str) -> None:
    """No Host in HTTP/1.1, two of them, or one that is no authority: 400, and nothing goes upstream."""
    world.refuses(f"GET /host HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
    assert world.untouched("/host")


@pytest.mark.requirement("FWD-11")
def test_field_lines_keep_their_order_both_ways(world: World) -> None:
    """Lines of one name stay apart and in order; Set-Cookie is never folded."""
    fields = [("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"), ("X-A", "1"), ("Set-Cookie", "b=2"), ("x-a", "2"), ("X-A", "")]
    world.live.answer = answers.ok(fields=fields)
    with world.client() as client:
        answer = client.get("/order", ("X-B", "1"), ("Accept", "a"), ("x-b", "2, 3"), ("X-B", ""))
    assert [field for field in answer.fields if field[0].lower() in ("set-cookie", "x-a")] == fields
    for leg in world.legs("/order"):
        assert [field for field in leg.fields if field[0].lower() in ("x-b", "accept")] == [
            ("X-B", "1"),
            ("Accept", "a"),
            ("x-b", "2, 3"),
            ("X-B", ""),
        ]


@pytest.mark.requirement("FWD-12")
def test_obs_text_passes_unchanged(world: World) -> None:
    """Bytes 0x80 to 0xFF in values are not re-encoded, in requests and in answers."""
    every = bytes(range(0x80, 0x100)).decode("latin-1")
    world.live.answer = answers.ok(fields=[("X-Back", every)])
    with world.client() as client:
        assert client.get("/obs", ("X-There", every)).one("X-Back") == every
    for leg in world.legs("/obs"):
        assert leg.one("X-There") == every


@pytest.mark.requirement("FWD-13")
@pytest.mark.parametrize("fold", ["\r\n ", "\r\n\t", "\r\n  \r\n "])
def test_a_folded_request_field_is_refused(world: World, fold: str) -> None:
    """obs-fold in a request is 400."""
    world.refuses(f"GET /fold HTTP/1.1\r\nHost: h\r\nX-Long: one{fold}two\r\n\r\n".encode())
    assert world.untouched("/fold")


@pytest.mark.requirement("FWD-13")
def test_a_folded_answer_field_is_not_forwarded(world: World) -> None:
    """obs-fold in an answer becomes 502, or one line with spaces; never a fold to the client."""
    world.live.answer = answers.raw(b"HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 2\r\n\r\nok")
    with world.client() as client:
        answer = client.get("/folded-answer")
        assert answer.status == 502 or answer.one("X-Long").split() == ["one", "two"]
        assert b"one\r\n" not in bytes(client.received)


@pytest.mark.requirement("FWD-14")
def test_date_is_added_once(world: World) -> None:
    """An answer without Date gets one; an answer that has one keeps it; our own answers have one."""
    date = "Tue, 15 Nov 1994 08:12:31 GMT"
    world.live.on("/with", answers.ok(fields=[("date", date)]))
    with world.client() as client:
        assert client.get("/without").one("Date").endswith("GMT")
        assert client.get("/with").one("Date") == date
    assert world.refuses(b"GET / HTTP/1.1\r\n\r\n").one("Date").endswith("GMT")


@pytest.mark.requirement("FWD-15")
def test_the_version_is_our_own(world: World) -> None:
    """Live and shadow are spoken to in HTTP/1.1 whatever the client speaks; so is the client, whatever live speaks."""
    world.live.answer = answers.raw_then_close(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with world.client() as client:
        client.send(b"GET /version HTTP/1.0\r\nHost: h\r\n\r\n")
        answer = client.response(version="1.0")
        assert (answer.status, answer.version, answer.body) == (200, "1.1", b"ok")
        client.expect_end()
    for leg in world.legs("/version"):
        assert leg.version == "1.1"


@pytest.mark.requirement("FWD-15")
@pytest.mark.parametrize("keep_alive", ["", "Connection: keep-alive\r\n"])
def test_an_http_1_0_client_gets_no_chunks_and_no_interim(world: World, keep_alive: str) -> None:
    """A chunked answer with interim heads before it reaches an HTTP/1.0 client as plain bytes until the end."""
    world.live.answer = answers.interim(answers.head(103, [("Link", "</a>")]), final=answers.chunked([b"abc", b"de"]))
    with world.client() as client:
        client.send(f"GET /plain HTTP/1.0\r\nHost: h\r\n{keep_alive}\r\n".encode())
        everything = client.remainder()
    head, _, body = everything.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head.lower()
    assert b"103" not in head
    assert body == b"abcde"


@pytest.mark.requirement("FWD-15")
def test_an_http_1_0_client_without_host_is_served(world: World) -> None:
    """HTTP/1.0 needs no Host; what goes upstream has one."""
    with world.client() as client:
        client.send(b"GET /hostless HTTP/1.0\r\n\r\n")
        assert client.response(version="1.0").status == 200
    live, shadow = world.legs("/hostless")
    assert live.one("Host") == world.live.authority
    assert shadow.one("Host") == world.shadow.authority
