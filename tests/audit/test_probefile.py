"""Files of probes: read like a config, with every problem at its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shadowproxy.audit import probefile
from shadowproxy.audit.probefile import read_file
from shadowproxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_one_request_or_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per route; JSON stays JSON, and the environment is replaced."""
    monkeypatch.setenv("SKU", "A1")
    file = tmp_path / "probes.yaml"
    file.write_text(
        'checkout:\n  - {method: POST, path: "/c?x={{honey}}", json: {sku: "${env:SKU}", n: 2, note: "{{honey}}"}}\n  - {method: DELETE}\n'
        'cart: {method: PUT, body: "{{honey}}", headers: {X-A: b}}\n'
    )
    read = read_file(file)
    assert [one.method for one in read["checkout"]] == ["POST", "DELETE"]
    assert json.dumps(read["checkout"][0].json) == '{"sku": "A1", "n": 2, "note": "{{honey}}"}'
    assert read["cart"][0].headers == {"X-A": "b"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- POST", "must map routes to requests"),
        ("a: 1", "expected a mapping"),
        ("a: {path: /x}", "method is required"),
        ("a: {method: POST, pth: /x}", "unknown key (did you mean 'path'?)"),
        ("a: {method: 'PO ST'}", "1:13: a.method"),
        ("a: {method: GET, path: 'no slash'}", "a path: /"),
        ("a:\n- {method: GET}\n- {method: POST, body: x, json: {}}", "3:3: a[1]: json or body, not both"),
        ("a: {method: GET, headers: {x-test-traffic: '0'}}", "an audit sets this field itself"),
        ("a: {method: GET, headers: {'b c': x}}", "headers"),
        ("a: {method: GET, status: 600}", "a.status"),
        ("a: [", "probes.yaml:"),
        ("a: {method: GET}\na: {method: GET}", "a"),
    ],
)
def test_problems_have_their_place(tmp_path: Path, text: str, problem: str) -> None:
    """Whatever is wrong is told as in a config."""
    file = tmp_path / "probes.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_file(file)
    assert problem in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, not UTF-8, too long."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path / "none")
    file = tmp_path / "probes.yaml"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_file(file)
    monkeypatch.setattr(probefile, "LARGEST", 4)
    file.write_bytes(b"a: {}")
    with pytest.raises(ConfigError, match="more than 4 bytes"):
        read_file(file)
