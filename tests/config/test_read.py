"""Plain data typed by the model: one problem per mistake, at the mistake."""

from __future__ import annotations

import os
from typing import Any

import pytest

from shadowproxy.config.model import Config, Limits, Mirror
from shadowproxy.config.read import UNKNOWN, Literal, read_object
from shadowproxy.config.report import Report


def read(cls: type[Any], value: Any, path: str = "x") -> tuple[Any, list[str]]:
    """Return the object that `value` describes and the problems on the way."""
    report = Report()
    return read_object(cls, value, path, report), [str(problem) for problem in report.in_order()]


MIRROR = {"to": "shadow", "percent": 1}


@pytest.mark.parametrize(
    ("cls", "value", "problems"),
    [
        (Limits, {"haed": 1}, ["x.haed: unknown key (did you mean 'head'?)"]),
        (Limits, {"zzzzzz": 1}, ["x.zzzzzz: unknown key; known here: " + ", ".join(Limits.__dataclass_fields__)]),
        (Limits, {1: 1}, ["x: keys are strings, got 1"]),
        (Limits, [], ["x: expected a mapping, got a list"]),
        (Limits, None, ["x: expected a mapping, got nothing"]),
        (Limits, {"header_count": "200"}, ["x.header_count: expected a whole number, got '200'"]),
        (Limits, {"header_count": True}, ["x.header_count: expected a whole number, got true"]),
        (Limits, {"header_count": 200.0}, ["x.header_count: expected a whole number, got 200.0"]),
        (Limits, {"header_count": 7}, ["x.header_count: must be from 8 to 10000, got 7"]),
        (Limits, {"connections": 2**31}, ["x.connections: expected a whole number up to 2147483647, got 2147483648"]),
        (Limits, {"header_timeout": "1ms"}, ["x.header_timeout: must be at least 0.05, got '1ms'"]),
        (Limits, {"head": None}, ["x.head: expected a size like 64KiB, 1MiB or 10kB, got nothing"]),
        (Mirror, {"percent": 1}, ["x.to: to is required"]),
        (Mirror, {"too": "a", "percent": 1}, ["x.too: unknown key (did you mean 'to'?)"]),
        (Mirror, {"to": "a"}, ["x.percent: warning: percent not given: 100 % is mirrored"]),
        (Mirror, {**MIRROR, "to": ""}, ["x.to: must not be empty"]),
        (Mirror, {**MIRROR, "to": 5}, ['x.to: expected a string, got 5; put it in quotes: "5"']),
        (Mirror, {**MIRROR, "methods": []}, ["x.methods: must not be empty"]),
        (Mirror, {**MIRROR, "methods": "GET"}, ["x.methods: expected a list, got 'GET' (did you mean '[GET]'?)"]),
        (Mirror, {**MIRROR, "methods": ["get", 3]}, [
            "x.methods[0]: methods are written in capitals, got 'get' (did you mean 'GET'?)",
            'x.methods[1]: expected a string, got 3; put it in quotes: "3"',
        ]),
        (Mirror, {**MIRROR, "credentials": "kep"}, ["x.credentials: expected one of remove, keep, got 'kep' (did you mean 'keep'?)"]),
        (Mirror, {**MIRROR, "salt": "é" * 33}, ["x.salt: has 66 bytes, limit 64"]),
        (Mirror, {**MIRROR, "salt": "\ud800"}, ["x.salt: is not Unicode text"]),
        (Mirror, {**MIRROR, "key": "segment:0"}, ["x.key: expected header:NAME, cookie:NAME, client, segment:N or trace, got 'segment:0'"]),
        (Mirror, {**MIRROR, "headers": {"set": {"X-A": "1", "x-a": "2"}}}, ["x.headers.set.x-a: the same header as 'X-A'"]),
        (Mirror, {**MIRROR, "headers": {"set": ["X-A"]}}, ["x.headers.set: expected a mapping, got a list"]),
        (Mirror, {**MIRROR, "headers": {"set": {"X-A": None}}}, ["x.headers.set.X-A: expected a string, got nothing"]),
    ],
)  # fmt: skip
def test_problems(cls: type[Any], value: Any, problems: list[str]) -> None:
    """Each mistake is one problem, with what was expected, what was there, and what was probably meant."""
    assert read(cls, value)[1] == problems


def test_booleans_are_not_words() -> None:
    """`yes` is a string, and the message says what to write."""
    fleet = {"listen": [], "fleets": {"a": {"endpoints": ["http://a"], "tls": {"verify": "no"}}}, "routes": []}
    assert "fleets.a.tls.verify: expected true or false, got 'no' (did you mean 'false'?)" in read(Config, fleet, "")[1]


def test_off_survives_yaml_1_1() -> None:
    """Tools that write YAML 1.1 turn `off` into false; it still means off."""
    config, problems = read(Config, {"listen": [], "fleets": {}, "routes": [], "forwarded": False}, "")
    assert config.forwarded == "off"
    assert "forwarded" not in "".join(problems)


def test_values_after_a_problem_are_defaults() -> None:
    """A value that cannot be used is replaced, so that the rest is read and checked."""
    limits, _ = read(Limits, {"head": "x", "body": "1KiB"})
    assert limits == Limits(body=1024)  # type: ignore[arg-type]


def test_known_problems_are_not_reported_again() -> None:
    """What was reported while the file was parsed is passed over."""
    assert read(Limits, {"head": UNKNOWN})[1] == []
    assert read(Limits, UNKNOWN)[1] == []
    config, problems = read(Config, {"listen": [UNKNOWN], "fleets": {"a": UNKNOWN}, "routes": [UNKNOWN], "limits": UNKNOWN}, "")
    assert problems == []
    assert config.routes[0].mirror == ()


def test_literals_are_read_by_the_field() -> None:
    """A scalar of a file is a number where a number is wanted, its text in a header, and an environment value is either."""
    assert read(Limits, {"header_count": Literal("100", 100)})[0].header_count == 100
    headers = {"set": {"X-Version": Literal("1.10", 1.1), "X-On": Literal("true", True)}}
    assert read(Mirror, {**MIRROR, "headers": headers})[0].headers.set == {"X-Version": "1.10", "X-On": "true"}
    assert read(Mirror, {**MIRROR, "to": Literal("5", 5, is_text=True)})[0].to == "5"
    assert read(Mirror, {**MIRROR, "to": Literal("5", 5)})[1] == ['x.to: expected a string, got 5; put it in quotes: "5"']


def test_a_bare_string_is_a_listener() -> None:
    """The short form of a listener is its address, from a file or the environment."""
    config, _ = read(
        Config, {"listen": ["127.0.0.1:80", Literal("127.0.0.1:81", "127.0.0.1:81", is_text=True)], "fleets": {}, "routes": []}, ""
    )
    assert [listener.address for listener in config.listen] == ["127.0.0.1:80", "127.0.0.1:81"]


def test_auto_is_the_cpus_of_this_process() -> None:
    """`workers: auto` counts the CPUs that the process may use, not those that the machine has."""
    config, problems = read(Config, {"listen": [], "fleets": {}, "routes": [], "workers": "auto"}, "")
    assert config.workers == len(os.sched_getaffinity(0))
    assert "workers" not in "".join(problems)


def test_keys_for_the_files_own_use() -> None:
    """x- keys are passed over at the top and nowhere else."""
    _, problems = read(Config, {"x-pool": 1, "listen": [], "fleets": {}, "routes": [], "limits": {"x-a": 1}}, "")
    assert next(problem for problem in problems if "x-" in problem and "forwarded" not in problem.split(":")[0]).startswith(
        "limits.x-a: unknown key"
    )
    assert not any(problem.startswith("x-pool") for problem in problems)
