"""Sockets: one per listener and worker slot, bound once, never lost while configured."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from shadowproxy.config.model import Listener
from shadowproxy.control.listeners import Listeners, bind_one
from shadowproxy.errors import ControlError
from tests.kit.network import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = Listener(name="front", address="127.0.0.1:0")


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    """Listeners that are closed when the test is over."""
    opened = Listeners()
    yield opened
    opened.close()


def test_each_slot_has_its_own_socket_on_one_port(listeners: Listeners) -> None:
    """Port 0 becomes one port, shared by all slots."""
    listeners.open([ANY], 3)
    lent = [listeners.lent([ANY], slot, 3) for slot in range(3)]
    assert [[name for name, _ in one] for one in lent] == [["front"]] * 3
    descriptors = [fd for one in lent for _, fd in one]
    assert len(set(descriptors)) == 3
    ports = set()
    for fd in descriptors:
        with socket.socket(fileno=socket.dup(fd)) as copy:
            ports.add(copy.getsockname()[1])
    assert ports == {listeners.address(ANY).port}


def test_fewer_workers_share_the_sockets_out(listeners: Listeners) -> None:
    """A queue that some connection waits in is never closed: every socket still has a worker."""
    listeners.open([ANY], 4)
    before = {fd for slot in range(4) for _, fd in listeners.lent([ANY], slot, 4)}
    listeners.open([ANY], 2)
    after = [fd for slot in range(2) for _, fd in listeners.lent([ANY], slot, 2)]
    assert set(after) == before
    assert len(after) == 4


def test_more_workers_keep_the_port(listeners: Listeners) -> None:
    """Sockets are added beside those that are there."""
    listeners.open([ANY], 1)
    port = listeners.address(ANY).port
    listeners.open([ANY], 3)
    assert listeners.address(ANY).port == port
    assert len(listeners.lent([ANY], 0, 1)) == 3


def test_an_address_in_use_changes_nothing(listeners: Listeners) -> None:
    """All or nothing, and the message names listener and address."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ControlError, match=f"listener b: cannot listen on {address}: address already in use"):
            listeners.open([ANY, Listener(name="b", address=address)], 1)
    assert "front" not in repr(listeners)


def test_a_new_host_on_a_port_of_ours_is_no_conflict(listeners: Listeners) -> None:
    """Going from one host to every host on the same port works while the old listener is open."""
    port = free_port()
    narrow, wide = Listener(name="a", address=f"127.0.0.1:{port}"), Listener(name="a", address=f"0.0.0.0:{port}")
    listeners.open([narrow], 1)
    listeners.open([wide], 1)
    listeners.retire([wide])
    assert listeners.address(wide).port == port


def test_retiring_closes(listeners: Listeners) -> None:
    """An address that is no longer configured is free again."""
    port = free_port()
    listener = Listener(name="a", address=f"127.0.0.1:{port}")
    listeners.open([listener], 2)
    listeners.retire([])
    bind_one(f"127.0.0.1:{port}", "admin").close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("203.0.113.7:80", "cannot assign requested address"),
        ("no.such.host.invalid:80", "listener a: cannot listen on no.such.host.invalid:80"),
    ],
)
def test_what_cannot_be_bound_is_one_line(listeners: Listeners, address: str, reason: str) -> None:
    """The operating system's reason, in one line."""
    with pytest.raises(ControlError, match=reason) as caught:
        listeners.open([Listener(name="a", address=address)], 1)
    assert "\n" not in str(caught.value)


def test_ipv6(listeners: Listeners) -> None:
    """Brackets go where they belong."""
    listener = Listener(name="six", address="[::1]:0")
    listeners.open([listener], 1)
    assert str(listeners.address(listener)).startswith("[::1]:")
