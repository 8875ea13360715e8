"""Components and the signature base, by the examples of RFC 9421."""

from __future__ import annotations

import base64
import hmac

import pytest

from shadowproxy.errors import PassportRefused
from shadowproxy.passports.components import Request, component, signature_base

SHARED_SECRET = base64.b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
"""RFC 9421 appendix B.1.5."""


def request(
    method: str = "GET", target: str = "/", authority: str = "www.example.com", scheme: str = "https", *fields: tuple[str, str]
) -> Request:
    """A request of the examples."""
    lines = [(name.lower().encode(), value.encode()) for name, value in fields]
    return Request(method.encode(), scheme.encode(), authority.encode(), target.encode(), lines)


def test_the_vector_of_the_rfc() -> None:
    """RFC 9421 appendix B.2.5, hmac-sha256: the base, byte for byte, and the signature."""
    signed = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    message = request(
        "POST",
        "/foo?param=Value&Pet=dog",
        "example.com",
        "https",
        ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("Content-Type", "application/json"),
    )
    base = signature_base(message, ["date", "@authority", "content-type"], signed)
    assert base.decode().splitlines() == [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@authority": example.com',
        '"content-type": application/json',
        f'"@signature-params": {signed}',
    ]
    signature = base64.b64encode(hmac.digest(SHARED_SECRET, base, "sha256")).decode()
    assert signature == "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        # Section 2.2.1: methods are not made upper-case.
        (request("POST"), "@method", "POST"),
        (request("get"), "@method", "get"),
        # Section 2.2.2.
        (request("POST", "/path?param=value"), "@target-uri", "https://www.example.com/path?param=value"),
        (request(target="/", authority="WWW.Example.COM:443"), "@target-uri", "https://www.example.com/"),
        (request(target="http://other.example"), "@target-uri", "http://other.example/"),
        (request("OPTIONS", "*"), "@target-uri", "https://www.example.com"),
        # Section 2.2.3.
        (request(authority="WWW.EXAMPLE.COM"), "@authority", "www.example.com"),
        (request(authority="www.example.com:443"), "@authority", "www.example.com"),
        (request(authority="www.example.com:80"), "@authority", "www.example.com:80"),
        (request(authority="www.example.com:80", scheme="http"), "@authority", "www.example.com"),
        (request(authority="www.example.com:0443"), "@authority", "www.example.com:0443"),
        (request(authority="[::1]:443"), "@authority", "[::1]"),
        (request(authority="[::1]"), "@authority", "[::1]"),
        (request(authority="[2001:DB8::80]", scheme="http"), "@authority", "[2001:db8::80]"),
        (request(target="HTTP://user:word@Other.Example:80/x"), "@authority", "other.example"),
        # Section 2.2.4.
        (request(), "@scheme", "https"),
        (request(target="HTTP://other.example/x"), "@scheme", "http"),
        # Section 2.2.6: as sent.
        (request(target="/path?param=value"), "@path", "/path"),
        (request(target="/a/../b%2Fc//"), "@path", "/a/../b%2Fc//"),
        (request(target="https://www.example.com?x"), "@path", "/"),
        (request("OPTIONS", "*"), "@path", "*"),
        # Section 2.2.7.
        (request(target="/path?param=value&foo=bar&baz=bat%2Dman"), "@query", "?param=value&foo=bar&baz=bat%2Dman"),
        (request(target="/path?queryString"), "@query", "?queryString"),
        (request(target="/path?"), "@query", "?"),
        (request(target="/path"), "@query", "?"),
        (request(target="/path?a?b"), "@query", "?a?b"),
        # Section 2.1: lines are joined, space around them means nothing, an empty field is a value.
        (request("GET", "/", "h", "http", ("X-A", "1"), ("x-b", "2"), ("X-a", " 3\t")), "x-a", "1, 3"),
        (request("GET", "/", "h", "http", ("X-Empty", "")), "x-empty", ""),
        (request("GET", "/", "h", "http", ("X-Tab", "a\tb")), "x-tab", "a\tb"),
    ],
)
def test_components(message: Request, name: str, value: str) -> None:
    """What each component of a request is."""
    assert component(message, name).decode() == value


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("@status", "unknown_component"),
        ("X-A", "unknown_component"),
        ("a b", "unknown_component"),
        ('a"', "unknown_component"),
        ("x-absent", "component_absent"),
    ],
)
def test_what_is_no_component(name: str, reason: str) -> None:
    """Names that mean nothing in a request, and fields that it has not."""
    with pytest.raises(PassportRefused) as caught:
        component(request(), name)
    assert caught.value.reason == reason


def test_a_base_without_components_has_its_parameters() -> None:
    """RFC 9421 section 2.5: the last line, without a line end behind it."""
    assert signature_base(request(), [], "();created=1") == b'"@signature-params": ();created=1'
