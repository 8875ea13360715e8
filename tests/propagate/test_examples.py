"""The examples of docs/propagation.md, run as they stand there against a real origin."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from shadowproxy.propagate import NOTHING, carrying, current, extract
from tests.clients.servers import application
from tests.kit import Client, answers
from tests.propagate.contract import TAGGED, assert_carries_all, assert_carries_nothing, url_of
from tests.propagate.serving import under_uvicorn, under_waitress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Origin
    from tests.kit.network import Address

TEXT: Final = (Path(__file__).parents[2] / "docs" / "propagation.md").read_text()
SECTIONS: Final = {part.partition("\n")[0]: re.findall(r"```python\n(.*?)```", part, re.DOTALL) for part in TEXT.split("\n## ")}


def run(heading: str, origin: Origin, at: int = 0) -> dict[str, Any]:
    """What an example defines, where the origin stands for all of its internal services."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(re.sub(r"http://\w+\.internal", url_of(origin, ""), SECTIONS[heading][at]), names)
    return names


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of examples trust the environment: the origin is called directly whatever it says."""
    monkeypatch.setenv("NO_PROXY", "*")


@contextlib.contextmanager
def serving(heading: str, origin: Origin) -> Iterator[Address]:
    """The service of an example, under its server."""
    if heading == "aiohttp":
        # The application is made in the loop that serves it.
        with application(lambda: run(heading, origin)["app"]) as address:
            yield address
        return
    names = run(heading, origin)
    with (under_waitress if "Flask" in heading else under_uvicorn)(names["app"]) as address:
        yield address
    if "session" in names:
        names["session"].close()


@pytest.mark.parametrize("heading", ["aiohttp", "Starlette, FastAPI and other ASGI", "Flask, Django and other WSGI"])
def test_the_services(heading: str, origin: Origin) -> None:
    """A tagged checkout charges as test traffic, and an untagged one as none."""
    with serving(heading, origin) as address, Client(address) as client:
        assert b"true" in client.request("POST", "/checkout", *TAGGED).body
        assert b"true" in client.request("POST", "/checkout").body
    tagged, untagged = origin.seen("/charge")
    assert tagged.method == "POST"
    assert_carries_all(tagged)
    assert_carries_nothing(untagged)


async def test_the_clients(origin: Origin) -> None:
    """Those of httpx and requests, the library's session included."""
    names = run("httpx", origin) | run("requests", origin)
    with carrying(extract(TAGGED)):
        for name in ("client", "session", "theirs"):
            assert names[name].get(url_of(origin, "/down")).status_code == 200
            names[name].close()
        await names["asynchronous"].get(url_of(origin, "/down"))
        await names["asynchronous"].aclose()
    assert len(origin.seen("/down")) == 4
    for seen in origin.seen("/down"):
        assert_carries_all(seen)


def test_the_job(origin: Origin) -> None:
    """It buys as canary-7."""
    run("Jobs, bots and tests", origin)
    assert origin.seen("/checkout")[0].one("X-Test-Traffic") == "canary-7"


def test_the_queue(origin: Origin) -> None:
    """What was in force where a message was made is in force where it is worked on; a message without anything is untagged."""
    names = run("Queues, and clients without an integration", origin)
    with carrying(extract(TAGGED)) as carried:
        names["produce"]("order")
    names["produce"]("another")
    worked = names["consume"](lambda order: (order, current()))
    assert worked[0] == "order"
    assert (worked[1].tenant, worked[1].baggage, worked[1].trace_id) == (carried.tenant, carried.baggage, carried.trace_id)
    with carrying(carried):
        assert names["consume"](lambda order: (order, current())) == ("another", NOTHING)


def test_the_client_without_an_integration(origin: Origin) -> None:
    """The standard library's."""
    origin.answer = answers.ok()
    with carrying(extract(TAGGED)):
        names = run("Queues, and clients without an integration", origin, 1)
        urllib.request.urlopen(names["request"]).close()
        metadata = eval(re.findall(r"gRPC.*`(\[.*\])`", TEXT)[0], {"current": current})
    (seen,) = origin.seen("/status")
    assert seen.one("X-Test-Traffic") == "canary-7"
    assert seen.one("baggage") == "synthetic_request=true,test_tenant=canary-7,team=checkout,user=4711;p=1,plan=a%20b"
    assert [name for name, _ in metadata] == ["x-test-traffic", "baggage", "traceparent", "tracestate", "x-shadow-mirror"]


@pytest.mark.parametrize("at", [0, 1])
def test_threads_and_tasks(origin: Origin, at: int) -> None:
    """Those two examples check themselves."""
    run("Threads and tasks", origin, at)


def test_every_example_is_run() -> None:
    """None was added without a test here."""
    assert {heading: len(blocks) for heading, blocks in SECTIONS.items() if blocks} == {
        "aiohttp": 1, "Starlette, FastAPI and other ASGI": 1, "Flask, Django and other WSGI": 1, "httpx": 1, "requests": 1,
        "Jobs, bots and tests": 1, "Queues, and clients without an integration": 2, "Threads and tasks": 2,
    }  # fmt: skip
