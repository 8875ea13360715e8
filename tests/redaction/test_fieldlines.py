"""Header fields and targets: secret ones replaced in their form, the others looked through."""

from __future__ import annotations

import re

import pytest

from shadowproxy.redaction.fieldlines import is_framing, scrub_field, scrub_target
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def found(*keep: str) -> Findings:
    """None yet."""
    return Findings(Rules(keep=keep), Pseudonyms(b"k" * 32))


def field(name: str, value: str, *keep: str) -> str:
    """The value afterwards."""
    return scrub_field(name, value, found(*keep)).applied()


@pytest.mark.parametrize(
    ("name", "value", "pattern"),
    [
        ("AUTHORIZATION", "Bearer abc123", r"Bearer [a-z]{3}\d{3}"),
        ("Proxy_Authorization", "abc123", r"[a-z]{3}\d{3}"),
        ("cookie", "a=abc123", r"a=[a-z]{3}\d{3}"),
        ("SET-COOKIE", "a=abc123; Secure", r"a=[a-z]{3}\d{3}; Secure"),
        ("X-Api-Key", " abc123 ", r"[a-z]{3}\d{3}"),
        ("X-My-Access-Token", "abc123", r"[a-z]{3}\d{3}"),
        ("X-Forwarded-For", "203.0.113.9, 127.0.0.1,abc123", r"2[45]\d\.[\d.]+, 127\.0\.0\.1,[a-z]{3}\d{3}"),
        ("Forwarded", 'for="[2001:db8::abc1]:99";proto=https;by=203.0.113.9', r'for="\[2001:db8:[0-9a-f:]+\]:99";proto=https;by=2[45]\d\.[\d.]+'),
        ("Forwarded", "for=_hidden;host=h", r"for=_[a-z]{6};host=h"),
        ("X-Real-IP", "203.0.113.9", r"2[45]\d\.[\d.]+"),
        ("Referer", "https://u:abc123@h/?token=abc123#x", r"https://[a-z]:[a-z]{3}\d{3}@h/\?token=[a-z]{3}\d{3}#x"),
        ("Link", "</x?sig=abc123>; rel=next", r"</x\?sig=[a-z]{3}\d{3}>; rel=next"),
        ("X-Debug", "user a@b.example did it", r"user [a-z]@[a-z]+\.example did it"),
        ("WWW-Authenticate", 'Bearer realm="api"', 'Bearer realm="api"'),
        ("X-Api-Key", "", ""),
        ("Authorization", "  ", "  "),
    ],
)  # fmt: skip
def test_fields_are_replaced_in_their_form(name: str, value: str, pattern: str) -> None:
    """By name, however it is spelt, and by what stands in the value."""
    after = field(name, value)
    assert re.fullmatch(pattern, after), after
    assert "abc123" not in after
    assert "203.0.113.9" not in after


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "shop.example:8080"), ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"), ("Accept", "text/html;q=0.9,*/*;q=0.8"),
        ("Content-Type", "multipart/form-data; boundary=----x"), ("Date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("ETag", '"33a64df551425fcc"'), ("Cache-Control", "no-store, max-age=0"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("X-Request-Id", "5f0c0d2a-d9f8-47e1-8000-000000000000"), ("Vary", "Origin, Cookie"),
        ("Content-Security-Policy", "default-src 'self'; script-src 'nonce-abc'"), ("Content-Length", "12345"), ("Server", "nginx/1.2"), ("Via", "1.1 proxy"),
    ],
)  # fmt: skip
def test_other_fields_stay(name: str, value: str) -> None:
    """Byte for byte."""
    assert field(name, value) == value


def test_config_decides() -> None:
    """A field that is kept is kept, but for secret forms."""
    assert field("X-Api-Key", "abc123", "x-api-key") == "abc123"
    assert "ghp_" not in field("X-Api-Key", "ghp_" + "a1" * 18, "x-api-key")


@pytest.mark.parametrize(("value", "is_one"), [("12", True), ("12, 12", False), ("abc", False)])
def test_only_framing_is_framing(value: str, is_one: bool) -> None:
    """A secret in Content-Length is none of its business."""
    assert is_framing("content-LENGTH", value) is is_one
    assert not is_framing("X", value)


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("/a/b?token=abc123&x=1", r"/a/b\?token=[a-z]{3}\d{3}&x=1"),
        ("/a;jsessionid=abc123;v=1/c?x=1", r"/a;jsessionid=[a-z]{3}\d{3};v=1/c\?x=1"),
        ("/a?x=1?token=abc123", r"/a\?x=1\?token=[a-z]{3}\d{3}"),
        ("http://u:abc123@h/x", r"http://[a-z]:[a-z]{3}\d{3}@h/x"),
        ("/users/a@b.example/x", r"/users/[a-z]@[a-z]+\.example/x"),
        ("/users/a%40b.example/x", r"/users/[a-z]@[a-z]+\.example/x"),
        ("/?code=abc123&state=abc123", r"/\?code=[a-z]{3}\d{3}&state=[a-z]{3}\d{3}"),
        ("/reset-password/0123456789abcdefX/x", r"/reset-password/(?!0123)\d{10}[a-z]{6}[A-Z]/x"),
        ("/verify/a1b2c3d4e5f6a7b8", r"/verify/(?!a1b2)[0-9a-f]{16}"),
        ("/verify/the-first-chapter/a1b2c3d4e5f6a7b8", r"/verify/the-first-chapter/a1b2c3d4e5f6a7b8"),
        ("/orders/a1b2c3d4e5f6a7b8", r"/orders/a1b2c3d4e5f6a7b8"),
        ("/plain/path?q=two+words&page=2", r"/plain/path\?q=two\+words&page=2"),
        ("*", r"\*"),
        ("", ""),
    ],
)
def test_targets_are_replaced_in_their_form(target: str, pattern: str) -> None:
    """Query, path parameters, authority, and what shows itself in the path."""
    after = scrub_target(target, found()).applied()
    assert re.fullmatch(pattern, after), after
