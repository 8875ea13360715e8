"""Paths made up from patterns match them, or there is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.audit.samples import sample


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"/orders", "/orders"),
        (r"/images/[0-9a-f]{2}/.+\.(jpg|png)", "/images/aa/a.jpg"),
        (r"/orders/[0-9]+/pay", "/orders/0/pay"),
        (r"(/.*)?", "/a"),
        (r"/(?:v1|v2)/users/(\d+)/\1", "/v1/users/0/0"),
        (r"/[^/]+", "/a"),
        (r"/\w+?\s*", "/a"),
        (r"/a\.b\?", None),
        (r"^/x$", "/x"),
        (r"/(?i:ABC)", "/ABC"),
        (r"/(?P<id>[A-Z]{3})(?=x)x", "/AAAx"),
        (r"/[^\x21-\x7e]", None),
        (r"/(?!a)a", None),
        (r"[a-z]+", None),
        (r"/a{5000}", None),
        (r"/(a{100}){100}", None),
        (r"/(unclosed", None),
        (r"/a++b", "/ab"),
        (r"/(?>ab)", "/ab"),
        (r"/[^a-z0-9A-Z]", "/!"),
        ("/é", None),
    ],
)
def test_samples(pattern: str, text: str | None) -> None:
    """What a match could mean, from the simplest to what no path can be."""
    assert sample(pattern) == text


@given(st.text("ab/[](){}*+?|^$.\\d0-9", max_size=30))
def test_whatever_is_found_matches(pattern: str) -> None:
    """Law: of any pattern at all, what is returned matches it whole and is a path."""
    text = sample(f"/{pattern}")
    if text is not None:
        assert re.fullmatch(f"/{pattern}".encode(), text.encode())
        assert text.startswith("/")
