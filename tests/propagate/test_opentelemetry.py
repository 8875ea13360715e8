"""Beside OpenTelemetry, whose instrumentation writes into the same calls: one trace, its spans, and the tag is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
import pytest
from opentelemetry import context
from opentelemetry import propagate as telemetry
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shadowproxy.propagate import carrying, extract
from shadowproxy.propagate.aiohttp import trace_config
from shadowproxy.propagate.httpx import carry
from shadowproxy.propagate.requests import Session
from tests.propagate.contract import url_of
from tests.propagate.fields import PARENT, TRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Origin

FROM_THE_PROXY: Final = {
    "X-Test-Traffic": "canary-7",
    "baggage": "synthetic_request=true,test_tenant=canary-7,user=4711",
    "traceparent": PARENT,
    "tracestate": "v=1",
}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans that instrumented clients make during the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors: list[Any] = [HTTPXClientInstrumentor(), RequestsInstrumentor(), AioHttpClientInstrumentor()]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        provider.shutdown()


@pytest.mark.parametrize("client", ["httpx", "requests", "aiohttp"])
async def test_calls_are_spans_of_the_tracer(origin: Origin, spans: InMemorySpanExporter, client: str) -> None:
    """The call's traceparent is there once, is the tracer's, and continues the trace; tag, tenant and foreign baggage are all there."""
    url = url_of(origin, "/down")
    token = context.attach(telemetry.extract(FROM_THE_PROXY))
    try:
        with carrying(extract(FROM_THE_PROXY)):
            if client == "httpx":
                with httpx.Client(event_hooks={"request": [carry]}, trust_env=False) as caller:
                    caller.get(url)
            elif client == "requests":
                with Session() as session:
                    session.trust_env = False
                    session.get(url)
            else:
                async with aiohttp.ClientSession(trace_configs=[trace_config()]) as asynchronous, asynchronous.get(url) as answer:
                    await answer.read()
    finally:
        context.detach(token)
    (seen,) = origin.seen("/down")
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert seen.one("traceparent") == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert seen.one("tracestate") == "v=1"
    assert seen.one("X-Test-Traffic") == "canary-7"
    assert sorted(seen.one("baggage").split(",")) == ["synthetic_request=true", "test_tenant=canary-7", "user=4711"]
