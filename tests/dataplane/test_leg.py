"""The seam between wire codecs and what uses connections."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.tee import Copy
from shadowproxy.dataplane.tunnel import Tunnel

EVENTS = [name for name in vars(Leg) if name.startswith("on_")]


def test_a_leg_that_overrides_nothing_cares_about_nothing() -> None:
    """Every event may be left out: a health check needs two of them."""
    leg = Leg(b"GET")
    assert (leg.method, leg.accepts_upgrade, leg.waits_until_ns, leg.failed_openings) == (b"GET", False, 0, 0)
    anything: Any = None
    for name in EVENTS:
        parameters = inspect.signature(getattr(leg, name)).parameters.values()
        positional = [anything for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        named = {parameter.name: anything for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
        assert getattr(leg, name)(*positional, **named) is None


@pytest.mark.parametrize("kind", [Exchange, Copy, Tunnel])
def test_legs_take_every_event_as_it_is_sent(kind: type[Leg]) -> None:
    """The same parameters by name, and no event of their own that no connection sends. Exchange has two that clients send."""
    for name in EVENTS:
        assert list(inspect.signature(getattr(kind, name)).parameters) == list(inspect.signature(getattr(Leg, name)).parameters)
    own = {name for name in vars(kind) if name.startswith("on_")} - set(EVENTS)
    assert own == ({"on_request_payload", "on_client_gone", "on_tunnel_over"} if kind is Exchange else set())
