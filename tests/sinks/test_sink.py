"""One sink: the order in which it asks, and every failure as an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.errors import StateError
from shadowproxy.sinks.call import Answer, Call, Refused
from shadowproxy.sinks.shelf import Bounds, Shelf
from shadowproxy.sinks.sink import Sink
from tests.sinks.kit import call, config_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Says:
    """A responder that does as it is told."""

    def __init__(self, act: Callable[[Call], Answer | None]) -> None:
        self.act = act

    async def answer(self, one: Call) -> Answer | None:
        """Act."""
        return self.act(one)


def sink_of(config: dict[str, Any], *responders: Says, is_asked: bool = False, shelf: Shelf | None = None) -> Sink:
    """A sink with these responders."""
    return Sink(config_of(config).sinks["s"], shelf or Shelf(), responders, is_asked=is_asked)


def fails(error: Exception) -> Says:
    """A responder that raises."""

    def act(_: Call) -> Answer:
        raise error

    return Says(act)


async def test_rules_come_first_and_respond_last() -> None:
    """Then responders in order; None passes on."""
    sink = sink_of(
        {"rules": [{"match": {"path": "/rule"}, "respond": {"status": 299}}], "respond": {"status": 202}},
        Says(lambda one: Answer(201) if one.path == "/one" else None),
        Says(lambda one: Answer(203) if one.path in ("/one", "/two") else None),
    )
    assert [(await sink.answer(call("POST", path))).status for path in ("/rule", "/one", "/two", "/three")] == [299, 201, 203, 202]


@pytest.mark.parametrize(
    ("responder", "status", "code"),
    [
        (fails(Refused(422, "odd", "said")), 422, "odd"),
        (fails(StateError("disk: /secret/path")), 503, "state_unavailable"),
        (fails(ZeroDivisionError("secret")), 500, "internal"),
        (fails(RecursionError()), 500, "internal"),
    ],
)
async def test_every_failure_is_an_answer(responder: Says, status: int, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """With a code; what went wrong inside is not told to the client, and a body is never logged."""
    answer = await sink_of({}, responder).answer(call("POST", "/", body=b"private"))
    document = json.loads(answer.body)
    assert (answer.status, document["code"]) == (status, code)
    assert "secret" not in answer.body.decode()
    assert "private" not in caplog.text


async def test_a_sink_that_cannot_work_says_why() -> None:
    """503 for everything."""
    sink = sink_of({})
    sink.problem = "no document"
    answer = await sink.answer(call("GET", "/"))
    assert (answer.status, json.loads(answer.body)["detail"]) == (503, "no document")
    assert repr(sink) == "<Sink 's' no document>"


async def test_reads_that_nobody_takes_go_to_live_where_live_is_asked() -> None:
    """421 without a body; writes, and sinks that keep nothing, are answered."""
    resources = {"resources": {"collections": ["/orders"]}}
    asked = sink_of(resources, is_asked=True)
    assert [((await asked.answer(call(method, "/x"))).status) for method in ("GET", "HEAD", "POST")] == [421, 421, 200]
    assert (await asked.answer(call("GET", "/x"))).body == b""
    assert (await sink_of({}, is_asked=True).answer(call("GET", "/x"))).status == 200
    assert (await sink_of(resources).answer(call("GET", "/x"))).status == 200


@pytest.mark.parametrize(
    ("target", "path"),
    [("/shop/orders?x=1", "/orders"), ("/shop", "/"), ("/shop/", "/"), ("/shopping", "/shopping"), ("/orders", "/orders")],
)
async def test_the_prefix_is_taken_off(target: str, path: str) -> None:
    """By whole segments, before anything looks at the path."""
    sink = sink_of({"strip_prefix": "/shop", "respond": {"text": "{{request.path}} {{request.target}}"}})
    assert (await sink.answer(call("POST", target))).body.decode() == f"{path} {target}"


async def test_latency_and_limits_are_the_sinks() -> None:
    """Answers of responders take as long as the sink says; the shelf knows its bounds."""
    shelf = Shelf()
    sink = sink_of({"latency": "1s", "limits": {"items": 5, "size": 5000, "age": 7}}, Says(lambda _: Answer(200)), shelf=shelf)
    assert (await sink.answer(call("POST", "/"))).latency_s == 1.0
    assert shelf._bounds["s"] == Bounds(5, 5000, 7.0)
