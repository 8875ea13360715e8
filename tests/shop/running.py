"""The whole shop for a test: its database with a guard, its services, and the proxy between them.

with Shop(postgres, directory) as shop:
    asyncio.run(...)                  customers: tests.shop.buying
    shop.charges(), shop.inbox()      what the outside world got
    shop.rows("SELECT ...")           what production's tables hold
    shop.replace("checkout", forgets="tag")
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg
import yaml

from tests.kit import SupervisedProxy, process
from tests.kit.network import HOST, PATIENCE_S, free_port
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.kit.postgres import PostgresServer

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
CONFIG: Final = HERE / "shop.yaml"
PROBES: Final = HERE / "probes.yaml"

SERVICES: Final = ("catalogue", "cart", "checkout", "payments", "mail")
NEXT: Final = "checkout-next"
WITH_DATABASE: Final = ("cart", "checkout", NEXT)

Plain = dict[str, Any]
Value = TypeVar("Value")


class Shop:
    """The shop, ready to sell.

    Args:
        postgres: where its databases are made.
        directory: for config, state and logs; a test's tmp_path.
        has_shadow: whether the next checkout runs, as a shadow with a database of its own; without it the mirror is taken out of the config.
    """

    def __init__(self, postgres: PostgresServer, directory: Path, *, has_shadow: bool = False) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = directory
        self._forgotten = 0, 0
        self._log = (directory / "services").open("w+b")
        self.config = _configured()
        if not has_shadow:
            for route in self.config["routes"]:
                route.pop("mirror", None)
        self.database = _furnished(postgres)
        self.shadow_database = _furnished(postgres) if has_shadow else ""
        names = (*SERVICES, *((NEXT,) if has_shadow else ()))
        try:
            self.guard("--mode", "divert", "--apply")
            for name in names:
                self._start(name)
            for name in names:
                self._wait(name)
            self.proxy = SupervisedProxy(self.config, directory)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        try:
            self.proxy.__exit__(kind, value, where)
        finally:
            self.stop()

    @property
    def front(self) -> str:
        """Where customers go."""
        host, port = self.proxy.address("front")
        return f"http://{host}:{port}"

    def replace(self, name: str, forgets: str = "", out: str = "") -> None:
        """Put another build of a service in the place of the one that runs, at an address of its own, and wait until the proxy uses it.

        Args:
            name: of the service.
            forgets: what it leaves out.
            out: the listener that it calls through; by default its own.
        """
        before = self._running.pop(name)
        self.config["fleets"][name]["endpoints"] = [f"http://{HOST}:{free_port()}"]
        self._start(name, forgets, out)
        self._wait(name)
        self.reload()
        _end(before)

    def reload(self) -> None:
        """Put the config as it is now in force."""
        self.proxy.write(self.config)
        answer = self.proxy.api("POST", "/api/v1/config/reload", {})
        assert answer.status == 200, answer.body

    def lost_tags(self, become: str) -> None:
        """What becomes of calls on `out` that lost their tag."""
        self.config["listen"][1]["egress"]["lost_tags"] = become
        self.reload()

    def guard(self, *arguments: str) -> None:
        """`shadowproxy guard postgres` for the shop's database."""
        self._command({"SHADOWPROXY_GUARD_DSN": self.database}, "guard", "postgres", *arguments).check_returncode()

    def audit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`shadowproxy audit`, as a team's CI runs it: with the shop's probes, searching its database, its mailbox and what was charged."""
        host, port = self.proxy.admin
        return self._command(
            {
                "SHOP_DATABASE": self.database,
                "SHADOWPROXY_ADMIN": f"http://{host}:{port}",
                "SHADOWPROXY_TOKEN_FILE": self.proxy.config["admin"]["token_file"],
            },
            "audit", "--probes", str(PROBES), "--sql", "env:SHOP_DATABASE",
            "--search", self.url("payments") + "/v1/charges", "--search", self.url("mail") + "/messages", "--settle", "0.3", *arguments,
        )  # fmt: skip

    def url(self, fleet: str) -> str:
        """Where a service is, behind the proxy."""
        return str(self.config["fleets"][fleet]["endpoints"][0])

    def charges(self) -> list[Plain]:
        """What was charged in truth, since `forget`."""
        found: list[Plain] = self._get(self.url("payments"), "/v1/charges")
        return found[self._forgotten[0] :]

    def inbox(self) -> list[Plain]:
        """What was sent in truth, since `forget`."""
        found: list[Plain] = self._get(self.url("mail"), "/messages")
        return found[self._forgotten[1] :]

    def forget(self) -> None:
        """Empty production's tables but for the shop's own cart, and leave out from now on what was charged and sent before."""
        with psycopg.connect(self.database) as connection:
            connection.execute("DELETE FROM public.orders")
            connection.execute("DELETE FROM public.cart_items")
            connection.execute("INSERT INTO cart_items (cart, sku, quantity, cents, note) VALUES ('house', 'mug', 1, 750, '')")
        charged, sent = self._forgotten
        self._forgotten = charged + len(self.charges()), sent + len(self.inbox())

    def rows(self, query: str, database: str = "") -> list[tuple[Any, ...]]:
        """What a query of production's own finds."""
        with psycopg.connect(database or self.database) as connection:
            return connection.execute(query.encode()).fetchall()

    def ledger(self, **wanted: str) -> list[Plain]:
        """Rows of the ledger, the oldest first."""
        query = "&".join(f"{name}={value}" for name, value in {"limit": "1000", **wanted}.items())
        document = self.api(f"/api/v1/ledger?{query}")
        assert document["next"] is None
        rows: list[Plain] = document["rows"]
        return rows[::-1]

    def api(self, path: str) -> Any:
        """A document of the admin API."""
        answer = self.proxy.api("GET", path)
        assert answer.status == 200, answer.body
        return answer.json()

    def sinks_pid(self) -> int:
        """The process of the sinks; 0 while there is none."""
        return int(self.api("/api/v1/sinks")["pid"] or 0)

    def stop(self) -> None:
        """End the services."""
        for running in self._running.values():
            _end(running)
        self._log.close()

    def log(self) -> str:
        """What the services wrote."""
        return (self._directory / "services").read_text("utf-8", "replace")

    def _start(self, name: str, forgets: str = "", out: str = "") -> None:
        is_next = name == NEXT
        listener = out or ("next-out" if is_next else "out")
        address = next(one["address"] for one in self.config["listen"] if one["name"] == listener)
        port = self.url(name).rpartition(":")[2]
        arguments = ["--port", port, "--out", f"http://{address}", "--forgets", forgets]
        if name in WITH_DATABASE:
            arguments += ["--dsn", self.shadow_database if is_next else self.database]
        if is_next:
            arguments += ["--version", "2"]
        module = f"tests.shop.{'checkout' if is_next else name}"
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def _wait(self, name: str) -> None:
        running = self._running[name]

        def is_up() -> bool:
            assert running.poll() is None, f"{name} ended with {running.returncode}: {self.log()}"
            try:
                self._get(self.url(name), "/", status=404)
            except OSError:
                return False
            return True

        eventually(is_up, f"{name} answers", patience_s=30)

    def _get(self, url: str, path: str, *, status: int = 200) -> Any:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == status, body
            return json.loads(body) if status == 200 else None
        finally:
            connection.close()

    def _command(self, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "shadowproxy", *arguments],
            cwd=self._directory, env={**os.environ, "COLUMNS": "150", **environment}, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip


def becomes(seen: Callable[[], Value], wanted: Value) -> None:
    """Wait until something is seen as it is wanted; the failure says what is not."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: seen() == wanted)
    assert seen() == wanted


def _configured() -> Plain:
    """The config of the guide, at ports that are free here."""
    text = CONFIG.read_text(encoding="utf-8")
    for port in (*range(7000, 7003), *range(7010, 7014), 7020, 7021):
        assert text.count(f"127.0.0.1:{port}") == 1
        text = text.replace(f"127.0.0.1:{port}", f"{HOST}:{free_port()}")
    config: Plain = yaml.safe_load(text)
    return config


def _furnished(postgres: PostgresServer) -> str:
    dsn = postgres.create()
    with psycopg.connect(dsn) as connection:
        connection.execute((HERE / "schema.sql").read_bytes())
    return dsn


def _end(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    eventually(lambda: not process.is_alive(running.pid), "the service ended")
