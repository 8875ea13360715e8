"""What the tests of integrations share: the origin that services and clients call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A recording origin; what arrived there must have been lawful."""
    origin = Origin("down")
    try:
        yield origin
        assert origin.problems() == []
    finally:
        origin.stop()
