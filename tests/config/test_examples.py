"""Every file under config/ is what a user may start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from shadowproxy.config import from_plain, load_file, to_plain
from shadowproxy.config.model import Config
from shadowproxy.config.schema import schema
from shadowproxy.config.shape import fields_of
from tests.config.certificates import write_certificates

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
NAMES = {"egress", "experiments", "minimal", "reference", "several-mirrors", "sidecar", "sticky", "test-traffic", "tls"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables that the examples read."""
    write_certificates(tmp_path)
    (tmp_path / "invoices.yaml").write_text("openapi: 3.1.0\ninfo: {title: invoices, version: '1'}\npaths: {}\n")
    return {"CERTS": str(tmp_path)}


def test_the_examples_are_there() -> None:
    """The documented ones exist."""
    assert {file.stem for file in EXAMPLES} >= NAMES


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_loads_without_a_warning(file: Path, environment: dict[str, str]) -> None:
    """An example is exemplary: no problems and no warnings."""
    loaded = load_file(file, environment)
    assert [str(warning) for warning in loaded.warnings] == []
    assert from_plain(to_plain(loaded.config)) == loaded.config


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_is_valid_by_the_schema(file: Path) -> None:
    """An editor that knows the schema underlines nothing."""
    Draft202012Validator(schema()).validate(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_misspelt_key_is_not_valid(file: Path) -> None:
    """In every example, each key of the model that is misspelt is seen by the schema."""
    validator = Draft202012Validator(schema())
    for key in ("listen", "fleets", "routes"):
        text = file.read_text().replace(f"\n{key}:", f"\n{key}x:")
        assert not validator.is_valid(yaml.safe_load(text))


def test_the_reference_has_every_setting() -> None:
    """config/reference.yaml mentions each field of the model at least once."""
    found: set[tuple[type[Any], str]] = set()

    def collect(cls: type[Any], value: Any, *, keyed: bool) -> None:
        for field in fields_of(cls, keyed=keyed):
            if field.name not in value:
                continue
            found.add((cls, field.name))
            inner = field.shape.item or field.shape
            if inner.kind == "object" and inner.cls is not None:
                held = value[field.name]
                parts = held.values() if field.shape.kind == "mapping" else held if field.shape.kind == "list" else [held]
                for part in parts:
                    collect(inner.cls, part, keyed=field.shape.kind == "mapping")

    def expect(cls: type[Any], *, keyed: bool) -> set[tuple[type[Any], str]]:
        wanted = set()
        for field in fields_of(cls, keyed=keyed):
            wanted.add((cls, field.name))
            inner = field.shape.item or field.shape
            if inner.kind == "object" and inner.cls is not None:
                wanted |= expect(inner.cls, keyed=field.shape.kind == "mapping")
        return wanted

    collect(Config, yaml.safe_load(next(file for file in EXAMPLES if file.stem == "reference").read_text()), keyed=False)
    assert expect(Config, keyed=False) - found == set()


def test_the_reference_shows_the_defaults(environment: dict[str, str]) -> None:
    """Where config/reference.yaml sets a limit, it shows the default: copying it changes nothing."""
    config = load_file(next(file for file in EXAMPLES if file.stem == "reference"), environment).config
    for field in fields_of(Config):
        if field.name in ("limits", "forwarded"):
            assert getattr(config, field.name) == field.default
