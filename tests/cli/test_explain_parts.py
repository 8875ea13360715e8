"""`shadowproxy explain`, of rollouts and experiments: from files alone, and of the running instance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shadowproxy.cli.main import main
from shadowproxy.control.admin.openapi import SCHEMAS
from tests.cli.conftest import mirrored
from tests.control.governed import plain
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

ROLLOUT = {"to": "new", "key": "header:x-user-id", "steps": [1, 50, 100], "pinned": ["pia"], "first": ["fay"], "bake": "1h"}


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A route with a rollout and a mirror, in a file."""
    file = tmp_path / "c.yaml"
    fleets = {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in (("live", 1), ("new", 2), ("shadow", 3))}
    routes = [{"name": "all", "live": "live", "mirror": [{"to": "shadow"}], "rollout": ROLLOUT}]
    file.write_text(
        json.dumps(
            {
                "listen": [{"name": "front", "address": "127.0.0.1:8080"}],
                "fleets": fleets,
                "routes": routes,
                "experiments": {"deny": ["dan"]},
            }
        )
    )
    return str(file)


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What is found, as JSON."""
    assert main(["explain", "--output", "json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The same for people."""
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("user", "first"), [("fay", 1), ("pia", 100), ("dan", None), ("ada", 50)])
def test_a_rollout_that_has_not_begun(config: str, capsys: pytest.CaptureFixture[str], user: str, first: int | None) -> None:
    """From which step on the new version would answer; the old one does now."""
    found = explained(capsys, "-c", config, "/a", "-H", f"x-user-id: {user}")
    rollout = found["rollout"]
    assert (rollout["new_from_percent"], rollout["percent"], rollout["place"]) == (first, None, None)
    assert found["live"]["fleet"] == "live"
    assert found["mirrors"]
    text = said(capsys, "-c", config, "/a", "-H", f"x-user-id: {user}")
    assert "rollout to new: not under way" in text
    assert (f"it has the new version from {first} % on" in text) == (first is not None)


def test_experiments_that_do_not_run(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At their full share: who would get what, who is only watched, and why one is spared."""
    file = tmp_path / "e.yaml"
    file.write_text(json.dumps(plain(slice={"percent": 1, "key": "header:x-user-id", "pinned": ["ada"]}, inject={
        "routes": ["all"], "methods": ["GET"], "faults": [{"delay": "100ms"}],
    })))  # fmt: skip
    asked = ("-c", config, "--experiment", str(file))
    text = said(capsys, *asked, "/a", "-H", "x-user-id: ada")
    assert "experiment slow (planned, 1 %): the slice with the fault" in text
    assert "would get: delay of" in text
    assert "spared: method POST is not one of GET" in said(capsys, *asked, "POST /a", "-H", "x-user-id: ada")
    (found,) = explained(capsys, *asked, "/a", "-H", "x-user-id: dan")["experiments"]
    assert (found["place"], found["share"]) == ("outside", 0.0)
    assert "deny list" in found["reason"]
    assert "the request has no header x-user-id" in said(capsys, *asked, "/a")


def test_the_running_instance(live: Origin, shadow: Origin, tmp_path: Path, command: Run) -> None:
    """Without a file it is asked what its config is, how far its rollout has come, and what runs; and that is what it does. `status` has a line of each."""
    settings = mirrored(live, shadow)
    settings["fleets"]["new"] = {"endpoints": [shadow.url]}
    settings["routes"][0]["rollout"] = ROLLOUT
    with SupervisedProxy(settings, tmp_path) as proxy:
        assert proxy.api("POST", "/api/v1/rollouts/all/start", {}).status == 200
        body = plain(
            slice={"percent": 1, "key": "header:x-user-id", "pinned": ["ada"], "deny": ["eve"]},
            inject={"routes": ["all"], "faults": [{"abort": {"status": 503}}]},
            guards=[{"metric": "p99", "above": 60, "least": 1}],
        )
        assert proxy.api("POST", "/api/v1/experiments", {"experiment": body, "force": "both at once"}).status == 201

        def asks(user: str) -> int:
            with Client(proxy.address("front")) as client:
                return client.get("/a", ("x-user-id", user)).status

        eventually(lambda: asks("ada") == 503, "the fault is there")
        ada = command("explain", "/a", "-H", "x-user-id: ada").stdout
        assert "experiment slow-1 (running, 1 %): the slice with the fault" in ada
        assert "gets: status 503 in place of the answer" in ada
        assert "rollout to new, at 1 %: the old version, as stable" in ada
        fay = json.loads(command("explain", "/a", "-H", "x-user-id: fay", "--output", "json").stdout)
        assert (fay["rollout"]["place"], fay["live"]["fleet"], fay["mirrors"]) == ("ring", "new", [])
        seen = len(shadow.seen("/a"))
        assert asks("fay") == 200
        assert len(shadow.seen("/a")) == seen + 1
        (eve,) = json.loads(command("explain", "/a", "-H", "x-user-id: eve", "--output", "json").stdout)["experiments"]
        assert eve["place"] == "outside"
        status = command("status").stdout
        assert "experiment slow-1 of shop@example.com: running, 1 %" in status
        assert "rollout all to new: running, 1 %" in status
        jsonschema.validate(proxy.api("GET", "/api/v1/armed").json(), SCHEMAS["Armed"], cls=jsonschema.Draft202012Validator)
        jsonschema.validate(proxy.api("GET", "/api/v1/status").json(), SCHEMAS["Status"], cls=jsonschema.Draft202012Validator)
