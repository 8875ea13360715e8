"""The users: walks, popularity, figures, and a crowd over a real shop."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestServer

from shadowproxy.demo import traffic
from shadowproxy.demo.shop import PRODUCTS, V1, V2, Shop
from shadowproxy.demo.traffic import REQUESTS_PER_SESSION, Figures, Popularity, walk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def shop_url() -> AsyncIterator[str]:
    """A real shop without service times."""
    async with TestServer(Shop(V1, random.Random(1), pace=0.0).application()) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_walks_have_the_stated_mean_length() -> None:
    """The rate of sessions follows from REQUESTS_PER_SESSION: 20,000 walks meet it to 1 %."""
    chance, popularity = random.Random(7), Popularity()
    lengths = [len(walk(chance, popularity)) for _ in range(20_000)]
    assert sum(lengths) / len(lengths) == pytest.approx(REQUESTS_PER_SESSION, rel=0.01)


def test_a_walk_is_what_a_shopper_does() -> None:
    """It begins at the home page, pays only with something in the cart, and pauses between requests."""
    chance, popularity = random.Random(3), Popularity()
    for _ in range(500):
        steps = walk(chance, popularity)
        assert (steps[0].method, steps[0].path, steps[0].pause_s) == ("GET", "/home", 0.0)
        assert all(step.pause_s >= 0.08 for step in steps[1:])
        paths = [(step.method, step.path) for step in steps]
        if ("POST", "/checkout") in paths:
            assert ("POST", "/cart") in paths
            assert paths[-1] == ("POST", "/checkout")


def test_popularity_is_zipf_and_meets_the_seeded_flaws() -> None:
    """Few products get most of the views, every draw is a product, and each flaw of v2 is seen within 30 s of traffic."""
    chance, popularity = random.Random(5), Popularity()
    drawn = Counter(popularity.draw(chance) for _ in range(50_000))
    assert set(drawn) <= set(range(1, PRODUCTS + 1))
    (_, first), *_, (_, tenth) = drawn.most_common(10)
    assert first / tenth == pytest.approx(10**0.9, rel=0.15)
    for flawed in V2.broken | V2.mispriced:
        assert drawn[flawed] / 50_000 > 0.005


def test_figures_count_failures_apart_from_answers() -> None:
    """A 5xx is an answer and a failure, a lost answer only a failure; the median is of the answers."""
    figures = Figures(sessions=1, sent=4)
    figures.count(200, 0.010)
    figures.count(201, 0.010)
    figures.count(503, 0.010)
    figures.count(None, 9.0)
    shown = figures.to_json()
    assert (shown["answered"], shown["failed"]) == (3, 2)
    assert shown["p50_ms"] == pytest.approx(10.0, rel=0.01)
    assert Figures().to_json()["p50_ms"] is None


async def test_a_crowd_shops_without_a_failure(shop_url: str) -> None:
    """Everything that was sent is answered, by the end of the drive at the latest."""
    reports: list[int] = []
    figures = await traffic.drive(shop_url, rate=200, seconds=2.0, users=500, seed=1, report=lambda seen: reports.append(seen.sent))
    assert figures.sent == figures.answered > 0
    assert figures.failed == 0
    assert figures.sessions > 0
    assert reports == sorted(reports)


async def test_a_user_is_in_one_session_at_a_time(shop_url: str) -> None:
    """With fewer users than sessions, sessions are given up rather than shared."""
    figures = await traffic.drive(shop_url, rate=500, seconds=1.0, users=3, seed=1, report=lambda _: None)
    # A session lasts at least two pauses: three users cannot begin a fourth each within the second.
    assert 3 <= figures.sessions < 3 / 0.16


async def test_a_shop_that_is_gone_is_counted_not_raised() -> None:
    """Connection refused is a failed request of a user, not an error of the generator."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    figures = await traffic.drive(f"http://127.0.0.1:{port}", rate=200, seconds=1.0, users=500, seed=1, report=lambda _: None)
    assert figures.sent == figures.failed > 0
    assert figures.answered == 0


async def test_a_cancelled_drive_ends_its_sessions(shop_url: str) -> None:
    """Cancelling stops every session: no request follows."""
    seen: list[Figures] = []
    driving = asyncio.ensure_future(traffic.drive(shop_url, rate=200, seconds=60.0, users=500, seed=1, report=seen.append))
    while not seen or not seen[-1].sent:
        await asyncio.sleep(0.05)
    driving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driving
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "_shop" in repr(task)]


async def test_the_process_prints_figures_as_json(shop_url: str) -> None:
    """Each line is one JSON object; the last has the totals."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shadowproxy.demo.traffic", "--target", shop_url, "--seconds", "1", "--rate", "100"),
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert process.returncode == 0
    assert lines[-1]["sent"] == lines[-1]["answered"] > 0
    assert set(lines[-1]) == {"elapsed_s", "sessions", "sent", "answered", "failed", "p50_ms", "p99_ms"}
