"""Reads of what live holds, from a real origin: what goes there, what comes back, and what never does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config.model import Fleet
from shadowproxy.config.tenancy import Rewrite
from shadowproxy.sinks.call import Refused
from shadowproxy.sinks.live import Live, open_session, source_of
from tests.kit import Origin, answers, network
from tests.sinks.kit import call, config_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import aiohttp


@pytest.fixture
def origin() -> Iterator[Origin]:
    """The live service."""
    one = Origin("live")
    yield one
    one.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The process's client."""
    one = open_session()
    yield one
    await one.close()


def _named(fields: dict[str, str]) -> Any:
    return {name.replace("-", "_"): value for name, value in fields.items()}


def live(session: aiohttp.ClientSession, *endpoints: str, rewrite: Rewrite | None = None, timeout_s: float = 5.0) -> Live:
    """A fleet of these endpoints."""
    return Live(Fleet(name="live", endpoints=endpoints), rewrite or Rewrite(), timeout_s, lambda: session)


async def test_the_read_is_the_tenants(origin: Origin, session: aiohttp.ClientSession) -> None:
    """A GET of the same target with credentials, tag and trace; nothing of the hop, of the body, or of conditions."""
    origin.answer = answers.ok(b'{"id":5}')
    fields = {
        "Host": "shop.example", "Authorization": "Bearer t", "X-Test-Traffic": "canary-7", "Baggage": "synthetic_request=true", "Traceparent": "00-1-2-01",
        "Connection": "close, X-Hop", "X-Hop": "1", "If-Match": '"x"', "Content-Length": "9", "Content-Type": "application/json", "Accept-Encoding": "br", "Range": "bytes=0-1",
    }  # fmt: skip
    one = call("PATCH", "/orders/5%2F6?a=%20", json={"a": 1}, **_named(fields))
    answer = await live(session, origin.url).get(one)
    assert (answer.status, answer.body) == (200, b'{"id":5}')
    seen = origin.wait_for("/orders/5%2F6")
    assert seen.target == "/orders/5%2F6?a=%20"
    assert (seen.method, seen.body) == ("GET", b"")
    for name in ("Host", "Authorization", "X-Test-Traffic", "Baggage", "Traceparent"):
        assert seen.one(name) == fields[name]
    for name in ("X-Hop", "If-Match", "Content-Type", "Content-Length", "Range"):
        assert not seen.has(name)


async def test_the_routes_rewrite_holds(origin: Origin, session: aiohttp.ClientSession) -> None:
    """Prefixes and Host as live is used to them."""
    rewrite = Rewrite(strip_prefix="/pay", path_prefix="/v1", host="endpoint")
    await live(session, origin.url, rewrite=rewrite).get(call("GET", "/pay/charges/1", Host="front"))
    assert origin.wait_for("/v1/charges/1").one("Host") == origin.url.removeprefix("http://")
    await live(session, origin.url, rewrite=Rewrite(host="literal:shop.internal")).get(call("GET", "/x", Host="front"))
    assert origin.wait_for("/x").one("Host") == "shop.internal"


async def test_another_endpoint_is_tried(origin: Origin, session: aiohttp.ClientSession) -> None:
    """One that is down costs nothing but the attempt; all down is 502."""
    down = f"http://127.0.0.1:{network.free_port()}"
    service = live(session, down, origin.url)
    for _ in range(3):
        assert (await service.get(call("GET", "/"))).status == 200
    with pytest.raises(Refused) as refused:
        await live(session, down).get(call("GET", "/"))
    assert (refused.value.status, refused.value.code) == (502, "live_unavailable")


async def test_an_answer_that_does_not_come(origin: Origin, session: aiohttp.ClientSession) -> None:
    """504 after the time it has."""
    origin.answer = answers.hang()
    with pytest.raises(Refused) as refused:
        await live(session, origin.url, timeout_s=0.2).get(call("GET", "/"))
    assert (refused.value.status, refused.value.code) == (504, "live_timeout")


async def test_redirects_are_not_followed_and_large_answers_not_read(
    origin: Origin, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What live says is passed on; what is over the limit is refused."""
    origin.on("/moved", answers.ok(b"", status=302, fields=[("Location", "http://127.0.0.1:1/")]))
    assert (await live(session, origin.url).get(call("GET", "/moved"))).status == 302
    monkeypatch.setattr("shadowproxy.sinks.live.ANSWER_LIMIT", 1000)
    origin.answer = answers.ok(b"x" * 1001)
    with pytest.raises(Refused, match="more than 1000 bytes"):
        await live(session, origin.url).get(call("GET", "/"))


@pytest.mark.parametrize(
    ("tests", "resources", "fleet", "is_asked"),
    [
        ([{"writes": {"sink": "s"}}], {}, "live", True),
        ([{"writes": {"sink": "s"}, "reads": "live"}], {"merge": False}, "", True),
        ([{"writes": {"sink": "s"}, "reads": "refuse"}], {}, "", False),
        ([{"writes": {"sink": "s"}, "reads": {"sink": "s"}}], {}, "", False),
        ([{"writes": {"sink": "s"}, "reads": {"sink": "s"}}], {"live": "other"}, "other", False),
        ([{"writes": {"sink": "s"}}, {"live": "other", "writes": {"sink": "s"}}], {}, "", True),
        ([{"writes": {"sink": "s"}}, {"live": "other", "writes": {"sink": "s"}}], {"live": "live"}, "live", True),
        ([{}], {}, "", False),
        ([{"writes": {"sink": "s"}}], None, "", True),
    ],
)
def test_what_lies_under_a_sink(tests: list[dict[str, Any]], resources: dict[str, Any] | None, fleet: str, is_asked: bool) -> None:
    """The fleet that it names, or the one of its routes where reads go to live; none where that is not clear."""
    endpoints = {"endpoints": ["http://127.0.0.1:1"]}
    routes = [
        {"live": one.pop("live", "live"), "match": {"path": f"/{n}"}, "test_traffic": one}
        for n, one in enumerate([dict(one) for one in tests])
    ]
    sink = {} if resources is None else {"resources": {"collections": ["/orders"], **resources}}
    source = source_of(config_of(sink, fleets={"live": endpoints, "other": endpoints}, routes=routes), "s")
    assert ((source.fleet.name if source.fleet else ""), source.is_asked) == (fleet, is_asked)
