"""shadowproxy: mirror production traffic to a shadow fleet without being able to hurt it."""

from __future__ import annotations

__version__ = "0.1.0"
