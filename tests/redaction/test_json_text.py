"""JSON replaced in place: whole, in lines, cut off, deep, or not JSON at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.json_text import DEPTH_LIMIT, has_secret_names, scrub_json
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def found() -> Findings:
    """None yet."""
    return Findings(Rules(), Pseudonyms(b"k" * 32))


def scrubbed(text: str, *, is_cut: bool = False) -> str:
    """The text afterwards."""
    edits = Edits(text)
    scrub_json(edits, found(), is_cut=is_cut)
    return edits.applied()


def test_only_secrets_change() -> None:
    """Blanks, order, spelling of numbers and everything else stay byte for byte."""
    text = '{ "a" : [1.50, 2e3,\n "x\\u0041"],\t"pin": 1234 , "b":{"token":"abc123","c":null}}\n'
    after = scrubbed(text)
    assert len(after) == len(text)
    at = [index for index, (one, other) in enumerate(zip(text, after, strict=True)) if one != other]
    assert {text[index] for index in at} <= set("1234abc")
    assert json.loads(after)["b"]["token"] != "abc123"


def test_everything_below_a_secret_name_is_secret() -> None:
    """Strings and numbers at any depth; true, false and null stay, and so does what comes after."""
    text = '{"credentials": {"user": "alice", "list": ["bob", 77, true, null, {"deep": "carol"}]}, "after": "dave"}'
    after: Any = json.loads(scrubbed(text))
    assert after["after"] == "dave"
    assert after["credentials"]["list"][2:4] == [True, None]
    for gone in ("alice", "bob", "77", "carol"):
        assert gone not in json.dumps(after)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    st.data(),
)
def test_json_cut_anywhere_is_read_up_to_there(value: Any, data: st.DataObject) -> None:
    """A capture has a limit; what came before it is scrubbed all the same."""
    text = json.dumps({"token": "secret-1234", "v": value, "password": "secret-5678"})
    cut = text[: data.draw(st.integers(0, len(text)))]
    after = scrubbed(cut, is_cut=True)
    assert "secret-1234" not in after
    assert "secret-5678" not in after
    assert scrubbed(text)


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "password", "value": "hunter22"}, {"name": "a", "value": "kept"}]',
        '[{"value": "hunter22", "Key": "api_key"}, {"key": "a", "value": "kept"}]',
        '[{"header": "Authorization", "enabled": true, "value": ["Bearer hunter22"]}, "kept"]',
        '[{"name": "pin", "x": {"y": 1}, "value": 99887766}, "kept"]',
        '[{"name": "token", "data": {"a": ["hunter22"]}}, "kept"]',
    ],
)
def test_a_name_and_a_value_may_be_a_pair(text: str) -> None:
    """As in HAR files and lists of settings, in either order."""
    after = scrubbed(text)
    assert "hunter22" not in after
    assert "99887766" not in after
    assert "kept" in after
    assert json.loads(after)


def test_several_values_are_json_lines() -> None:
    """Each is read."""
    assert "abc123" not in scrubbed('{"token": "abc123"}\n{"x": 1}\n{"token": "abc123"}\n')


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        '{"a"}',
        '{"a":}',
        "[1 2]",
        '{"a" 1}',
        "{1:2}",
        "nul",
        "'a'",
        '{"a":1,,}',
        '"a',
        '"\x01"',
        "[1}",
        "+1",
        ":",
        ",",
        "[" * 5000,
        '{"token":"x",',
        ")]}'\n{}",
        "{a:1}",
    ],
)
def test_what_is_not_json_is_said(text: str) -> None:
    """By an exception that never leaves the package."""
    with pytest.raises(Unreadable):
        scrubbed(text)


@pytest.mark.parametrize("text", ["", "  ", "null", "-1.5e-3", '"x"', "[]", "{}", "[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT, '"\\ud800"'])
def test_what_is_json_is_read(text: str) -> None:
    """Also values that are no container, and depth that would end a recursive reader."""
    assert scrubbed(text) == text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ('{"password": 1}', True),
        ('{"a": {"x": [{"apiKey" \n: 1}]}}', True),
        ('{"pass\\u0077ord": 1}', True),
        ('["b",":password","token"]', False),
        ('{"k":"v",":x":1,"token":2}', True),
        ('{"a": "password"}', False),
        ('{"a": {"NAME" : "password", "x": 1}}', True),
        ('{"name": "alice"}', False),
        ("", False),
        ('"' * 1000, False),
        ('{"' + "x" * 5000 + '": 1}', False),
    ],
)
def test_secret_names_are_noticed(text: str, is_one: bool) -> None:
    """None is missed, wherever quotes stand."""
    assert has_secret_names(text, found()) is is_one


def test_credentials_in_json_keep_their_form() -> None:
    """A service that says which headers it got says it with a scheme."""
    after = json.loads(scrubbed('{"headers": {"Authorization": "Bearer abc123", "Cookie": "a=xyz789", "Set-Cookie": "s=xyz789; Path=/"}}'))[
        "headers"
    ]
    assert after["Authorization"].startswith("Bearer ")
    assert after["Cookie"].startswith("a=")
    assert after["Set-Cookie"].endswith("; Path=/")
    assert "xyz789" not in json.dumps(after)
