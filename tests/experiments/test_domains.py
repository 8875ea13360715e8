"""What experiments touch, and why two of them may not run side by side."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments.domains import SPACE, FaultDomain, Span, confined_to, conflicts, domain_of, domain_of_rollout, overlap, span_of
from shadowproxy.policy.slices import OUTSIDE, compile_slice
from tests.experiments.cases import experiment, instance

CONFIG = instance()


def between(one: FaultDomain, other: FaultDomain) -> list[str]:
    """Why they may not run side by side, the same from both sides."""
    found = conflicts(one, other)
    assert bool(found) == bool(conflicts(other, one))
    return [sentence.partition(" has the same ")[2] for sentence in found]


def test_what_an_experiment_touches() -> None:
    """The fleets of its routes and all their cells, unless it keeps to some."""
    wide = domain_of(experiment(), CONFIG)
    assert (sorted(wide.fleets), sorted(wide.cells), wide.is_confined) == (["search"], ["a", "b"], False)
    narrow = domain_of(experiment(domain={"cells": ["a"]}), CONFIG)
    assert (sorted(narrow.cells), sorted(narrow.touched_zones), sorted(narrow.zones), narrow.is_confined) == (["a"], ["z1"], [], True)
    zone = domain_of(experiment(domain={"cells": ["z1"], "level": "zone"}), CONFIG)
    assert (sorted(zone.cells), sorted(zone.zones), sorted(zone.regions)) == (["a"], ["z1"], [])
    one = domain_of(experiment(inject={"endpoint": "http://10.0.0.2:80"}), CONFIG)
    assert (sorted(one.cells), one.is_confined) == (["b"], True)
    assert domain_of(experiment(inject={"fleet": "cart-2"}), CONFIG).fleets == {"cart-2"}


def test_conflicts() -> None:
    """Route, fleet, cell, dependency; the whole zone and region at their levels; and nothing else."""
    search, suggest, cart = (domain_of(experiment(route, route), CONFIG) for route in ("search", "suggest", "cart"))
    assert between(search, search) == ["route search", "cell a", "cell b", "fleet search"]
    assert between(search, suggest) == ["cell a", "cell b", "fleet search"]
    assert between(search, cart) == []
    in_a = domain_of(experiment("x", "search", domain={"cells": ["a"]}), CONFIG)
    in_b = domain_of(experiment("y", "suggest", domain={"cells": ["b"]}), CONFIG)
    assert between(in_a, in_b) == []
    assert between(in_a, suggest) == ["cell a", "fleet search"]
    mail = domain_of(experiment("z", "cart", domain={"dependencies": ["mail"]}), CONFIG)
    assert between(mail, domain_of(experiment("w", domain={"dependencies": ["mail"]}), CONFIG)) == ["dependency mail"]
    assert between(cart, domain_of(experiment("w", domain={"dependencies": ["cart"]}), CONFIG)) == ["dependency cart"]
    zone = domain_of(experiment("v", "cart", domain={"cells": ["z1"], "level": "zone"}), CONFIG)
    assert between(zone, in_a) == ["zone z1"]
    assert between(zone, in_b) == []
    region = domain_of(experiment("u", "cart", domain={"cells": ["c"], "level": "region"}), CONFIG)
    assert between(region, in_b) == ["region eu"]


def test_a_rollout_is_in_the_way_on_its_route_and_its_new_fleet() -> None:
    """Nobody could say whether the fault or the new version was to blame."""
    rollout = domain_of_rollout("cart", CONFIG)
    assert rollout.name == "rollout of cart"
    assert between(domain_of(experiment("x", "cart"), CONFIG), rollout) == ["route cart"]
    assert between(domain_of(experiment("x", "search", inject={"fleet": "cart-2"}), CONFIG), rollout) == ["fleet cart-2"]
    assert between(domain_of(experiment(), CONFIG), rollout) == []
    assert domain_of_rollout("gone", CONFIG).fleets == frozenset()


def test_slices_of_one_salt() -> None:
    """A slice takes its control slice's range too; another salt is another space."""
    one = domain_of(experiment("x", slice={"salt": "s", "percent": 5}), CONFIG)
    beside = domain_of(experiment("y", slice={"salt": "s", "percent": 5, "offset": 10}), CONFIG)
    inside = domain_of(experiment("z", slice={"salt": "s", "percent": 1, "offset": 9.999}), CONFIG)
    assert overlap(one, beside) == ""
    assert overlap(one, inside) == (
        "experiment z has the same salt 's', and 9.999 to 11.999 % of its hash space, control slice included; this one would have 0 to 10 %"
    )
    assert overlap(one, domain_of(experiment("y", slice={"salt": "t", "percent": 5}), CONFIG)) == ""
    assert overlap(one, domain_of_rollout("cart", CONFIG)) == ""


@st.composite
def slices(draw: st.DrawFn) -> dict[str, float]:
    """A slice that fits into the hash space with its control slice."""
    percent = draw(st.integers(1, SPACE // 2))
    return {"percent": percent / 1000, "offset": draw(st.integers(0, SPACE - 2 * percent)) / 1000}


@given(slices(), slices(), st.integers(0, SPACE - 1))
def test_what_is_disjoint_shares_no_point(one: dict[str, float], other: dict[str, float], thousandth: int) -> None:
    """For slices that may run side by side no point of the hash space is in both, as workers draw them; overlap is symmetric."""
    first, second = (experiment(name, slice={"salt": "s", **part}) for name, part in (("x", one), ("y", other)))
    spans = span_of(first.slice, "x"), span_of(second.slice, "y")
    assert spans[0].meets(spans[1]) == spans[1].meets(spans[0])
    at = (thousandth + 0.5) / SPACE
    arms = [compile_slice(part, part.slice.percent).arm(b"unit", at) for part in (first, second)]
    assert OUTSIDE in arms or spans[0].meets(spans[1])


@given(st.integers(0, SPACE), st.integers(0, SPACE), st.integers(0, SPACE), st.integers(0, SPACE))
def test_spans_meet_iff_a_point_is_in_both(a: int, b: int, c: int, d: int) -> None:
    """By the definition of half-open ranges; an empty one meets nothing."""
    one, other = Span("s", min(a, b), max(a, b)), Span("s", min(c, d), max(c, d))
    assert one.meets(other) == (max(one.low, other.low) < min(one.high, other.high))
    assert not one.meets(Span("t", one.low, one.high))


def test_cells_confine_to_the_endpoints_that_carry_their_label() -> None:
    """An endpoint named by itself; all that have one of the labels; none where the labels are gone; every one without a word."""

    def confined(**changed: Any) -> frozenset[str] | None:
        return confined_to(experiment(**changed), CONFIG)

    labels = CONFIG.fleets["search"].labels
    assert confined() is None
    assert confined(domain={"cells": ["a"]}) == frozenset(one.endpoint for one in labels if "a" in (one.cell, one.zone))
    assert confined(domain={"cells": ["a", "b"]}) == frozenset(one.endpoint for one in labels if {"a", "b"} & {one.cell, one.zone})
    assert confined(domain={"cells": ["gone"]}) == frozenset()
    assert confined(inject={"endpoint": "http://10.0.0.2:80"}) == frozenset({"http://10.0.0.2:80"})
