"""What an audit sends: every route and method once by every listener, and nothing that could do harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from shadowproxy.audit import plan as module
from shadowproxy.audit.honey import Honey
from shadowproxy.audit.plan import METHODS, Wishes, make
from shadowproxy.audit.probefile import Template
from shadowproxy.config import from_plain
from shadowproxy.config.declare import Json
from shadowproxy.errors import AuditFailed, ConfigError
from shadowproxy.policy import bare_host, compile_policy
from shadowproxy.policy.tags import tenant_of
from tests.audit.samples import HONEY, ORDERS, config, plan
from tests.config.strategies import plain_configs


def shown(**wishes: Any) -> list[str]:
    """The labels of what would be sent to /orders."""
    return [probe.label for probe in plan(**wishes).probes]


def test_each_method_is_asked_once_and_bodies_in_both_forms() -> None:
    """JSON and form; what changes an item names one that cannot be there."""
    assert shown() == [
        "GET /orders", "POST /orders (JSON)", "POST /orders (form)", "PUT /orders/{{honey}} (JSON)", "PUT /orders/{{honey}} (form)",
        "PATCH /orders/{{honey}} (JSON)", "PATCH /orders/{{honey}} (form)", "DELETE /orders/{{honey}}",
    ]  # fmt: skip
    assert shown(methods=("DELETE",)) == ["DELETE /orders/{{honey}}"]


def test_a_probe_is_tagged_and_carries_its_token_everywhere() -> None:
    """Header, query and body; a trace of its own; the same tenant for all."""
    sent = plan(methods=("POST",), tenant="nightly")
    for number, probe in enumerate(sent.probes):
        fields = dict(probe.headers)
        assert probe.number == number
        assert fields["X-Test-Traffic"] == "nightly"
        assert fields["traceparent"][3:35] == probe.trace == HONEY.trace(number)
        assert HONEY.find(fields["X-Shadowproxy-Audit"]) == {(number, "h")}
        assert HONEY.find(probe.target) == {(number, "q")}
        assert HONEY.find(probe.body.decode()) == {(number, "b")}
        assert (probe.expected, probe.to, probe.is_write) == ("sunk", "mock", True)


def test_plans_are_the_same_but_for_the_tokens() -> None:
    """A regression test asks the same at every run, and calls it the same."""
    one, other = (make(config(ORDERS), Honey(run), Wishes()) for run in ("0000000000", "1111111111"))
    assert [probe.label for probe in one.probes] == [probe.label for probe in other.probes]
    assert {probe.trace for probe in one.probes}.isdisjoint(probe.trace for probe in other.probes)


def test_every_listener_that_takes_the_route_is_asked() -> None:
    """A route without a listener is asked by all, one with it by that."""
    both = plan({"name": "all", "match": {"path": "/"}, "test_traffic": {"writes": "refuse"}}, methods=("GET",))
    assert [(probe.listener, probe.target.partition("?")[0]) for probe in both.probes] == [("front", "/"), ("out", "/")]
    assert {probe.listener for probe in plan().probes} == {"front"}
    assert not plan(listeners=("out",)).probes


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"exact": "/healthz"}, "GET /healthz"),
        ({"regex": r"/orders/[0-9]+/pay"}, "GET /orders/0/pay"),
        ({"path": "/a/"}, "GET /a"),
        ({"path": "/"}, "GET /"),
        ({}, "GET /"),
    ],
)
def test_paths_come_from_the_match(match: dict[str, Any], expected: str) -> None:
    """Exact, by regular expression, by prefix."""
    assert [probe.label for probe in plan({"name": "r", "match": match}, methods=("GET",), listeners=("front",)).probes] == [expected]


def test_host_headers_and_methods_come_from_the_match() -> None:
    """What the route asks for is there; a wildcard host gets a name below it."""
    match = {"host": "*.shop.example", "headers": {"X-Beta": "1", "X-Client": "*"}, "methods": ["HEAD", "POST", "CONNECT"]}
    sent = plan({"name": "r", "match": match, "test_traffic": {"writes": "refuse"}}, listeners=("front",))
    assert [probe.label for probe in sent.probes] == ["HEAD /", "POST / (JSON)", "POST / (form)"]
    assert {probe.host for probe in sent.probes} == {"audit.shop.example"}
    assert ("X-Beta", "1") in sent.probes[0].headers
    assert ("X-Client", "audit") in sent.probes[0].headers
    assert [one.reason for one in sent.skipped] == ["what a tunnel carries cannot be probed"]
    by_address = plan(ORDERS, authorities={"front": "gateway:80"})
    assert {probe.host for probe in by_address.probes} == {"gateway:80"}


def test_what_another_route_takes_first_is_not_asked_as_this_ones() -> None:
    """A deeper path is tried; if that is taken too, the route is named as not asked, with the reason."""
    first = {"name": "first", "match": {"exact": "/orders"}}
    sent = plan(first, ORDERS, routes=("orders",), methods=("GET",))
    assert [probe.label for probe in sent.probes] == ["GET /orders/{{honey}}"]
    sent = plan({"name": "first", "match": {"path": "/"}}, ORDERS, routes=("orders",), methods=("GET",))
    assert not sent.probes
    assert "route 'first' takes GET /orders/" in sent.skipped[0].reason
    sent = plan({"name": "odd", "match": {"regex": r"/(?!a)a"}}, methods=("GET",))
    assert not sent.probes
    assert "--probes" in sent.skipped[0].reason


def test_writes_that_go_to_live_are_asked_only_if_one_wants_that() -> None:
    """Reads of such a route are asked all the same; a treat rule decides what reads."""
    route = {
        **ORDERS,
        "test_traffic": {
            "reads": "live",
            "writes": "live",
            "treat": [{"counts_as": "read", "methods": ["PATCH"]}, {"counts_as": "write", "methods": ["GET"]}],
        },
    }
    sent = plan(route)
    assert {probe.method for probe in sent.probes} == {"PATCH"}
    assert {one.method for one in sent.skipped} == {"GET", "POST", "PUT", "DELETE"}
    assert all("--include-live" in one.reason for one in sent.skipped)
    every = plan(route, includes_live=True)
    assert not every.skipped
    assert {probe.expected for probe in every.probes} == {"passed"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ("refused", "")),
        ({"writes": "refuse"}, ("refused", "")),
        ({"writes": {"sink": "mock"}}, ("sunk", "mock")),
        ({"writes": {"partition": {"fleet": "test"}}}, ("partitioned", "test")),
        ({"writes": {"partition": {"headers": {"X-T": "{tenant}"}}}}, ("partitioned", "live")),
    ],
)
def test_what_must_become_of_a_probe_is_what_the_workers_would_decide(rule: dict[str, Any], expected: tuple[str, str]) -> None:
    """By the same policy, compiled from the same config."""
    probe = plan({**ORDERS, "test_traffic": rule}, methods=("POST",)).probes[0]
    assert (probe.expected, probe.to) == expected


def test_signed_listeners_are_asked_only_with_a_key() -> None:
    """Without one they are named as not asked; with one the tag is left to the passport."""
    changed = {
        "tenancy": {"passports": {"keys": {"k": {"file": "/nowhere"}}}},
        "listen": [{"name": "front", "address": "127.0.0.1:8080", "trust": "signed"}],
    }
    signed = config(ORDERS, **changed)
    without = make(signed, HONEY, Wishes())
    assert not without.probes
    assert [one.method for one in without.skipped] == ["*"]
    with_key = make(signed, HONEY, Wishes(has_key=True))
    assert all(probe.is_signed and "X-Test-Traffic" not in dict(probe.headers) for probe in with_key.probes)
    assert len(with_key.probes) == 8


def test_written_probes_take_the_place_of_made_up_ones() -> None:
    """Tokens go where the file says, and into a header in any case."""
    templates = (
        Template(
            method="POST",
            path="/orders/{{honey}}?note={{honey}}",
            json=Json({"deep": [{"note": "x {{honey}}"}]}),
            headers={"X-Note": "{{honey}}"},
        ),
        Template(method="PUT", body="raw {{honey}}", headers={"content-type": "text/plain"}),
        Template(method="GET", path="/elsewhere"),
    )
    sent = plan(templates={"orders": templates})
    first, second = sent.probes
    assert first.label == "POST /orders/{{honey}} (JSON)"
    assert {found.place for found in HONEY.find(first.target)} == {"p", "q"}
    assert HONEY.find(first.body.decode()) == {(0, "b")}
    assert HONEY.find(dict(first.headers)["X-Note"]) == {(0, "h")}
    assert second.body == f"raw {HONEY.token(1, 'b')}".encode()
    assert [value for name, value in second.headers if name.lower() == "content-type"] == ["text/plain"]
    assert HONEY.find(dict(second.headers)["X-Shadowproxy-Audit"]) == {(1, "h")}
    assert [one.reason for one in sent.skipped] == ["no route takes GET /elsewhere: give another in --probes"]


@pytest.mark.parametrize("wishes", [{"routes": ("ordres",)}, {"listeners": ("back",)}, {"templates": {"ordres": ()}}])
def test_names_that_are_not_there_are_refused(wishes: dict[str, Any]) -> None:
    """A typo must not make an audit that asks nothing and finds nothing."""
    with pytest.raises(AuditFailed, match="there are"):
        plan(**wishes)


def test_a_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More probes than tokens can tell apart are refused before one is sent."""
    monkeypatch.setattr(module, "MOST", 3)
    with pytest.raises(AuditFailed, match="more than 3 probes"):
        plan(methods=METHODS)


@pytest.mark.parametrize(
    ("asked", "tag", "tenant"), [("*", "nightly", "nightly"), ("canary-7", "canary-7", "canary-7"), ("true", "true", "default")]
)
def test_a_route_for_some_tests_only(asked: str, tag: str, tenant: str) -> None:
    """A match may look at the tag itself: a probe has one, and the one that is asked for."""
    sent = plan(
        {**ORDERS, "match": {"path": "/orders", "headers": {"x-test-traffic": asked}}},
        tenant="nightly",
        methods=("POST",),
        listeners=("front",),
    )
    assert len(sent.probes) == 2
    for probe in sent.probes:
        assert [value for name, value in probe.headers if name.lower() == "x-test-traffic"] == [tag]
        assert probe.tenant == tenant


def test_a_route_for_no_tests_is_not_asked() -> None:
    """Without a tag it would be no probe."""
    sent = plan({**ORDERS, "match": {"path": "/orders", "headers": {"X-Test-Traffic": "0"}}}, methods=("POST",), listeners=("front",))
    assert not sent.probes
    assert "no test" in sent.skipped[0].reason


@settings(max_examples=settings().max_examples // 3)
@given(plain_configs(), st.booleans(), st.booleans())
def test_every_config_has_a_plan_that_does_no_harm(plain: dict[str, Any], has_key: bool, includes_live: bool) -> None:
    """Law: of any config, every probe is tagged and taken by its own route, which decides as the plan says; no write goes to live unasked;
    and every route, by every listener that it may come by, is either asked or named as not asked.
    """
    try:
        accepted = from_plain(plain)
    except ConfigError:
        reject()  # what one part of a config makes of another is not for the strategy to know
    made = make(accepted, HONEY, Wishes(has_key=has_key, includes_live=includes_live))
    policy = compile_policy(accepted, 1)
    for number, probe in enumerate(made.probes):
        fields: dict[bytes, list[bytes]] = {}
        for name, value in probe.headers:
            fields.setdefault(name.lower().encode(), []).append(value.encode("latin-1"))
        path = probe.target.partition("?")[0].encode()
        route = policy.find(probe.listener, bare_host(probe.host.encode()), path, probe.method.encode(), fields)
        assert route is not None
        assert route.name == probe.route
        assert probe.is_signed or tenant_of(fields[b"x-test-traffic"][0]) == probe.tenant.encode()
        assert probe.number == number
        assert includes_live or not (probe.is_write and probe.expected == "passed")
        is_write, destination = route.tests.decide(probe.method.encode(), probe.target.encode(), [], probe.body, is_upgrade=False)
        assert (is_write, destination.fate) == (probe.is_write, probe.expected)
    known = {(probe.route, probe.listener) for probe in made.probes} | {(one.route, one.listener) for one in made.skipped}
    wanted = {
        (route.name, listener.name)
        for route in accepted.routes
        for listener in accepted.listen
        if route.match.listener in {"", listener.name}
    }
    assert known == wanted
