"""How long after the kill switch is pulled do shadow bytes still arrive?

    python -m tests.adversity.kill_latency [--tries 50] [--uploads 16]

One worker under load: so many clients stream uploads that are copied while they stream, others send
small requests as fast as they are answered. A try pulls the switch and looks at the time of the last
byte that arrived at the shadow. Prints one JSON object: milliseconds from the call, and from its return
(negative where the last byte came before the acknowledgement), to the shadow's last byte.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from tests.kit import WorkerProxy, network, settings
from tests.kit.client import wire
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_PIECE: Final = b"10000\r\n" + b"x" * 65536 + b"\r\n"

QUIET_S: Final = 0.3
"""How long the shadow is watched after the switch was pulled: three times what the promise allows."""


class Sink:
    """A server that answers small GETs, reads whatever else comes as fast as it comes, and knows when it got its last byte."""

    def __init__(self) -> None:
        self.received = 0
        self.last_ns = 0
        self._selector = selectors.DefaultSelector()
        self._listener = network.listening()
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_over = False
        self.url = "http://{}:{}".format(*network.address_of(self._listener))
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self._is_over = True
        self._thread.join(network.PATIENCE_S)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                if peer is self._listener:
                    accepted, _address = peer.accept()
                    accepted.setblocking(False)
                    self._selector.register(accepted, selectors.EVENT_READ)
                else:
                    self._read(peer)

    def _read(self, peer: socket.socket) -> None:
        received = b""
        with contextlib.suppress(ConnectionError):
            received = peer.recv(1 << 18)
        if not received:
            self._selector.unregister(peer)
            peer.close()
            return
        self.last_ns = time.monotonic_ns()
        self.received += len(received)
        if received.startswith(b"GET "):
            with contextlib.suppress(ConnectionError):
                peer.sendall(_OK)


class Load:
    """Clients that stream uploads without end, and one that asks small questions, until `stop`."""

    def __init__(self, address: network.Address, uploads: int) -> None:
        self._address = address
        self._is_over = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._upload, daemon=True) for _ in range(uploads)]
        self._threads.append(threading.Thread(target=self._ask, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every client."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(network.PATIENCE_S)

    def _upload(self) -> None:
        with contextlib.closing(network.connected(self._address)) as peer:
            peer.sendall(wire("POST", "/upload", ("Transfer-Encoding", "chunked")))
            while not self._is_over.wait(0.005):
                try:
                    peer.sendall(_PIECE)
                except OSError as problem:
                    self.failures.append(repr(problem))
                    return

    def _ask(self) -> None:
        request = wire("GET", "/small")
        with contextlib.closing(network.connected(self._address)) as peer:
            while not self._is_over.is_set():
                peer.sendall(request)
                received = b""
                while not received.endswith(b"ok"):
                    received += peer.recv(65536)
                if b" 200 " not in received[:20]:
                    self.failures.append(repr(received))
                self.answers += 1


@contextlib.contextmanager
def under_load(uploads: int) -> Iterator[tuple[WorkerProxy, Sink, Load]]:
    """A worker that mirrors everything, its shadow, and clients."""
    with contextlib.ExitStack() as stack:
        live, shadow = stack.enter_context(Sink()), stack.enter_context(Sink())
        listener = stack.enter_context(contextlib.closing(network.listening(reuse_port=True)))
        address = network.address_of(listener)
        plain = settings(
            mirror={"body_limit": "1TiB", "body_budget": "64MiB", "timeout": "600s", "pair_timeout": "600s"},
            live={"endpoints": [live.url]},
            shadow={"endpoints": [shadow.url]},
            listener={"address": "{}:{}".format(*address)},
            limits={"tee_memory": "1GiB"},
        )
        proxy = WorkerProxy(yaml.safe_dump(plain), {"front": listener})
        stack.callback(proxy.abandon)
        load = Load(address, uploads)
        stack.callback(load.stop)
        yield proxy, shadow, load
        load.stop()
        proxy.stop()


def measure(tries: int, uploads: int) -> dict[str, Any]:
    """Pull the switch so many times under load.

    Returns:
        {"from_call_ms": [...], "from_return_ms": [...], "answers": n}: a number per try, sorted.

    Raises:
        AssertionError: live failed a request, or no shadow byte came before a try.
    """
    from_call: list[float] = []
    from_return: list[float] = []
    for _ in range(tries):
        with under_load(uploads) as (proxy, shadow, load):
            eventually(lambda: proxy.tally.get("mirrors") and shadow.received > 4 << 20, "copies stream to the shadow")
            called_ns = time.monotonic_ns()
            proxy.kill()
            returned_ns = time.monotonic_ns()
            time.sleep(QUIET_S)
            from_call.append((shadow.last_ns - called_ns) / 1e6)
            from_return.append((shadow.last_ns - returned_ns) / 1e6)
            answered = load.answers
            eventually(lambda load=load, answered=answered: load.answers > answered, "live goes on")  # type: ignore[misc]
            assert not load.failures, load.failures
    return {"from_call_ms": sorted(from_call), "from_return_ms": sorted(from_return)}


def percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of ascending values; `share` in (0, 1]."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversity.kill_latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--uploads", type=int, default=16)
    options = parser.parse_args()
    measured = measure(options.tries, options.uploads)
    summary = {
        name: {"p50": round(percentile(values, 0.5), 2), "p99": round(percentile(values, 0.99), 2), "max": round(values[-1], 2)}
        for name, values in measured.items()
    }
    print(json.dumps({"tries": options.tries, "uploads": options.uploads, **summary}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
