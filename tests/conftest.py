"""What every suite shares: markers, Hypothesis profiles, and worlds that are stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Verbosity
from hypothesis import settings as hypothesis_settings

from tests.kit import World
from tests.kit import postgres as postgres_kit

# Sockets and a shared machine make single examples slow without meaning anything: no deadlines.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture], "print_blob": True}
hypothesis_settings.register_profile("fast", max_examples=60, **_CALM)  # type: ignore[arg-type]
hypothesis_settings.register_profile("deep", max_examples=5000, verbosity=Verbosity.normal, **_CALM)  # type: ignore[arg-type]
hypothesis_settings.load_profile("deep" if os.environ.get("DEEP") == "1" else "fast")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that ties a test to the requirements it shows."""
    config.addinivalue_line(
        "markers", "requirement(*ids): the proxy requirements (tests/data/proxy_requirements.jsonl) that the test shows"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is marked deep unless DEEP=1; then every Hypothesis test is deep too, and may take an hour."""
    is_deep = os.environ.get("DEEP") == "1"
    for item in items:
        if is_deep and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.deep)
            item.add_marker(pytest.mark.timeout(3600))
        elif not is_deep and item.get_closest_marker("deep"):
            item.add_marker(pytest.mark.skip(reason="only with DEEP=1"))


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Make worlds with a config of the test's own; each is stopped and checked when the test has passed."""
    with contextlib.ExitStack() as worlds:

        def make(*args: Any, **options: Any) -> World:
            return worlds.enter_context(World(*args, **options))

        yield make


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """One world with the plain config, for a module's tests to share: a worker takes a while to start."""
    with World() as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """The module's shared world, clean; what went upstream during the test must have been lawful."""
    yield shared_world
    shared_world.forget()


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_kit.PostgresServer]:
    """One real PostgreSQL server for all tests that ask for it."""
    if postgres_kit.WHEEL is None:
        pytest.skip(postgres_kit.MISSING)
    with postgres_kit.PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres: postgres_kit.PostgresServer) -> Iterator[str]:
    """An empty database of the test's own: the DSN by which its superuser reaches it."""
    dsn = postgres.create()
    yield dsn
    postgres.drop(dsn)
