"""The context of the code that runs: whose traffic it serves, in which trace, and what its outgoing calls must carry.

It lives in a `contextvars` variable: tasks of asyncio, trio and anyio get a copy of their parent's, and threads begin
with none. `asyncio.to_thread` and frameworks that run handlers in threads hand it over; pools of threads do
not, and get functions that were passed through `bind`.

    current()                      the value in force here: current().tenant, .is_tagged, .traceparent, .baggage
    with carrying(extract(f)):     what came in with a message is in force inside
    with tagged("canary-7"):       inside, everything is test traffic of that tenant
    inject(headers)                puts the fields into the headers of an outgoing call
    pool.submit(bind(work), item)  works in a thread as here
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from shadowproxy.propagate.carried import DEFAULT_TENANT, NOTHING, TRACEPARENT, TRACESTATE, Carried, extract, key_of, plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from contextvars import Token

P = ParamSpec("P")
R = TypeVar("R")

_in_force: Final[ContextVar[Carried]] = ContextVar("shadowproxy_carried", default=NOTHING)


def current() -> Carried:
    """What is carried here; outside of any request a value that carries nothing, and is false. Never raises."""
    return _in_force.get()


def enter(carried: Carried) -> Token[Carried]:
    """Put a value in force, for integrations whose end is not the end of a block; `leave` takes it back."""
    return _in_force.set(carried)


def leave(token: Token[Carried]) -> None:
    """Put back what was in force before `enter`; once for each token.

    Raises:
        RuntimeError: the token was used before.
    """
    # A generator that was abandoned ends wherever the collector runs: nothing was put in force there.
    with suppress(ValueError):
        _in_force.reset(token)


@contextmanager
def carrying(carried: Carried) -> Iterator[Carried]:
    """Put a value in force for a block: what came in with a message, or NOTHING for work of the service's own."""
    token = enter(carried)
    try:
        yield carried
    finally:
        leave(token)


@contextmanager
def tagged(tenant: str = DEFAULT_TENANT) -> Iterator[Carried]:
    """Make everything in a block test traffic of a tenant: for jobs, bots and tests. Begins a trace if there is none.

    Raises:
        ValueError: the text says that it is no test traffic: it is empty, `0` or `false`.
    """
    with carrying(current().tagged(tenant)) as carried:
        yield carried


def bind(work: Callable[P, R]) -> Callable[P, R]:
    """The function with what is in force now, wherever and however often it is called: for pools of threads and callbacks.

    Raises:
        TypeError: it is a coroutine function or a generator function, most of which runs when the call is over. Tasks
            inherit what is in force; `carrying` belongs inside of a generator.
    """
    if inspect.iscoroutinefunction(work) or inspect.isgeneratorfunction(work) or inspect.isasyncgenfunction(work):
        raise TypeError(f"{work!r} cannot be bound: it runs after its call")
    carried = current()

    @functools.wraps(work)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        with carrying(carried):
            return work(*args, **kwargs)

    return bound


def inject(headers: MutableMapping[str, Any], sent: str = "") -> str:
    """Put what is carried into the headers of one outgoing call. Without anything to carry the headers stay as they are.

    What the caller has set stays, with these exceptions: baggage is merged, the caller's members first and winning;
    a tag that says "no test traffic" in the middle of test traffic is overruled; and the traceparent that came in
    is not this call's, so a copy of it is renewed. Each field is there once, under its own name.

    Args:
        headers: changed in place. Any mutable mapping; one that knows neither case nor repetition will do.
        sent: the traceparent that was put into these headers for an earlier call, where a client that follows a
            redirect uses them once more: it is renewed as well.

    Returns:
        The traceparent that was put in, for the next call's `sent`; "" for none.
    """
    carried = current()
    if not carried:
        return ""
    own = extract(headers)
    # What a caller tags as somebody else's is that tenant's, in header and baggage alike.
    tenant = own.tenant or carried.tenant
    theirs = {key_of(member) for member in own.baggage}
    merged = Carried(
        baggage=own.baggage + tuple(member for member in carried.baggage if key_of(member) not in theirs),
        traceparent=carried.traceparent,
        tracestate=carried.tracestate,
        mark=own.mark or carried.mark,
    )
    fields = (merged.tagged(tenant) if tenant else merged).fields()
    parents = [value for name, value in headers.items() if name.lower() == TRACEPARENT]
    if not set(parents) <= {carried.traceparent, sent}:
        # A tracer at work: it has put its own span there, and knows what belongs to it.
        fields.pop(TRACEPARENT, None)
        fields.pop(TRACESTATE, None)
    replaced = {plain_name(name) for name in fields}
    # A mapping that knows repetition may give a name, and lose it, once a value.
    for name in [name for name in headers if plain_name(name) in replaced]:
        headers.pop(name, None)
    headers.update(fields)
    return fields.get(TRACEPARENT, "")
