"""Experiments that tests begin with."""

from __future__ import annotations

from typing import Any


def plain(**changed: Any) -> dict[str, Any]:
    """A whole experiment as a file would say it, `one`, with parts replaced."""
    return {
        "name": "one",
        "owner": "shop@example.com",
        "hypothesis": {"fault": "the shop is slow", "expect": "pages still come", "impact": "as many orders"},
        "inject": {"routes": ["all"], "faults": [{"abort": {"status": 503}}]},
        "slice": {"percent": 10, "key": "header:x-user-id"},
        "duration": "10m",
        "guards": [{"metric": "error_rate", "above": 5}],
        **changed,
    }
