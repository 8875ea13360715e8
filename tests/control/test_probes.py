"""A probe's value is one finite number, or nothing and a sentence; a run begins only when the system is well."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.control.probes import Prober
from shadowproxy.experiments.steady import WEEK_S
from tests.control.asked import Asked, Question, answer, asked, number
from tests.control.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shadowproxy.config.experiment import Experiment

NOW = 1_800_000_000.0


def experiment(*probes: dict[str, Any], steady: Sequence[dict[str, Any]] = ()) -> Experiment:
    """One with these probes and this steady state."""
    return experiment_from_plain(
        {
            "name": "e", "owner": "o", "hypothesis": {"fault": "f", "expect": "e", "impact": "i"}, "slice": {"percent": 1}, "duration": "1m",
            "inject": {"routes": ["r"], "faults": [{"abort": {"status": 503}}]}, "guards": [{"metric": "error_rate", "above": 5}],
            "probes": list(probes), "steady_state": list(steady),
        }
    )  # fmt: skip


def orders(server: Asked, **changed: Any) -> dict[str, Any]:
    """A JSON probe of `server`."""
    return {"name": "orders", "url": f"{server.url}/stats", "json": "$.rate", "every": "100ms", "timeout": "10s", **changed}


def promql(server: Asked, **changed: Any) -> dict[str, Any]:
    """A PromQL probe of `server`."""
    return {
        "name": "orders",
        "kind": "prometheus",
        "url": server.url,
        "query": "sum(rate(x[1m])) > 0",
        "every": "1h",
        "timeout": "10s",
        **changed,
    }


def matrix(*values: float) -> dict[str, Any]:
    """What a Prometheus answers to a range query with one series, or none."""
    result = [{"metric": {}, "values": [[float(index), str(value)] for index, value in enumerate(values)]}] if values else []
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


@asynccontextmanager
async def probing(made: Experiment) -> AsyncIterator[Prober]:
    """A prober that is closed in the end."""
    prober = Prober(made, clock=lambda: NOW)
    try:
        yield prober
    finally:
        await prober.close()


async def settled(prober: Prober) -> None:
    """Wait until each probe has been asked."""
    await until(lambda: "it has not been asked yet" not in prober.problems().values(), "every probe is asked")


@pytest.mark.parametrize(
    ("said", "value", "problem"),
    [
        (answer({"rate": 12.5}), 12.5, ""),
        (answer({"rate": 0}), 0.0, ""),
        (answer({"rate": "12.5"}), None, "at $.rate is no number"),
        (answer({"rate": True}), None, "at $.rate is no number"),
        (answer({"rate": None}), None, "at $.rate is no number"),
        (answer({"rates": 1}), None, "there is nothing at $.rate"),
        (answer(b'{"rate": NaN}'), None, "its value is nan"),
        (answer(b'{"rate": 1e999}'), None, "its value is inf"),
        (answer(b'{"rate": 1' + b"0" * 400 + b"}"), None, "is no number"),
        (answer(b"[" * 100000), None, "its answer is no JSON"),
        (answer(b"<html>"), None, "its answer is no JSON"),
        (answer({"rate": 1}, 500), None, "it answered 500"),
        (answer({"rate": 1}, 202), None, "it answered 202"),
        (answer(b"", 301, Location="http://127.0.0.1:1/"), None, "redirects are not followed"),
        (answer(b" " * (256 * 1024 + 1)), None, "more than 262144 bytes"),
    ],
)
async def test_a_document_gives_one_number_or_none(said: bytes, value: float | None, problem: str) -> None:
    """What is no number is unknown, and why is told in a sentence."""
    async with asked(said) as server, probing(experiment(orders(server))) as prober:
        assert prober.values() == {"orders": None}
        await prober.prepare()
        await settled(prober)
        assert prober.values() == {"orders": value}
        assert problem in prober.problems().get("orders", "")
        assert ("orders" in prober.problems()) == (value is None)


@pytest.mark.parametrize(
    ("said", "value", "problem"),
    [
        (number(3.5), 3.5, ""),
        (answer({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "7"]}}), 7.0, ""),
        (number("NaN"), None, "its value is nan"),
        (number("+Inf"), None, "its value is inf"),
        (number("much"), None, "'much' is no number"),
        (answer({"status": "success", "data": {"resultType": "vector", "result": []}}), None, "the query has no result"),
        (answer({"status": "success", "data": {"resultType": "vector", "result": [{}, {}]}}), None, "has 2 results, and must have one"),
        (answer({"status": "success", "data": {"resultType": "vector", "result": [{"histogram": []}]}}), None, "with one number"),
        (answer({"status": "success", "data": {"resultType": "matrix", "result": []}}), None, "gives a matrix"),
        (answer({"status": "success", "data": {"resultType": "string", "result": [1, "a"]}}), None, "gives a string"),
        (answer({"status": "error", "error": "parse error: x" * 50}, 400), None, "it answered 400: parse error"),
        (answer({"status": "success"}), None, "is not that of a Prometheus"),
        (answer({"rate": 1}), None, "it answered 200"),
        (answer([1]), None, "it answered 200"),
        (answer(b"bad gateway", 502), None, "it answered 502"),
    ],
)
async def test_a_query_gives_one_number_or_none(said: bytes, value: float | None, problem: str) -> None:
    """A scalar or a vector of one; whatever else Prometheus can say is unknown."""
    async with asked(said) as server, probing(experiment(promql(server, url=f"{server.url}/base/"))) as prober:
        await prober.prepare()
        await settled(prober)
        assert prober.values() == {"orders": value}
        assert problem in prober.problems().get("orders", "")
        assert len(prober.problems().get("orders", "")) < 300
        assert server.questions[0].path == "/base/api/v1/query"
        assert server.questions[0].query == {"query": "sum(rate(x[1m])) > 0"}


async def test_a_value_is_gone_as_soon_as_it_cannot_be_had() -> None:
    """No stale number guards an experiment: a failed question is None until one succeeds again."""
    said = [answer({"rate": 1})]
    async with asked(lambda _: said[0]) as server, probing(experiment(orders(server))) as prober:
        assert await prober.prepare() == []
        await until(lambda: prober.values() == {"orders": 1.0}, "a first value")
        said[0] = answer(b"", 503)
        await until(lambda: prober.values() == {"orders": None}, "the value is gone")
        assert prober.problems() == {"orders": "it answered 503"}
        said[0] = answer({"rate": 2})
        await until(lambda: prober.values() == {"orders": 2.0}, "it is back")
    assert prober.values() == {"orders": None}, "nobody asks any more"
    asked_so_far = len(server.questions)
    await asyncio.sleep(0.25)
    assert len(server.questions) == asked_so_far


async def test_one_that_hangs_does_not_hold_up_the_others() -> None:
    """Each probe is asked by itself, one question at a time."""
    async with asked() as hanging, asked(answer({"rate": 1})) as server:
        made = experiment(orders(hanging, name="slow", timeout="60ms"), orders(server))
        async with probing(made) as prober:
            await prober.prepare()
            await until(lambda: len(hanging.questions) >= 3, "it is asked again")
            await until(lambda: prober.values() == {"slow": None, "orders": 1.0}, "the other has its value")
            assert prober.problems() == {"slow": "no answer within 0.06 s"}


async def test_a_look_asks_once_and_says_what_is_soon_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds, values that are missing, and baselines of a Prometheus; not what takes longer, nor what must be watched first."""
    monkeypatch.setattr("shadowproxy.control.probes.LOOK_S", 0.5)

    def past(question: Question) -> Any:
        return answer(matrix(10, 10, 10)) if question.path.endswith("query_range") else number(20)

    async with asked(answer({"rate": 3})) as server, asked(past) as prometheus, asked() as hanging:
        made = experiment(
            orders(server), promql(prometheus, name="sold"), orders(hanging, name="slow"), orders(server, name="lost", json="$.lost"),
            steady=[
                {"probe": "orders", "above": 5, "within": 10, "baseline": "1h"}, {"probe": "sold", "within": 50}, {"probe": "slow", "above": 1},
                {"probe": "lost", "above": 1},
            ],
        )  # fmt: skip
        async with probing(made) as prober:
            assert await prober.look() == [
                "probe orders is 3, and must be at least 5",
                "probe sold is 20, and must be from 5 to 15",
                "probe lost has no value: there is nothing at $.lost",
            ]
        assert len(server.questions) == 2
    async with asked(answer({"rate": 3})) as server, probing(experiment(orders(server))) as prober:
        assert await prober.look() == []
        assert not server.questions, "nothing is asked of its steady state"


async def test_a_run_does_not_begin_while_the_system_is_not_well() -> None:
    """Each bound that does not hold is a sentence, and so is a value that is not known."""
    async with asked(answer({"rate": 3})) as server, asked(answer(b"", 500)) as broken:
        made = experiment(
            orders(server), orders(broken, name="lost"),
            steady=[{"probe": "orders", "above": 5}, {"probe": "lost", "below": 1}, {"probe": "orders", "below": 9}],
        )  # fmt: skip
        async with probing(made) as prober:
            assert await prober.prepare() == ["probe orders is 3, and must be at least 5", "probe lost has no value: it answered 500"]
            assert prober.steady == {
                "orders": {"baseline": None, "low": 5.0, "high": 9.0},
                "lost": {"baseline": None, "low": None, "high": 1.0},
            }
            server.script = lambda _: answer({"rate": 6})
            broken.script = lambda _: answer({"rate": 1})
            assert await prober.check() == []


async def test_a_document_is_watched_for_its_baseline() -> None:
    """Nobody has kept its past: `prepare` takes as long as the baseline, and what it saw then is the middle."""
    async with asked(answer({"rate": 100})) as server:
        made = experiment(orders(server), steady=[{"probe": "orders", "within": 10, "baseline": "600ms"}])
        async with probing(made) as prober:
            assert await prober.prepare() == []
            assert prober.steady == {"orders": {"baseline": 100.0, "low": 90.0, "high": 110.0}}
            server.script = lambda _: answer({"rate": 89})
            assert await prober.check() == ["probe orders is 89, and must be from 90 to 110"]


async def test_a_prometheus_is_asked_for_the_time_before() -> None:
    """The baseline of a query is a range query up to now, and takes no time."""

    def script(question: Question) -> bytes:
        return answer(matrix(98, 100, 102)) if question.path.endswith("query_range") else number(104)

    async with asked(script) as server:
        made = experiment(promql(server), steady=[{"probe": "orders", "within": 5, "baseline": "10m"}])
        async with probing(made) as prober:
            assert await prober.prepare() == []
            assert prober.steady == {"orders": {"baseline": 100.0, "low": 95.0, "high": 105.0}}
    (ranged,) = [question.query for question in server.questions if question.path.endswith("query_range")]
    assert ranged == {"query": "sum(rate(x[1m])) > 0", "start": f"{NOW - 600:.3f}", "end": f"{NOW:.3f}", "step": "10.000"}


@pytest.mark.parametrize(("weeks", "baseline"), [([200, 210, 5, None], 200.0), ([None] * 4, 100.0)])
async def test_a_seasonal_baseline_is_of_the_same_hour(weeks: list[float | None], baseline: float) -> None:
    """Friday evening is compared with Friday evenings; where no past week is known, with the time before."""
    asked_weeks: list[int] = []

    def script(question: Question) -> bytes:
        if not question.path.endswith("query_range"):
            return number(baseline)
        middle = (float(question.query["start"]) + float(question.query["end"])) / 2
        ago = round((NOW - middle) / WEEK_S)
        if not ago:
            return answer(matrix(100, 100))
        asked_weeks.append(ago)
        value = weeks[ago - 1]
        return answer(matrix() if value is None else matrix(value, value))

    async with asked(script) as server:
        made = experiment(promql(server), steady=[{"probe": "orders", "within": 20, "seasonal": True}])
        async with probing(made) as prober:
            await prober.prepare()
            assert prober.steady["orders"]["baseline"] == baseline
    assert sorted(asked_weeks) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(matrix()), "no value of it is known from before"),
        (answer({"status": "error", "error": "too many points"}, 400), "it answered 400: too many points"),
        (answer({"status": "success", "data": {"result": [{}, {}]}}), "has 2 results"),
        (answer({"status": "success", "data": {"result": [{"values": [[1]]}]}}), "not that of a Prometheus"),
        (answer({"status": "success", "data": {}}), "not that of a Prometheus"),
    ],
)
async def test_without_a_baseline_nothing_begins(said: bytes, reason: str) -> None:
    """A bound around nothing would be no bound."""

    def script(question: Question) -> bytes:
        return said if question.path.endswith("query_range") else number(1)

    async with asked(script) as server, probing(experiment(promql(server), steady=[{"probe": "orders", "within": 20}])) as prober:
        (objection,) = await prober.prepare()
        assert objection.startswith("probe orders has no baseline: ")
        assert reason in objection


async def test_a_preparation_can_be_given_up() -> None:
    """A run that is stopped while its baseline is taken leaves nothing behind."""
    async with asked(answer({"rate": 1})) as server:
        made = experiment(orders(server), steady=[{"probe": "orders", "within": 10, "baseline": "1h"}])
        async with probing(made) as prober:
            preparing = asyncio.create_task(prober.prepare())
            await until(lambda: bool(server.questions), "the probe is asked")
            preparing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await preparing
    assert json.dumps(prober.steady) == '{"orders": {"baseline": null, "low": null, "high": null}}'
