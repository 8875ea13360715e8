"""Peers that misbehave in every way we know, and what must hold then."""

from __future__ import annotations
