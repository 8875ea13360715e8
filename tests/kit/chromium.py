"""A real browser: Debian's Chromium, headless, spoken to over its DevTools protocol.

with Chromium(directory) as browser:
    page = browser.open("file:///...", width=400)
    page.evaluate("document.title")
    assert page.complaints == [] and page.requests == [...]
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING: Final = "no Chromium here (apt-get install chromium)"

PATIENCE_S: Final = 60.0


class Page:
    """One tab. What it complained about and asked for is noted from before it loads.

    `complaints` has console errors and warnings, exceptions and violations of its content security policy;
    `requests` has every address that it asked for.
    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.is_loaded = False

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, for this tab."""
        return self._browser.command(method, self._session, **parameters)

    def media(self, kind: str = "", **features: str) -> None:
        """Pretend another medium, or preferences: `media(prefers_color_scheme="dark")`."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", media=kind, features=listed)

    def resize(self, width: int, height: int = 900) -> None:
        """Another window."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Remember an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Log.entryAdded" and event["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(event["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"]["text"])
        elif method == "Page.loadEventFired":
            self.is_loaded = True


class Chromium:
    """One browser process with a profile of its own."""

    def __init__(self, directory: Path) -> None:
        assert PROGRAM is not None, MISSING
        profile = directory / "chromium"
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._pages: dict[str, Page] = {}
        self._log = (directory / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env={**os.environ, "HOME": str(directory)},
        )  # fmt: skip
        try:
            port = profile / "DevToolsActivePort"
            eventually(lambda: port.is_file() and port.read_text().count("\n") >= 1, "Chromium listens", patience_s=PATIENCE_S)
            where = port.read_text().splitlines()
            self._session = aiohttp.ClientSession(loop=self._loop)
            self._socket = self._wait(self._session.ws_connect(f"ws://127.0.0.1:{where[0]}{where[1]}", max_msg_size=0))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self.stop()

    def open(self, url: str, width: int = 1000) -> Page:
        """A new tab that has loaded `url`."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.command(f"{domain}.enable")
        page.resize(width)
        page.requests.clear()
        page.is_loaded = False
        answer = page.command("Page.navigate", url=url)
        assert not answer.get("errorText"), answer
        while not page.is_loaded:
            self._read()
        return page

    def command(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; events that come meanwhile are noted."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._wait(self._socket.send_json(message))
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def stop(self) -> None:
        """End the browser."""
        self._wait(self._socket.close())
        self._wait(self._session.close())
        self._end()

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = self._wait(self._socket.receive_json())
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.note(message["method"], message["params"])
        return message

    def _wait(self, work: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE_S):
                return await work

        return self._loop.run_until_complete(bounded())

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._loop.close()
