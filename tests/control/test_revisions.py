"""Which builds a fleet answers with: the set, and what changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowproxy.config import from_plain
from shadowproxy.control.revisions import BUILDS, NAME_LIMIT, SIGHTINGS, Builds, Revisions
from tests.control.conftest import plain

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_build_changes_nothing() -> None:
    """It is only known now; so is every further sighting of it."""
    seen = Revisions()
    assert [seen.see("v1", float(at)) for at in range(3)] == [False, False, False]
    assert seen.names == ("v1",)


def test_a_rolling_deployment_changes_the_set_twice() -> None:
    """When the new build joins, and when the old one has gone for good; not each time that they take turns."""
    seen = Revisions()
    changes = [seen.see("v1", 0.0)]
    changes += [seen.see("v2" if at % 2 else "v1", float(at)) for at in range(1, 40)]
    assert changes.count(True) == 1
    changes = [seen.see("v2", 40.0 + at) for at in range(2 * SIGHTINGS)]
    assert changes.count(True) == 1
    assert seen.names == ("v2",)


def test_a_build_is_not_gone_because_nobody_asked() -> None:
    """Silence alone is not enough, nor are many answers within a moment."""
    seen = Revisions()
    seen.see("v1", 0.0)
    seen.see("v2", 0.0)
    assert not seen.see("v2", 10_000.0)
    assert not any(seen.see("v2", 10.0) for _ in range(SIGHTINGS - 2))
    assert seen.names == ("v1", "v2")


def test_names_are_bounded() -> None:
    """A fleet that names every answer anew cannot make evidence begin anew for ever, nor fill the memory."""
    seen = Revisions()
    changes = [seen.see(f"request-{at}" + "x" * 1000, 0.0) for at in range(100)]
    assert changes.count(True) == BUILDS - 1
    assert len(seen.names) == BUILDS
    assert max(len(name) for name in seen.names) == NAME_LIMIT
    assert "request-0" in repr(seen)


def test_answers_name_their_builds(tmp_path: Path) -> None:
    """By the header that the fleet's config names, in any letter case, of either leg and of a mirror's arm; and no other."""
    endpoints = {
        name: {"endpoints": [f"http://127.0.0.1:{port}"], "revision": "header:X-Version"}
        for port, name in enumerate(("live", "shadow", "b"), 1)
    }
    endpoints["plain"] = {"endpoints": ["http://127.0.0.1:9"]}
    mirrors = [{"to": "shadow", "control": {"to": "b"}}, {"to": "plain"}]
    builds = Builds(from_plain(plain(tmp_path, fleets=endpoints, routes=[{"name": "all", "live": "live", "mirror": mirrors}])))
    answers = {
        leg: {"outcome": "200", "headers": [["Date", "now"], ["x-version", build]]} for leg, build in (("live", "7"), ("shadow", "8"))
    }
    assert list(builds.seen({"mirror": "all/shadow", **answers})) == [("live", "7"), ("shadow", "8")]
    assert list(builds.seen({"mirror": "all/shadow.control", **answers})) == [("live", "7"), ("b", "8")]
    assert list(builds.seen({"mirror": "all/plain", **answers})) == [("live", "7")]
    assert list(builds.seen({"mirror": "all/shadow", "live": {"outcome": "timeout"}, "shadow": None})) == []
    assert list(builds.seen({"mirror": "gone/shadow", **answers})) == []
