"""Plain data and back, and the digest of what a config means."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given

from shadowproxy.config import canonical_digest, from_plain, load_text, to_plain
from shadowproxy.config.declare import Seconds
from shadowproxy.config.model import Config, Fleet, Listener, Mirror, Route
from shadowproxy.errors import ConfigError
from tests.config.strategies import junk, plain_configs

SMALL: dict[str, Any] = {
    "listen": ["127.0.0.1:8080"],
    "fleets": {"live": {"endpoints": ["http://127.0.0.1:9001"]}, "shadow": {"endpoints": ["http://127.0.0.1:9002"], "timeout": "5s"}},
    "routes": [{"live": "live", "mirror": [{"to": "shadow", "percent": "10%"}]}],
}


def test_reads_what_a_file_holds() -> None:
    """Short forms, units and omissions are read as they are from a file, and names are filled in."""
    config = from_plain(SMALL)
    assert config == Config(
        listen=(Listener(address="127.0.0.1:8080", name="127.0.0.1:8080"),),
        fleets={
            "live": Fleet(name="live", endpoints=("http://127.0.0.1:9001",)),
            "shadow": Fleet(name="shadow", endpoints=("http://127.0.0.1:9002",), timeout=Seconds(5.0)),
        },
        routes=(Route(live="live", name="route-1", mirror=(Mirror(to="shadow", name="shadow", percent=10.0, salt="route-1"),)),),  # type: ignore[arg-type]
    )


@given(plain_configs())
def test_round_trip(plain: dict[str, Any]) -> None:
    """What was accepted comes back equal through plain data, through JSON, and through a file of that JSON."""
    config = from_plain(plain)
    written = to_plain(config)
    assert from_plain(written) == config
    text = json.dumps(written, ensure_ascii=False)
    assert from_plain(json.loads(text)) == config
    loaded = load_text(text.replace("$", "$$"))
    assert loaded.config == config
    assert loaded.digest == canonical_digest(config)


@given(plain_configs())
def test_everything_is_written(plain: dict[str, Any]) -> None:
    """Plain data is JSON and has every field, defaults included."""
    written = to_plain(from_plain(plain))
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert set(written["limits"]) == set(to_plain(from_plain(SMALL))["limits"])


def test_the_digest_is_of_the_meaning() -> None:
    """Spelling, order of keys and written-out defaults do not change the digest; a changed value does."""
    digest = canonical_digest(from_plain(SMALL))
    same = {**dict(reversed(SMALL.items())), "workers": 1, "limits": {"head": 65536, "idle_timeout": "1m15s"}}
    assert canonical_digest(from_plain(same)) == digest
    assert canonical_digest(from_plain({**SMALL, "workers": 2})) != digest
    assert len(digest) == 64


@given(plain_configs())
def test_routes_in_another_order_mean_something_else(plain: dict[str, Any]) -> None:
    """First match wins, so the order of routes is part of the meaning."""
    turned = {**plain, "routes": plain["routes"][::-1]}
    assert (canonical_digest(from_plain(plain)) == canonical_digest(from_plain(turned))) == (len(plain["routes"]) == 1)


@given(junk)
def test_anything_else_is_a_config_error(value: Any) -> None:
    """Whatever stands in any place, the answer is a config or every problem."""
    for key in ("listen", "fleets", "routes", "limits", "workers", "admin", "anything"):
        try:
            from_plain({**SMALL, key: value})
        except ConfigError as error:
            assert error.problems  # noqa: PT017  both outcomes are right; only other exceptions are not


def test_every_problem_at_once() -> None:
    """Reading goes on after a problem; without a file there are paths instead of places."""
    spoilt = {**SMALL, "workers": 0, "state": "x", "fleets": {"live": {"endpoints": ["ftp://a"]}}}
    with pytest.raises(ConfigError) as caught:
        from_plain(spoilt)
    assert [problem.path for problem in caught.value.problems] == ["fleets.live.endpoints[0]", "workers", "state", "routes[0].mirror[0].to"]
    assert {(problem.line, problem.file) for problem in caught.value.problems} == {(0, "")}


def test_a_dollar_is_a_dollar() -> None:
    """The environment is for files: data that came from elsewhere is taken as it is."""
    config = from_plain({**SMALL, "routes": [{"live": "live", "match": {"path": "/${env:HOME}"}}]})
    assert config.routes[0].match.path == "/${env:HOME}"


def test_a_worker_reads_its_config_without_yaml() -> None:
    """Reading plain data imports neither YAML nor TLS: workers start faster without."""
    script = (
        "import json, sys; from shadowproxy.config import from_plain; from_plain(json.load(sys.stdin));"
        "sys.exit(any(name in sys.modules for name in ('yaml', 'ssl', 'asyncio', 'difflib')))"
    )
    finished = subprocess.run([sys.executable, "-c", script], input=json.dumps(SMALL).encode(), check=False, timeout=60)
    assert finished.returncode == 0
