"""The data plane: what runs in a worker, per connection and per request. Nothing here waits, logs or looks anything up."""

from __future__ import annotations
