"""Routes that no request can reach."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config import from_plain, load_text
from shadowproxy.config.model import Match
from shadowproxy.config.reachability import covers


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"path": "/a"}),
        ({"path": "/"}, {"regex": ".*"}),
        ({"path": "/a"}, {"path": "/a/b"}),
        ({"path": "/a/"}, {"exact": "/a/b"}),
        ({"path": "/a"}, {"path": "/a/"}),
        ({"exact": "/a"}, {"exact": "/a", "methods": ("GET",)}),
        ({"regex": "/a+"}, {"regex": "/a+"}),
        ({"host": "*.example.com"}, {"host": "A.Example.com"}),
        ({"host": "*.example.com"}, {"host": "*.b.example.com"}),
        ({"methods": ("GET", "HEAD")}, {"methods": ("GET",)}),
        ({"headers": {"X-A": "*"}}, {"headers": {"x-a": "1", "x-b": "2"}}),
        ({"listener": "l"}, {"listener": "l"}),
    ],
)
def test_covers(first: dict[str, Any], second: dict[str, Any]) -> None:
    """The first takes whatever the second matches."""
    assert covers(Match(**first), Match(**second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"path": "/a"}, {}),
        ({"path": "/a"}, {"path": "/ab"}),
        ({"path": "/a"}, {"regex": "/a/.*"}),
        ({"exact": "/a"}, {"path": "/a"}),
        ({"host": "*.example.com"}, {"host": "example.com"}),
        ({"host": "*.example.com"}, {"host": "badexample.com"}),
        ({"host": "a.example.com"}, {"host": "*.example.com"}),
        ({"host": "example.com"}, {}),
        ({"methods": ("GET",)}, {}),
        ({"methods": ("GET",)}, {"methods": ("GET", "POST")}),
        ({"headers": {"x-a": "1"}}, {"headers": {"x-a": "*"}}),
        ({"headers": {"x-a": "1"}}, {}),
        ({"listener": "l"}, {}),
    ],
)
def test_does_not_cover(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Something that the second matches passes the first by."""
    assert not covers(Match(**first), Match(**second))


def test_the_warning_names_both_routes() -> None:
    """The route that is never reached is warned about, with the one that takes all of it."""
    loaded = load_text(
        'listen: ["127.0.0.1:80"]\nfleets: {live: {endpoints: ["http://a"]}}\n'
        "routes:\n  - {live: live, match: {path: /a}}\n  - {name: late, live: live, match: {path: /a/b}}\n  - {live: live}\n  - {live: live, match: {path: /c}}\n",
    )
    assert [str(warning) for warning in loaded.warnings] == [
        "<text>:5:5: routes[1]: warning: never reached: routes[0] (route-1) takes everything that this route matches",
        "<text>:7:5: routes[3]: warning: never reached: routes[2] (route-3) takes everything that this route matches",
    ]


def test_thousands_of_routes() -> None:
    """Many routes are read; comparing them is bounded."""
    routes = [{"live": "live", "match": {"exact": f"/{number}"}} for number in range(3000)]
    config = from_plain({"listen": ["127.0.0.1:80"], "fleets": {"live": {"endpoints": ["http://a"]}}, "routes": routes})
    assert len(config.routes) == 3000
