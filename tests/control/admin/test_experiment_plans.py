"""Plans through the admin API: of traffic that is given or was seen, with what speaks against it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.control.admin.test_experiments import is_valid
from tests.control.governed import plain

if TYPE_CHECKING:
    from tests.control.conftest import Api

PATH = "/api/v1/experiments/plan"
BUSY = {"requests_per_s": 200, "error_rate": 0.01, "units_per_s": 20, "p50": 0.05, "p99": 0.2}


async def test_a_plan_of_given_traffic(api: Api) -> None:
    """It says what it takes and that it may begin; nothing is run."""
    status, _, document = await api("POST", PATH, {"experiment": plain(), "traffic": BUSY, "effect": {"errors": 0.05}})
    assert status == 200
    assert is_valid(document, "Plan")
    assert document["effect"]["errors"] == 0.05
    assert document["detect"]["errors"]["requests"] > 0
    assert document["is_admitted"]
    assert api.supervisor.governor.runs == []


async def test_a_plan_without_traffic_says_so(api: Api) -> None:
    """An instance that has seen nothing has nothing to plan with; refusals are told all the same."""
    wide: dict[str, Any] = plain(slice={"percent": 40, "key": "header:x-user-id"})
    status, _, document = await api("POST", PATH, {"experiment": wide})
    assert status == 200
    assert document["sentences"] == ["its routes have no requests now: nothing can be seen"]
    assert not document["is_enough"]
    assert "max_percent" in [one["code"] for one in document["admission"]]
    assert (await api("POST", PATH, {"experiment": wide, "force": "INC-7"}))[2]["is_admitted"]


@pytest.mark.parametrize(
    "asked",
    [
        {"traffic": []},
        {"traffic": {"error_rate": 0.1}},
        {"traffic": {"requests_per_s": -1}},
        {"traffic": {"requests_per_s": "many"}},
        {"traffic": {"requests_per_s": True}},
        {"traffic": {"requests_per_s": 1e300}},
        {"traffic": {"requests_per_s": 1, "error_rate": 2}},
        {"traffic": {"requests_per_s": 1, "moon": 1}},
        {"effect": {"errors": 2}},
        {"effect": {"slower": None}},
        {"effect": 1},
    ],
)
async def test_numbers_that_make_no_sense(api: Api, asked: dict[str, Any]) -> None:
    """They are refused with 400, each with a sentence."""
    status, _, problem = await api("POST", PATH, {"experiment": plain(), **asked})
    assert status == 400
    assert problem["detail"]


async def test_an_effect_of_nothing_is_never_seen(api: Api) -> None:
    """Zero points and a tail that is no longer take more requests than there are."""
    _, _, document = await api("POST", PATH, {"experiment": plain(), "traffic": BUSY, "effect": {"errors": 0, "slower": 0}})
    assert [document["detect"][name]["requests"] for name in ("errors", "abort", "p99")] == [None, None, None]
    assert not document["is_enough"]
