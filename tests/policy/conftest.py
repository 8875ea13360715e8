"""Policies from the text of a config's routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shadowproxy.config import from_plain, load_text, to_plain
from shadowproxy.policy import Policy, compile_policy

_HEAD = """
listen: [{name: front, address: "127.0.0.1:8080"}, {name: back, address: "127.0.0.1:8081"}]
fleets:
  live: {endpoints: ["http://127.0.0.1:9001"]}
  shadow: {endpoints: ["http://127.0.0.1:9002"]}
  dark: {endpoints: ["http://127.0.0.1:9003"]}
routes:
"""

MakePolicy = Callable[..., Policy]


@pytest.fixture
def make_policy() -> MakePolicy:
    """Compile routes, written as YAML list entries (`live: live` is added where it is missing)."""

    def make(routes: str, generation: int = 1) -> Policy:
        entries = "\n".join(f"  - {{{entry.strip()}, live: live}}" for entry in routes.strip().splitlines())
        config = load_text(_HEAD + entries).config
        # As a worker gets it: over the wire.
        plain: dict[str, Any] = to_plain(config)
        return compile_policy(from_plain(plain), generation)

    return make
