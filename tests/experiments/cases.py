"""An instance and experiments on it, for the tests of admission and planning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.config import load_text
from shadowproxy.config.experiment_file import experiment_from_plain

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.model import Config

INSTANCE = """
listen: ["127.0.0.1:8080"]
fleets:
  search:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    labels:
      - {endpoint: "http://10.0.0.1:80", cell: a, zone: z1, region: eu}
      - {endpoint: "http://10.0.0.2:80", cell: b, zone: z2, region: eu}
  cart:
    endpoints: ["http://10.0.1.1:80", "http://10.0.1.2:80"]
    labels:
      - {endpoint: "http://10.0.1.1:80", cell: c, zone: z1, region: eu}
      - {endpoint: "http://10.0.1.2:80", cell: d, zone: z3, region: us}
  cart-2: {endpoints: ["http://10.0.2.1:80"]}
routes:
  - {name: search, match: {path: /search}, live: search}
  - {name: suggest, match: {path: /suggest}, live: search}
  - {name: cart, match: {path: /cart}, live: cart, rollout: {to: cart-2, key: "header:x-user"}}
"""


def instance(experiments: str = "{}") -> Config:
    """Return the config of an instance, with that section."""
    return load_text(f"{INSTANCE}experiments: {experiments}\n").config


def experiment(name: str = "slow", route: str = "search", **parts: Any) -> Experiment:
    """Return an experiment that may begin; parts are laid over it."""
    plain = {
        "name": name,
        "owner": "ana",
        "hypothesis": {"fault": "search is slow", "expect": "results come late", "impact": "none"},
        "inject": {"routes": [route], "faults": [{"delay": "200ms"}]},
        "slice": {"percent": 5, "key": "header:x-user"},
        "duration": 300,
        "guards": [{"metric": "error_excess", "above": 2}],
    }
    for part, value in parts.items():
        plain[part] = {**plain.get(part, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    return experiment_from_plain(plain)
