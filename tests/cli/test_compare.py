"""`shadowproxy compare`: the table and the document."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from rich.console import Console

from shadowproxy.cli.compare import milliseconds, render, share
from shadowproxy.control.admin.openapi import SCHEMAS
from tests.cli.conftest import served
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import Origin, SupervisedProxy


def compared(command: Run, *arguments: str) -> Any:
    """The JSON document."""
    return json.loads(command("compare", "--output", "json", *arguments).stdout)


def test_live_and_shadow_side_by_side(proxy: SupervisedProxy, shadow: Origin, command: Run) -> None:
    """A shadow with a bug shows: in the matrix, the error rate, the bodies, and the text."""
    shadow.on("/1", ok(b"broken", status=500))
    served(proxy, 4)
    eventually(lambda: compared(command)["mirrors"][0]["pairs"] == 4, "four pairs", patience_s=60)
    document = compared(command)
    jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Compare", "components": {"schemas": SCHEMAS}}).validate(document)
    (mirror,) = document["mirrors"]
    assert mirror["is_conserved"]
    assert mirror["matrix"] == [{"live": "200", "shadow": "200", "count": 3}, {"live": "200", "shadow": "500", "count": 1}]
    assert mirror["errors"]["shadow"] == {"count": 1, "rate": 0.25}
    assert mirror["bodies"] == {"equal": 3, "different": 1, "unknown": 0}
    assert mirror["latency"]["live"]["last"]["count"] == 4
    text = command("compare").stdout
    for words in (
        "all → shadow",
        "4 pairs",
        "200 → 500",
        "25.0%",
        "live, first byte",
        "p99.9",
        "coverage 100.0% of 4 eligible: paired 4, pending 0",
        "UNDECIDED  neither worse nor safe after 4 pairs",
        "against live: errors +25 points (",
        "95 % at any time",
        "live   ",
    ):
        assert words in text


def test_a_route_can_be_chosen(proxy: SupervisedProxy, command: Run) -> None:
    """One that exists, and one that does not."""
    assert len(compared(command, "--route", "all")["mirrors"]) == 1
    ended = command("compare", "--route", "no such/route?")
    assert (ended.returncode, ended.stderr) == (1, "shadowproxy: 404 Not Found: no route of that name\n")


def test_watching_ends_with_ctrl_c(proxy: SupervisedProxy, tmp_path: Path) -> None:
    """With --watch there is one document a line until interrupted, and no traceback."""
    watching = subprocess.Popen(
        [sys.executable, "-m", "shadowproxy", "compare", "--watch", "--output", "json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        documents = [json.loads(watching.stdout.readline()) for _ in range(2)]
        assert [len(document["mirrors"]) for document in documents] == [1, 1]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert watching.stderr.read() == b""


def test_names_are_not_markup() -> None:
    """Whatever outcomes and names contain is shown as it is."""
    latency = {"count": 0, "p50": None, "p90": None, "p99": None, "p999": None}
    mirror = {
        "route": "[red]r", "mirror": "[/]m", "live_fleet": "l", "shadow_fleet": "s", "pairs": 1, "is_conserved": False, "eligible": 1, "pending": 0,
        "coverage": 1.0, "fates": {"paired": 1}, "latency": {side: {"first": latency, "last": latency} for side in ("live", "shadow")},
        "matrix": [{"live": "[bold]", "shadow": f"{number}", "count": 1} for number in range(200, 212)],
        "errors": {side: {"count": 0, "rate": 0.0} for side in ("live", "shadow")}, "bodies": {"equal": 0, "different": 0, "unknown": 1},
        "live_penalty": latency, "unmirrored": 0,
    }  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=200).print(render({"is_killed": True, "mirrors": [mirror]}))
    text = out.getvalue()
    for words in ("[red]r → [/]m", "[bold] → 200", "and 4 more", "THE COUNTERS DO NOT ADD UP", "KILL SWITCH ON", "bodies not compared"):
        assert words in text


def test_no_mirror_is_said() -> None:
    """An empty comparison is a sentence."""
    out = io.StringIO()
    Console(file=out).print(render({"is_killed": False, "mirrors": []}))
    assert "no route has a mirror" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.00123, "1.23 ms"), (0.0123, "12.3 ms"), (1.234, "1234 ms")])
def test_milliseconds(seconds: float | None, text: str) -> None:
    """Three significant digits."""
    assert milliseconds(seconds) == text


def test_small_differences_keep_their_sign_and_digits() -> None:
    """A penalty has a sign; a small share does not become nothing."""
    assert milliseconds(-0.0001, is_signed=True) == "-0.10 ms"
    assert (share(None), share(0.0), share(0.00012), share(0.5)) == ("-", "0.0%", "0.012%", "50.0%")
