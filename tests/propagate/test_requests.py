"""requests: the session, and the adapter for sessions of other people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
from requests.adapters import HTTPAdapter

from shadowproxy.propagate import bind, carrying, extract
from shadowproxy.propagate.requests import Adapter, Session
from tests.propagate.contract import CLIENT_PROMISES, TAGGED, assert_carries_all, assert_carries_nothing, url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit import Origin


@pytest.fixture(params=["session", "adapter", "both"])
def session(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    """A session that carries: by itself, by an adapter, or by both at once."""
    with Session() if request.param != "adapter" else requests.Session() as session:
        session.trust_env = False
        if request.param != "session":
            session.mount("http://", Adapter(HTTPAdapter()))
        yield session


@pytest.mark.parametrize("promise", CLIENT_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_client(session: requests.Session, origin: Origin, promise: Callable[..., None]) -> None:
    """What tests/propagate/contract.py says."""
    promise(lambda url, headers: session.get(url, headers=headers).raise_for_status(), origin)


def test_a_request_that_was_prepared_is_not_changed(origin: Origin) -> None:
    """It may be sent again, by whom it may concern: what went out is in the answer's request."""
    with Session() as session:
        session.trust_env = False
        prepared = session.prepare_request(requests.Request("POST", url_of(origin, "/down"), data=iter([b"a", b"b"])))
        with carrying(extract(TAGGED)):
            answer = session.send(prepared)
        assert "X-Test-Traffic" not in prepared.headers
        assert answer.request.headers["X-Test-Traffic"] == "canary-7"
        session.get(url_of(origin, "/down"))
    first, second = origin.seen("/down")
    assert_carries_all(first)
    assert first.body == b"ab"
    assert_carries_nothing(second)


def test_calls_from_a_pool_of_threads(origin: Origin) -> None:
    """Calls that are fanned out to a pool carry what was in force where they were handed over, with `bind`."""
    with Session() as session, ThreadPoolExecutor(4) as pool:
        session.trust_env = False
        with carrying(extract(TAGGED)):
            list(pool.map(bind(session.get), [url_of(origin, "/down")] * 4))
        pool.submit(session.get, url_of(origin, "/down")).result()
    *bound, plain = origin.seen("/down")
    assert len(bound) == 4
    for seen in bound:
        assert_carries_all(seen)
    assert_carries_nothing(plain)
