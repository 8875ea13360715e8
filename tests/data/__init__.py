"""Tables that tests read."""

from __future__ import annotations
