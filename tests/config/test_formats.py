"""The named forms of strings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.formats import CHECKS, PATTERNS
from shadowproxy.config.model import Config
from shadowproxy.config.shape import fields_of


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cidr", "10.0.0.0/8"),
        ("cidr", "127.0.0.1"),
        ("cidr", "2001:db8::/32"),
        ("header-name", "X-Copy-Of"),
        ("header-value", "a b\tc"),
        ("method", "M-SEARCH"),
        ("path", "/a/%20;b=1"),
        ("regex", r"/[a-z]+\.(jpg|png)"),
        ("host-pattern", "*.shop.example"),
        ("host-pattern", "[::1]"),
        ("host", "live.internal"),
        ("state", "sqlite:///shadowproxy.db"),
        ("state", "sqlite:////var/lib/x.db"),
        ("state", "redis://localhost"),
        ("state", "redis://:secret@[::1]:6379/3"),
        ("state", "rediss://cache.internal:6380/0"),
        ("file", "/etc/x.pem"),
    ],
)
def test_fits(name: str, text: str) -> None:
    """What has the form passes."""
    CHECKS[name](text)


@pytest.mark.parametrize(
    ("name", "text", "suggestion"),
    [
        ("cidr", "10.0.0.1/8", "10.0.0.0/8"),
        ("cidr", "10.0.0.0/33", ""),
        ("cidr", "localhost", ""),
        ("header-name", "X-Copy-Of:", "X-Copy-Of"),
        ("header-name", "a b", ""),
        ("header-name", "ü", ""),
        ("header-value", "a\r\nX: y", ""),
        ("header-value", "a\0", ""),
        ("header-value", " a ", "a"),
        ("header-value", "ü", ""),
        ("method", "get", "GET"),
        ("method", "G T", ""),
        ("path", "/a?b", "/a"),
        ("path", "/a#b", "/a"),
        ("regex", "(", ""),
        ("regex", "[[a]", ""),
        ("regex", "é", ""),
        ("regex", "a" * 3000, ""),
        ("regex", "a{99999999999}", ""),
        ("host-pattern", "shop.example:80", "shop.example"),
        ("host-pattern", "*.*.example", ""),
        ("host-pattern", "shop.*", ""),
        ("state", "shadowproxy.db", "sqlite:///shadowproxy.db"),
        ("state", "sqlite://shadowproxy.db", ""),
        ("state", "redis://", ""),
        ("state", "redis://host:port/0", ""),
        ("state", "redis://host:6379/zero", ""),
        ("state", "postgres://x", ""),
        ("file", "a\0b", ""),
    ],
)
def test_does_not_fit(name: str, text: str, suggestion: str) -> None:
    """What has not is refused, with the obvious correction."""
    with pytest.raises(Unfit) as caught:
        CHECKS[name](text)
    assert caught.value.suggestion == suggestion


@given(st.sampled_from(sorted(CHECKS)), st.text(max_size=20))
def test_only_unfit(name: str, text: str) -> None:
    """Whatever the text, a check returns nothing or raises Unfit, and never accepts what the schema's pattern refuses."""
    try:
        CHECKS[name](text)
    except Unfit:
        return
    if name in PATTERNS and text:
        assert re.fullmatch(PATTERNS[name], text)


def test_every_format_of_the_model_is_known() -> None:
    """A format that the model names has a check."""

    def walk(cls: type[Any]) -> None:
        for field in fields_of(cls):
            for key in ("format", "key_format"):
                if key in field.metadata:
                    assert field.metadata[key] in CHECKS
            inner = field.shape.item or field.shape
            if inner.cls is not None and inner.kind == "object":
                walk(inner.cls)

    walk(Config)


def test_a_password_is_not_repeated() -> None:
    """A state that cannot be used may hold a password, which a message must not show."""
    for text in ("postgres://user:secret@host/db", "redis://user:secret@host:port/0"):
        with pytest.raises(Unfit) as caught:
            CHECKS["state"](text)
        assert "secret" not in str(caught.value)
