"""The JSON Schema says what the loader does, as far as a schema can."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shadowproxy.config import from_plain, to_plain
from shadowproxy.config.schema import schema
from shadowproxy.errors import ConfigError
from tests.config.strategies import junk, plain_configs

VALIDATOR = Draft202012Validator(schema())
SMALL: dict[str, Any] = {"listen": ["127.0.0.1:8080"], "fleets": {"live": {"endpoints": ["http://a"]}}, "routes": [{"live": "live"}]}


def test_the_schema_is_one() -> None:
    """It is valid JSON Schema of draft 2020-12, and JSON."""
    Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema(), allow_nan=False)) == schema()


def test_every_property_is_described() -> None:
    """Editors show a sentence for every key, and its default."""

    def walk(found: dict[str, Any]) -> None:
        for name, sub in found.get("properties", {}).items():
            assert sub["description"], name
            assert "default" in sub or name in found.get("required", ()), name
        if found.get("type") == "object" and "properties" in found:
            assert found["additionalProperties"] is False

    walk(schema())
    for definition in schema()["$defs"].values():
        walk(definition)


@given(plain_configs())
def test_what_the_loader_accepts_the_schema_accepts(plain: dict[str, Any]) -> None:
    """A config in any spelling that loads is valid, and so is everything written out."""
    VALIDATOR.validate(plain)
    VALIDATOR.validate(to_plain(from_plain(plain)))


@given(plain_configs(), st.data())
def test_what_the_schema_refuses_the_loader_refuses(plain: dict[str, Any], data: st.DataObject) -> None:
    """A config with anything in the place of any one value: where the schema sees a mistake, the loader does too."""
    holder: Any = plain
    while True:
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], dict | list) or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(junk)
    try:
        from_plain(plain)
    except ConfigError:
        return
    VALIDATOR.validate(plain)


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ({"workers": 1}, True),
        ({"workers": "auto"}, True),
        ({"workers": "${env:N:-2}"}, True),
        ({"workers": "many"}, False),
        ({"workers": 0}, False),
        ({"workers": 257}, False),
        ({"workers": None}, False),
        ({"workrs": 1}, False),
        ({"x-anchors": {"anything": 1}}, True),
        ({"limits": {"head": "64KiB"}}, True),
        ({"limits": {"head": "64kib"}}, False),
        ({"limits": {"head": 10}}, False),
        ({"limits": {"idle_timeout": "1h30m"}}, True),
        ({"limits": {"idle_timeout": "soon"}}, False),
        ({"limits": {"haed": 1}}, False),
        ({"forwarded": "both"}, True),
        ({"forwarded": False}, True),
        ({"forwarded": "all"}, False),
        ({"listen": []}, False),
        ({"listen": [{"address": "${env:A}"}]}, True),
        ({"listen": [{"address": "nowhere"}]}, False),
        ({"listen": [{"name": "a"}]}, False),
        ({"fleets": {"a b": {"endpoints": ["http://a"]}}}, False),
        ({"fleets": {"live": {"endpoints": ["a"]}}}, False),
        ({"fleets": {"live": {"name": "live", "endpoints": ["http://a"]}}}, False),
        ({"fleets": {"live": {"endpoints": ["http://a"], "health": None}}}, True),
        ({"fleets": {"live": {"endpoints": ["http://a"], "eject": None}}}, False),
        ({"routes": [{"live": "live", "match": {"methods": ["get"]}}]}, False),
        ({"routes": [{"live": "live", "match": {"headers": {"X-A": 1}}}]}, True),
        ({"routes": [{"live": "live", "match": {"headers": {"a b": "1"}}}]}, False),
        ({"routes": [{"live": "live", "mirror": [{"to": "live", "percent": "25%"}]}]}, True),
        ({"routes": [{"live": "live", "mirror": [{"to": "live", "percent": 101}]}]}, False),
        ({"routes": [{"live": "live", "mirror": [{"to": "live", "key": "header:"}]}]}, False),
        ({"routes": [{}]}, False),
    ],
)
def test_schema_and_loader_agree(change: dict[str, Any], is_valid: bool) -> None:
    """Both accept and refuse the same spellings."""
    plain = {**SMALL, **change}
    assert VALIDATOR.is_valid(plain) == is_valid
    if "${env:" not in json.dumps(change):
        try:
            from_plain(plain)
        except ConfigError:
            assert not is_valid
        else:
            assert is_valid
