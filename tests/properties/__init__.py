"""Hypothesis properties and fuzzing."""

from __future__ import annotations
