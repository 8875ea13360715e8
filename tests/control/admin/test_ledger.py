"""The ledger over the admin API: paged, filtered, streamed, marked, held against the counters."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.errors import StateError
from shadowproxy.sinks.ledger_query import COLUMNS
from tests.control.admin.test_exemplars import fits
from tests.sinks.ledgering import Told, row

if TYPE_CHECKING:
    from tests.control.conftest import Api


async def recorded(api: Api, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows that are durable."""
    ledger, told = api.supervisor.books.ledger, Told()
    ledger.configure(1e12, 1 << 30, str)
    ledger.submit(list(rows), told)
    assert set(await asyncio.to_thread(told.wait)) == {""}
    return list(rows)


async def text_of(api: Api, path: str) -> tuple[int, Any, str]:
    """Status, headers and body of what is streamed."""
    async with api.session.get(api.url + path, headers={"Authorization": f"Bearer {api.token}"}) as answer:
        return answer.status, answer.headers, await answer.text()


def ids(rows: list[dict[str, Any]]) -> list[str]:
    """What they are called."""
    return [one["id"] for one in rows]


async def test_rows_are_listed_page_by_page(api: Api) -> None:
    """The newest first, each once, until there is no next."""
    rows = await recorded(api, *(row() for _ in range(7)))
    found, query = [], "limit=3"
    for _ in range(3):
        status, _, document = await api("GET", f"/api/v1/ledger?{query}")
        assert status == 200
        fits(document, "LedgerRows")
        found += document["rows"]
        query = f"limit=3&cursor={document['next']}"
    assert document["next"] is None
    assert ids(found) == ids(rows)[::-1]
    assert document["ledger"]["is_up"]


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("fate=passed", [1]),
        ("tenant=canary-7", [2]),
        ("route=rest", [0]),
        ("trace=ABCDEF", [1]),
        ("since=100", [1, 0]),
        ("until=100", [2]),
        ("since=100&until=100.5", [0]),
        ("since=-5&fate=sunk", [2, 0]),
        ("tenant=nobody", []),
    ],
)
async def test_rows_are_filtered(api: Api, query: str, chosen: list[int]) -> None:
    """By every filter, in the list and in the export."""
    await recorded(
        api,
        row(id="0", time=100.0, route="rest"),
        row(id="1", time=200.0, fate="passed", trace="abcdef"),
        row(id="2", time=50.0, tenant="canary-7"),
    )
    _, _, document = await api("GET", f"/api/v1/ledger?{query}")
    assert sorted(ids(document["rows"])) == sorted(map(str, chosen))
    _, _, text = await text_of(api, f"/api/v1/ledger/export?{query}")
    assert sorted(ids([json.loads(line) for line in _lines(text)])) == sorted(map(str, chosen))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "cursor=-1",
        "fate=eaten",
        "since=yesterday",
        "until=nan",
        "since=1e5",
        "until=1;2",
        "since=",
    ],
)
async def test_a_filter_that_is_not_understood_is_refused(api: Api, query: str) -> None:
    """And not taken for no filter."""
    status, _, document = await api("GET", f"/api/v1/ledger?{query}")
    assert status == 400
    fits(document, "Problem")


async def test_one_row_is_shown(api: Api) -> None:
    """By its id, whatever is in that; else 404."""
    one, *_ = await recorded(api, row(id="a-1"))
    status, _, document = await api("GET", "/api/v1/ledger/a-1")
    assert status == 200
    fits(document, "LedgerRow")
    assert {name: document[name] for name in one} == one
    for other in ("nobody", "x" * 5000, "%00", "'%20OR%201=1"):
        status, _, document = await api("GET", f"/api/v1/ledger/{other}")
        assert status == 404


async def test_exports_are_streamed_whole(api: Api) -> None:
    """The oldest first, in both formats, more than one page, with the headers that all answers have."""
    rows = await recorded(api, *(row(target=f"/=cmd/{number}") for number in range(1200)))
    status, headers, text = await text_of(api, "/api/v1/ledger/export")
    assert (status, headers["Content-Type"]) == (200, "application/x-ndjson; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(headers["X-Request-Id"]) == 16
    assert ids([json.loads(line) for line in _lines(text)]) == ids(rows)
    _, headers, text = await text_of(api, "/api/v1/ledger/export?format=csv")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    head, *read = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    assert [one[1] for one in read] == ids(rows)
    status, _, _ = await text_of(api, "/api/v1/ledger/export?format=xml")
    assert status == 400


@pytest.mark.parametrize("path", ["/export", "/export?format=csv", "/scrub?format=csv"])
async def test_head_has_no_body(api: Api, path: str) -> None:
    """On one connection, so that a body would be read as the next answer."""
    await recorded(api, row(fate="passed"))
    for method in ("HEAD", "GET", "HEAD", "GET"):
        headers = {"Authorization": f"Bearer {api.token}"}
        async with api.session.request(method, f"{api.url}/api/v1/ledger{path}", headers=headers) as answer:
            assert answer.status == 200
            assert bool(await answer.read()) == (method == "GET")


async def test_an_export_that_breaks_does_not_seem_whole(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is cut; where nothing was sent yet, 503."""
    await recorded(api, *(row() for _ in range(600)))
    ledger = api.supervisor.books.ledger
    read, calls = ledger._read, 0

    def fail(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise StateError("the disk is gone")
        return read(*arguments)

    monkeypatch.setattr(ledger, "_read", fail)
    with pytest.raises(Exception, match=r"(?i)payload|disconnect|connection"):
        await text_of(api, "/api/v1/ledger/export")
    for path in ("/export", "/scrub", "", "/a", "/law?check=1"):
        status, _, document = await api("GET", f"/api/v1/ledger{path}")
        assert status == 503
        assert document["detail"] == "the disk is gone"


async def test_the_scrub_list_shrinks_by_what_is_marked(api: Api) -> None:
    """The newest first, only what reached somebody; marked ones are gone unless asked for; marking again changes nothing."""
    rows = await recorded(api, row(fate="partitioned"), row(), row(fate="passed", method="PUT"), row(fate="refused"))
    _, _, text = await text_of(api, "/api/v1/ledger/scrub")
    entries = [json.loads(line) for line in _lines(text)]
    assert ids(entries) == [rows[2]["id"], rows[0]["id"]]
    assert [one["undo"] for one in entries] == ["restore", "find"]
    for _ in range(2):
        status, _, document = await api("POST", "/api/v1/ledger/scrub", {"ids": [rows[2]["id"], rows[1]["id"], "nobody"]})
        assert status == 200
        fits(document, "Marked")
    _, _, text = await text_of(api, "/api/v1/ledger/scrub")
    assert ids([json.loads(line) for line in _lines(text)]) == [rows[0]["id"]]
    _, _, text = await text_of(api, "/api/v1/ledger/scrub?all=1&format=csv")
    assert len(text.split("\r\n")) == 4
    assert (await api("GET", "/api/v1/ledger/scrub?all=2"))[0] == 400
    assert [one["action"] for one in api.supervisor.audit.latest(2)] == ["ledger.scrub"] * 2


@pytest.mark.parametrize(
    "body", [{}, {"ids": "all"}, {"ids": [7]}, {"ids": [""]}, {"ids": ["x"] * 1001}, b"nonsense", b"[]", {"ids": ["x" * 201]}]
)
async def test_marks_that_are_not_understood_are_refused(api: Api, body: Any) -> None:
    """Nothing is marked."""
    assert (await api("POST", "/api/v1/ledger/scrub", body))[0] == 400


async def test_the_law_is_shown_and_checked(api: Api) -> None:
    """At once from the counters; with check=1 with the rows."""
    account = next(iter(api.supervisor.counts.accounts))
    api.supervisor.counts.add(account, {"type": "tally", "tests": {"all": {"seen": 2, "refused": 1, "pending": 1}}})
    status, _, document = await api("GET", "/api/v1/ledger/law")
    assert status == 200
    fits(document, "LedgerLaw")
    assert document["is_kept"]
    assert document["routes"][0]["fates"]["refused"] == 1
    await recorded(api, row(route="nobody's"))
    _, _, document = await api("GET", "/api/v1/ledger/law?check=1")
    fits(document, "LedgerLaw")
    assert not document["is_kept"]
    assert document["routes"][1]["problems"]
    assert (await api("GET", "/api/v1/ledger/law?check=yes"))[0] == 400
    _, _, document = await api("GET", "/api/v1/status")
    fits(document, "Status")
    assert document["tests"]["all"]["seen"] == 2


async def test_everything_needs_the_token(api: Api) -> None:
    """Rows say who tests what."""
    for path in ("", "/x", "/export", "/scrub", "/law"):
        assert (await api("GET", f"/api/v1/ledger{path}", token=""))[0] == 401
    assert (await api("POST", "/api/v1/ledger/scrub", {"ids": []}, token=""))[0] == 401


def _lines(text: str) -> list[str]:
    return text.split("\n")[:-1]
