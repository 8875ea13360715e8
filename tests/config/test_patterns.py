"""Patterns that are looked for in bodies are compiled when a file is read, by who runs them."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain, load_experiment_text
from shadowproxy.config.patterns import EXPANSION_LIMIT, check_search, compile_search, expansion
from shadowproxy.errors import ConfigError
from tests.control.governed import plain


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,5}", 5),
        ("a{4,}", 4),
        ("(ab{2}){5}", 15),
        (r"\{3}", 3),
        (r"[{(\]x]{7}", 7),
        (r"((a{9}){9}){9}", 729),
        (r"[0-9a-f]{8}-[0-9a-f]{4}", 13),
        ("a)){3}", 5),
        ("((((a{99}){99}){99}){99})", 99**4),
    ],
)
def test_how_large_a_pattern_becomes(pattern: str, size: int) -> None:
    """Counted repetitions multiply, inside each other; what is escaped or in a class is none."""
    assert expansion(pattern) == size


@pytest.mark.parametrize(
    "pattern",
    [r"\p{L}+", r"(?<=a+)b", "(?i)straße", "^(?!.*stack trace)", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(?>a)", "(a|aa)+$"],
)
def test_what_the_engine_knows_is_accepted(pattern: str) -> None:
    """Also what `re` does not know, and what is not ASCII: bodies are text."""
    check_search(pattern)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "not a regular expression: missing )"),
        ("[a--b]", "not a regular expression: bad character range"),
        ("a" * 2001, "has 2001 characters, limit 2000"),
        ("((((a{99}){99}){99}){99})", "comes to 96,059,601 characters"),
        ("a{1000000}", "comes to 1,000,000 characters"),
    ],
)
def test_what_it_does_not_is_a_problem_of_the_file(pattern: str, said: str) -> None:
    """With its line and column, and before a run; nothing that would take all memory is compiled."""
    with pytest.raises(Unfit, match=said.replace("(", r"\(").replace(")", r"\)")):
        compile_search(pattern)
    text = json.dumps(plain(), indent=1)[:-2] + ',\n "expect": [{"route": "all",\n  "regex": ' + json.dumps(pattern) + "}]\n}"
    with pytest.raises(ConfigError) as refused:
        load_experiment_text(text)
    (problem,) = refused.value.problems
    assert (problem.path, problem.line, problem.column) == ("expect[0].regex", text.count("\n", 0, text.index('"regex"')) + 1, 12)
    assert said in problem.message


@given(st.text(alphabet="ab(){}[]\\,0123456789*+?|^$.", max_size=40))
def test_whatever_is_written_is_answered_soon(pattern: str) -> None:
    """Compiled or refused, in little time, and never any other exception."""
    began = time.process_time()
    try:
        compile_search(pattern)
    except Unfit:
        pass
    else:
        assert expansion(pattern) <= EXPANSION_LIMIT
    assert time.process_time() - began < 5


def test_null_can_be_asked_for() -> None:
    """`equals: null` is something else than none, in a file and on its way to control, journals and workers."""
    asked = [{"route": "all", "json": "$.a", "equals": None}, {"route": "all", "json": "$.a"}]
    experiment = experiment_from_plain(plain(expect=asked))
    said = json.loads(json.dumps(experiment_to_plain(experiment)))
    assert [("equals" in one, one.get("equals", "-")) for one in said["expect"]] == [(True, None), (False, "-")]
    assert experiment_from_plain(said) == experiment
    with_null = load_experiment_text(json.dumps(plain(expect=asked)))
    assert with_null == experiment
    assert "NOT_GIVEN" in repr(experiment.expect[1])
