"""Experiments against the demonstration's shop: a fallback that holds, a wait that does not, and what is said of both.

The home page depends on recommendations, which it calls through the proxy's egress listener, and shows top sellers without them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import aiohttp
import yaml

from shadowproxy.demo.stage import Stage
from shadowproxy.hashspace import point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RATE: Final = 120
USERS: Final = 400

AWAY: Final[dict[str, Any]] = {
    "name": "recommendations-away",
    "owner": "shop@example.com",
    "hypothesis": {"fault": "recommendations answer 503", "expect": "the page shows top sellers", "impact": "as many orders"},
    "inject": {"routes": ["recommendations"], "faults": [{"abort": {"status": 503}}]},
    "slice": {"percent": 10, "key": "header:x-user-id"},
    "observe": ["home"],
    "expect": [{"route": "home", "status": [200], "json": "$.recommendations.source", "equals": "top sellers", "share": 80}],
    "duration": "5s",
    "guards": [{"metric": "error_excess", "above": 20, "hold": "1s"}],
}
SLOW: Final[dict[str, Any]] = AWAY | {
    "name": "recommendations-slow",
    "hypothesis": {"fault": "recommendations take 200 ms longer", "expect": "the page is hardly slower", "impact": "as many orders"},
    "inject": {"routes": ["recommendations"], "faults": [{"delay": "200ms"}]},
    "expect": [],
    "duration": "1m",
    "guards": [{"metric": "p50", "above": 0.15, "window": "5s", "least": 10}],
}


@asynccontextmanager
async def visitors(url: str, seen: dict[str, set[str]]) -> AsyncIterator[None]:
    """Users who look at the home page all the time; `seen` has what each was shown."""

    async def visit(session: aiohttp.ClientSession, user: str) -> None:
        async with session.get(f"{url}/home", headers={"X-User-Id": user}) as answer:
            page = await answer.json(content_type=None)
            seen.setdefault(user, set()).add(page["recommendations"]["source"] if answer.status == 200 else str(answer.status))

    async def come(session: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(100 * RATE):
                group.create_task(visit(session, f"user-{number % USERS}"))
                await asyncio.sleep(1 / RATE)

    async with aiohttp.ClientSession() as session:
        coming = asyncio.create_task(come(session))
        try:
            yield
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def command(stage: Stage, *arguments: str) -> tuple[int, str]:
    """`shadowproxy` as an operator calls it: its exit code, and what it prints."""
    environment = {**os.environ, "SHADOWPROXY_ADMIN": stage.addresses.admin, "SHADOWPROXY_TOKEN_FILE": str(stage.addresses.token)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shadowproxy", *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


class Outside(HTMLParser):
    """What an HTML page would load, or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, and whatever leads away."""
        self.found += [tag] * (tag in {"script", "img", "iframe"})
        self.found += [
            name for name, value in attrs if name in {"src", "srcset"} or (name == "href" and not str(value).startswith(("#", "data:")))
        ]


async def test_a_fallback_is_upheld_and_a_wait_is_stopped(tmp_path: Path) -> None:
    """Top sellers for exactly the users in the slice, and nobody sees an error; a fault that makes pages slow ends by its guard; reports of both."""
    seen: dict[str, set[str]] = {}
    away, slow = tmp_path / "away.yaml", tmp_path / "slow.yaml"
    away.write_text(yaml.safe_dump(AWAY))
    slow.write_text(yaml.safe_dump(SLOW))
    async with Stage() as stage, visitors(stage.addresses.proxy, seen):
        code, printed = await command(stage, "experiment", "run", str(away))
        assert code == 0, printed
        assert "upheld" in printed
        first = dict(seen)
        code, printed = await command(stage, "experiment", "run", str(slow))
        assert (code, "guard_p50" in printed) == (99, True), printed
        documents = {}
        for name in ("recommendations-away-1", "recommendations-slow-1"):
            for form in ("html", "markdown", "json", "junit"):
                code, printed = await command(
                    stage, "experiment", "report", name, "--format", form, "--out", str(tmp_path / f"{name}.{form}")
                )
                assert code == 0, printed
            documents[name] = json.loads((tmp_path / f"{name}.json").read_text())
            page = (tmp_path / f"{name}.html").read_text()
            reader = Outside()
            reader.feed(page)
            assert reader.found == []
            assert "Timeline" in page
            assert (tmp_path / f"{name}.markdown").read_text().startswith("#")
            ET.parse(tmp_path / f"{name}.junit")
            code, printed = await command(stage, "experiment", "replay", name)
            assert (code, "the same" in printed) == (0, True), printed
    for user, shown in first.items():
        is_hit = point(user.encode(), b"recommendations-away") < 0.1
        assert shown <= ({"recommendations", "top sellers"} if is_hit else {"recommendations"}), user
    _holds(documents)


def _holds(documents: dict[str, dict[str, Any]]) -> None:
    """What the reports say: timeline, slice and control, exposed units, budget, verdict."""
    upheld, stopped = (documents[name].get("run", documents[name]) for name in ("recommendations-away-1", "recommendations-slow-1"))
    assert (upheld["state"], upheld["result"]["verdict"]) == ("completed", "upheld")
    assert (stopped["state"], stopped["code"]) == ("aborted", "guard_p50")
    assert [one["event"] for one in upheld["timeline"]] == ["admitted", "started", "completed"]
    for run in (upheld, stopped):
        assert run["units"] > 0
        assert run["result"]["slices"]["control"]["requests"] > 0
        assert run["seen"] == run["hit"] + sum(run["unharmed"].values())
        assert "charge" in run["result"]["budget"]
    (expectation,) = upheld["result"]["expectations"]
    assert expectation["is_upheld"]
    assert expectation["held"] == expectation["looked_at"] > 0
