"""`shadowproxy sink`: stand-alone with real sockets and a ledger, and looking into a running instance."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowproxy.sinks.ledger import Ledger
from tests.kit import Origin, SupervisedProxy, network
from tests.sinks.kit import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Run

CONFIG: dict[str, Any] = {
    "listen": ["127.0.0.1:8080"],
    "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}},
    "routes": [{"live": "live", "test_traffic": {"writes": {"sink": "orders"}}}],
    "sinks": {"orders": {"resources": {"collections": ["/orders"], "merge": False}}, "mail": {"preset": "email"}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config."""
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return path


@contextmanager
def running(file: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """`sink run`, and where its sinks are."""
    command = [sys.executable, "-m", "shadowproxy", "sink", "run", "-c", str(file), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=file.parent) as process:
        assert process.stdout is not None
        try:
            count = 1 if "--sink" in arguments else 2
            yield dict(process.stdout.readline().split() for _ in range(count))
        finally:
            process.terminate()
            _, complaints = process.communicate(timeout=30)
            assert process.returncode == 0, complaints
            assert "Traceback" not in complaints


def heard(url: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """Status and body."""
    status, _, body = asyncio.run(ask(url, method, path, **more))
    return status, body


def test_sinks_by_themselves(file: Path) -> None:
    """Each where it says; what they keep is theirs and gone with them."""
    with running(file, "--listen", "127.0.0.1:0") as urls:
        assert set(urls) == {"orders", "mail"}
        status, created = heard(urls["orders"], "POST", "/orders", json={"n": 1})
        assert status == 201
        assert heard(urls["orders"], "GET", f"/orders/{created['id']}") == (200, created)
        assert heard(urls["orders"], "GET", "/orders/other")[0] == 404
        assert heard(urls["mail"], "POST", "/send", json={"to": "a"})[0] == 202
        assert heard(urls["mail"], "POST", "/send", json={"to": "a"}, tenant="")[0] == 400


def test_state_survives_and_writes_are_in_the_ledger(file: Path, tmp_path: Path) -> None:
    """With --state the next run knows them; with --ledger each write has a durable row, with its trace."""
    arguments = (
        "--sink",
        "orders",
        "--listen",
        "127.0.0.1:0",
        "--state",
        str(tmp_path / "kept.db"),
        "--ledger",
        str(tmp_path / "ledger.db"),
    )
    trace = "0af7651916cd43dd8448eb211c80319c"
    with running(file, *arguments) as urls:
        more = {"Traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        _, created = heard(urls["orders"], "POST", "/orders", tenant="canary-7", json={"n": 1}, **more)
    with running(file, *arguments) as urls:
        assert heard(urls["orders"], "GET", f"/orders/{created['id']}", tenant="canary-7") == (200, created)
    ledger = Ledger(tmp_path / "ledger.db", 3600, 2**30)
    [row] = ledger.rows()
    ledger.close()
    assert (row["trace"], row["tenant"], row["method"], row["target"], row["fate"], row["to"]) == (
        trace,
        "canary-7",
        "POST",
        "/orders",
        "sunk",
        "orders",
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--sink", "ordrs"], "has no sink 'ordrs'; there are: orders, mail"),
        (["--listen", "nowhere"], "--listen nowhere: "),
        (["--listen", "127.0.0.1:65535"], "there are not so many"),
        (["--listen", "192.0.2.1:8099"], "cannot listen on 192.0.2.1:8099"),
        (["--state", "/nowhere/s.db"], "/nowhere/s.db.lock: "),
    ],
)
def test_what_cannot_be_served(command: Run, file: Path, arguments: list[str], complaint: str) -> None:
    """One line and exit code 1."""
    result = command("sink", "run", "-c", str(file), *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_an_address_that_is_taken(command: Run, file: Path) -> None:
    """Is said so."""
    with network.listening() as taken:
        result = command("sink", "run", "-c", str(file), "--listen", "{}:{}".format(*taken.getsockname()))
    assert result.returncode == 1
    assert "in use" in result.stderr


def test_looking_into_a_running_instance(command: Run, live: Origin, tmp_path: Path) -> None:
    """list, items and reset, for people and as JSON."""
    config = {**CONFIG, "listen": [{"name": "front"}], "fleets": {"live": {"endpoints": [live.url]}}}
    with SupervisedProxy(config, tmp_path) as proxy:
        admin = ["--admin", "http://{}:{}".format(*proxy.admin), "--token-file", str(tmp_path / "token")]
        url = json.loads(command("sink", "list", "--output", "json", *admin).stdout)["sinks"][0]["url"]
        _, created = heard(url, "POST", "/orders", tenant="canary-7", json={"n": "\u202e\u0007"})
        assert command("sink", "items", "orders", *admin).stdout == "canary-7 1\n"
        shown = command("sink", "items", "orders", "--tenant", "canary-7", *admin).stdout
        assert shown == f"/orders/{created['id']} {json.dumps(created)}\n"
        assert (
            json.loads(command("sink", "items", "orders", "--tenant", "canary-7", "--output", "json", *admin).stdout)["items"][0]["value"]
            == created
        )
        assert url in command("sink", "list", *admin).stdout
        assert command("sink", "reset", "orders", "--tenant", "canary-7", *admin).stdout == "1 items of canary-7 are forgotten\n"
        assert command("sink", "items", "orders", *admin).stdout == ""
        assert json.loads(command("sink", "reset", "orders", "--tenant", "x", "--output", "json", *admin).stdout)["removed"] == 0
        refused = command("sink", "items", "nobody", *admin)
        assert (refused.returncode, "no sink of that name" in refused.stderr) == (1, True)
