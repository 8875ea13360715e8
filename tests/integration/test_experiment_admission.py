"""Admission on a running instance: blockouts that come and go, and a dry run that breaks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.control.governed import plain
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/api/v1/experiments"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[SupervisedProxy]:
    """An instance with a freeze file and a calendar, neither of which holds."""
    live = Origin("live")
    blockouts = [{"name": "deploys", "freeze_file": str(tmp_path / "freeze")}, {"name": "sales", "ical": str(tmp_path / "sales.ics")}]
    write_calendar(tmp_path / "sales.ics", "20200101T000000Z", "20200102T000000Z")
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}},
        "routes": [{"name": "all", "live": "live"}],
        "experiments": {"blockouts": blockouts, "max_percent": 50},
    }
    with SupervisedProxy(config, tmp_path) as running:
        yield running
    live.stop()


def write_calendar(file: Path, start: str, end: str) -> None:
    """Write a calendar with one event."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", "BEGIN:VEVENT", "UID:1", f"DTSTART:{start}", f"DTEND:{end}"]
    file.write_text("\r\n".join([*lines, "END:VEVENT", "END:VCALENDAR", ""]))


def codes(proxy: SupervisedProxy) -> list[str]:
    """What speaks against an experiment now."""
    return [one["code"] for one in proxy.api("POST", f"{PATH}/plan", {"experiment": plain()}).json()["admission"]]


def test_blockouts_hold_on_a_running_instance(proxy: SupervisedProxy, tmp_path: Path) -> None:
    """A freeze ends what runs and refuses what would begin, unless somebody breaks the glass; a calendar that breaks ends nothing."""
    eventually(lambda: codes(proxy) == [], "the blockouts are read, and none holds")
    assert proxy.api("POST", PATH, {"experiment": plain()}).status == 201
    eventually(lambda: proxy.api("GET", f"{PATH}/slow-1").json()["state"] == "running", "it runs")
    (tmp_path / "sales.ics").write_text("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n")
    eventually(lambda: "calendar_unreadable" in codes(proxy), "the broken calendar is seen")
    assert proxy.api("GET", f"{PATH}/slow-1").json()["state"] == "running"
    (tmp_path / "freeze").touch()
    eventually(lambda: proxy.api("GET", f"{PATH}/slow-1").json()["code"] == "blockout", "the freeze ends it")
    refused = proxy.api("POST", PATH, {"experiment": plain()})
    assert refused.status == 409
    assert {one["code"] for one in refused.json()["refusals"]} == {"blockout", "calendar_unreadable"}
    forced = proxy.api("POST", PATH, {"experiment": plain(), "force": "INC-7"})
    assert forced.status == 201
    assert all(one["is_overridden"] for one in forced.json()["admission"])
    proxy.api("POST", f"{PATH}/{forced.json()['id']}/stop", {})
    (tmp_path / "freeze").unlink()
    write_calendar(tmp_path / "sales.ics", "20200101T000000Z", "20200102T000000Z")
    eventually(lambda: codes(proxy) == [], "nothing holds any more")


def test_a_dry_run_touches_nothing_and_says_what_it_would_have(proxy: SupervisedProxy) -> None:
    """Half of the users would have had the fault; every answer is the origin's own; reads and writes are told apart."""
    eventually(lambda: codes(proxy) == [], "nothing speaks against it")
    wide = plain(slice={"percent": 50, "key": "header:x-user-id"})
    assert proxy.api("POST", PATH, {"experiment": wide, "dry_run": True}).status == 201
    eventually(lambda: proxy.api("GET", f"{PATH}/slow-1").json()["state"] == "running", "it runs")
    with Client(proxy.address("front")) as client:
        for number in range(60):
            assert client.get("/a", ("x-user-id", f"u{number}")).status == 200
    eventually(lambda: proxy.api("GET", f"{PATH}/slow-1").json()["seen"] > 0, "it is told")
    proxy.api("POST", f"{PATH}/slow-1/stop", {})
    document = proxy.api("GET", f"{PATH}/slow-1").json()
    assert document["is_dry"]
    assert document["faults"] == {"dry_read": document["seen"]}
