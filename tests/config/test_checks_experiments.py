"""What must hold between the parts of a config that are about experiments and rollouts."""

from __future__ import annotations

import pytest

from shadowproxy.config.checks_experiments import BLOCKOUT_KINDS, SENT_ANYWAY
from tests.config.test_checks import BASE, found


def problems(*, rollout: str = "", experiments: str = "", labels: str = "") -> list[str]:
    """The problems of a config with these parts, without their places in the text."""
    base = (
        BASE.replace('live: {endpoints: ["http://10.0.0.1:80"]}', f'live: {{endpoints: ["http://10.0.0.1:80"], labels: {labels}}}')
        if labels
        else BASE
    )
    assert not labels or base != BASE
    route = f"routes: [{{name: r, live: live, mirror: [{{to: shadow, percent: 1}}]{', rollout: ' + rollout if rollout else ''}}}]\n"
    more = f"experiments: {experiments}\n" if experiments else ""
    return [problem.partition(" | ")[2] for problem in found(f"{base}{route}{more}")]


R = "routes[0].rollout"
KEY = 'key: "header:x-user"'


@pytest.mark.parametrize(
    ("rollout", "wanted"),
    [
        (f"{{to: shadow, {KEY}}}", []),
        (f"{{to: v2, {KEY}}}", [f"{R}.to: no fleet is called 'v2'"]),
        (f"{{to: shadw, {KEY}}}", [f"{R}.to: no fleet is called 'shadw' (did you mean 'shadow'?)"]),
        (f"{{to: live, {KEY}}}", [f"{R}.to: live is the live fleet itself: a rollout leads to another"]),
        (f"{{to: shadow, {KEY}, steps: [1, 1, 100]}}", [f"{R}.steps: must rise from above 0"]),
        (f"{{to: shadow, {KEY}, steps: [5, 1, 100]}}", [f"{R}.steps: must rise from above 0"]),
        (f"{{to: shadow, {KEY}, steps: [0, 100]}}", [f"{R}.steps: must rise from above 0"]),
        (f"{{to: shadow, {KEY}, steps: [1, 50]}}", [f"{R}.steps: the last is 50: a rollout ends at 100"]),
        (f"{{to: shadow, {KEY}, steps: [50, 100]}}", [f"{R}.steps: warning: begins with 50 % of the units"]),
        (f"{{to: shadow, {KEY}, bake: 2h, patience: 1h}}", [f"{R}.patience: shorter than bake (7200 s): every step would be rolled back"]),
        (f"{{to: shadow, {KEY}, margin: 0}}", [f"{R}.margin: must be over 0"]),
        ("{to: shadow}", [f"{R}: warning: no key: each request is drawn by itself"]),
        ("{to: shadow, pinned: [a]}", [f"{R}.pinned: needs a key", f"{R}: warning: no key"]),
        ("{to: shadow, first: [a]}", [f"{R}.first: needs a key", f"{R}: warning: no key"]),
        (f"{{to: shadow, {KEY}, pinned: [a, b], first: [b]}}", [f"{R}.first: 'b' is pinned to live as well"]),
    ],
)
def test_rollouts(rollout: str, wanted: list[str]) -> None:
    """A rollout leads from live to another fleet, in rising steps to all, and who is named in it can be told apart."""
    shown = problems(rollout=rollout)
    assert len(shown) == len(wanted), shown
    assert all(any(problem.startswith(want) for problem in shown) for want in wanted), shown


def test_a_rollout_to_endpoints_of_live_and_denied_units_are_warned_about() -> None:
    """What makes a rollout do nothing, or not what it says, is seen before it begins."""
    base = BASE.replace("http://10.0.0.2:80", "http://10.0.0.1:80")
    route = f"routes: [{{name: r, live: live, rollout: {{to: shadow, {KEY}, first: [vip]}}}}]\n"
    shown = found(f"{base}{route}experiments: {{deny: [vip]}}\n")
    assert any("live serves from http://10.0.0.1:80 as well" in problem for problem in shown), shown
    assert any("'vip' is in experiments.deny, which wins" in problem for problem in shown), shown
    shown = problems(rollout="{to: shadow}", experiments="{deny: [vip]}")
    assert any("experiments.deny spares nobody here" in problem for problem in shown), shown


def test_the_fleet_of_a_rollout_is_used() -> None:
    """A fleet that only a rollout leads to is not reported as unused."""
    shown = found(f"{BASE}routes: [{{name: r, live: live, rollout: {{to: shadow, {KEY}}}}}]\n")
    assert shown == []


E = "experiments"


@pytest.mark.parametrize(
    ("experiments", "wanted"),
    [
        ("{blockouts: [{}]}", [f"{E}.blockouts[0]: holds never: give one of rrule, ical, holidays, freeze_file"]),
        ("{blockouts: [{name: a, length: 1h}]}", [f"{E}.blockouts[0]: holds never"]),
        ("{blockouts: [{holidays: DE}, {holidays: DE, freeze_file: f}]}", [f"{E}.blockouts[1].freeze_file: one of {', '.join(BLOCKOUT_KINDS)}, not"]),
        ("{blockouts: [{holidays: Germany}]}", [f"{E}.blockouts[0].holidays: "]),
        ("{blockouts: [{freeze_file: f}]}", []),
        ("{max_percent: 60}", [f"{E}.max_percent: warning: a slice has at most 50 percent"]),
        ("{remember: 60, max_duration: 1h}", [f"{E}.remember: warning: shorter than max_duration"]),
        ("{deny: [' ']}", [f"{E}.deny[0]: names no unit"]),
        ('{kill_header: "X-Stop: correct-horse-battery"}', []),
        ('{kill_header: "X-Stop: 12345678"}', [f"{E}.kill_header: warning: anyone who guesses"]),
        ('{kill_header: "X-Stop: short"}', [f"{E}.kill_header: expected NAME: VALUE"]),
        ('{kill_header: "X-Stop"}', [f"{E}.kill_header: expected NAME: VALUE"]),
        ('{kill_header: "User-Agent: correct-horse-battery"}', [f"{E}.kill_header: User-Agent is sent by browsers"]),
        ('{kill_header: "SEC-Fetch-Mode: correct-horse-battery"}', [f"{E}.kill_header: SEC-Fetch-Mode is sent by browsers"]),
        ('{kill_header: "x-forwarded-for: correct-horse-battery"}', [f"{E}.kill_header: x-forwarded-for is sent by browsers"]),
    ],
)  # fmt: skip
def test_what_all_experiments_obey(experiments: str, wanted: list[str]) -> None:
    """A blockout is exactly one thing, and the codeword stands in a field that nobody sends by accident."""
    shown = problems(experiments=experiments)
    assert len(shown) == len(wanted), shown
    assert all(problem.startswith(want) for problem, want in zip(shown, wanted, strict=True)), shown


def test_fields_that_a_page_can_have_a_browser_send_are_no_codeword() -> None:
    """The fields that need no preflight (Fetch, CORS-safelisted), and those that carry a person's rights, are all refused."""
    assert {
        "accept",
        "accept-language",
        "content-language",
        "content-type",
        "range",
        "cookie",
        "authorization",
        "origin",
        "referer",
    } <= SENT_ANYWAY


L = "fleets.live.labels"
ENDPOINT = "http://10.0.0.1:80"


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (f'[{{endpoint: "{ENDPOINT}", cell: a, zone: z}}]', []),
        ('[{endpoint: "http://10.0.0.9:80", cell: a}]', [f"{L}[0].endpoint: http://10.0.0.9:80 is no endpoint", f"{L}: warning: {ENDPOINT} has none"]),
        (f'[{{endpoint: "{ENDPOINT}", cell: a}}, {{endpoint: "{ENDPOINT}", cell: b}}]', [f"{L}[1].endpoint: has its labels already, see {L}[0]"]),
        (f'[{{endpoint: "{ENDPOINT}"}}]', [f"{L}[0]: says nothing: give cell, zone or region"]),
        (f'[{{endpoint: "{ENDPOINT}", cell: "a b"}}]', [f"{L}[0].cell: expected"]),
    ],
)  # fmt: skip
def test_labels(labels: str, wanted: list[str]) -> None:
    """A label is about one endpoint of its fleet, says something, and is the only one about it."""
    shown = problems(labels=labels)
    assert len(shown) == len(wanted), shown
    assert all(any(problem.startswith(want) for problem in shown) for want in wanted), shown


def test_a_zone_lies_in_one_region() -> None:
    """To evacuate a region would otherwise take a part of another with it."""
    text = BASE.replace(
        'live: {endpoints: ["http://10.0.0.1:80"]}',
        'live: {endpoints: ["http://10.0.0.1:80"], labels: [{endpoint: "http://10.0.0.1:80", zone: z, region: eu}]}',
    ).replace(
        'shadow: {endpoints: ["http://10.0.0.2:80"]}',
        'shadow: {endpoints: ["http://10.0.0.2:80"], labels: [{endpoint: "http://10.0.0.2:80", zone: z, region: us}]}',
    )
    shown = found(f"{text}routes: [{{name: r, live: live, mirror: [{{to: shadow, percent: 1}}]}}]\n")
    assert any("zone z is in region us here, and in eu elsewhere" in problem for problem in shown), shown
