"""What must hold between the parts of a config that are about test traffic."""

from __future__ import annotations

import pytest

from tests.config.test_checks import BASE, found


def with_tests(test_traffic: str, more: str = "") -> list[str]:
    """The problems of a config whose only route treats test traffic like this."""
    routes = f"routes: [{{name: r, live: live, mirror: [{{to: shadow, percent: 1}}], test_traffic: {test_traffic}}}]\n"
    return [problem.partition(" | ")[2] for problem in found(f"{BASE}{routes}{more}")]


def with_listener(settings: str, more: str = "") -> list[str]:
    """The problems of a config whose listener has these settings."""
    listen = f'listen: [{{name: front, address: "127.0.0.1:8080", {settings}}}]\n'
    text = listen + BASE.partition("\n")[2] + "routes: [{live: live, mirror: [{to: shadow, percent: 1}]}]\n" + more
    return [problem.partition(" | ")[2] for problem in found(text)]


P = "routes[0].test_traffic.writes.partition"


@pytest.mark.parametrize(
    ("test_traffic", "problems"),
    [
        ("{}", []),
        ("{writes: refuse, reads: live}", []),
        ("{writes: live}", ["routes[0].test_traffic.writes: warning: test traffic writes to live"]),
        ("{writes: {sink: s}}", []),
        ("{writes: {sink: z}}", ["routes[0].test_traffic.writes.sink: no sink is called 'z'"]),
        ("{writes: {rule: live, sink: s}}", ["routes[0].test_traffic.writes.sink: one of rule, sink and partition, not rule and sink"]),
        ("{writes: {partition: {fleet: shadow}}}", []),
        ("{writes: {partition: {fleet: z}}}", [f"{P}.fleet: no fleet is called 'z'"]),
        ("{writes: {partition: {}}}", [f"{P}: names nothing that tells it from live"]),
        ("{writes: {partition: {fleet: live}}}", [f"{P}.fleet: has endpoints of the route's live fleet"]),
        ("{writes: {partition: {fleet: live, headers: {X-Tenant: '{tenant}'}}}}", []),
        ("{writes: {partition: {path_prefix: /}}}", [f"{P}.path_prefix: must be a path with a name in it"]),
        ("{writes: {partition: {path_prefix: '/t?x='}}}", [f"{P}.path_prefix: must be a path with a name in it"]),
        ("{writes: {partition: {path_prefix: '/t/../x'}}}", [f"{P}.path_prefix: leads elsewhere"]),
        ("{writes: {partition: {path_prefix: '/t/{user}'}}}", [f"{P}.path_prefix: only {{tenant}} can stand in braces"]),
        ("{writes: {partition: {headers: {X-T: '{x}'}}}}", [f"{P}.headers.X-T: only {{tenant}} can stand in braces"]),
        ("{writes: {partition: {query: {mode: '{'}}}}", [f"{P}.query.mode: only {{tenant}} can stand in braces"]),
        ("{writes: {partition: {headers: {content_length: '5'}}}}", [f"{P}.headers.content_length: content_length is written by the proxy itself"]),
        ("{writes: {partition: {headers: {Host: a}}}}", [f"{P}.headers.Host: Host is written by the proxy itself"]),
        ("{writes: {partition: {headers: {X-Test-Traffic: a}}}}", [f"{P}.headers.X-Test-Traffic: X-Test-Traffic is written"]),
        ("{treat: [{counts_as: read}]}", ["routes[0].test_traffic.treat[0]: would take every write for a read"]),
        ("{treat: [{counts_as: write}]}", []),
        ("{treat: [{counts_as: read, path: /a, regex: /b}]}", ["routes[0].test_traffic.treat[0].regex: by one of path, exact and regex"]),
    ],
)  # fmt: skip
def test_rules(test_traffic: str, problems: list[str]) -> None:
    """What contradicts itself, or would let a test's write through to live unnoticed, is said where it stands."""
    unused = [] if "sink: s" in test_traffic else ["sinks.s: warning: no route uses this sink"]
    shown = with_tests(test_traffic, "sinks: {s: {}}\n")
    wanted = [*problems, *(unused if not problems or "warning" in problems[0] else [])]
    assert len([problem for problem in shown if "warning" not in problem]) == len(
        [problem for problem in problems if "warning" not in problem]
    )
    assert all(any(problem.startswith(want) for problem in shown) for want in wanted), shown


def test_another_fleet_at_the_same_address_is_no_partition() -> None:
    """Whatever it is called."""
    text = (
        BASE + '  copy: {endpoints: ["http://10.0.0.1:80"]}\nroutes: [{live: live, test_traffic: {writes: {partition: {fleet: copy}}}}]\n'
    )
    assert any("has endpoints of the route's live fleet" in problem for problem in found(text))


@pytest.mark.parametrize(
    ("settings", "more", "problem"),
    [
        ("trust: any", "", ""),
        ("trust: {mode: cidrs, cidrs: [10.0.0.0/8]}", "", ""),
        ("trust: cidrs", "", "listen[0].trust.cidrs: belongs to mode: cidrs, and that to it"),
        ("trust: {mode: any, cidrs: [10.0.0.0/8]}", "", "listen[0].trust.cidrs: belongs to mode: cidrs, and that to it"),
        ("trust: signed", "", "listen[0].trust: signed needs a key in tenancy.passports.keys"),
        ("trust: signed", "tenancy: {passports: {keys: {k: {file: f}}}}\n", ""),
        ("trust: signed, egress: {}", "tenancy: {passports: {keys: {k: {file: f}}}}\n", "listen[0].trust: warning: services cannot sign"),
        ("egress: {}", "tenancy: {memory: 1MiB, body_limit: 2MiB}\n", "tenancy.memory: warning: less than body_limit (2097152 bytes)"),
    ],
)
def test_listeners_and_limits(settings: str, more: str, problem: str) -> None:
    """Trust that cannot be had, or that refuses everything."""
    shown = with_listener(settings, more)
    assert any(one.startswith(problem) for one in shown) if problem else shown == []


def test_sinks_are_counted() -> None:
    """Each has a socket."""
    sinks = "sinks: {" + ", ".join(f"s{number}: {{}}" for number in range(201)) + "}\n"
    assert "sinks: 201 sinks, limit 200" in with_tests("{}", sinks)
