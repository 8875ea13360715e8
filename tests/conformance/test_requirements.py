"""Every proxy requirement has a test that names it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

REQUIREMENTS = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data" / "proxy_requirements.jsonl").read_text("utf-8").splitlines()
]


def _named() -> dict[str, list[str]]:
    """Requirement ids in `pytest.mark.requirement` of the suite, each with the tests that name it."""
    named: dict[str, list[str]] = {}
    for file in sorted(Path(__file__).parents[1].rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "requirement":
                    for argument in mark.args:
                        assert isinstance(argument, ast.Constant), f"{file.name}: {node.name}"
                        named.setdefault(str(argument.value), []).append(f"{file.name}::{node.name}")
    return named


NAMED = _named()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement["id"])
def test_a_requirement_has_a_test(requirement: dict[str, str]) -> None:
    """At least one test is marked with the requirement's id."""
    assert NAMED.get(requirement["id"]), requirement


def test_no_test_names_a_requirement_that_is_none() -> None:
    """A misspelt id would look like a test that is not there."""
    assert set(NAMED) <= {requirement["id"] for requirement in REQUIREMENTS}
