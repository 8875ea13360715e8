"""Which builds a fleet answers with: the set, and what changes it."""

from __future__ import annotations

from shadowproxy.control.revisions import BUILDS, NAME_LIMIT, SIGHTINGS, Revisions


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
