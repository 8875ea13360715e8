"""What tests of sinks share: a live service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def live() -> Iterator[Origin]:
    """The live service."""
    origin = Origin("live")
    yield origin
    origin.stop()
