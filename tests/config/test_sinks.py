"""The model of sinks: which of them keep what was written."""

from __future__ import annotations

import re

import pytest

from shadowproxy.config.sinks import SEGMENTS_PATTERN, Collection, OpenApi, Preset, Resources, Sink


def test_a_sink_that_keeps_is_asked_by_reads() -> None:
    """Presets and resources keep; fixed answers and generated ones do not."""
    assert not Sink(name="a").keeps
    assert not Sink(name="a", openapi=OpenApi(file="a.yaml")).keeps
    assert Sink(name="a", preset=Preset.EMAIL).keeps
    assert Sink(name="a", resources=Resources(collections=(Collection(path="/orders"),))).keeps


@pytest.mark.parametrize("path", ["", "/", "/orders", "/orders/{id}/items", "/v1/**", "/a/{b}/c:d/**"])
def test_patterns_of_paths(path: str) -> None:
    """Segments, names for segments, and a rest."""
    assert re.fullmatch(SEGMENTS_PATTERN, path)


@pytest.mark.parametrize("path", ["orders", "/a b", "/a?b", "/{id", "/x{id}", "/**/a", "/{1}", "/a/**b"])
def test_what_is_no_pattern(path: str) -> None:
    """Half names, names within segments, and a rest that is not the end."""
    assert not re.fullmatch(SEGMENTS_PATTERN, path)
