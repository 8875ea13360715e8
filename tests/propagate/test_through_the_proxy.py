"""The library and the proxy mean the same: what either writes, the other reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from hypothesis import given

from shadowproxy.policy.tags import Tags, plain
from shadowproxy.propagate import carrying, extract
from shadowproxy.propagate.httpx import carry
from tests.propagate.fields import incoming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.kit import World

TAGS = Tags()


def read_by_the_proxy(fields: Mapping[str, str]) -> str | None:
    """Whose test traffic the proxy takes a request with these fields for: "" for none, None where they name several tenants."""
    claims = [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, value in fields.items()]
    tenant, _ = TAGS.judge([(name, value) for name, value in claims if plain(name) in TAGS.names])
    return None if tenant is None else tenant.decode()


@given(incoming())
def test_both_read_a_tag_alike(fields: dict[str, str]) -> None:
    """What the proxy takes for a tenant's traffic, a service that is called directly does too, and nothing else."""
    tenant = read_by_the_proxy(fields)
    if tenant is None:
        # The proxy refuses two tenants in one request; a service that is called with them takes one.
        assert extract(fields).is_tagged
    else:
        assert extract(fields).tenant == tenant


@given(incoming())
def test_the_proxy_reads_what_is_written(fields: dict[str, str]) -> None:
    """An outgoing call never names two tenants, which the proxy would refuse, and never loses the one that it names."""
    carried = extract(fields)
    assert read_by_the_proxy(carried.fields()) == carried.tenant


def test_from_the_proxy_through_a_service_and_back(world: World) -> None:
    """What a real worker sends to live is carried into a call that comes back through it: same tenant, trace and baggage, one line each."""
    with world.client() as client:
        client.get("/first", ("x_test.traffic", "canary-7"), ("baggage", "user=4711"))
    first = world.live.wait_for("/first")
    host, port = world.address
    with carrying(extract(first.fields)) as carried, httpx.Client(event_hooks={"request": [carry]}, trust_env=False) as service:
        service.get(f"http://{host}:{port}/second")
    second = world.live.wait_for("/second")
    assert carried.tenant == "canary-7"
    for name in ("X-Test-Traffic", "baggage"):
        assert second.one(name) == first.one(name)
    assert second.one("traceparent")[:35] == first.one("traceparent")[:35]
    assert second.one("traceparent") != first.one("traceparent")


def test_calls_of_a_shadow_are_marked(world: World) -> None:
    """The mark that a mirror sets is on the calls of the shadow, however deep, and not on those of live."""
    with world.client() as client:
        client.get("/copied")
    live, shadow = world.live.wait_for("/copied"), world.shadow.wait_for("/copied")
    assert extract(live.fields).fields().keys() == {"traceparent"}
    assert extract(shadow.fields).fields()["X-Shadow-Mirror"] == shadow.one("X-Shadow-Mirror")
    assert extract(shadow.fields).trace_id == extract(live.fields).trace_id
