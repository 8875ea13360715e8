"""An explanation says what the policy does, and never anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import load_text
from shadowproxy.dataplane import outcome
from shadowproxy.hashspace import point
from shadowproxy.policy import COPY, compile_policy
from shadowproxy.policy.explain import BY_CHANCE, DECISIONS, Facts, explain, failed_condition, percent

if TYPE_CHECKING:
    from tests.policy.conftest import MakePolicy

PLAIN = {"listener": "front", "host": b"other", "path": b"/x", "method": b"GET", "headers": {}, "client": b"192.0.2.1"}


def _facts(**changed: Any) -> Facts:
    return Facts(**PLAIN | changed)


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("match: {path: /orders, methods: [PUT]}", "path /x is not /orders nor below /orders/"),
        ("match: {path: /x, methods: [PUT, POST], host: a}", "method GET is not one of POST, PUT"),
        ("match: {host: shop.example, listener: back}", "host other is not shop.example"),
        ('match: {host: "*.shop.example"}', "host other does not end with .shop.example"),
        ("match: {exact: /y}", "path /x is not exactly /y"),
        ("match: {listener: back}", "listener front is not back"),
        ('match: {regex: "/[0-9]+"}', "path /x does not match /[0-9]+"),
        ('match: {headers: {X-Beta: "1"}}', "header x-beta is missing"),
        ('match: {headers: {x-has: "1"}}', "header x-has is 2 and 3, not 1"),
        ('match: {path: /x, methods: [GET], headers: {x-has: "3"}}', ""),
    ],
)
def test_the_first_condition_that_fails_is_named(make_policy: MakePolicy, condition: str, failed: str) -> None:
    """With what was asked for and what was there, in the order in which the data plane looks."""
    route = make_policy(f"name: r, {condition}").routes[0]
    assert failed_condition(route, _facts(headers={b"x-has": [b"2", b"3"]})) == failed


def test_routes_are_asked_until_one_takes_the_request(make_policy: MakePolicy) -> None:
    """Those behind it are not mentioned."""
    policy = make_policy("name: a, match: {path: /a}\nname: b\nname: c")
    found = explain(policy, _facts())
    assert [(asked.name, bool(asked.failed)) for asked in found.asked] == [("a", True), ("b", False)]
    assert found.route is policy.routes[1]
    nothing = explain(make_policy("name: a, match: {path: /a}"), _facts())
    assert nothing.route is None
    assert [asked.name for asked in nothing.asked] == ["a"]
    assert nothing.mirrors == ()


@pytest.mark.parametrize(
    ("mirror", "changed", "decision", "reason", "share"),
    [
        ("percent: 100", {}, "copy", "every request is mirrored", 1.0),
        ("percent: 100", {"is_marked": True}, "marked", "the request is a copy already, and a trusted proxy says so", 0.0),
        ("percent: 100", {"is_upgrade": True}, "upgrade", "upgrades go to live only", 0.0),
        ("percent: 100", {"method": b"PUT"}, "method", "method PUT is not one of GET, HEAD, OPTIONS", 0.0),
        ("percent: 100, body_limit: 9", {"length": 10}, "too_large", "a body of 10 bytes is over body_limit 9", 0.0),
        (
            "percent: 100, body_limit: 9",
            {"length": -1, "body_bytes": 10},
            "too_large",
            "a chunked body of 10 bytes is found to be over body_limit 9 while it streams: the copy is given up",
            0.0,
        ),
        ("percent: 25", {}, BY_CHANCE, "the mirror has no key: each request by itself; 25 % of such requests are copied", 0.25),
        (
            "percent: 50, holdout: 10",
            {},
            BY_CHANCE,
            "the mirror has no key: each request by itself; 45 % of such requests are copied, 5 % are held out",
            0.45,
        ),
        (
            'percent: 25, key: "header:X-User"',
            {},
            BY_CHANCE,
            "the request has no header x-user, so it is sampled by itself; 25 % of such requests are copied",
            0.25,
        ),
        ("percent: 0", {}, "not_sampled", "no request is mirrored", 0.0),
        ("percent: 10, holdout: 100", {}, "holdout", "no request is mirrored", 0.0),
        ("percent: 5, key: trace", {}, BY_CHANCE, "the request has no trace id, so it is sampled by itself; 5 % of such requests are copied", 0.05),
    ],
)  # fmt: skip
def test_mirrors_say_what_they_do_and_why(
    make_policy: MakePolicy, *, mirror: str, changed: dict[str, Any], decision: str, reason: str, share: float
) -> None:
    """Both numbers where two were compared; a probability where the request does not decide."""
    (found,) = explain(make_policy(f"name: r, mirror: [{{to: shadow, {mirror}}}]"), _facts(**changed)).mirrors
    assert (found.decision, found.reason) == (decision, reason)
    assert found.share == pytest.approx(share)


@pytest.mark.parametrize(
    ("key", "unit_from", "unit"),
    [
        ("header:X-User", "header x-user", b"u7"),
        ("cookie:sid", "cookie sid", b"abc"),
        ("client", "client address", b"192.0.2.1"),
        ("segment:1", "path segment 1", b"x"),
        ("trace", "trace id", b"7" * 32),
    ],
)
def test_units_and_points_are_shown(make_policy: MakePolicy, key: str, unit_from: str, unit: bytes) -> None:
    """Where the unit was found, what it is, and its point, which anybody can compute."""
    policy = make_policy(f'name: r, mirror: [{{to: shadow, percent: 50, holdout: 50, key: "{key}"}}]')
    (found,) = explain(policy, _facts(headers={b"x-user": [b"u7"], b"cookie": [b"sid=abc"]}, trace_id=b"7" * 32)).mirrors
    assert (found.unit_from, found.unit, found.point) == (unit_from, unit, point(unit, b"r"))
    at = point(unit, b"r")
    assert found.decision == ("copy" if at < 0.25 else "holdout" if at < 0.5 else "not_sampled")
    assert f"{at:.6f}" in found.reason


_POLICY = compile_policy(
    load_text(
        """
        listen: ["127.0.0.1:8080"]
        fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}, shadow: {endpoints: ["http://127.0.0.1:9002"]}}
        routes:
          - {name: a, match: {path: /a, methods: [GET]}, live: live}
          - name: b
            match: {headers: {x-user: "*"}}
            live: live
            mirror: [{to: shadow, percent: 40, holdout: 20, key: "header:x-user", body_limit: 10}]
          - {name: c, match: {regex: "/[a-c]/?"}, live: live}
        """
    ).config,
    1,
)


@given(
    st.sampled_from([b"/a", b"/a/", b"/b", b"/c/", b"/d"]),
    st.sampled_from([b"GET", b"POST"]),
    st.one_of(st.none(), st.binary(min_size=1, max_size=3)),
    st.integers(-1, 20),
)
def test_the_explanation_and_the_policy_agree(path: bytes, method: bytes, user: bytes | None, length: int) -> None:
    """For every request the explained route and decisions are the policy's, and exactly the routes before it have a reason."""
    headers = {} if user is None else {b"x-user": [user]}
    found = explain(_POLICY, _facts(path=path, method=method, headers=headers, length=length))
    assert found.route is _POLICY.find("front", b"other", path, method, headers)
    assert [bool(asked.failed) for asked in found.asked] == [True] * (len(found.asked) - bool(found.route)) + [False] * bool(found.route)
    for mirror in found.mirrors:
        assert user is not None
        at = point(user, mirror.policy.salt)
        decided = mirror.policy.decide(method, length, is_upgrade=False, is_marked=False, point=at, scale=1.0)
        assert mirror.decision == DECISIONS[decided]
        assert mirror.share == (decided == COPY)


def test_decisions_carry_the_names_of_fates() -> None:
    """What is explained can be found in the counters."""
    assert {number: name for number, name in DECISIONS.items() if number >= 0} == {
        number: outcome.FATES[number] for number in DECISIONS if number >= 0
    }


@pytest.mark.parametrize(("share", "shown"), [(0.25, "25 %"), (0.00001, "0.001 %"), (1.0, "100 %"), (0.333333333, "33.3333 %")])
def test_percents_are_short_and_exact_enough(share: float, shown: str) -> None:
    """A thousandth of a percent, the finest share there is, is not rounded away."""
    assert percent(share) == shown
