"""What people pin."""

from __future__ import annotations

from shadowproxy.judge.bodies.rules import Order, Place, Rule, Rules, Treatment


def test_without_rules_everything_is_learnt() -> None:
    """The default place."""
    assert Rules().at("body.a") == Place()


def test_the_first_rule_that_says_something_holds_for_that_aspect() -> None:
    """One rule pins the order, another what a difference means."""
    rules = Rules(
        [
            Rule(path="body.items", order=Order.KEYED, key="sku"),
            Rule(path="body.**", treat=Treatment.IGNORE),
            Rule(path="body.items", treat=Treatment.EQUAL, order=Order.ORDERED),
            Rule(path="body.price", absolute=0.01),
        ]
    )
    assert rules.at("body.items") == Place(Treatment.IGNORE, Order.KEYED, "sku")
    assert rules.at("body.price") == Place(Treatment.IGNORE, absolute=0.01, relative=0.0)
    assert rules.at("header.date") == Place()


def test_rules_remember_a_bounded_number_of_paths() -> None:
    """Paths come from what upstreams send."""
    rules = Rules([Rule(path="body.a", treat=Treatment.IGNORE)])
    for index in range(10_000):
        rules.at(f"body.x{index}")
    assert len(rules._known) <= 4096
    assert rules.at("body.a").treat is Treatment.IGNORE
