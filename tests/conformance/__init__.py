"""HTTP/1 conformance: verdicts on raw requests, and the 66 proxy requirements."""

from __future__ import annotations
