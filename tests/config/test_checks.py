"""What must hold between the parts of a config."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shadowproxy.config import load_text
from shadowproxy.config.checks import MOST_MIRRORS
from shadowproxy.errors import ConfigError

_WORD = re.compile(r'"[^"]*"|[^\s,\[\]{}]+:(?= )|[^\s,\[\]{}]+|.')

BASE = """\
listen: [{name: front, address: "127.0.0.1:8080"}]
fleets:
  live: {endpoints: ["http://10.0.0.1:80"]}
  shadow: {endpoints: ["http://10.0.0.2:80"]}
"""


def found(text: str) -> list[str]:
    """Return the problems of a text, warnings included; instead of its line and column, each has the word that stands there."""
    try:
        problems: Any = load_text(text, file="f").warnings
    except ConfigError as error:
        problems = error.problems
    lines = text.splitlines()
    shown = []
    for problem in problems:
        word = _WORD.match(lines[problem.line - 1], problem.column - 1)
        assert word is not None
        shown.append(str(problem).replace(f"f:{problem.line}:{problem.column}:", f"at {word[0]} |"))
    return shown


def with_mirror(mirror: str) -> list[str]:
    """Return the problems of a config whose only mirror, on line 5, is this."""
    return found(f"{BASE}routes: [{{live: live, mirror: [{{{mirror}}}]}}]\n")


def with_listen(listen: str, rest: str = "") -> list[str]:
    """Return the problems of a config that listens there."""
    return found(f'listen: {listen}\nfleets: {{live: {{endpoints: ["http://10.0.0.1:80"]}}}}\nroutes: [{{live: live}}]\n{rest}')


def with_endpoint(url: str) -> list[str]:
    """Return the problems of a config whose live fleet has this endpoint."""
    return found(
        f'listen: ["127.0.0.1:8080", "[::1]:8081"]\nadmin: {{address: "127.0.0.1:9901"}}\nfleets: {{live: {{endpoints: ["{url}"]}}}}\nroutes: [{{live: live}}]\n'
    )


def test_references() -> None:
    """Names that nothing has are problems, with the name that was probably meant or those there are."""
    assert found(f"{BASE}routes: [{{live: lve, match: {{listener: fornt}}, mirror: [{{to: zzz, percent: 1}}]}}]\n") == [
        "at lve | routes[0].live: no fleet is called 'lve' (did you mean 'live'?)",
        "at fornt | routes[0].match.listener: no listener is called 'fornt' (did you mean 'front'?)",
        "at zzz | routes[0].mirror[0].to: no fleet is called 'zzz'; there are: live, shadow",
    ]


def test_names_are_unique() -> None:
    """Two of a kind with one name could not be told apart in metrics."""
    assert found(f"{BASE}routes: [{{live: live, name: route-2}}, {{live: shadow}}]\n") == [
        "at { | routes[1].name: another route is called 'route-2', see routes[0]"
    ]
    assert with_mirror("to: shadow, percent: 1}, {to: shadow, percent: 1") == [
        "at { | routes[0].mirror[1].name: another mirror of this route is called 'shadow', see routes[0].mirror[0]",
    ]
    assert with_listen('[{name: a, address: "127.0.0.1:1"}, {name: a, address: "127.0.0.1:2"}]') == [
        "at a | listen[1].name: another listener is called 'a', see listen[0]",
    ]


@pytest.mark.parametrize(
    ("listen", "problems"),
    [
        (
            '["127.0.0.1:80", "localhost:80"]',
            ["at \"localhost:80\" | listen[1].address: localhost:80 is taken by listener '127.0.0.1:80' at 127.0.0.1:80"],
        ),
        (
            '["0.0.0.0:80", "127.0.0.1:80"]',
            ["at \"127.0.0.1:80\" | listen[1].address: 127.0.0.1:80 is taken by listener '0.0.0.0:80' at 0.0.0.0:80"],
        ),
        ('["127.1:9901"]', ['at "127.1:9901" | listen[0].address: 127.1:9901 is taken by the admin API at 127.0.0.1:9901']),
        ('["127.0.0.1:0", "127.0.0.2:0"]', []),
        ('["127.0.0.1:80", "192.168.0.1:80"]', []),
    ],
)
def test_one_address_one_listener(listen: str, problems: list[str]) -> None:
    """No two listeners, nor the admin API, share an address in any spelling; port 0 is a new one each time."""
    assert with_listen(listen) == problems


@pytest.mark.parametrize("address", ["0.0.0.0:9901", "10.0.0.1:9901", "[::]:9901", "admin.example:9901"])
def test_an_admin_api_for_others_needs_a_token(address: str) -> None:
    """Beyond loopback, the admin API needs a token that somebody chose."""
    (problem,) = with_listen('["127.0.0.1:80"]', f'admin: {{address: "{address}"}}\n')
    assert problem.startswith(f'at "{address}" | admin.address: ')
    assert "token_file" in problem
    assert with_listen('["127.0.0.1:80"]', f'admin: {{address: "{address}", token_file: t}}\n') == []


@pytest.mark.parametrize("address", ["127.0.0.1:9901", "localhost:9901", "[::1]:9901", "127.9.9.9:0"])
def test_a_loopback_admin_api_makes_its_own_token(address: str) -> None:
    """On loopback a token is generated, so none has to be named."""
    assert with_listen('["127.0.0.1:80"]', f'admin: {{address: "{address}"}}\n') == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://0x7f.1:8080",
        "http://2130706433:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://[0:0::1]:8081",
        "http://127.0.0.1:9901",
    ],
)
def test_an_endpoint_that_is_ourselves(url: str) -> None:
    """A fleet that leads back into the proxy is refused, however its address is spelt."""
    (problem,) = with_endpoint(url)
    assert problem.startswith(f'at "{url}" | fleets.live.endpoints[0]: ')
    assert "requests would go round in circles" in problem


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "http://[fe80::1]", "http://224.0.0.1", "http://0xA9FEA9FE", "http://metadata.google.internal"]
)
def test_an_endpoint_that_nobody_may_call(url: str) -> None:
    """Link-local, multicast and metadata endpoints are refused."""
    (problem,) = with_endpoint(url)
    assert "cannot be an endpoint" in problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081", "http://127.0.0.2:8080", "https://shop.example:8080"])
def test_endpoints_that_are_not_ourselves(url: str) -> None:
    """Another port or another address is another server."""
    assert with_endpoint(url) == []


def test_one_way_to_match_a_path() -> None:
    """Two of path, exact and regex in one match would leave open which holds."""
    assert found(f"{BASE}routes: [{{live: live, match: {{path: /a, regex: /b}}}}, {{live: shadow}}]\n") == [
        "at /b | routes[0].match.regex: a route matches by one of path, exact and regex, not by path and regex",
    ]


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "X-Shadow-Id", "x_shadow_id", "X.Test.Traffic", "baggage", "X-Forwarded-For", "via"]
)
def test_reserved_headers_of_copies(name: str) -> None:
    """Fields that frame the message or carry our marks can be neither set nor removed, in any spelling."""
    (on_set,) = with_mirror(f"to: shadow, percent: 1, headers: {{set: {{{name}: x}}}}")
    assert on_set.startswith(f"at {name}: | routes[0].mirror[0].headers.set")
    assert on_set.endswith(f": {name} is written by the proxy itself")
    assert with_mirror(f"to: shadow, percent: 1, headers: {{remove: [{name}]}}") == [
        f"at {name} | routes[0].mirror[0].headers.remove[0]: {name} is written by the proxy itself",
    ]


def test_the_host_of_a_copy_has_its_own_setting() -> None:
    """Host cannot be set as a header, and the message says where it is set."""
    assert "with the mirror's `host`" in with_mirror("to: shadow, percent: 1, headers: {set: {Host: x}}")[0]


@pytest.mark.parametrize("name", ["Authorization", "X-Copy", "User-Agent", "Cookie"])
def test_other_headers_of_copies(name: str) -> None:
    """Everything else may be set: a shadow may want credentials of its own."""
    assert with_mirror(f"to: shadow, percent: 1, headers: {{set: {{{name}: x}}, remove: [X-Y]}}") == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_that_cannot_be_mirrored(method: str) -> None:
    """A tunnel has no request to copy, and TRACE echoes credentials."""
    assert with_mirror(f"to: shadow, percent: 1, methods: [GET, {method}]") == [
        f"at {method} | routes[0].mirror[0].methods[1]: {method} cannot be mirrored"
    ]


@pytest.mark.parametrize(
    ("mirror", "warnings"),
    [
        ("to: shadow", ["at { | routes[0].mirror[0].percent: warning: percent not given: 100 % is mirrored"]),
        ("to: live, percent: 1", ["at live | routes[0].mirror[0].to: warning: live serves the copies as well, from http://10.0.0.1:80: they are load on it"]),
        ("to: shadow, percent: 1, credentials: keep", [
            "at keep | routes[0].mirror[0].credentials: warning: the shadow gets the users' Authorization and Cookie, and can act as them",
            "at keep | routes[0].mirror[0].credentials: warning: and they travel unencrypted to http://10.0.0.2:80",
        ]),
        ("to: shadow, percent: 1, timeout: 9s, pair_timeout: 1s", [
            "at 1s | routes[0].mirror[0].pair_timeout: warning: shorter than timeout (9 s): slow shadow answers are never compared",
        ]),
        ("to: shadow, percent: 1, credentials: keep, scrub: true", []),
        ("to: shadow, percent: 1, scrub: true, body_limit: 2MiB", [
            "at 2MiB | routes[0].mirror[0].body_limit: warning: more than 1048576 bytes are not scrubbed, and so not sent",
        ]),
        ("to: shadow, percent: 1, holdout: 100", ["at 100 | routes[0].mirror[0].holdout: warning: everything is held out: nothing is mirrored"]),
        ("to: shadow, percent: 1, body_budget: 1GiB", [
            "at 1GiB | routes[0].mirror[0].body_budget: warning: more than limits.tee_memory (67108864 bytes): it is never reached",
        ]),
    ],
)  # fmt: skip
def test_warnings_about_mirrors(mirror: str, warnings: list[str]) -> None:
    """What is legal and rarely meant is pointed out."""
    assert [warning for warning in with_mirror(mirror) if "no route uses" not in warning] == warnings


def test_credentials_over_loopback_are_not_called_unencrypted() -> None:
    """On the same machine there is no way between."""
    text = BASE.replace("10.0.0.2:80", "127.0.0.1:9002") + "routes: [{live: live, mirror: [{to: shadow, percent: 1, credentials: keep}]}]\n"
    assert len(found(text)) == 1


@pytest.mark.parametrize(
    ("mirror", "problem"),
    [
        ("control: {to: stabel}", "at stabel | routes[0].mirror[0].control.to: no fleet is called 'stabel'; there are: live, shadow"),
        (
            "control: {to: shadow}",
            "at shadow | routes[0].mirror[0].control.to: shadow is the shadow itself: a control arm runs the live build",
        ),
        (
            "control: {to: live}",
            "at live | routes[0].mirror[0].control.to: warning: live serves the copies as well: a control arm is better a fleet of its own",
        ),
        ("judge: {slo: [1s, 2s, 1s]}", "at [ | routes[0].mirror[0].judge.slo: a threshold stands here twice"),
        (
            "judge: {slo: [1s, 9s]}",
            "at 9s | routes[0].mirror[0].judge.slo[1]: warning: no copy may take longer than the mirror's timeout (5 s)",
        ),
        ("judge: {slo: [1, 2, 3, 4, 0.1, 0.2, 0.3, 0.4, 0.5]}", "at [ | routes[0].mirror[0].judge.slo: 9 thresholds, limit 8"),
        (
            "judge: {fields: [{path: body.items, order: keyed}]}",
            "at { | routes[0].mirror[0].judge.fields[0].key: belongs to order: keyed, and that to it",
        ),
        (
            "judge: {errors: {safe: 0}}",
            "at 0 | routes[0].mirror[0].judge.errors.safe: must be over 0: no number of pairs shows a difference of nothing",
        ),
        (
            "judge: {latency: {regression: 3}}",
            "at 3 | routes[0].mirror[0].judge.latency.regression: more than safe (2): a shadow between them would be both",
        ),
    ],
)
def test_judging(mirror: str, problem: str) -> None:
    """Margins that contradict each other, arms that calibrate nothing, thresholds that are never crossed."""
    assert with_mirror(f"to: shadow, percent: 1, {mirror}") == [problem]


def test_an_arm_s_name_is_taken() -> None:
    """A mirror cannot be called what another mirror's arm is called."""
    assert with_mirror("to: shadow, percent: 1, name: a}, {to: shadow, percent: 1, name: a.resend") == [
        "at a | routes[0].mirror[0].name: 'a.resend' is what an arm of this mirror is called, and is another mirror's name"
    ]


@pytest.mark.parametrize(
    ("fleet", "problems"),
    [
        ('endpoints: ["https://a"], tls: {cert: c}', ["at c | fleets.live.tls.cert: cert needs key: a client certificate is two files"]),
        ('endpoints: ["https://a"], tls: {key: k}', ["at k | fleets.live.tls.key: key needs cert: a client certificate is two files"]),
        ('endpoints: ["https://a"], tls: {verify: false}', [
            "at false | fleets.live.tls.verify: warning: certificates are not verified: anyone on the way can answer as this fleet",
        ]),
        ('endpoints: ["http://a"], tls: {ca: c}', ["at { | fleets.live.tls: warning: has no effect: no endpoint is https"]),
        ('endpoints: ["http://a", "http://A:80"]', [
            'at "http://A:80" | fleets.live.endpoints[1]: warning: the same endpoint as fleets.live.endpoints[0]: it gets twice the share',
        ]),
    ],
)  # fmt: skip
def test_fleets(fleet: str, problems: list[str]) -> None:
    """TLS settings that cannot work, or do nothing, or do harm, and endpoints given twice."""
    assert found(f'listen: ["127.0.0.1:80"]\nfleets: {{live: {{{fleet}}}}}\nroutes: [{{live: live}}]\n') == problems


def test_what_nothing_uses() -> None:
    """A fleet or listener that no route needs is pointed out."""
    assert found(f"{BASE}routes: [{{live: live}}]\n") == ["at { | fleets.shadow: warning: no route uses this fleet"]
    text = (
        BASE.replace("}]\n", '}, "127.0.0.1:8081"]\n', 1)
        + "routes: [{live: live, match: {listener: front}, mirror: [{to: shadow, percent: 1}]}]\n"
    )
    assert found(text) == [
        "at \"127.0.0.1:8081\" | listen[1]: warning: no route takes requests of listener '127.0.0.1:8081': all are answered 404"
    ]


def test_more_mirrors_than_there_is_room_for() -> None:
    """The number of mirrors is bounded where it is read, not where a worker runs out of counters."""
    mirror = "mirror: [" + ", ".join(f"{{to: shadow, percent: 1, name: m{n}}}" for n in range(100)) + "]"
    routes = "".join(f"  - {{live: live, match: {{path: /{n}}}, {mirror}}}\n" for n in range(MOST_MIRRORS // 100 + 1))
    assert found(f"{BASE}routes:\n{routes}") == [f"at - | routes: {MOST_MIRRORS + 100} mirrors in all, limit {MOST_MIRRORS}"]
