"""First match wins, on raw bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.policy import Policy, RoutePolicy, bare_host
from shadowproxy.policy.tags import Tags
from shadowproxy.policy.tenancy import LIVE, UNRULED, DestinationPolicy, TenancyRules

if TYPE_CHECKING:
    from tests.policy.conftest import MakePolicy

ROUTES = """
name: exact, match: {exact: /orders/7}
name: post, match: {path: /orders, methods: [POST]}
name: prefix, match: {path: /orders/}
name: regex, match: {regex: "/v[0-9]+/.*"}
name: beta, match: {headers: {X-Beta: "1", x-any: "*"}}
name: host, match: {host: Shop.Example}
name: sub, match: {host: "*.shop.example"}
name: back, match: {listener: back}
name: star, match: {exact: /star, methods: [OPTIONS]}
"""


@pytest.mark.parametrize(
    ("route", "method", "path", "changed"),
    [
        ("exact", b"POST", b"/orders/7", {}),
        ("post", b"POST", b"/orders/7/items", {}),
        ("prefix", b"GET", b"/orders", {}),
        ("prefix", b"GET", b"/orders/", {}),
        ("prefix", b"GET", b"/orders/7/", {}),
        (None, b"GET", b"/orders2", {}),
        (None, b"GET", b"/Orders", {}),
        (None, b"GET", b"/%6frders", {}),
        (None, b"GET", b"/x/../orders", {}),
        ("regex", b"GET", b"/v12/x", {}),
        (None, b"GET", b"/a/v12/x", {}),
        ("beta", b"GET", b"/", {"headers": {b"x-beta": [b"0", b"1"], b"x-any": [b""]}}),
        (None, b"GET", b"/", {"headers": {b"x-beta": [b"1"]}}),
        (None, b"GET", b"/", {"headers": {b"x-beta": [b"11"], b"x-any": [b"y"]}}),
        ("host", b"GET", b"/", {"host": b"shop.example"}),
        ("sub", b"GET", b"/", {"host": b"a.b.shop.example"}),
        (None, b"GET", b"/", {"host": b"badshop.example"}),
        ("back", b"GET", b"/", {"listener": "back"}),
        (None, b"OPTIONS", b"*", {}),
    ],
)
def test_the_first_route_that_takes_a_request_gets_it(
    make_policy: MakePolicy, route: str | None, method: bytes, path: bytes, changed: dict[str, object]
) -> None:
    """Prefixes end at segments, nothing is decoded or normalised, and all conditions of a route must hold."""
    policy = make_policy(ROUTES)
    asked = {"listener": "front", "host": b"other", "path": path, "method": method, "headers": {}, **changed}
    found = policy.find(**asked)  # type: ignore[arg-type]
    assert (found.name if found else None) == route


def test_a_route_without_conditions_takes_everything(make_policy: MakePolicy) -> None:
    """Also what has no path, as `OPTIONS *`; and what is behind it is never asked."""
    policy = make_policy("name: all\nname: never")
    assert policy.routes[0].is_catch_all
    found = policy.find("front", b"", b"*", b"OPTIONS", {})
    assert found is policy.routes[0]
    assert policy.routes[0].takes("x", b"x", b"", b"", {})


def test_the_path_slash_takes_every_path(make_policy: MakePolicy) -> None:
    """`path: /` is a prefix of everything."""
    assert make_policy("name: all, match: {path: /}").routes[0].is_catch_all


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"Shop.Example:8080", b"shop.example"),
        (b"shop.example", b"shop.example"),
        (b"shop.example:", b"shop.example"),
        (b"[::1]:80", b"[::1]"),
        (b"[2001:DB8::1]", b"[2001:db8::1]"),
        (b"", b""),
    ],
)
def test_a_host_is_compared_without_its_port(authority: bytes, host: bytes) -> None:
    """In lower case; the brackets of an IPv6 address stay."""
    assert bare_host(authority) == host


SEGMENTS = st.lists(st.sampled_from([b"a", b"b", b"ab", b"", b"%2f"]), max_size=4)


@given(SEGMENTS, SEGMENTS)
def test_a_prefix_is_whole_segments(prefix: list[bytes], path: list[bytes]) -> None:
    """The law against which path matching is checked: a prefix takes exactly the paths that begin with all its segments."""
    said = b"/" + b"/".join(prefix)
    bare = said.rstrip(b"/")
    route = RoutePolicy(
        name="r",
        live="live",
        mirrors=(),
        tests=TenancyRules(reads=DestinationPolicy(kind=LIVE), writes=DestinationPolicy(kind=UNRULED)),
        prefix=bare,
        prefix_slash=bare + b"/",
        is_catch_all=not bare,
    )
    asked = b"/" + b"/".join(path)
    wanted = bare.split(b"/")
    policy = Policy(generation=1, routes=(route,), wanted=frozenset(), touched=frozenset(), asks_host=False, tags=Tags())
    assert (policy.find("f", b"", asked, b"GET", {}) is not None) == (asked.split(b"/")[: len(wanted)] == wanted)
