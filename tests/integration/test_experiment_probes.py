"""What experiments look at beside traffic, through a whole proxy: expectations, probes, the steady state, notifications, a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import yaml

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.control.probes import Prober
from shadowproxy.experiments.steady import WEEK_S
from tests.kit import Client, Origin, SupervisedProxy, network
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAT = ("X-User-Id", "pat")
"""Who gets every fault of these experiments."""

SAM = ("X-User-Id", "sam")
"""Who gets none, and is counted by the route: requests with a fault are counted by their run."""

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="prometheus is not installed (Debian package prometheus)"
)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """The shop of all tests."""
    made = Origin("shop")
    yield made
    made.stop()


@pytest.fixture
def shop(origin: Origin) -> Origin:
    """The live fleet: its pages, the numbers of its business, and who is told of experiments."""
    origin.forget()
    origin.answer = ok(json.dumps({"recommendations": {"source": "top sellers"}}).encode(), fields=[("Content-Type", "application/json")])
    origin.on("/stats", ok(b'{"orders": {"rate": 50}}'))
    return origin


@pytest.fixture(scope="module")
def proxy(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedProxy]:
    """One route to the shop."""
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [origin.url]}},
        "routes": [{"name": "home", "live": "live"}],
        "limits": {"drain_timeout": "5s"},
    }
    with SupervisedProxy(config, tmp_path_factory.mktemp("proxy")) as running:
        yield running


def experiment(name: str, **changed: Any) -> dict[str, Any]:
    """One that slows Pat down by a millisecond, ends after a minute, and is never ended by its own effect."""
    return {
        "name": name, "owner": "shop", "hypothesis": {"fault": "slow", "expect": "top sellers", "impact": "none"}, "duration": "1m",
        "inject": {"routes": ["home"], "faults": [{"delay": "1ms"}]}, "slice": {"percent": 0, "key": "header:x-user-id", "pinned": ["pat"]},
        "guards": [{"metric": "error_rate", "above": 90}], **changed,
    }  # fmt: skip


def begin(proxy: SupervisedProxy, plain: dict[str, Any]) -> str:
    """The id of a run that was admitted."""
    reply = proxy.api("POST", "/api/v1/experiments", {"experiment": plain})
    assert reply.status == 201, reply.body
    return str(reply.json()["id"])


def run_of(proxy: SupervisedProxy, run: str) -> dict[str, Any]:
    """The run document."""
    found: dict[str, Any] = proxy.api("GET", f"/api/v1/experiments/{run}").json()
    return found


def until(proxy: SupervisedProxy, run: str, state: str) -> dict[str, Any]:
    """The document once the run is in `state`."""
    return eventually(lambda: found if (found := run_of(proxy, run))["state"] == state else None, f"{run} is {state}", patience_s=30) or {}


def ask(proxy: SupervisedProxy, count: int, user: tuple[str, str] = PAT) -> None:
    """Requests of one user, one after the other."""
    with Client(proxy.address("front")) as client:
        for _ in range(count):
            assert client.get("/", user).status == 200


def test_answers_are_held_against_what_is_expected(shop: Origin, proxy: SupervisedProxy) -> None:
    """Answers to units with the fault are sampled, looked at, and counted for each expectation of the run."""
    expect = [
        {"route": "home", "status": [200], "json": "$.recommendations.source", "equals": "top sellers", "sample": 1000},
        {"route": "home", "contains": "personal", "sample": 1000},
    ]
    run = begin(proxy, experiment("fallback", expect=expect))
    until(proxy, run, "running")

    def is_hit() -> bool:
        ask(proxy, 1)
        return bool(run_of(proxy, run)["faults"])

    eventually(is_hit, "workers have the fault")
    ask(proxy, 40)
    looked = eventually(
        lambda: found if (found := run_of(proxy, run)["result"]["expectations"])[0]["looked_at"] >= 40 else None, "answers were looked at"
    )
    assert looked is not None
    right, wrong = looked
    assert right["held"] == right["looked_at"]
    assert (wrong["held"], wrong["is_upheld"]) == (0, False)
    assert run_of(proxy, run)["samples"] == {"unknown": {"0": 0, "1": 0}, "dropped": 0, "problems": {}}
    proxy.api("POST", f"/api/v1/experiments/{run}/stop", {"reason": "seen enough"})
    until(proxy, run, "aborted")
    assert shop.problems() == []


def test_a_business_metric_ends_a_run_and_others_are_told(shop: Origin, proxy: SupervisedProxy) -> None:
    """Orders fall below what is bearable: the probe's guard aborts, and the receiver has heard of each transition in order."""
    probes = [{"name": "orders", "url": f"{shop.url}/stats", "json": "$.orders.rate", "every": "100ms"}]
    run = begin(
        proxy,
        experiment(
            "slow-shop",
            probes=probes,
            steady_state=[{"probe": "orders", "above": 40}],
            guards=[{"metric": "probe", "probe": "orders", "below": 20}],
            notify=[f"{shop.url}/hook?key=s3cret"],
        ),
    )
    until(proxy, run, "running")
    shop.on("/stats", ok(b'{"orders": {"rate": 3}}'))
    found = until(proxy, run, "aborted")
    assert found["code"] == "guard_probe", found["reason"]
    shop.wait_for("/hook", 3)
    told = [json.loads(seen.body) for seen in shop.seen("/hook")]
    assert [one["event"] for one in told] == ["admitted", "started", "aborted"]
    assert told[-1]["code"] == "guard_probe"
    assert told[-1]["id"] == run
    assert not any(b"s3cret" in seen.body for seen in shop.seen("/hook"))
    assert "s3cret" not in proxy.log()


def test_nothing_begins_while_the_system_is_not_well(shop: Origin, proxy: SupervisedProxy) -> None:
    """The steady state does not hold: it is refused with the value and its range, by a plan as well, and there is no run."""
    shop.on("/stats", ok(b'{"orders": {"rate": 12}}'))
    probes = [{"name": "orders", "url": f"{shop.url}/stats", "json": "$.orders.rate"}]
    unwell = experiment("not-now", probes=probes, steady_state=[{"probe": "orders", "above": 40}])
    expected = {"code": "steady_state", "sentence": "probe orders is 12, and must be at least 40", "is_overridden": False}
    reply = proxy.api("POST", "/api/v1/experiments", {"experiment": unwell})
    assert (reply.status, reply.json()["refusals"]) == (409, [expected])
    assert expected in proxy.api("POST", "/api/v1/experiments/plan", {"experiment": unwell}).json()["admission"]
    assert proxy.api("GET", "/api/v1/experiments/not-now").status == 404


@pytest.mark.parametrize("part", ["probes", "notify"])
def test_an_experiment_asks_nobody_who_may_not_be_an_endpoint(proxy: SupervisedProxy, part: str) -> None:
    """The admin API refuses URLs of link-local and metadata addresses, and secrets of control's environment in any."""
    for url in ("http://169.254.169.254/latest", "http://2852039166/", "http://metadata.google.internal/"):
        asked = [url] if part == "notify" else [{"name": "orders", "url": url}]
        reply = proxy.api("POST", "/api/v1/experiments", {"experiment": experiment("away", **{part: asked})})
        assert reply.status == 422, reply.body
        assert b"never asked" in reply.body
    written = yaml.safe_dump(experiment("away", notify=["http://127.0.0.1/${env:PATH}"]))
    assert proxy.api("POST", "/api/v1/experiments", {"text": written}).status == 422


@contextmanager
def prometheus(directory: Path, *scrapes: dict[str, Any]) -> Iterator[str]:
    """A real Prometheus with what it finds in `directory`/tsdb; its URL."""
    (directory / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": list(scrapes)}))
    where = f"{network.HOST}:{network.free_port()}"
    command = ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--web.listen-address={where}"]
    command += [f"--storage.tsdb.path={directory / 'tsdb'}", "--storage.tsdb.retention.time=1y", "--log.level=warn"]
    with (directory / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
    try:
        yield f"http://{where}"
    finally:
        running.kill()
        running.wait()


def scraping(proxy: SupervisedProxy) -> dict[str, Any]:
    """The proxy's own metrics, every 200 ms."""
    host, port = proxy.admin
    return {
        "job_name": "shadowproxy", "scrape_interval": "200ms", "scrape_timeout": "200ms",
        "authorization": {"credentials_file": str(proxy.directory / "token")}, "static_configs": [{"targets": [f"{host}:{port}"]}],
    }  # fmt: skip


def known(url: str, promql: str) -> float:
    """The one value of a query; 0 for none, and while Prometheus does not answer."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"{url}/api/v1/query?{urlencode({'query': promql})}", timeout=network.PATIENCE_S) as answer,
    ):
        found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0
    return 0.0


@needs_prometheus
def test_a_query_of_a_real_prometheus_guards_a_run(shop: Origin, proxy: SupervisedProxy, tmp_path: Path) -> None:
    """Prometheus scrapes the proxy's own metrics; a steady state is taken from its past, and a query's value ends the run."""
    query = 'sum(shadowproxy_requests_total{route="home"})'
    with prometheus(tmp_path, scraping(proxy)) as url:
        ask(proxy, 20, SAM)

        def steady() -> float:
            before = known(url, f"min_over_time(({query})[1s:100ms])")
            return before if before >= 20 and before == known(url, query) else 0.0

        before = eventually(steady, "Prometheus has scraped the requests", patience_s=60)
        run = begin(
            proxy,
            experiment(
                "by-query",
                probes=[{"name": "requests", "kind": "prometheus", "url": url, "query": query, "every": "100ms"}],
                steady_state=[{"probe": "requests", "within": 50, "baseline": "1s"}],
                guards=[{"metric": "probe", "probe": "requests", "above": before + 40}],
            ),
        )
        (steady_state,) = until(proxy, run, "running")["result"]["steady"]
        assert (steady_state["baseline"], steady_state["low"], steady_state["high"]) == (before, before * 0.5, before * 1.5)
        ask(proxy, 60, SAM)
        found = until(proxy, run, "aborted")
        assert found["code"] == "guard_probe", found["reason"]


@needs_prometheus
async def test_a_real_prometheus_tells_of_past_weeks(tmp_path: Path) -> None:
    """Orders are compared with those of this hour in past weeks; the week of an outage, and one that nobody remembers, move nothing."""
    now = int(time.time())
    lines = ["# TYPE orders gauge"]
    for week, value in ((3, 5), (2, 210), (1, 200)):
        lines += [f"orders {value} {now - week * int(WEEK_S) + second}" for second in range(-1800, 1801, 60)]
    lines += [f"orders 190 {now + second}" for second in range(-600, 601, 30)]
    (tmp_path / "past.txt").write_text("\n".join([*lines, "# EOF", ""]))
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(tmp_path / "past.txt"), str(tmp_path / "tsdb")]
    await asyncio.to_thread(subprocess.run, backfill, check=True, capture_output=True)
    with prometheus(tmp_path) as url:
        await asyncio.to_thread(eventually, lambda: known(url, "sum(orders)") == 190, "Prometheus knows the past", patience_s=30)
        probes = [{"name": "orders", "kind": "prometheus", "url": url, "query": "sum(orders)", "timeout": "10s"}]
        steady_state = [{"probe": "orders", "within": 20, "seasonal": True}, {"probe": "orders", "above": 195}]
        prober = Prober(experiment_from_plain(experiment("seasonal", probes=probes, steady_state=steady_state)))
        try:
            assert await prober.prepare() == ["probe orders is 190, and must be at least 195"]
            assert prober.steady == {"orders": {"baseline": 200.0, "low": 195.0, "high": 240.0}}
        finally:
            await prober.close()
