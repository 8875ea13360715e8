"""The part of the model that is about test traffic, as it is read from a file."""

from __future__ import annotations

import pytest

from shadowproxy.config import load_text
from shadowproxy.config.tenancy import CountsAs, Destination, Dialect, EgressCalls, LostTags, Partition, TrustMode
from shadowproxy.config.tenancy import TestTraffic as Rules  # a name that pytest does not take for a test
from shadowproxy.errors import ConfigError
from shadowproxy.policy.tags import DIALECTS

HEAD = """
fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}}
sinks: {s: {}}
"""


def rules_of(text: str) -> Rules:
    """What a route says about test traffic."""
    return load_text(f'listen: ["127.0.0.1:8080"]\nroutes: [{{live: live, test_traffic: {text}}}]\n{HEAD}').config.routes[0].test_traffic


def test_what_is_not_said() -> None:
    """Tags of everybody count, reads go to live, writes nowhere, and no dialect is spoken."""
    config = load_text(f'listen: ["127.0.0.1:8080"]\nroutes: [{{live: live}}]\n{HEAD}').config
    assert (config.listen[0].trust.mode, config.listen[0].egress) == (TrustMode.ANY, None)
    assert config.routes[0].test_traffic == Rules()
    assert config.tenancy.dialects == ()
    assert (config.tenancy.body_limit, config.tenancy.memory) == (8 * 1024**2, 64 * 1024**2)


def test_a_bare_word_is_the_rule() -> None:
    """For people."""
    found = rules_of("{reads: refuse, writes: live}")
    assert (found.reads, found.writes) == (Destination(rule="refuse"), Destination(rule="live"))


def test_destinations_and_exceptions() -> None:
    """In full."""
    found = rules_of(
        "{writes: {partition: {path_prefix: '/t/{tenant}', query: {m: test}}}, treat: [{counts_as: read, path: /s, methods: [POST]}]}"
    )
    assert found.writes.partition == Partition(path_prefix="/t/{tenant}", query={"m": "test"})
    assert found.treat[0].counts_as is CountsAs.READ


def test_an_egress_listener() -> None:
    """Every call of a shadow's own listener counts; elsewhere those that say so."""
    text = 'listen: [{name: out, address: "127.0.0.1:8080", egress: {calls: all, lost_tags: report}, trust: {mode: cidrs, cidrs: [10.0.0.0/8]}}]'
    listener = load_text(f"{text}\nroutes: [{{live: live}}]\n{HEAD}").config.listen[0]
    assert listener.egress is not None
    assert (listener.egress.calls, listener.egress.lost_tags, listener.egress.caller) == (EgressCalls.ALL, LostTags.REPORT, "user-agent")
    assert listener.trust.cidrs == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    "text",
    [
        "{writes: sink}", "{writes: [live]}", "{writes: {sinks: s}}", "{treat: [{path: /a}]}", "{treat: [{counts_as: both}]}",
        "{treat: [{counts_as: read, regex: '('}]}", "{treat: [{counts_as: read, query: 'a b'}]}", "{treat: [{counts_as: read, path: 'a'}]}",
        "{writes: {partition: {host: 'a b'}}}", "{writes: {partition: {headers: {'a b': c}}}}", '{writes: {partition: {headers: {a: "b\\n"}}}}',
        "{writes: {partition: {query: {'a&b': c}}}}", "{writes: {partition: {query: {a: 'b&c'}}}}", "{writes: {partition: {path_prefix: t}}}",
    ],
)  # fmt: skip
def test_what_cannot_be(text: str) -> None:
    """Is refused when the file is loaded, with its place."""
    with pytest.raises(ConfigError):
        rules_of(text)


def test_dialects_are_those_that_are_spoken() -> None:
    """The config and the reader of tags know the same names."""
    assert {str(dialect) for dialect in Dialect} == set(DIALECTS)
