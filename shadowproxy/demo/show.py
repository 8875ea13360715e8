"""Run the demonstration from its first line to its last."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from shadowproxy.demo import findings
from shadowproxy.demo.shop import V2
from shadowproxy.demo.stage import HOLDOUT_PERCENT, Stage, Users
from shadowproxy.demo.view import View, summary

if TYPE_CHECKING:
    from shadowproxy.demo.findings import Comparison

_REFRESH_S: Final = 0.5

_SETTLE_S: Final = 1.0
"""After the last answer: the slowest copy ends, and the workers report (every 250 ms)."""

_FOREVER_S: Final = 365 * 86400.0

INTERRUPTED: Final = 130


def run(*, seconds: float, rate: float, is_kept: bool) -> int:
    """Show the demonstration on standard output.

    Args:
        seconds: how long traffic runs before the result.
        rate: requests a second.
        is_kept: stay up with traffic after the result, until interrupted.

    Returns:
        The exit code: 0, or 130 when it was interrupted before the result.

    Raises:
        DemoError: a part of it did not start, or ended early.
    """
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width, highlight=False)
    return asyncio.run(_run(console, Users(rate=rate, seconds=_FOREVER_S if is_kept else seconds), seconds, is_kept=is_kept))


async def _run(console: Console, users: Users, seconds: float, *, is_kept: bool) -> int:
    loop = asyncio.get_running_loop()
    showing = asyncio.ensure_future(_show(console, users, seconds, is_kept=is_kept))
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end() -> None:
        for number in numbers:
            # Asked twice is asked once: taking it down is under way and takes a moment.
            loop.add_signal_handler(number, lambda: None)
        showing.cancel()

    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        await showing
    except asyncio.CancelledError:
        console.print("interrupted; everything is stopped and removed")
        return INTERRUPTED
    return 0


async def _show(console: Console, users: Users, seconds: float, *, is_kept: bool) -> None:
    console.print("starting two shops (live v1, shadow v2) and the proxy")
    async with Stage() as stage:
        where = stage.addresses
        console.print(f"  live {where.live}   shadow {where.shadow}   proxy {where.proxy}")
        console.print(
            f"{users.rate:g} requests a second for {seconds:g} s: everything is mirrored, {HOLDOUT_PERCENT} % of the users are held out",
            soft_wrap=True,
        )
        traffic = asyncio.ensure_future(stage.traffic(users))
        try:
            await _watch(console, stage, traffic, seconds)
            if not is_kept:
                await traffic
                await asyncio.sleep(_SETTLE_S)
            console.print()
            compared, ruled = findings.read(await stage.compare()), findings.read_verdicts(await stage.verdict())
            console.print(summary(compared, ruled, stage.seen))
            console.print(_seeded(), soft_wrap=True)
            if is_kept:
                console.print(_hints(stage), soft_wrap=True)
                await _stay(traffic)
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
    console.print("everything is stopped and removed")


async def _watch(console: Console, stage: Stage, traffic: asyncio.Task[None], seconds: float) -> None:
    """Show the figures until `seconds` have passed or the traffic is over."""
    started = time.monotonic()
    compared: list[Comparison] = []
    with View(console, seconds) as view:
        while not traffic.done() and (elapsed := time.monotonic() - started) < seconds:
            compared = findings.read(await stage.compare())
            view.show(elapsed, compared, stage.seen)
            await asyncio.wait([traffic], timeout=min(_REFRESH_S, seconds - elapsed))


async def _stay(traffic: asyncio.Task[None]) -> None:
    """Wait for the interruption that ends a kept demonstration well."""
    try:
        await traffic
    except asyncio.CancelledError:
        # Here Ctrl-C is the way to end it, and the result has been shown.
        return


def _seeded() -> str:
    broken = ", ".join(str(number) for number in sorted(V2.broken))
    mispriced = ", ".join(str(number) for number in sorted(V2.mispriced))
    return (
        f"\n(Seeded into v2: every search {V2.search_delay_s * 1000:.0f} ms slower; products {broken} fail with 500; "
        f"products {mispriced} show a wrong price.)"
    )


def _hints(stage: Stage) -> str:
    where = stage.addresses
    command = _command()
    return f"""
Traffic goes on until Ctrl-C. In another terminal:
  live answers     curl -i {where.proxy}/products/42
  shadow says      curl -i {where.shadow}/products/42
  compare          {command} compare --admin {where.admin}
  verdict          {command} verdict --admin {where.admin}
  report           {command} report --admin {where.admin} --out report.html
  break something  {command} experiment run {where.experiment} --admin {where.admin}
  stop mirroring   {command} kill --admin {where.admin}      (and then: resume)
  page             {where.admin}/
  metrics          curl {where.admin}/metrics
  its config       {where.config}
  its token        {where.token}
"""


def _command() -> str:
    """How to call this installation's `shadowproxy` from the working directory."""
    installed = Path(sys.executable).with_name("shadowproxy")
    return str(installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed)
