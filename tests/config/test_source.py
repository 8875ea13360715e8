"""YAML text to plain data with places: what is read, and what is refused without being expanded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.read import UNKNOWN, Literal
from shadowproxy.config.report import Place, Places, Report
from shadowproxy.config.source import place_of, read_yaml, resolve

ENV = {"HOST": "live.example", "N": "3", "EMPTY": ""}


def read(text: str) -> tuple[Any, list[str]]:
    """Return what a text says, with literals as their values, and its problems."""
    report = Report(Places("f"))
    return values(read_yaml(text, report, ENV)), [str(problem) for problem in report.in_order()]


def values(found: Any) -> Any:
    """Return plain data with every literal as the value it would be."""
    if isinstance(found, dict):
        return {key: values(value) for key, value in found.items()}
    if isinstance(found, list):
        return [values(value) for value in found]
    return found.value if isinstance(found, Literal) else found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: 1.10", {"a": 1.1}),
        ("a: no", {"a": "no"}),
        ("a: true", {"a": True}),
        ("a:", {"a": None}),
        ("a: ~", {"a": None}),
        ("a: '1'", {"a": "1"}),
        ("a: 0x10", {"a": 16}),
        ("a: 0o17", {"a": 15}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("1: a", {"1": "a"}),
        ("\ufeffa: b", {"a": "b"}),
        ("%YAML 1.2\n---\na: b\n...\n", {"a": "b"}),
        ("- &x {a: 1}\n- *x\n", [{"a": 1}, {"a": 1}]),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        ("x: &x {a: 1}\ny: &y {b: 2, <<: *x}\nz: {<<: [*y, *x]}\n", {"x": {"a": 1}, "y": {"a": 1, "b": 2}, "z": {"a": 1, "b": 2}}),
        ("a: ${env:HOST}", {"a": "live.example"}),
        ('a: ["http://${env:HOST}:${env:PORT:-80}"]', {"a": ["http://live.example:80"]}),
        ("a: ${env:N}", {"a": 3}),
        ('a: "${env:N}"', {"a": 3}),
        ("a: ${env:EMPTY:-auto}", {"a": "auto"}),
        ("a: x${env:EMPTY}y", {"a": "xy"}),
        ("a: $$x$${env:N}", {"a": "$x${env:N}"}),
        ("a: $5", {"a": "$5"}),
    ],
)
def test_reads(text: str, value: Any) -> None:
    """Scalars mean what the YAML 1.2 core schema says, anchors and merges work, the environment is filled in."""
    assert read(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["f:1:1: config: the file is empty"]),
        ("# nothing\n", ["f:1:1: config: the file is empty"]),
        ("a: b: c", ["f:1:5: config: not YAML: mapping values are not allowed in this context"]),
        ("a: [1\n}", ["f:2:1: config: not YAML: did not find expected ',' or ']' while parsing a flow sequence"]),
        ("a: \0", ["f:1:4: config: the character U+0000 cannot stand in YAML"]),
        ("a: b\nc: \x1b[0m", ["f:2:4: config: the character U+001B cannot stand in YAML"]),
        ("a: *b", ["f:1:4: config: unknown alias *b"]),
        ("a: &a [*a]", ["f:1:8: config: *a contains itself"]),
        ("a: !!python/object:os.system x", ["f:1:4: config: tags are not supported: tag:yaml.org,2002:python/object:os.system"]),
        ("a: !x b", ["f:1:4: config: tags are not supported: !x"]),
        ("a: 1\n---\nb: 2", ["f:2:1: config: a config is one YAML document"]),
        ("a: 1\nb: 2\na: 3", ["f:3:1: a: given twice, first on line 1"]),
        ("x:\n  - {a: 1, a: 2}", ["f:2:12: x[0].a: given twice, first on line 2"]),
        ("? [a]\n: b", ["f:1:3: config: a key is a string, not a list or mapping"]),
        ("a: {<<: 3}", ["f:1:9: a: << takes a mapping or a list of mappings"]),
        ("a: x${env:MISSING}", ["f:1:4: a: the environment variable MISSING is not set"]),
        ("a: ${HOST}", ["f:1:4: a: not a reference: ${HOST}; write ${env:NAME}, or $$ for a dollar sign"]),
        ("a: ${env:}", ["f:1:4: a: not a reference: ${env:}; write ${env:NAME}, or $$ for a dollar sign"]),
    ],
)
def test_refuses(text: str, problems: list[str]) -> None:
    """What is not plain YAML data is refused at its place."""
    assert read(text)[1] == problems


def test_two_problems_at_once() -> None:
    """Problems that do not stop the reading are all reported."""
    assert len(read("a: ${env:A}\nb: ${env:B}\na: 1\n")[1]) == 3


def test_text_is_kept_until_its_type_is_known() -> None:
    """A number keeps its spelling for fields that are strings; a replaced one can be either."""
    report = Report()
    assert read_yaml("a: 1.10\nb: ${env:N}\n", report, ENV) == {"a": Literal("1.10", 1.1), "b": Literal("3", 3, is_text=True)}


def test_places_of_values_and_keys() -> None:
    """Every value and key has its line and column; an alias has the place of its text."""
    report = Report(Places("f"))
    read_yaml("x: &x\n  k: v\ny:\n  - *x\n  - {<<: *x}\n", report, {})
    assert report.places.values["x.k"] == (2, 6)
    assert report.places.keys["x.k"] == (2, 3)
    assert report.places.values["y[0].k"] == (2, 6)
    assert report.places.values["y[1]"] == (5, 5)
    assert report.places.keys["y[1].k"] == (2, 3)


def test_an_alias_bomb_is_refused_unexpanded() -> None:
    """A file of a few lines that means billions of nodes is refused at the alias that goes too far."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    _, problems = read("\n".join(lines))
    assert problems == ["f:5:45: config: aliases repeat more than 100000 nodes"]


def test_deep_nesting_is_refused() -> None:
    """Nesting ends at 32 levels, also when aliases make it, long before anything recurses too deep."""
    assert read("[" * 32 + "]" * 32)[1] == []
    assert read("[" * 33 + "]" * 33)[1] == ["f:1:33: config: nested deeper than 32 levels"]
    assert "nested deeper" in read("[" * 1_000_000)[1][0]
    assert "nested deeper" in read("- " * 100_000)[1][0]
    chain = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 40))])
    assert "nested deeper" in read(chain)[1][0]


@pytest.mark.parametrize("text", ["a", "ab\ncd\n", "é\nü"])
def test_place_of(text: str) -> None:
    """Lines and columns count characters from 1."""
    assert place_of(text, 0) == Place(1, 1)
    assert place_of(text, len(text)) == Place(text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1)


def test_resolve_bounds_numbers() -> None:
    """A number of thousands of digits stays text: int() refuses it, and no setting wants it."""
    assert resolve("9" * 5000) == "9" * 5000
    assert resolve("-12") == -12


@given(st.text("ab:-[]{}&*!|>'\"%@`#,? \n\t0~$<=", max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_reported(text: str) -> None:
    """Whatever the text, reading ends with data or with problems that have places, never with an exception."""
    report = Report(Places("f"))
    value = read_yaml(text, report, {})
    assert value is not UNKNOWN or report.has_errors
    assert all(problem.line >= 1 and problem.column >= 1 and problem.file == "f" for problem in report.problems)


words = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"], exclude_characters="$"), max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_is_yaml(value: Any) -> None:
    """A JSON document is read as what it says."""
    assert read(json.dumps(value, ensure_ascii=False)) == (value, [])
