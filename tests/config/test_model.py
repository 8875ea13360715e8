"""The model: documented, frozen, with defaults that are within its own limits."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config.model import Config, Mirror
from shadowproxy.config.plain import value_to_plain
from shadowproxy.config.read import read_value
from shadowproxy.config.report import Report
from shadowproxy.config.shape import fields_of


def test_every_field_of_the_model_is_documented() -> None:
    """A setting without a sentence about it cannot be added."""

    def walk(cls: type[Any]) -> None:
        assert (cls.__doc__ or "").strip(), cls
        for found in fields_of(cls):
            assert found.doc.endswith((".", ").")), f"{cls.__name__}.{found.name}"
            inner = found.shape.item or found.shape
            if inner.kind == "object" and inner.cls is not None:
                walk(inner.cls)

    walk(Config)


def test_defaults_are_within_their_limits() -> None:
    """What a file gets when it says nothing could also be said in a file."""

    def walk(cls: type[Any]) -> None:
        for found in fields_of(cls):
            if not found.is_required:
                report = Report()
                plain = value_to_plain(found.shape, found.default)
                assert read_value(found.shape, plain, found.name, found.metadata, report) == found.default
                assert report.errors() == []
            inner = found.shape.item or found.shape
            if inner.kind == "object" and inner.cls is not None:
                walk(inner.cls)

    walk(Config)


def test_the_model_is_frozen() -> None:
    """A config that was accepted cannot change under those who read it."""
    with pytest.raises(AttributeError):
        Mirror(to="a").percent = 3.0  # type: ignore[misc, assignment]
