"""The part of the description that is about rollouts and drills says what the code does."""

from __future__ import annotations

from shadowproxy.control.admin.openapi import ENDPOINTS as ALL
from shadowproxy.control.admin.rollouts import START, RolloutViews
from shadowproxy.control.admin.rollouts_api import ENDPOINTS, SCHEMAS
from shadowproxy.experiments.rollout import MOVES, ORDERS


def test_every_operation_is_offered_and_handled() -> None:
    """What stands in the table is in the API, and has a handler."""
    assert all(endpoint in ALL for endpoint in ENDPOINTS)
    assert all(hasattr(RolloutViews, endpoint.name) for endpoint in ENDPOINTS)


def test_states_and_orders_are_all_described() -> None:
    """Each state is in the schema, each order in the sentence."""
    assert SCHEMAS["Rollout"]["properties"]["state"]["enum"] == [*list(MOVES)[:3], "rolled_back", "completed"]
    (summary,) = [endpoint.summary for endpoint in ENDPOINTS if endpoint.name == "steer_rollout"]
    assert all(order in summary for order in (START, *ORDERS))
