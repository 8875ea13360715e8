"""A fault in one cell, and what happens in the other: through a whole proxy with two workers, two cells and users who go on asking."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.control.cells import SPACING_S
from shadowproxy.experiments.errorrate import HISTORY_LEAST, LAG_S
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.origin import Turn

PAT = ("X-User-Id", "pat")
"""Who gets the fault, where requests go to cell a."""


class Town:
    """Two cells that share a dependency: while users of cell a see a fault they lean on it, and cell b fails without it."""

    def __init__(self) -> None:
        self.last_fault = 0.0
        self.is_shared = False
        self.is_broken = False
        self.cells = {"a": Origin("a"), "b": Origin("b")}
        self.cells["b"].answer = self._answer
        self._rng = Random(3)
        self._is_over = threading.Event()

    def _answer(self, turn: Turn) -> None:
        is_bad = self.is_broken or (self.is_shared and time.monotonic() - self.last_fault < 0.5)
        ok(status=503 if is_bad else 200)(turn)

    @contextmanager
    def users(self, proxy: SupervisedProxy) -> Iterator[None]:
        """Some hundred requests a second, of Pat and of others, over four connections."""
        threads = [threading.Thread(target=self._ask, args=(proxy,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _ask(self, proxy: SupervisedProxy) -> None:
        with Client(proxy.address("front")) as client:
            while not self._is_over.wait(0.01):
                reply = client.get("/", self._rng.choice((PAT, ("X-User-Id", "sam"))))
                if any(name.lower() == "x-shadowproxy-fault" for name, _ in reply.fields):
                    self.last_fault = time.monotonic()


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """Both cells."""
    made = Town()
    yield made
    for origin in made.cells.values():
        origin.stop()


@pytest.fixture(scope="module")
def proxy(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedProxy]:
    """One fleet over both cells, with users on it."""
    labels = [{"endpoint": origin.url, "cell": name} for name, origin in town.cells.items()]
    config = {
        "listen": [{"name": "front"}],
        "workers": 2,
        "fleets": {"live": {"endpoints": [label["endpoint"] for label in labels], "labels": labels, "balance": "round_robin"}},
        "routes": [{"name": "home", "live": "live"}],
    }
    with SupervisedProxy(config, tmp_path_factory.mktemp("proxy")) as running, town.users(running):
        yield running


def begin(proxy: SupervisedProxy, name: str, **changed: Any) -> str:
    """The id of a run that is confined to cell a."""
    plain = {
        "name": name, "owner": "shop", "hypothesis": {"fault": "slow", "expect": "slow pages", "impact": "none"}, "duration": "1m",
        "inject": {"routes": ["home"], "faults": [{"delay": "1ms"}]}, "slice": {"percent": 0, "key": "header:x-user-id", "pinned": ["pat"]},
        "domain": {"cells": ["a"]}, "guards": [{"metric": "error_rate", "above": 90}], **changed,
    }  # fmt: skip
    reply = proxy.api("POST", "/api/v1/experiments", {"experiment": plain})
    assert reply.status == 201, reply.body
    return str(reply.json()["id"])


def ended(proxy: SupervisedProxy, run: str) -> dict[str, Any]:
    """The document of a run once it has ended, and been played again."""

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = proxy.api("GET", f"/api/v1/experiments/{run}").json()
        return found if found["state"] not in {"draft", "admitted", "running"} else None

    document = eventually(over, f"{run} ends", patience_s=60)
    assert document is not None
    again = proxy.api("GET", f"/api/v1/experiments/{run}/replay").json()
    assert again["is_same"], again
    return document


def test_cells_are_watched_from_the_start_of_the_process(town: Town, proxy: SupervisedProxy) -> None:
    """Cell b fails because cell a has a fault, and no longer: not contained. Then it breaks by itself, and stays so: the environment."""

    def has_history() -> bool:
        lines = proxy.api("GET", "/metrics").body.decode().splitlines()
        of_b = (line for line in lines if line.startswith("shadowproxy_upstream_requests_total") and town.cells["b"].url in line)
        return any(float(line.split()[-1]) > 2 * HISTORY_LEAST for line in of_b)

    eventually(has_history, "cell b has answered")
    time.sleep(LAG_S + 2 * SPACING_S)  # what is newer is no history
    town.is_shared = True
    document = ended(proxy, begin(proxy, "leaks", duration="40s"))
    (cell,) = document["result"]["containment"]["cells"]
    assert (cell["cell"], cell["is_watched"], cell["before"]["errors"]) == ("b", True, 0)
    assert (document["state"], document["code"], document["result"]["verdict"]) == ("aborted", "containment", "refuted"), document["reason"]
    assert document["faults"]["delay"]
    assert "cell b, which has no fault, failed on" in document["reason"]

    town.is_shared, town.is_broken = False, True
    document = ended(proxy, begin(proxy, "alone", duration="5s"))
    assert (document["state"], document["code"], document["result"]["verdict"]) == ("aborted", "environment", "environment")
    assert "cell b" in document["reason"]
