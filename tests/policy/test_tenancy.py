"""Where tagged requests go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import load_text
from shadowproxy.policy import compile_policy
from shadowproxy.policy.tenancy import (
    BODY_LOOKED_AT,
    ESCAPES,
    LIVE,
    PARTITION,
    READ_METHODS,
    REFUSE,
    SINK,
    UNRULED,
    TenancyRules,
    refusal,
)
from tests.data import doubtful_requests
from tests.kit.tagged import RULES
from tests.kit.world import ALL_METHODS

if TYPE_CHECKING:
    from tests.data.doubtful_requests import Doubtful


def rules(text: str) -> TenancyRules:
    """The rules of a route whose test_traffic is `text`."""
    config = f"""
listen: ["127.0.0.1:8080"]
fleets: {{live: {{endpoints: ["http://127.0.0.1:9001"]}}, test: {{endpoints: ["http://127.0.0.1:9002"]}}}}
sinks: {{s: {{}}, keeps: {{resources: {{collections: [/orders]}}}}}}
routes: [{{name: r, live: live, rewrite: {{strip_prefix: /base}}, test_traffic: {text}}}]
"""
    return compile_policy(load_text(config).config, 1).routes[0].tests


def decide(
    found: TenancyRules, method: str = "POST", target: str = "/x", *lines: str, body: bytes = b"", is_upgrade: bool = False
) -> tuple[bool, int]:
    """Whether it writes, and the kind of its destination."""
    is_write, destination = found.decide(method.encode(), target.encode(), [line.encode() for line in lines], body, is_upgrade=is_upgrade)
    return is_write, destination.kind


@pytest.mark.parametrize(
    ("text", "read", "write", "to"),
    [
        ("{}", LIVE, UNRULED, ""),
        ("{writes: live}", LIVE, LIVE, "live"),
        ("{writes: refuse, reads: refuse}", REFUSE, REFUSE, ""),
        ("{writes: {sink: s}}", LIVE, SINK, "s"),
        ("{writes: {sink: s}, reads: {sink: s}}", SINK, SINK, "s"),
        ("{writes: {partition: {fleet: test}}}", LIVE, PARTITION, "test"),
        ("{writes: {partition: {path_prefix: /t}}}", LIVE, PARTITION, "live"),
    ],
)
def test_reads_and_writes_go_where_the_route_says(text: str, read: int, write: int, to: str) -> None:
    """Without a rule reads go to live and writes nowhere."""
    found = rules(text)
    assert decide(found, "GET") == (False, read)
    assert decide(found, "POST") == (True, write)
    assert found.writes.to == to


@given(st.sampled_from(ALL_METHODS))
def test_what_is_not_known_to_be_safe_writes(method: str) -> None:
    """Only methods that are defined as safe read; an upgrade never does."""
    found = rules("{writes: {sink: s}}")
    assert decide(found, method) == ((False, LIVE) if method.encode() in READ_METHODS else (True, SINK))
    assert decide(found, method, is_upgrade=True) == (True, SINK)


def test_a_partition_is_the_route_s_service_asked_differently() -> None:
    """What the route itself changes is changed first; a sink gets requests as they came."""
    found = rules("{writes: {partition: {path_prefix: '/t/{tenant}'}}, reads: {sink: s}}")
    target = b"/base/orders?a=1"
    for rewrite in found.writes.rewrites:
        target = rewrite.target(target, b"canary-7")
    assert target == b"/t/canary-7/orders?a=1"
    assert found.reads.rewrites == ()
    assert [rewrite.is_partition for rewrite in rules("{writes: live}").writes.rewrites] == [False]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("{writes: {sink: keeps}}", "sink:keeps"),
        ("{writes: {sink: s}}", ""),
        ("{reads: refuse, writes: {sink: keeps}}", ""),
        ("{writes: live}", ""),
    ],
)
def test_reads_ask_a_sink_that_keeps_what_was_written(text: str, asked: str) -> None:
    """Where they would go to live."""
    assert rules(text).asks == asked


def _treated(doubtful: Doubtful) -> bool:
    method, target, lines, body = doubtful
    found = rules(str(RULES["treat"]).replace("'ok'", "'s'"))
    is_upgrade = any(line.startswith("Upgrade") for line in lines)
    return decide(found, method, target, *lines, body=body, is_upgrade=is_upgrade)[0]


@pytest.mark.parametrize("doubtful", doubtful_requests.TREATED_AS_READS, ids=lambda doubtful: doubtful[1])
def test_rules_for_reads_are_believed_where_every_server_must(doubtful: Doubtful) -> None:
    """A search by POST reads."""
    assert not _treated(doubtful)


@pytest.mark.parametrize(
    "doubtful", doubtful_requests.TREATED_AS_WRITES, ids=lambda doubtful: f"{doubtful[1]} {doubtful[2]} {len(doubtful[3])}"
)
def test_rules_for_writes_hold_where_any_server_could(doubtful: Doubtful) -> None:
    """A GET that changes something writes, in every spelling; what asks to be taken for something else does too."""
    assert _treated(doubtful)


def test_the_first_rule_that_holds_counts() -> None:
    """In the order of the file."""
    found = rules(
        "{writes: refuse, treat: [{counts_as: read, exact: /a}, {counts_as: write, path: /a}, {counts_as: read, methods: [PUT]}]}"
    )
    assert [decide(found, "PUT", target)[0] for target in ("/a", "/a/b", "/b")] == [False, True, False]


def test_what_cannot_be_seen_of_a_body_is_in_doubt() -> None:
    """Up to 64 KiB a rule for reads may be believed; beyond it, and of compressed bodies, no rule for reads is."""
    found = rules("{writes: refuse, treat: [{counts_as: read, body: find}]}")
    body = b"find".ljust(BODY_LOOKED_AT)
    assert not decide(found, "POST", "/x", body=body)[0]
    assert decide(found, "POST", "/x", body=body + b" ")[0]
    assert decide(found, "POST", "/x", "Content-Encoding: gzip", body=b"find")[0]


def test_refusals_name_what_is_missing() -> None:
    """Code and sentence of the 409, by its cause."""
    found = rules("{reads: refuse}")
    assert refusal(found.writes, "orders") == (
        "tagged_write_without_rule", "route 'orders' has no rule for test traffic that writes (test_traffic.writes)",
    )  # fmt: skip
    assert refusal(found.reads, "orders")[0] == "tagged_request_refused"
    assert refusal(ESCAPES, "orders")[0] == "path_escapes_partition"
    assert [found.writes.fate, found.reads.fate, rules("{writes: {sink: s}}").writes.fate] == ["refused", "refused", "sunk"]
