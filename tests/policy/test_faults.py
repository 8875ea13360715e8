"""Faults, compiled and combined, and those that requests ask for."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.declare import Percent, Seconds
from shadowproxy.config.experiment import AnswerHeaders, Damage, EnvoyHeaders, Fault
from shadowproxy.config.experiment_file import load_experiment_text
from shadowproxy.policy import faults as module
from shadowproxy.policy.delays import fixed_delay
from shadowproxy.policy.faults import UNHARMED, FaultMemory, FaultPlan, compile_faults, json_path, requested


def _faults(*faults: dict[str, Any]) -> tuple[Fault, ...]:
    plain = {
        "name": "drill", "owner": "somebody", "hypothesis": {"fault": "f", "expect": "e", "impact": "i"},
        "inject": {"routes": ["all"], "faults": list(faults)},
        "slice": {"percent": 1}, "duration": "1m", "guards": [{"metric": "error_rate", "above": 1}],
    }  # fmt: skip
    return load_experiment_text(yaml.safe_dump(plain)).inject.faults


def _plan(*faults: dict[str, Any]) -> FaultPlan:
    plan = compile_faults(_faults(*faults))
    assert plan is not None
    return plan


ONE_OF_EACH: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "delay": ({"delay": "200ms"}, {"delay": fixed_delay(0).__class__(0, 2e8, 0.0, (), 60 * 10**9, 0.0)}),
    "abort": ({"abort": {"status": 503, "body": "no"}}, {"instead": module.ABORT}),
    "reset": ({"reset": True}, {"instead": module.RESET}),
    "half_close": ({"half_close": True}, {"instead": module.HALF_CLOSE}),
    "hang": ({"hang": "3s"}, {"instead": module.HANG, "hang_ns": 3 * 10**9}),
    "black_hole": ({"black_hole": True}, {"instead": module.BLACK_HOLE}),
    "throttle": ({"throttle": {"rate": 5, "status": 503}}, {"throttle": 5.0, "throttle_status": 503}),
    "upload": ({"upload": "10KiB"}, {"upload": 10240}),
    "download": ({"download": 7}, {"download": 7}),
    "first_byte": ({"first_byte": "1s"}, {"first_byte": fixed_delay(0).__class__(0, 1e9, 0.0, (), 60 * 10**9, 0.0)}),
    "dribble": ({"dribble": {"size": 3, "every": "1ms"}}, {"dribble": 3, "dribble_ns": 10**6}),
    "truncate": ({"truncate": 0}, {"truncate": 0}),
    "corrupt": ({"corrupt": {"share": 0.5}}, {"corrupt": 0.5}),
    "headers": ({"headers": {"set": {"X-A": "b"}, "remove": ["Age"]}}, {"removed": frozenset({b"x-a", b"age"}), "added": b"X-A: b\r\n"}),
    "first": ({"delay": "1s", "first": 2}, {"first": 2}),
    "every": ({"delay": "1s", "every": 3}, {"every": 3}),
}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_every_kind_is_compiled(kind: str) -> None:
    """Each setting of a fault has its place in the plan."""
    fault, expected = ONE_OF_EACH[kind]
    plan = _plan(fault)
    assert {name: getattr(plan, name) for name in expected} == expected
    assert plan != UNHARMED


def test_no_faults_are_no_plan() -> None:
    """Then only requests can ask for some."""
    assert compile_faults(()) is None


def test_of_each_kind_the_first_counts() -> None:
    """Kinds are taken from different faults; what takes the answer's place is one kind."""
    plan = _plan({"download": 5}, {"delay": "1s", "reset": True}, {"delay": "2s", "abort": {"status": 500}, "download": 9, "truncate": 4})
    assert plan.download == 5
    assert plan.delay is not None
    assert plan.delay.at(0.5) == 10**9
    assert (plan.instead, plan.abort) == (module.RESET, None)
    assert plan.truncate == 4


def test_an_abort_is_an_answer() -> None:
    """With a content type for text; a gRPC status goes where its trailers would."""
    text = _plan({"abort": {"status": 503, "body": "é", "headers": {"X-A": "b"}}}).abort
    assert text is not None
    assert (text.status, text.lines, text.body) == (503, b"X-A: b\r\nContent-Type: text/plain; charset=utf-8\r\n", "é".encode())
    own = _plan({"abort": {"status": 503, "body": "{}", "headers": {"content-TYPE": "application/json"}}}).abort
    assert own is not None
    assert own.lines == b"content-TYPE: application/json\r\n"
    grpc = _plan({"abort": {"grpc": 14, "body": "100% é"}}).abort
    assert grpc is not None
    assert (grpc.status, grpc.counted, grpc.body) == (200, 503, b"")
    assert grpc.lines == b"Content-Type: application/grpc\r\ngrpc-status: 14\r\ngrpc-message: 100%25 %C3%A9\r\n"


@pytest.mark.parametrize("name", sorted(module.FRAMING))
def test_no_fault_changes_where_an_answer_ends(name: bytes) -> None:
    """Header faults and made-up answers leave the framing alone: otherwise they would reach into the next answer."""
    fault = Fault(headers=AnswerHeaders(set={name.decode(): "5"}, remove=(name.decode(),)))
    plan = compile_faults([fault])
    assert plan is not None
    assert (plan.removed, plan.added) == (frozenset(), b"")


def test_json_damage_is_compiled() -> None:
    """Paths are taken apart once."""
    plan = _plan({"corrupt": {"json": [{"path": "$.items[*].price", "do": "retype"}, {"path": "$[2][0].a-b", "do": "drop"}]}})
    assert [(one.path, one.do) for one in plan.damage] == [(("items", None, "price"), Damage.RETYPE), ((2, 0, "a-b"), Damage.DROP)]
    assert json_path("$.a") == ("a",)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
EXAMPLES = [found[1] for found in re.finditer(r"^\| \d \| `[^|]+\| `([^`]+)` \|", DOCUMENT, re.MULTILINE)]
DELAYS = [line for line in DOCUMENT.splitlines() if line.startswith("delay: ")]


@pytest.mark.parametrize("example", EXAMPLES + DELAYS)
def test_the_examples_of_the_document_are_faults(example: str) -> None:
    """Each snippet can be put into an experiment as it is."""
    assert _plan(yaml.safe_load(example)) != UNHARMED


def test_the_document_has_an_example_of_every_kind() -> None:
    """And no other."""
    shown = {name for example in EXAMPLES for name in yaml.safe_load(example)}
    assert shown == {field.name for field in dataclasses.fields(Fault)} - {"first", "every"}
    assert len(DELAYS) == 6


# Throttles.


@given(st.floats(0.01, 1000.0), st.lists(st.integers(0, 3 * 10**9), max_size=200))
def test_a_throttle_never_admits_more_than_its_rate(rate: float, steps: list[int]) -> None:
    """In any stretch of time from the first request: the rate, and a second's worth (at least one) that was saved up."""
    memory = FaultMemory()
    now_ns = admitted = 0
    for step in steps:
        now_ns += step
        admitted += memory.admits(rate, now_ns)
        assert admitted <= max(1.0, rate) + rate * now_ns / 1e9 + 1e-6


def test_a_throttle_admits_its_rate() -> None:
    """Asked often enough, all that it may."""
    memory = FaultMemory()
    admitted = sum(memory.admits(10.0, tick * 10**7) for tick in range(1001))
    assert admitted in {109, 110, 111}


def test_a_memory_remembers_each_kind_by_itself() -> None:
    """The delays of one kind are near each other, and have nothing to do with those of another."""
    plan = _plan({"delay": {"uniform": {"lower": 0, "upper": "1s"}, "correlation": 0.999}}).delay
    assert plan is not None
    memory = FaultMemory()
    chance = random.Random(3).random
    drawn = [memory.draw("delay", plan, chance) for _ in range(20)]
    assert max(abs(one - other) for one, other in itertools.pairwise(drawn)) <= 5 * 10**7
    memory.draw("first_byte", plan, chance)
    assert set(memory.quantiles) == {"delay", "first_byte"}
    assert repr(memory).startswith("FaultMemory(left=-1.00")


# Envoy's header fields.

DELAY, ABORT, GRPC, RATE = (
    b"x-envoy-fault-delay-request", b"x-envoy-fault-abort-request", b"x-envoy-fault-abort-grpc-request", b"x-envoy-fault-throughput-response",
)  # fmt: skip
ALL_ALLOWED = EnvoyHeaders()


def _asked(fields: dict[str, bytes], *, chance: float = 0.0, allowed: EnvoyHeaders = ALL_ALLOWED) -> FaultPlan | None:
    named = {f"x-envoy-fault-{name.replace('_', '-')}".encode(): [value] for name, value in fields.items()}
    return requested(named, allowed, lambda: chance)


def test_a_request_may_ask_for_faults() -> None:
    """Delay in milliseconds, an HTTP or a gRPC status, KiB/s of the answer."""
    plan = _asked({"delay_request": b"1500", "abort_request": b"418", "throughput_response": b"3"})
    assert plan is not None
    assert plan.delay is not None
    assert plan.delay.at(0.5) == 1_500_000_000
    assert plan.abort is not None
    assert (plan.instead, plan.abort.status) == (module.ABORT, 418)
    assert plan.download == 3072
    grpc = _asked({"abort_grpc_request": b"0"})
    assert grpc is not None
    assert grpc.abort is not None
    assert (grpc.abort.status, grpc.abort.counted) == (200, 200)


def test_an_http_status_comes_before_a_grpc_status() -> None:
    """As in Envoy."""
    plan = _asked({"abort_request": b"500", "abort_grpc_request": b"5"})
    assert plan is not None
    assert plan.abort is not None
    assert (plan.abort.status, plan.abort.lines) == (500, b"")


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"delay_request": b"0"}, {"delay_request": b"-1"}, {"delay_request": b"1.5"}, {"delay_request": b""}, {"abort_request": b"199"},
        {"abort_request": b"600"}, {"abort_request": b"\xd9\xa5\xd9\xa0\xd9\xa0"}, {"abort_grpc_request": b"17"}, {"throughput_response": b"0"},
        {"delay_request": b"9" * 5000}, {"delay_request_percentage": b"100"},
    ],
)  # fmt: skip
def test_what_is_out_of_range_asks_for_nothing(fields: dict[str, bytes]) -> None:
    """Neither a fault nor an error."""
    assert _asked(fields) is None


def test_what_is_asked_for_is_capped() -> None:
    """No delay is longer than allowed, and no abort where none may be asked for."""
    allowed = EnvoyHeaders(delay=Seconds(2.0), abort=False)
    plan = _asked({"delay_request": b"60000", "abort_request": b"503"}, allowed=allowed)
    assert plan is not None
    assert plan.delay is not None
    assert (plan.delay.at(0.9), plan.abort) == (2 * 10**9, None)


@pytest.mark.parametrize(
    ("allowed", "asked", "chance", "happens"),
    [
        (50.0, b"", 0.499, True),
        (50.0, b"", 0.5, False),
        (50.0, b"100", 0.5, False),
        (50.0, b"10", 0.1, False),
        (50.0, b"10", 0.099, True),
        (100.0, b"0", 0.0, False),
        (0.0, b"100", 0.0, False),
        (50.0, b"nonsense", 0.49, True),
    ],
)
def test_percentages_are_capped_by_the_config(*, allowed: float, asked: bytes, chance: float, happens: bool) -> None:
    """The smaller of what is asked for and what is allowed; without a percentage what is allowed."""
    fields = {"abort_request": b"503"} | ({"abort_request_percentage": asked} if asked else {})
    plan = _asked(fields, chance=chance, allowed=EnvoyHeaders(percent=Percent(allowed)))
    assert (plan is not None) is happens
