"""Carry test traffic's tag, baggage and trace through a service: from the request that it serves to the calls that it makes.

This package is for other people's services: it imports nothing of shadowproxy's, and nothing beyond the standard
library. Each module that is named for a framework imports that framework, so import those that you use;
docs/propagation.md has an example of each.
"""

from __future__ import annotations

from shadowproxy.propagate.carried import DEFAULT_TENANT, NOTHING, Carried, extract
from shadowproxy.propagate.context import bind, carrying, current, inject, tagged

__all__ = ["DEFAULT_TENANT", "NOTHING", "Carried", "bind", "carrying", "current", "extract", "inject", "tagged"]
