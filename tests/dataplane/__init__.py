"""The data plane, module by module."""

from __future__ import annotations
