"""Peers that do what the kit's origins do not: black holes, banners, readers of one byte at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from tests.kit import answers, network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.kit.origin import Answer, Turn


@contextlib.contextmanager
def black_hole(address: network.Address = (network.HOST, 0)) -> Iterator[str]:
    """The URL of an endpoint whose handshakes never complete: its accept queue is full, so the kernel drops every SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(network.listening(address, backlog=0)))
        address = network.address_of(listener)
        while True:
            filler = stack.enter_context(contextlib.closing(socket.socket()))
            filler.settimeout(0.3)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        yield f"http://{address[0]}:{address[1]}"


class Banner:
    """An endpoint that speaks first: it sends these bytes to whoever connects, and then listens for ever."""

    def __init__(self, banner: bytes) -> None:
        self._banner = banner
        self._listener = network.listening()
        self._peers: list[socket.socket] = []
        self.url = "http://{}:{}".format(*network.address_of(self._listener))
        self._thread = threading.Thread(target=self._accept, name="banner", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        network.wake(self._listener)
        self._listener.close()
        self._thread.join(network.PATIENCE_S)
        for peer in self._peers:
            peer.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peers.append(peer)
            with contextlib.suppress(OSError):
                peer.sendall(self._banner)


def one_byte_at_a_time(pause_s: float = 1.0) -> Answer:
    """Reads the request one byte every so often, until the proxy gives up."""

    def answer(turn: Turn) -> None:
        received = b"?"
        while received:
            turn.pause(pause_s)
            with contextlib.suppress(TimeoutError):
                received = turn._peer.recv(1)

    return answer


def early_then_reset(wire: bytes) -> Answer:
    """An answer before any of the body was read, then RST at once."""

    def answer(turn: Turn) -> None:
        turn.send(wire)
        turn.reset()

    return answer


def storm(head: bytes, count: int) -> Answer:
    """So many interim heads, then a proper answer."""
    return answers.interim(*([head] * count))
