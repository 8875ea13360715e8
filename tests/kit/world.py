"""Live and shadow origins around one worker: where most tests begin.

with World(settings(mirror={"methods": ["GET", "POST"]})) as world:
    with world.client() as client:
        assert client.get("/a").status == 200
    live, shadow = world.legs("/a")
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from tests.kit import network
from tests.kit.client import Client
from tests.kit.origin import Origin
from tests.kit.worker import Tally, WorkerProxy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.kit.wire import Response, Seen

Plain = dict[str, Any]

ALL_METHODS: Final = (
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK",
    "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE",
    "MKCALENDAR", "LINK", "UNLINK", "SOURCE", "QUERY",
)  # fmt: skip
"""Every method that llhttp knows for HTTP, but CONNECT and TRACE, which are never mirrored."""

MIRROR: Final = "all/shadow"
"""The name of the mirror that `settings` makes."""


def settings(
    *, mirror: Mapping[str, Any] | None = None, live: Mapping[str, Any] | None = None, shadow: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None, listener: Mapping[str, Any] | None = None, **top: Any,
) -> Plain:  # fmt: skip
    """A config of one listener and one route that mirrors everything, without endpoints: a World fills those in.

    Args:
        mirror: settings of the mirror; by default every method is mirrored and the breaker never opens.
        live: settings of the live fleet; endpoints given here stay.
        shadow: settings of the shadow fleet.
        limits: settings under `limits`.
        listener: settings of the listener `front`.
        top: further keys of the config.
    """
    return {
        "listen": [{"name": "front", "address": "", **(listener or {})}],
        "limits": dict(limits or {}),
        "fleets": {
            "live": {"endpoints": [], "eject": {"failures": 0}, **(live or {})},
            "shadow": {"endpoints": [], "eject": {"failures": 0}, **(shadow or {})},
        },
        "routes": [
            {
                "name": "all",
                "match": {"path": "/"},
                "live": "live",
                "mirror": [{"to": "shadow", "percent": 100, "methods": list(ALL_METHODS), "breaker": {"failures": 0}, **(mirror or {})}],
            }
        ],
        **top,
    }


class World:
    """Two origins and a worker with one listener, `front`; stops and checks everything at the end.

    Args:
        config: what `settings` returns; the listener's address and empty endpoint lists are filled in.
        live, shadow: origins to use instead of new ones.
    """

    def __init__(self, config: Plain | None = None, *, live: Origin | None = None, shadow: Origin | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self._clients: list[Client] = []
        self._barriers = 0
        with contextlib.ExitStack() as undo:
            self.live = live or Origin("live")
            undo.callback(self.live.stop)
            self.shadow = shadow or Origin("shadow")
            undo.callback(self.shadow.stop)
            self._listener = network.listening(reuse_port=True)
            undo.callback(self._listener.close)
            self.config = config or settings()
            self.proxy = WorkerProxy(self.text(self.config), {"front": self._listener})
            self._stack = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self.abandon()

    @property
    def address(self) -> network.Address:
        """Where clients connect."""
        return network.address_of(self._listener)

    def text(self, config: Plain) -> str:
        """`config` as YAML, with our listener and origins filled in."""
        filled = dict(config)
        host, port = self.address
        filled["listen"] = [{**listener, "address": listener["address"] or f"{host}:{port}"} for listener in config["listen"]]
        filled["fleets"] = {
            name: {**fleet, "endpoints": fleet["endpoints"] or [(self.shadow if name == "shadow" else self.live).url]}
            for name, fleet in config["fleets"].items()
        }
        return yaml.safe_dump(filled, sort_keys=False)

    def apply(self, config: Plain) -> None:
        """Reload with another config."""
        self.config = config
        self.proxy.apply(self.text(config))

    def client(self, **options: Any) -> Client:
        """A new connection to the proxy; closed at the end of the world at the latest. Takes what `Client` takes."""
        client = Client(self.address, **options)
        self._clients.append(client)
        return client

    def ask(self, wire: bytes, method: str = "GET") -> Response:
        """Send one request on a connection of its own and return the answer."""
        with self.client() as client:
            client.send(wire)
            return client.response(method)

    def refuses(self, wire: bytes, *statuses: int) -> Response:
        """Send bytes that must be refused: an error answer of one of `statuses` (400 by default), and the end of the connection.

        The caller still has to ask that nothing went upstream: `untouched`.
        """
        with self.client() as client:
            client.send(wire)
            answer = client.response()
            assert answer.status in (statuses or (400,)), f"{answer.status} for {wire[:200]!r}"
            assert answer.one("Content-Type") == "application/problem+json"
            client.expect_end()
            return answer

    def legs(self, path: str, count: int = 1) -> tuple[Seen, Seen]:
        """What live and shadow received for `path`, as complete requests (the `count`th of them)."""
        return self.live.wait_for(path, count), self.shadow.wait_for(path, count)

    def untouched(self, *paths: str) -> bool:
        """Whether no complete request for any of `paths` has reached either origin.

        A request of our own goes through first: what the proxy sent before it has arrived by then.
        """
        self._barriers += 1
        barrier = f"/barrier-{self._barriers}"
        with self.client() as client:
            client.get(barrier)
        self.legs(barrier)
        return not any(request.is_complete for origin in (self.live, self.shadow) for path in paths for request in origin.seen(path))

    def fates(self) -> dict[str, int]:
        """The fates of the mirror that `settings` makes, settled and without zeros."""
        return self.proxy.fates(MIRROR)

    def forget(self) -> None:
        """Begin the next test of a shared world: drop scripts, records and clients."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        problems = [*self.live.problems(), *self.shadow.problems()]
        assert not problems, problems
        self.live.forget()
        self.shadow.forget()

    def stop(self) -> Tally:
        """End it all and check it all: nothing unlawful upstream, conservation, a clean exit of the worker.

        Raises:
            AssertionError: something of that does not hold.
        """
        try:
            for client in self._clients:
                client.close()
            self.live.stop()
            self.shadow.stop()
            tally = self.proxy.stop()
            problems = [*self.live.problems(), *self.shadow.problems()]
            assert not problems, problems
            return tally
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End everything without a check, after a failure. Idempotent."""
        for client in self._clients:
            client.close()
        self.proxy.abandon()
        self._stack.close()
