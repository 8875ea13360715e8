"""The examples under config/experiments/ break what they say, for whom they say, on the proxy of config/experiments.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_file
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually
from tests.kit.wire import Truncated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parents[2] / "config"
PAT, SAM = ("X-User-Id", "pat"), ("X-User-Id", "sam")
TEST = ("X-Test-Traffic", "1")


@pytest.fixture(scope="module")
def shops() -> Iterator[list[Origin]]:
    """Both zones of the shop; the first one answers for the dependencies as well."""
    made = [Origin("zone-a"), Origin("zone-b")]
    for origin in made:
        origin.answer = ok(b"x" * 4000)
        origin.on("/health", ok(b'{"workers": {"idle": 9}}'))
    yield made
    for origin in made:
        origin.stop()


@pytest.fixture(scope="module")
def proxy(shops: list[Origin], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedProxy]:
    """The example's proxy, with addresses of the test."""
    config = yaml.safe_load((EXAMPLES / "experiments.yaml").read_text())
    del config["admin"], config["state"], config["experiments"]["kill_file"], config["experiments"]["blockouts"]
    for listener in config["listen"]:
        del listener["address"]
    for name, fleet in config["fleets"].items():
        fleet["endpoints"] = [origin.url for origin in shops] if name == "shop" else [shops[0].url]
        fleet["connect_timeout"] = "100ms"
    for label, origin in zip(config["fleets"]["shop"]["labels"], shops, strict=True):
        label["endpoint"] = origin.url
    config["limits"] = {"drain_timeout": "5s"}
    with SupervisedProxy(config, tmp_path_factory.mktemp("proxy")) as running:
        yield running


class Practice:
    """One example that runs, for Pat alone."""

    def __init__(self, proxy: SupervisedProxy, shops: list[Origin], name: str) -> None:
        plain = experiment_to_plain(load_experiment_file(EXAMPLES / "experiments" / f"{name}.yaml", {}))
        plain["slice"] |= {"percent": 0, "pinned": ["pat"]}
        plain |= {"ramp": {}, "notify": []}
        if name == "slow-payments":  # tests/integration/test_experiment_probes.py has a Prometheus
            plain |= {"probes": [], "steady_state": [], "guards": plain["guards"][:1]}
        for probe in plain["probes"]:
            probe["url"] = f"{shops[0].url}/health"
        if plain["inject"]["endpoint"]:
            plain["inject"]["endpoint"] = shops[1].url
        reply = proxy.api("POST", "/api/v1/experiments", {"experiment": plain, "force": "the levels before it were practised elsewhere"})
        assert reply.status == 201, reply.body
        self.proxy = proxy
        self.path = f"/api/v1/experiments/{reply.json()['id']}"
        eventually(lambda: self.document()["state"] == "running", f"{name} runs")

    def document(self) -> dict[str, Any]:
        """The run document."""
        found: dict[str, Any] = self.proxy.api("GET", self.path).json()
        return found

    def ask(self, listener: str, method: str, target: str, *fields: tuple[str, str]) -> int:
        """The status of an answer; 0 of one that broke off."""
        with Client(self.proxy.address(listener)) as client:
            try:
                return client.request(method, target, *fields).status
            except (Truncated, ConnectionError):
                return 0

    def end(self, faults: Mapping[str, int], unharmed: Mapping[str, int] | None = None) -> None:
        """Stop it, once workers have told of so many faults, and of so many requests that were spared, or more."""

        def is_told() -> bool:
            found = self.document()
            return all(
                told.get(kind, 0) >= count
                for told, least in ((found["faults"], faults), (found["unharmed"], unharmed or {}))
                for kind, count in least.items()
            )

        eventually(is_told, f"told: {faults} {unharmed}")
        self.proxy.api("POST", f"{self.path}/stop", {"reason": "practised"})
        assert self.document()["state"] == "aborted"


def test_a_dependency_that_is_away(proxy: SupervisedProxy, shops: list[Origin]) -> None:
    """The shop's own call is answered 503 for Pat, and as ever for Sam."""
    run = Practice(proxy, shops, "recommendations-away")
    eventually(lambda: run.ask("out", "GET", "/recommendations", PAT) == 503, "workers have the fault")
    assert run.ask("out", "GET", "/recommendations", SAM) == 200
    assert run.ask("front", "GET", "/", PAT) == 200
    run.end({"abort": 1})


def test_a_slow_provider(proxy: SupervisedProxy, shops: list[Origin]) -> None:
    """Pat's payment goes on later, and goes on."""
    run = Practice(proxy, shops, "slow-payments")
    before = len(shops[0].seen("/payments"))
    asked = 0

    def is_hit() -> bool:
        nonlocal asked
        assert run.ask("out", "POST", "/payments", PAT, ("Content-Length", "0")) == 200
        asked += 1
        return bool(run.document()["faults"].get("delay"))

    eventually(is_hit, "a payment is delayed")
    assert len(shops[0].seen("/payments")) == before + asked
    run.end({"delay": 1})


def test_a_flaky_dependency(proxy: SupervisedProxy, shops: list[Origin]) -> None:
    """Pat's first two questions fail, the third is answered."""
    run = Practice(proxy, shops, "flaky-inventory")
    eventually(lambda: run.ask("out", "GET", "/inventory", PAT) == 503, "workers have the fault")
    assert [run.ask("out", "GET", "/inventory", PAT) for _ in range(3)] == [503, 200, 200]
    run.end({"abort": 2}, {"first": 2})


def test_answers_that_break_off(proxy: SupervisedProxy, shops: list[Origin]) -> None:
    """Pat's test gets half a catalogue; Pat without the tag gets it whole."""
    run = Practice(proxy, shops, "truncated-catalogue")
    eventually(lambda: run.ask("front", "GET", "/catalogue/all", PAT, TEST) == 0, "workers have the fault")
    assert run.ask("front", "GET", "/catalogue/all", PAT) == 200
    assert run.ask("front", "GET", "/catalogue/some", PAT, TEST) == 200
    run.end({"truncate": 1})


def test_a_zone_that_is_lost(proxy: SupervisedProxy, shops: list[Origin]) -> None:
    """Those of Pat's requests that zone-b would get are lost until the connect timeout; zone-a answers."""
    run = Practice(proxy, shops, "zone-drill")
    eventually(lambda: run.ask("front", "GET", "/", PAT) == 504, "a request is lost")
    eventually(lambda: run.ask("front", "GET", "/", PAT) == 200, "zone-a answers")
    assert {run.ask("front", "GET", "/", SAM) for _ in range(4)} == {200}
    assert [one["is_overridden"] for one in run.document()["admission"]] == [True]
    run.end({"black_hole": 1}, {"endpoint": 1})
