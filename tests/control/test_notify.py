"""Others are told of every transition, in order, and whatever they do holds nothing up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from shadowproxy.control.notify import ATTEMPTS, LANES, TEXT_LIMIT, WAITING, Notifier, payload_of
from tests.control.asked import answer, asked
from tests.control.conftest import until
from tests.kit.network import refused_address

RUN = {
    "id": "away-1", "name": "away", "owner": "shop", "state": "aborted", "code": "guard_error_rate", "reason": "errors 7 %, more than 5",
    "percent": 1.0, "epoch": 3, "started": 100.0, "ended": None, "units": 12, "approved_by": "s3cret", "timeline": [{"detail": "s3cret"}],
    "hypothesis": {"fault": "f", "expect": "e", "impact": "i"},
    "experiment": {"notify": [{"url": "http://hooks.test/s3cret"}], "probes": [{"url": "http://s3cret/"}], "slice": {"pinned": ["s3cret"]}},
}  # fmt: skip


async def test_a_transition_is_told_once_and_in_order() -> None:
    """One POST of JSON each, to every URL once."""
    async with asked(answer(b"", 204)) as one, asked(answer(b"ok")) as other:
        notifier = Notifier()
        for number in range(5):
            notifier.tell([f"{one.url}/hook", other.url, other.url], {"number": number})
        await notifier.close(grace_s=20.0)
        for server in (one, other):
            assert [question.json()["number"] for question in server.questions] == list(range(5))
        first = one.questions[0]
        assert (first.method, first.target, first.fields["content-type"]) == ("POST", "/hook", "application/json")
        assert (notifier.told, notifier.failed, notifier.dropped) == (10, 0, 0)


def test_what_is_told_has_no_secrets() -> None:
    """The run, its state and the reason; URLs, units, approvals and the file stay here."""
    told = payload_of(RUN, event="aborted", at=200.0)
    assert "s3cret" not in json.dumps(told)
    assert told == {
        "version": 1, "source": "shadowproxy", "event": "aborted", "time": 200.0,
        "text": "Experiment away (away-1): aborted, errors 7 %, more than 5",
        "id": "away-1", "name": "away", "owner": "shop", "state": "aborted", "code": "guard_error_rate", "reason": "errors 7 %, more than 5",
        "percent": 1.0, "epoch": 3, "started": 100.0, "ended": None, "units": 12, "hypothesis": {"fault": "f", "expect": "e", "impact": "i"},
    }  # fmt: skip
    long = payload_of({**RUN, "reason": "x" * 10**6, "hypothesis": None}, event="aborted", at=0.0)
    assert len(json.dumps(long)) < 4 * TEXT_LIMIT
    assert payload_of({}, event="started", at=0.0)["text"] == "Experiment ? (?): started"


async def test_who_hangs_holds_up_nobody() -> None:
    """`tell` returns at once, others are told meanwhile, and the oldest that wait give way."""
    async with asked() as hanging, asked(answer()) as well:
        notifier = Notifier(timeout_s=30.0)
        for number in range(WAITING + 10):
            notifier.tell([hanging.url], {"number": number})
            await asyncio.sleep(0)
        notifier.tell([well.url], {"number": -1})
        await until(lambda: notifier.told == 1, "the other is told")
        await until(lambda: len(hanging.questions) == 1, "the one that hangs is asked")
        assert notifier.dropped == 9
        await notifier.close(grace_s=0.0)
        assert notifier.failed == WAITING + 1, "what was under way and what waited"
        assert len(hanging.questions) == 1


@pytest.mark.parametrize(
    ("said", "attempts"),
    [(answer(b"", 500), ATTEMPTS), (answer(b"", 429), ATTEMPTS), (b"", ATTEMPTS), (answer(b"", 404), 1), (answer(b"", 401), 1)],
)
async def test_a_failure_is_tried_again_where_that_may_help(said: bytes, attempts: int, caplog: pytest.LogCaptureFixture) -> None:
    """Three times at the most; what is refused for good is not asked again. The path of a webhook is never logged."""
    async with asked(said) as server:
        notifier = Notifier(backoff_s=0.001)
        notifier.tell([f"{server.url}/s3cret"], {"number": 1})
        await until(lambda: notifier.failed == 1, "it is given up")
        assert len(server.questions) == attempts
        await notifier.close()
    assert f"could not be told to {server.url}: " in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_second_attempt_is_enough() -> None:
    """Who was restarting is told after all, before what came later."""
    async with asked(answer()) as server:
        server.queued.append(answer(b"", 503))
        notifier = Notifier(backoff_s=0.001)
        notifier.tell([server.url], {"number": 1})
        notifier.tell([server.url], {"number": 2})
        await notifier.close(grace_s=20.0)
        assert [question.json()["number"] for question in server.questions] == [1, 1, 2]
        assert (notifier.told, notifier.failed) == (2, 0)


async def test_a_redirect_is_a_refusal() -> None:
    """Where it leads is told nothing."""
    async with asked(answer()) as target, asked(answer(b"", 307, Location=target.url)) as server:
        notifier = Notifier(backoff_s=0.001)
        notifier.tell([server.url], {})
        await notifier.close(grace_s=20.0)
        assert (len(server.questions), len(target.questions), notifier.failed) == (1, 0, 1)


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://metadata.google.internal/", "http://{host}:{port}/", "nonsense"])
async def test_who_cannot_be_told_is_given_up(url: str) -> None:
    """Forbidden, refused, nonsense: counted, and nothing raised where a run is carried out."""
    host, port = refused_address()
    notifier = Notifier(backoff_s=0.001)
    notifier.tell([url.format(host=host, port=port)], {})
    await notifier.close(grace_s=20.0)
    assert (notifier.told, notifier.failed) == (0, 1)
    assert "lanes=0" in repr(notifier)


async def test_so_many_are_told_at_once_and_no_more() -> None:
    """Tasks are bounded whatever files ask for."""
    async with asked() as server:
        notifier = Notifier(timeout_s=30.0)
        notifier.tell([f"{server.url}/{number}" for number in range(LANES + 5)], {})
        assert notifier.dropped == 5
        await notifier.close(grace_s=0.0)
    assert notifier.failed == LANES


async def test_nobody_is_told_after_the_end() -> None:
    """What is told after `close` is counted as dropped, and leaves no task behind."""
    notifier = Notifier()
    await notifier.close()
    notifier.tell(["http://127.0.0.1:1/"], {})
    assert (notifier.dropped, "lanes=0" in repr(notifier)) == (1, True)


def test_payloads_are_plain() -> None:
    """Whatever a document holds, what is told can be written as JSON."""
    odd: dict[str, Any] = {"id": ["a"], "owner": b"x", "percent": 0.1}
    json.dumps(payload_of(odd, event="started", at=0.0))
