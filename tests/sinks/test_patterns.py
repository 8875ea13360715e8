"""Path patterns against paths."""

from __future__ import annotations

import pytest

from shadowproxy.sinks.patterns import compile_pattern
from tests.sinks.kit import call


@pytest.mark.parametrize(
    ("pattern", "path", "captured"),
    [
        ("/", "/", {}),
        ("/orders", "/orders", {}),
        ("/orders", "/orders/", None),
        ("/orders", "/orders/7", None),
        ("/orders/{id}", "/orders/7", {"id": "7"}),
        ("/orders/{id}", "/orders/a%2Fb", {"id": "a/b"}),
        ("/orders/{id}", "/orders/", None),
        ("/orders/{order}/items/{item}", "/orders/7/items/8", {"order": "7", "item": "8"}),
        ("/orders/**", "/orders", {}),
        ("/orders/**", "/orders/7/items", {}),
        ("/orders/**", "/order", None),
        ("/{a}/**", "/x/y/z", {"a": "x"}),
        ("/**", "/", {}),
        ("/a", "/A", None),
        ("/a%20b/%C3%A9", "/a b/é", {}),
        ("/a%20b", "/a%20b", {}),
        ("/files/{name}.{type}", "/files/a.b.json", {"name": "a", "type": "b.json"}),
        ("/files/{name}.json", "/files/.json", None),
        ("/files/{name}.json", "/files/aXjson", None),
        ("/{order-id}:pay", "/7:pay", {"order-id": "7"}),
    ],
)
def test_a_pattern_takes_whole_segments(pattern: str, path: str, captured: dict[str, str] | None) -> None:
    """Named segments are captured decoded and are never empty; a rest is any number of segments."""
    assert compile_pattern(pattern).match(call("GET", path).segments) == captured
