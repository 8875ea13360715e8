"""What makes a measurement count."""

from __future__ import annotations

from load.bench.compare import Plan, attempt, describe, installed, judge, judge_ours, run
from load.bench.openloop import Sample
from load.bench.processes import Cpus
from load.bench.proxies import PROXIES, NotInstalled, Proxy, Setup
from load.bench.scenarios import choose
from load.bench.wrk import ClosedLoop

CPUS = Cpus(frozenset({0}), frozenset({0}))
(MIRRORED,) = choose("small-mirror")
(HANGING,) = choose("small-hanging")


def closed(requests: int = 1000, **errors: int) -> ClosedLoop:
    """A closed-loop result."""
    return ClosedLoop(requests, 1.0, 1.0, 1.0, 1.0, errors)


class Nowhere(Proxy):
    """A proxy that is not installed."""

    name = "nowhere"

    def version(self) -> str:
        """Say that it is not there."""
        raise NotInstalled("nowhere is not installed")

    def command(self, setup: Setup) -> list[str]:
        """A command that does not exist."""
        return ["/no/such/program"]


def test_a_clean_run_counts() -> None:
    """Every request answered with 200, every copy at the shadow."""
    assert judge(MIRRORED, closed(), Sample(), 1.0) == []


def test_answers_other_than_200_disqualify() -> None:
    """A proxy is not fast at answering 502, in either loop."""
    assert judge(MIRRORED, closed(status=3), None, 1.0) == ["closed loop: {'status': 3}"]
    failed = Sample()
    failed.errors["status 502"] = 2
    assert judge(MIRRORED, closed(), failed, 1.0) == ["open loop: {'status 502': 2}"]
    assert judge(MIRRORED, closed(requests=0), None, 1.0) == ["no request was answered"]


def test_a_mirror_that_did_not_arrive_disqualifies() -> None:
    """Below 95 % the work that is compared was not done."""
    assert judge(MIRRORED, closed(), None, 0.949) == ["only 94.9% of the requests reached the shadow"]
    assert judge(MIRRORED, closed(), None, 0.951) == []


def test_a_hanging_shadow_may_hurt_peers_but_never_us() -> None:
    """There errors are the result; ours breaks promise P1."""
    assert judge(HANGING, closed(timeout=64), None, 0.1) == []
    assert judge_ours(PROXIES["nginx"], HANGING, {"timeout": 64}) == []
    assert judge_ours(PROXIES["shadowproxy"], HANGING, {"timeout": 64}) == ["a hanging shadow cost live: {'timeout': 64}"]


def test_absent_proxies_are_listed_with_their_reason() -> None:
    """One missing peer does not end the run."""
    assert installed([Nowhere()]) == ({}, {"nowhere": "nowhere is not installed"})


def test_a_proxy_that_cannot_start_is_a_failed_measurement() -> None:
    """The other proxies are still measured."""
    failed = attempt(Nowhere(), choose("upload")[0], 1, Plan(seconds=1), CPUS)
    assert failed.problems
    assert "nowhere cannot be started" in failed.problems[0]
    assert "FAILED" in describe(failed, Plan())


def test_the_order_turns_with_each_round() -> None:
    """No proxy always follows the same one."""

    class There(Nowhere):
        name = "there"

    said: list[str] = []
    rows = list(run(choose("upload"), [Nowhere(), There()], Plan(seconds=1, repeat=2), CPUS, said.append))
    assert [row.proxy for row in rows] == ["nowhere", "there", "there", "nowhere"]
    assert len(said) == 4
