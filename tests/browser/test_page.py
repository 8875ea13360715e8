"""The page at / in a real browser: verdicts with their reasons, whatever strangers sent shown as text, and counts where there is no verdict."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.chromium import MISSING, PROGRAM, Chromium
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.chromium import Page

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all pages."""
    with Chromium(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """Live, and a shadow that answers with markup wherever it can."""
    made = {name: Origin(name) for name in ("live", "shadow")}
    json = ("Content-Type", "application/json")
    made["live"].answer = ok(b'{"a": 1, "b": "x"}', fields=[json, ("X-Version", HOSTILE)])
    made["shadow"].answer = ok(b'{"a": 1, "%s": "%s"}' % ((HOSTILE.encode(),) * 2), status=500, fields=[json, ("X-Version", HOSTILE)])
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin]) -> dict[str, Any]:
    """Two routes: one is asked, one is quiet."""
    judge = {"latency": {"resolution": "1s"}, "slo": ["250ms"]}
    mirror = [{"to": "shadow", "judge": judge, "capture": {"per_second": 1000}}]
    return {
        "listen": [{"name": "front"}],
        "fleets": {name: {"endpoints": [origin.url], "revision": "header:x-version"} for name, origin in origins.items()},
        "routes": [
            {"name": "orders", "match": {"path": "/orders"}, "live": "live", "mirror": mirror},
            {"name": "rest", "live": "live", "mirror": mirror},
        ],
    }


def opened(browser: Chromium, proxy: SupervisedProxy) -> Page:
    """The page, with the token given."""
    page = browser.open(f"http://{proxy.admin[0]}:{proxy.admin[1]}/")
    page.evaluate(f"document.getElementById('token').value = '{proxy.token}'; document.getElementById('login').requestSubmit()")
    return page


def shown(page: Page, text: str) -> str:
    """What the page says, once it says `text`."""
    deadline = time.monotonic() + 60
    while text not in (said := str(page.evaluate("document.body.innerText"))):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    return said


def complaints(page: Page) -> list[str]:
    """What the browser complained about, but for the icon that it asks for by itself and that there is none of."""
    own = "Failed to load resource: the server responded with a status of 404 (Not Found)"
    return [one for one in page.complaints if one != own]


def ask(proxy: SupervisedProxy, count: int, target: str) -> None:
    """Requests one after the other."""
    with Client(proxy.address("front")) as client:
        for _ in range(count):
            assert client.get(target, ("X-Note", HOSTILE)).status == 200


def test_verdicts_are_on_the_page_as_text(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """The sentence, the intervals and what to run next; nothing of what the shadow sent is markup, and the page asks for its own files only."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        ask(proxy, 60, "/orders?q=%3Cscript%3E")
        page = opened(browser, proxy)
        said = shown(page, "REGRESSION")
        said = shown(page, HOSTILE)
        for text in (
            "more errors than live: 200 -> 500", "pairs compared with live", "errors, in points", "latency, ratio", "over 0.25 s, in points",
            "no request has been compared yet", "shadowproxy report --route orders --mirror shadow", "shadowproxy diff show", f"builds: live {HOSTILE}",
        ):  # fmt: skip
            assert text in said, said
        assert page.evaluate("document.title") == "REGRESSION · shadowproxy"
        assert page.evaluate("[typeof window.hacked, document.images.length, document.querySelectorAll('script').length]") == [
            "undefined",
            0,
            1,
        ]
        assert page.evaluate("[...document.querySelectorAll('.outcome')].map(one => one.textContent)") == ["REGRESSION", "UNDECIDED"]
        for width in (320, 734, 1280):
            page.resize(width, 1600)
            assert page.evaluate(OVERFLOW) <= 0, width
        assert complaints(page) == []
        own = f"http://{proxy.admin[0]}:{proxy.admin[1]}/"
        assert {one.removeprefix(own) for one in page.requests} <= {
            "", "favicon.ico", "page/app.js", "page/runs.js", "page/tenancy.js", "page/text.js", "page/verdict.js", "page/style.css",
            "api/v1/compare", "api/v1/verdict", "api/v1/status", "api/v1/sinks", "api/v1/experiments", "api/v1/rollouts",
        }  # fmt: skip
        (tmp_path / "page.png").write_bytes(base64.b64decode(page.command("Page.captureScreenshot")["data"]))


def test_an_undecided_verdict_says_how_far_it_is(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """About how many more pairs, and a bar of it."""
    origins["shadow"].answer = ok(b"hello")
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        ask(proxy, 60, "/orders")
        page = opened(browser, proxy)
        said = shown(page, "more for a verdict")
        assert "UNDECIDED" in said
        assert page.evaluate("[...document.querySelectorAll('progress')].map(one => one.hidden ? null : one.value > 0 && one.value < 1)")[0]
        assert complaints(page) == []


def test_without_verdicts_there_are_counts(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """When the verdicts cannot be had, the page shows the rest and leaves no old verdict behind."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        ask(proxy, 20, "/orders")
        page = browser.open(f"http://{proxy.admin[0]}:{proxy.admin[1]}/")
        page.evaluate("const fetched = fetch; window.fetch = (path, given) => fetched(path.replace('/verdict', '/nothing'), given)")
        page.evaluate(f"document.getElementById('token').value = '{proxy.token}'; document.getElementById('login').requestSubmit()")
        said = shown(page, "eligible requests")
        assert "200 → 500" in said
        assert "pairs compared with" not in said
        assert page.evaluate("[...document.querySelectorAll('.verdict')].every(one => one.hidden)")
        assert page.evaluate("document.title") == "shadowproxy"


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

MARKUP = "<img\tsrc=x\tonerror=window.hacked=1>"
"""A name without spaces and slashes, as services may give themselves."""


def tenancy(origins: dict[str, Origin]) -> dict[str, Any]:
    """A route for each fate of a tagged write, and a listener for calls that may have lost their tag."""
    fates: dict[str, Any] = {
        "orders": {"sink": "orders"},
        "carts": {"partition": {"fleet": "shadow"}},
        "stock": "refuse",
        "views": "live",
    }
    return {
        "listen": [{"name": "front"}, {"name": "out", "egress": {"lost_tags": "report", "caller": "X-Service"}}],
        "fleets": {name: {"endpoints": [origin.url]} for name, origin in origins.items()},
        "routes": [
            {"name": name, "match": {"path": f"/{name}"}, "live": "live", "test_traffic": {"writes": rule}} for name, rule in fates.items()
        ]
        + [{"name": "rest", "live": "live"}],
        "sinks": {"orders": {"resources": {"collections": ["/orders"]}}, "unused": {"preset": "payment"}},
    }


def table(page: Page, caption: str) -> dict[str, list[str]]:
    """The rows of the table with this caption: what their cells say, by what their head says; empty when it is not to be seen."""
    script = f"""[...document.querySelectorAll('#tests table')]
        .filter(one => one.offsetParent !== null && one.caption.textContent.startsWith('{caption}'))
        .flatMap(one => [...one.tBodies[0].rows]).map(one => [...one.cells].map(cell => cell.textContent))"""
    return {head: cells for head, *cells in page.evaluate(script)}


def test_test_traffic_is_on_the_page(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """Where tagged writes went, whether that adds up, what the sinks have, and who lost the tag: as text, whatever services call themselves."""
    with SupervisedProxy(tenancy(origins), tmp_path) as proxy:
        with Client(proxy.address("front")) as client:
            tag, trace = ("X-Test-Traffic", "canary-7"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")
            for name, count in (("orders", 3), ("carts", 2), ("stock", 1), ("views", 1)):
                for _ in range(count):
                    client.request("POST", f"/{name}", tag, trace, body=b"{}")
        with Client(proxy.address("out")) as client:
            assert client.get("/mail", ("X-Service", MARKUP), trace).status == 200
        page = opened(browser, proxy)
        shown(page, "Lost tags")
        eventually(lambda: len(table(page, "Tagged writes")) == 4 and table(page, "Sinks")["orders"][2] == "3")
        assert table(page, "Tagged writes") == {
            "orders": ["3", "3", "0", "0", "0", "0", "0", "adds up"],
            "carts": ["2", "0", "2", "0", "0", "0", "0", "adds up"],
            "stock": ["1", "0", "0", "1", "0", "0", "0", "adds up"],
            "views": ["1", "0", "0", "0", "1", "0", "0", "adds up"],
        }
        assert table(page, "Sinks") == {"orders": ["3", "201: 3", "3", "up"], "unused": ["0", "none yet", "0", "up"]}
        assert table(page, "Lost tags") == {MARKUP: ["1", "0"]}
        said = shown(page, "ledger up · 7 writes recorded")
        assert "Calls of tagged traces that had lost their tag: 1" in said
        assert "shadowproxy leaks" in said
        assert page.evaluate("[typeof window.hacked, document.images.length]") == ["undefined", 0]
        for width in (320, 734, 1280):
            page.resize(width, 1600)
            assert page.evaluate(OVERFLOW) <= 0, width
        assert complaints(page) == []
        (tmp_path / "page.png").write_bytes(base64.b64decode(page.command("Page.captureScreenshot")["data"]))


def test_a_ledger_that_does_not_work_is_said(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """The problem is on the page, and what was refused for it is counted."""
    (tmp_path / "ledger.db").mkdir()
    with SupervisedProxy(tenancy(origins) | {"tenancy": {"ledger": {"path": str(tmp_path / "ledger.db")}}}, tmp_path) as proxy:
        with Client(proxy.address("front")) as client:
            assert client.request("POST", "/orders", ("X-Test-Traffic", "true"), body=b"{}").status == 503
        page = opened(browser, proxy)
        assert "The ledger does not work, so tagged writes are answered 503: " in shown(page, "ledger DOWN")
        eventually(lambda: table(page, "Tagged writes") == {"orders": ["1", "0", "0", "1", "0", "0", "0", "adds up"]})
        assert table(page, "Lost tags") == {}


def test_without_test_traffic_nothing_is_said_of_it(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """Whoever only mirrors sees no section about tests."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        page = opened(browser, proxy)
        # When it compares again it has shown all that it asked for before.
        eventually(
            lambda: "eligible requests" in page.evaluate("document.body.innerText") and sum("/compare" in one for one in page.requests) > 1
        )
        assert any(one.endswith("/api/v1/sinks") for one in page.requests)
        assert page.evaluate("document.getElementById('tests').childElementCount") == 0
        assert complaints(page) == []


def test_experiments_and_rollouts_are_on_the_page_as_text(browser: Chromium, origins: dict[str, Origin], tmp_path: Path) -> None:
    """What is under way with its share and its sentence; when it was stopped, by whom and why; words of people are no markup."""
    changed = config(origins)
    changed["routes"][1] |= {"mirror": [], "rollout": {"to": "shadow", "key": "client", "bake": "1h"}}
    experiment = {
        "name": "slow", "owner": HOSTILE, "hypothesis": {"fault": HOSTILE, "expect": "e", "impact": "i"}, "duration": "1h",
        "inject": {"routes": ["orders"], "faults": [{"delay": "1ms"}]}, "slice": {"percent": 2, "key": "client"},
        "guards": [{"metric": "error_rate", "above": 50}],
    }  # fmt: skip
    with SupervisedProxy(changed, tmp_path) as proxy:
        page = opened(browser, proxy)
        assert "Experiments and rollouts" not in shown(page, "generation")
        started = proxy.api("POST", "/api/v1/experiments", {"experiment": experiment})
        assert started.status == 201, started.body
        assert proxy.api("POST", "/api/v1/rollouts/rest/start", {"reason": HOSTILE}).status < 300
        said = shown(page, "slow-1")
        said = shown(page, "live → shadow")
        for text in (
            "Experiments and rollouts",
            "running",
            "2 %",
            "1 %",
            "shadowproxy experiment stop slow-1",
            "shadowproxy rollout status rest",
        ):
            assert text in said, said
        assert proxy.api("POST", "/api/v1/experiments/slow-1/stop", {"reason": HOSTILE}).status == 200
        said = shown(page, HOSTILE)
        assert "aborted" in said
        assert "shadowproxy experiment stop" not in said
        assert page.evaluate("[typeof window.hacked, document.images.length]") == ["undefined", 0]
        for width in (320, 734, 1280):
            page.resize(width, 1600)
            assert page.evaluate(OVERFLOW) <= 0, width
        assert complaints(page) == []
        (tmp_path / "runs.png").write_bytes(base64.b64decode(page.command("Page.captureScreenshot")["data"]))
        page.media(prefers_color_scheme="dark")
        page.resize(390, 1100)
        (tmp_path / "runs-dark.png").write_bytes(base64.b64decode(page.command("Page.captureScreenshot")["data"]))
