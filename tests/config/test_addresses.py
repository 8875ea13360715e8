"""Hosts, ports and endpoint URLs in every spelling."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.addresses import (
    Endpoint,
    HostPort,
    Unfit,
    addresses_of,
    check_host,
    denial,
    host_denial,
    is_loopback,
    parse_endpoint,
    parse_host_port,
    plain_address,
    reaches,
    url_denial,
)

THE_LOOPBACK = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "2130706433",
    "0x7f.1",
    "0x7F000001",
    "0177.0.0.1",
    "127.1",
    "::ffff:127.0.0.1",
    "127.0.1",
]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:80", "::1", 80),
        ("[0:0:0:0:0:0:0:1]:80", "::1", 80),
        ("shop.example:65535", "shop.example", 65535),
        ("a:0", "a", 0),
    ],
)
def test_host_port(text: str, host: str, port: int) -> None:
    """host:port is split, with IPv6 in brackets and in its shortest form."""
    found = parse_host_port(text)
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("::1:8080", "[::1]:8080"),
        (":8080", "0.0.0.0:8080"),
        ("127.0.0.1", ""),
        ("127.0.0.1:", ""),
        ("127.0.0.1:65536", ""),
        ("127.0.0.1:-1", ""),
        ("127.0.0.1:\u0668\u0660", ""),
        ("999.1.1.1:80", ""),
        ("1.2.3.4.5:80", ""),
        ("[::g]:80", ""),
        ("[fe80::1%eth0]:80", ""),
        ("a b:80", ""),
        ("-a:80", ""),
        ("ü.example:80", "xn--tda.example"),
        ("", ""),
        ("[::1", ""),
    ],
)
def test_not_host_port(text: str, suggestion: str) -> None:
    """Anything else is refused, with the right spelling where one is obvious."""
    with pytest.raises(Unfit) as caught:
        parse_host_port(text)
    assert caught.value.suggestion == suggestion


def test_repr_of_addresses_puts_brackets_back() -> None:
    """What is shown can be written into a config again."""
    assert str(HostPort("::1", 80)) == "[::1]:80"
    assert str(HostPort("a.example", 80)) == "a.example:80"


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("http://a", "http", "a", 80),
        ("https://a", "https", "a", 443),
        ("http://127.0.0.1:9001", "http", "127.0.0.1", 9001),
        ("https://[2001:db8::1]:8443", "https", "2001:db8::1", 8443),
    ],
)
def test_endpoints(url: str, scheme: str, host: str, port: int) -> None:
    """An endpoint is a scheme, a host and a port with the scheme's default."""
    assert parse_endpoint(url) == Endpoint(scheme, HostPort(host, port))


@pytest.mark.parametrize(
    ("url", "suggestion"),
    [
        ("127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("HTTP://a", "http://a"),
        ("http://a/", "http://a"),
        ("http://a/path", "http://a"),
        ("http://a?q", "http://a"),
        ("http://a#f", "http://a"),
        ("http://user:password@a", ""),
        ("ftp://a", ""),
        ("http://", ""),
        ("http://a:0", ""),
        ("http://a:b", ""),
        ("http://a\r\nb", ""),
        ("http:///a", "http://"),
        ("", "http://"),
    ],
)
def test_not_endpoints(url: str, suggestion: str) -> None:
    """An endpoint with anything more, or less, is refused: it would not do what it seems to say."""
    with pytest.raises(Unfit) as caught:
        parse_endpoint(url)
    assert caught.value.suggestion in (suggestion, "")


@pytest.mark.parametrize("host", THE_LOOPBACK)
def test_loopback_in_every_spelling(host: str) -> None:
    """However 127.0.0.1 is written, it is seen to be loopback, and to be the listener there."""
    assert is_loopback(host)
    assert reaches(HostPort(host, 80), HostPort("127.0.0.1", 80))
    assert reaches(HostPort(host, 80), HostPort("0.0.0.0", 80))
    assert reaches(HostPort(host, 80), HostPort("::", 80))
    assert not reaches(HostPort(host, 81), HostPort("127.0.0.1", 80))


def test_what_reaches_what() -> None:
    """Names are compared as names, wildcards take the loopback of their family, port 0 is nobody's."""
    assert reaches(HostPort("::1", 80), HostPort("localhost", 80))
    assert reaches(HostPort("Proxy.internal.", 80), HostPort("proxy.internal", 80))
    assert reaches(HostPort("::1", 80), HostPort("::", 80))
    assert not reaches(HostPort("::1", 80), HostPort("0.0.0.0", 80))
    assert not reaches(HostPort("127.0.0.2", 80), HostPort("127.0.0.1", 80))
    assert not reaches(HostPort("10.0.0.1", 80), HostPort("0.0.0.0", 80))
    assert not reaches(HostPort("127.0.0.1", 0), HostPort("127.0.0.1", 0))


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "224.0.0.1", "ff02::1",
        "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "fd00:ec2::254", "100.100.100.200", "metadata.google.internal", "METADATA.google.internal.",
    ],
)  # fmt: skip
def test_forbidden_endpoints(host: str) -> None:
    """Link-local, multicast, unspecified and metadata addresses are refused in every spelling."""
    assert host_denial(host) is not None


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "8.8.8.8", "2001:db8::1", "fd12::1", "shop.example", "100.64.0.1"]
)
def test_allowed_endpoints(host: str) -> None:
    """Private and loopback addresses are where shadows live."""
    assert host_denial(host) is None


@given(st.integers(0, 2**32 - 1))
def test_ipv4_spellings_agree(number: int) -> None:
    """Dotted, decimal, hexadecimal, octal and mapped spellings of one address are one address with one verdict."""
    address = IPv4Address(number)
    a, b, c, d = address.packed
    spellings = [
        str(address),
        str(number),
        hex(number),
        f"{a:#o}".replace("0o", "0") + f".{b}.{c}.{d}",
        f"{a}.{number & 0xFFFFFF}",
        f"::ffff:{address}",
    ]
    assert {addresses_of(spelling) for spelling in spellings} == {(address,)}
    assert len({host_denial(spelling) for spelling in spellings}) == 1


@given(st.ip_addresses())
def test_denial_sees_through_mapping(address: object) -> None:
    """A mapped address is judged as the address inside it."""
    found = plain_address(ip_address(str(address)))
    assert denial(found) == denial(ip_address(str(address)))


@given(st.text(max_size=30))
def test_only_unfit(text: str) -> None:
    """Whatever the text, parsing answers or raises Unfit."""
    for parse in (parse_host_port, parse_endpoint, check_host):
        try:
            parse(text)
        except Unfit:
            continue


@pytest.mark.parametrize("url", ["http://shop", "https://shop:8443/a?b=c#d", "http://127.0.0.1:9/", "http://[::1]:9", "http://10.0.0.1/"])
def test_a_url_may_lead_where_an_endpoint_may(url: str) -> None:
    """With path and query, which endpoints have not."""
    assert url_denial(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "shop", "ftp://shop/", "HTTP://shop/", "http://", "http://a b/", "http://user@shop/", "http://shop:0/", "http://shop:99999/",
        "http://2852039166/", "http://[fe80::1]/", "http://metadata/", "http://0/", "http://shop:80:80/", "http://[::ffff:169.254.169.254]",
    ],
)  # fmt: skip
def test_a_url_leads_nowhere_else(url: str) -> None:
    """The rules of endpoints hold for its host in every spelling, and what cannot be read is not asked."""
    assert url_denial(url)
