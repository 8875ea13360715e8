"""Ports that nobody else is given."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ProcessPoolExecutor

import pytest

from load.bench import ports


def test_ports_are_free_different_and_out_of_the_way_of_outgoing_connections() -> None:
    """Each can be bound, none comes twice, and none is of the range that connect() takes from."""
    given = [ports.free_port() for _ in range(50)]
    assert len(set(given)) == 50
    for port in given:
        with socket.socket() as bound:
            bound.bind(("0.0.0.0", port))
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        assert max(given) < any_port.getsockname()[1]


def test_a_port_that_is_taken_is_passed_over() -> None:
    """Also when somebody holds it at one address only."""
    port = ports.free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ports._given[os.getpid()] = port - 1
        assert ports.free_port() != port


def test_no_port_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which ports were tried."""
    monkeypatch.setattr(ports, "_is_free", lambda _port: False)
    with pytest.raises(OSError, match="no port from 10240 to"):
        ports.free_port()


def test_a_system_that_does_not_tell_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux's default is taken."""
    monkeypatch.setattr(ports, "_RANGE", ports._RANGE / "absent")
    assert ports.free_port() < 32768


def test_forked_processes_go_ways_of_their_own() -> None:
    """A child does not go on where its parent stopped: two that ask at once would be given the same."""
    ports.free_port()
    with ProcessPoolExecutor(max_workers=2) as pool:
        assert all(pool.map(_begins_anew, range(4)))


def _begins_anew(_number: int) -> bool:
    return os.getpid() not in ports._given
