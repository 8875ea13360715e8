"""Lost tags over the admin API: listed, filtered, described."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.control.admin.test_exemplars import fits
from tests.control.test_leaks import call

if TYPE_CHECKING:
    from tests.control.conftest import Api


async def test_leaks_are_listed_with_the_culprit(api: Api) -> None:
    """Totals, who is to blame, and each call; a path without its secrets."""
    api.supervisor.leaks.add({"leaks": [call("cart", 1.0, path="/?password=hunter22"), call("mail", 2.0)], "leaks_dropped": 3})
    status, _, document = await api("GET", "/api/v1/leaks")
    assert status == 200
    fits(document, "Leaks")
    assert (document["total"], document["undescribed"], document["kept"]) == (5, 3, 2)
    assert document["blamed"] == [{"service": "cart", "calls": 1, "consequences": 1}]
    assert [one["service"] for one in document["leaks"]] == ["mail", "cart"]
    assert "hunter22" not in str(document)
    status, _, document = await api("GET", "/api/v1/status")
    assert document["leaks"] == {"total": 5, "blamed": [{"service": "cart", "calls": 1, "consequences": 1}]}


async def test_a_tally_brings_them(api: Api) -> None:
    """What workers report is taken, and the evidence of mirrors with it."""
    supervisor = api.supervisor
    supervisor._take_tally(supervisor.counts.accounts[0], {"type": "tally", "leaks": [call()], "leaks_dropped": 0})
    assert supervisor.leaks.total == 1


@pytest.mark.parametrize(
    ("query", "count"), [("service=cart", 2), ("service=mail", 1), (f"trace={'b' * 32}", 0), ("since=1.5", 1), ("limit=1", 1)]
)
async def test_leaks_are_filtered(api: Api, query: str, count: int) -> None:
    """By service, trace and time."""
    api.supervisor.leaks.add({"leaks": [call("cart", 1.0), call("mail", 2.0)]})
    assert len((await api("GET", f"/api/v1/leaks?{query}"))[2]["leaks"]) == count


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "since=x", "since=nan", "since=inf", "since="])
async def test_filters_are_numbers(api: Api, query: str) -> None:
    """Anything else is 400."""
    assert (await api("GET", f"/api/v1/leaks?{query}"))[0] == 400
