"""The value in force: what sees it, what does not, and what outgoing calls get of it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shadowproxy.propagate import NOTHING, Carried, bind, carrying, current, extract, inject, tagged
from tests.propagate.fields import PARENT, TRACE, incoming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

ROOT = Path(__file__).parents[2]

CANARY = Carried(tenant="canary-7", baggage=("user=4711;p=1", "plan=a%20b"), traceparent=PARENT, tracestate="v=1", mark="shadow;by=x")


def test_nothing_is_in_force_outside() -> None:
    """A module that is imported, a job and a test start with a value that carries nothing and is false."""
    assert current() is NOTHING
    assert not current()
    assert not current().is_tagged


def test_blocks_nest() -> None:
    """Inside of a block its value is in force, and behind it what was before, also behind an error."""
    with tagged("outer"):
        with carrying(NOTHING):
            assert current() is NOTHING
        with contextlib.suppress(KeyError), tagged("inner"):
            assert current().tenant == "inner"
            raise KeyError
        assert current().tenant == "outer"
    assert current() is NOTHING


def test_tagging_keeps_the_rest() -> None:
    """A job inside of a request may make its calls another tenant's: trace, baggage and mark go on."""
    with carrying(CANARY), tagged("other") as carried:
        assert carried == current()
        assert (carried.tenant, carried.traceparent, carried.baggage, carried.mark) == ("other", PARENT, CANARY.baggage, CANARY.mark)


def test_a_tagged_job_begins_a_trace() -> None:
    """What has no trace gets one, the same for all of its calls: the calls of one job are found together."""
    with tagged() as carried:
        first, second = dict[str, str](), dict[str, str]()
        inject(first)
        inject(second)
    assert first["X-Test-Traffic"] == "true"
    assert first["traceparent"][3:35] == second["traceparent"][3:35] == carried.trace_id
    assert first["traceparent"] != second["traceparent"]


@pytest.mark.parametrize("tenant", ["", "0", "false", "False", "  "])
def test_what_says_no_is_no_tenant(tenant: str) -> None:
    """`tagged("false")` is a mistake: it must not make live traffic of what was meant to be a test."""
    with pytest.raises(ValueError, match="names no tenant"), tagged(tenant):
        pass


async def test_tasks_inherit_and_do_not_hand_back() -> None:
    """A task carries what its parent did when it began, whatever the parent does then; what a task does is its own."""
    begun = asyncio.Event()

    async def child() -> tuple[str, str]:
        before = current().tenant
        begun.set()
        with tagged("child"):
            await asyncio.sleep(0)
            return before, current().tenant

    with tagged("parent"):
        task = asyncio.create_task(child())
    await begun.wait()
    assert current() is NOTHING
    assert await task == ("parent", "child")


async def test_threads_of_asyncio_and_of_pools() -> None:
    """asyncio.to_thread hands over what is in force; run_in_executor and pools do not; bound functions have it anywhere."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool, tagged("canary-7"):
        assert (await asyncio.to_thread(current)).tenant == "canary-7"
        assert await loop.run_in_executor(pool, current) is NOTHING
        assert (await loop.run_in_executor(pool, bind(current))).tenant == "canary-7"
        assert pool.submit(current).result() is NOTHING
        assert pool.submit(bind(current)).result().tenant == "canary-7"
        # Nothing of it stays behind in the pool's thread.
        assert pool.submit(current).result() is NOTHING


def test_a_bound_function_may_run_many_times_at_once() -> None:
    """One bound function serves a whole map: both threads are inside of it at the same moment."""
    together = threading.Barrier(2, timeout=30)

    def work(item: int) -> tuple[int, str]:
        together.wait()
        return item, current().tenant

    with ThreadPoolExecutor(2) as pool, tagged("canary-7"):
        assert list(pool.map(bind(work), range(4))) == [(item, "canary-7") for item in range(4)]


def test_what_runs_after_its_call_cannot_be_bound() -> None:
    """A bound coroutine function would lose the tag in silence: it is refused where the mistake is made."""

    async def coroutine() -> None: ...

    def generator() -> Generator[None, None, None]:
        yield

    async def both() -> AsyncGenerator[None, None]:
        yield

    for work in (coroutine, generator, both):
        with pytest.raises(TypeError, match="runs after its call"):
            bind(work)


async def test_coroutines_that_a_thread_hands_to_a_loop() -> None:
    """They carry what is in force in the thread."""
    loop = asyncio.get_running_loop()

    async def tenant() -> str:
        return current().tenant

    def work() -> str:
        with tagged("thread"):
            return asyncio.run_coroutine_threadsafe(tenant(), loop).result()

    assert await asyncio.to_thread(work) == "thread"


async def test_workers_that_wait_for_jobs() -> None:
    """A worker has what was in force when it was started, whoever puts the job into its queue; the job brings what is its own."""
    jobs: asyncio.Queue[tuple[dict[str, str], asyncio.Future[tuple[str, str]]]] = asyncio.Queue()

    async def worker() -> None:
        fields, answer = await jobs.get()
        without = current().tenant
        with carrying(extract(fields)):
            answer.set_result((without, current().tenant))

    task = asyncio.create_task(worker())
    answer: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    with tagged("canary-7"):
        await jobs.put((current().fields(), answer))
    assert await answer == ("", "canary-7")
    await task


def test_threads_that_are_started_by_hand() -> None:
    """A thread of one's own begins without: its function is bound like a pool's."""
    seen: list[str] = []

    def note() -> None:
        seen.append(current().tenant)

    with tagged("canary-7"):
        thread = threading.Thread(target=bind(note))
    thread.start()
    thread.join()
    assert seen == ["canary-7"]


def test_without_anything_to_carry_headers_stay_as_they_are() -> None:
    """Untagged traffic pays nothing, and what a caller sends by itself is its own matter."""
    headers = {"X_Test_Traffic": "x", "Baggage": "a=1", "traceparent": "broken"}
    before = dict(headers)
    inject(headers)
    assert headers == before


def test_an_untagged_request_is_carried_without_a_tag() -> None:
    """Baggage and trace of untagged traffic go on; nothing makes test traffic of it."""
    headers: dict[str, str] = {}
    with carrying(extract({"baggage": "user=4711", "traceparent": PARENT})):
        inject(headers)
    assert set(headers) == {"baggage", "traceparent"}
    assert headers["baggage"] == "user=4711"


def test_what_the_caller_has_set_is_merged() -> None:
    """Its baggage goes first and wins, its tag names the tenant in both places, its other fields are untouched; nothing comes twice."""
    headers = CIMultiDict(
        [("X-Test-Traffic", "mine"), ("x_test_traffic", "yes"), ("Baggage", "plan=mine"), ("baggage", "new=1"), ("Accept", "*/*")]
    )
    with carrying(CANARY):
        inject(headers)
    assert headers.getall("X-Test-Traffic") == ["mine"]
    assert headers.getall("baggage") == ["synthetic_request=true,test_tenant=mine,plan=mine,new=1,user=4711;p=1"]
    assert headers.getall("Accept") == ["*/*"]
    assert "x_test_traffic" not in headers


def test_the_caller_cannot_untag_by_accident() -> None:
    """A default header `X-Test-Traffic: false` in a client does not make live traffic of a tagged request's calls."""
    headers = {"x-test-traffic": "false", "baggage": "synthetic_request=false"}
    with carrying(CANARY):
        inject(headers)
    assert extract(headers).tenant == "canary-7"
    assert [name for name in headers if name.lower() == "x-test-traffic"] == ["X-Test-Traffic"]


def test_a_tracer_keeps_its_span() -> None:
    """A traceparent that somebody put there for this call stays, with its tracestate."""
    other = f"00-{'c' * 32}-{'d' * 16}-00"
    headers = {"Traceparent": other, "Tracestate": "t=1"}
    with carrying(CANARY):
        inject(headers)
    assert (headers["Traceparent"], headers["Tracestate"]) == (other, "t=1")
    assert "traceparent" not in headers


def test_copied_headers_get_a_span_of_their_own() -> None:
    """A service that copies all that came in sends the caller's traceparent: the call is another span of that trace."""
    headers = {"X-Test-Traffic": "canary-7", "Traceparent": PARENT, "TraceState": "v=1"}
    with carrying(CANARY):
        inject(headers)
    assert "Traceparent" not in headers
    assert headers["traceparent"][3:35] == TRACE
    assert headers["traceparent"] != PARENT
    assert headers["tracestate"] == "v=1"


@given(incoming(), incoming())
def test_injecting_twice_says_the_same(fields: dict[str, str], own: dict[str, str]) -> None:
    """A client with two integrations sends what a client with one sends, but for the span."""
    with carrying(extract(fields)):
        inject(own)
        once = dict(own)
        inject(own)
    assert {**own, "traceparent": ""} == {**once, "traceparent": ""}
    assert own.get("traceparent", "")[:35] == once.get("traceparent", "")[:35]


@given(incoming(), incoming())
def test_every_call_of_a_tagged_request_is_tagged(fields: dict[str, str], own: dict[str, str]) -> None:
    """Whatever the caller sets itself, and wherever the tag came from: header and baggage both say it, and name one tenant."""
    carried = extract(fields)
    with carrying(carried):
        inject(own)
    if carried.is_tagged:
        assert extract({"X-Test-Traffic": own["X-Test-Traffic"]}).tenant == extract({"baggage": own["baggage"]}).tenant


@given(incoming(), st.dictionaries(st.sampled_from(["accept", "Cookie", "x-user"]), st.text(max_size=5)))
def test_fields_of_other_people_are_not_touched(fields: dict[str, str], own: dict[str, str]) -> None:
    """Only the five fields that carry are ever changed."""
    headers = dict(own)
    with carrying(extract(fields)):
        inject(headers)
    assert {name: headers[name] for name in own} == own


@pytest.mark.parametrize(
    ("module", "brings"),
    [("", set()), (".asgi", set()), (".wsgi", set()), (".httpx", set()), (".aiohttp", {"aiohttp"}), (".requests", {"requests"})],
)
def test_importing_brings_no_more_than_the_framework(module: str, brings: set[str]) -> None:
    """Services of other people do not get our dependencies: the standard library, this package, and what an integration is named for."""
    program = f"import sys; before = set(sys.modules); import shadowproxy.propagate{module}; print(*set(sys.modules) - before)"
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in printed if name.partition(".")[0] == "shadowproxy"}
    assert all(name == "shadowproxy" or name.startswith("shadowproxy.propagate") for name in ours)
    found = {name.partition(".")[0] for name in printed} - sys.stdlib_module_names - {"shadowproxy"}
    assert found & {"aiohttp", "httptools", "httpx", "requests", "uvloop", "yaml"} == brings
    assert found if brings else not found


def test_abandoned_generators_end_anywhere() -> None:
    """A generator that is left in the middle of a block may be closed in another context: nothing is raised, nothing is changed there."""

    def generator() -> Generator[str, None, None]:
        with tagged("inside"):
            yield current().tenant

    pieces = generator()
    assert copy_context().run(next, pieces) == "inside"
    with tagged("here"):
        pieces.close()
        assert current().tenant == "here"
