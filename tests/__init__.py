"""The test suite: a mirror of the source tree, and suites that cut across it."""

from __future__ import annotations
