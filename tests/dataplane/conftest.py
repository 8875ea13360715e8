"""Rooms: a worker's data plane without sockets."""

from __future__ import annotations

import pytest

from tests.dataplane.room import Room


@pytest.fixture
def room() -> Room:
    """One route that mirrors everything to a shadow."""
    return Room()
