"""`make load`: Locust without its page, for a bounded time, with its HTML report left in results/.

Without `--host` the demonstration's shops and proxy are started for the run, and what
live and shadow did meanwhile is shown behind Locust's own table.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from shadowproxy.demo import findings
from shadowproxy.demo.stage import Stage
from shadowproxy.demo.view import table

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCUSTFILE = Path(__file__).with_name("locustfile.py")

_SETTLE_S = 1.0
"""After the last answer: the slowest copy ends, and the workers report."""


async def drive(host: str, options: argparse.Namespace, report: Path) -> int:
    """Run Locust against `host` and return its exit code: 1 when any request failed."""
    arguments = ["--headless", "--only-summary", "--host", host, "--html", str(report)]
    arguments += ["--users", str(options.users), "--spawn-rate", str(options.spawn_rate), "--run-time", f"{options.seconds}s"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), *arguments)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        raise


async def drive_the_demo(options: argparse.Namespace, report: Path) -> int:
    """Start the demonstration without its own users, drive it, and show live beside shadow."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    async with Stage() as stage:
        where = stage.addresses
        console.print(f"live {where.live}   shadow {where.shadow}   proxy {where.proxy}   admin {where.admin}", soft_wrap=True)
        code = await drive(where.proxy, options, report)
        await asyncio.sleep(_SETTLE_S)
        compared = findings.read(await stage.compare())
    console.print("Live and shadow, request by request", style="bold")
    console.print(table(compared))
    for sentence in [*findings.sentences(compared), findings.accounting(compared)]:
        console.print(f"  - {sentence}", soft_wrap=True)
    return code


async def _run(options: argparse.Namespace, report: Path) -> int:
    running = asyncio.ensure_future(drive(options.host, options, report) if options.host else drive_the_demo(options, report))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        code = await running
    except asyncio.CancelledError:
        print("interrupted; everything is stopped")
        return 130
    print(f"report: {report}")
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Drive a proxy with Locust. Returns Locust's exit code."""
    parser = argparse.ArgumentParser(prog="make load", description=main.__doc__)
    parser.add_argument("--host", default="", help="URL of the proxy (default: the demo, started for the run)")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--spawn-rate", type=int, default=10, help="users that begin a second (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=30, help="how long (default: %(default)s)")
    parser.add_argument("--results", default="results", help="directory for the report (default: %(default)s)")
    options = parser.parse_args(argv)
    results = Path(options.results)
    results.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_run(options, results / f"locust-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.html"))


if __name__ == "__main__":
    raise SystemExit(main())
