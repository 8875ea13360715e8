"""Tests of load/."""

from __future__ import annotations
