"""`shadowproxy audit`, whole: a shop of real services behind a real proxy, one of which does what it should not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import psycopg
import pytest

from shadowproxy.cli.main import main
from tests.audit.shop import Shop
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.network import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = ("--route", "checkout", "--settle", "0")


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SHADOWPROXY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("COLUMNS", "200")


@contextmanager
def running(directory: Path, *, lost_tags: str = "retag", **manners: str) -> Iterator[tuple[Shop, SupervisedProxy]]:
    """A shop behind a proxy."""
    with Shop(directory, **manners) as shop, SupervisedProxy(shop.config(lost_tags=lost_tags), directory) as proxy:
        shop.connect(proxy)
        yield shop, proxy


def reach(proxy: SupervisedProxy) -> tuple[str, ...]:
    """How commands find an instance."""
    return "--admin", f"http://{proxy.admin[0]}:{proxy.admin[1]}", "--token-file", str(proxy.directory / "token")


def audit(proxy: SupervisedProxy, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document of an audit."""
    code = main(["audit", *reach(proxy), "--output", "json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def fates(document: dict[str, Any], **wanted: str) -> set[str]:
    """How probes ended."""
    return {one["fate"] for one in document["probes"] if all(one[name] == value for name, value in wanted.items())}


def test_a_shop_that_does_as_it_should_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every route and method ends where its rule says; the processor, and production's database, have got nothing of it."""
    with running(tmp_path) as (shop, proxy):
        junit = tmp_path / "audit.xml"
        code, document = audit(proxy, capsys, "--settle", "0", "--junit", str(junit), "--sql", str(shop.database), "--strict")
        assert code == 0, document["probes"]
        assert document["is_clean"]
        assert fates(document, route="checkout", counts_as="write") == {"partitioned"}
        assert fates(document, route="payments", counts_as="write") == {"sunk"}
        assert fates(document, route="rest", counts_as="write") == {"refused"}
        assert fates(document, counts_as="read") == {"passed"}
        assert document["searched"] == ["production.sqlite"]
        behind = {(call["route"], call["fate"]) for one in document["probes"] if one["route"] == "checkout" for call in one["calls"]}
        assert behind == {("cart", "partitioned"), ("payments", "sunk")}
        assert not shop.paid
        root = ET.parse(junit).getroot()
        assert [suite.get("name") for suite in root] == ["checkout", "cart", "payments", "rest"]
        assert {suite.get("failures") for suite in root} == {"0"}
        assert main(["leaks", *reach(proxy)]) == 0
        # The same question again: the same answer, whatever the first has left.
        again = audit(proxy, capsys, "--settle", "0")[1] if capsys.readouterr() else {}
        assert [(one["label"], one["fate"]) for one in again["probes"]] == [(one["label"], one["fate"]) for one in document["probes"]]


@pytest.mark.parametrize("lost_tags", ["retag", "refuse"])
def test_a_service_that_forgets_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], lost_tags: str) -> None:
    """The proxy kept the processor from harm, and the audit fails all the same, until that is allowed."""
    with running(tmp_path, lost_tags=lost_tags, cart="forgets") as (shop, proxy):
        code, document = audit(proxy, capsys, *CHECKOUT, "--method", "POST")
        assert code == 1
        assert document["dropped_by"] == ["cart"]
        assert fates(document) == {"partitioned"}
        assert "cart dropped the tag of POST" in document["probes"][0]["failures"][0]
        assert not shop.paid
        code, document = audit(proxy, capsys, *CHECKOUT, "--method", "POST", "--allow-retagged")
        assert code == 0
        assert document["dropped_by"] == ["cart"]
        assert main(["leaks", *reach(proxy), "--service", "cart"]) == 1
        assert "cart dropped the tag of 4 calls" in capsys.readouterr().out
        assert main(["leaks", *reach(proxy), "--trace", document["probes"][0]["trace"]]) == 1
        assert "cart dropped the tag of 1 call\n" in capsys.readouterr().out
        assert main(["leaks", *reach(proxy), "--service", "checkout"]) == 0
        assert main(["status", *reach(proxy)]) == 0
        assert "lost tags: 4 calls of tagged traces had no tag, dropped by cart" in capsys.readouterr().out


def test_the_first_that_forgets_is_to_blame_for_what_got_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls are only reported: they reach the processor. Cart did as it should, it was not told; checkout is named, by both commands."""
    with running(tmp_path, lost_tags="report", checkout="forgets") as (shop, proxy):
        mailbox = f"http://{HOST}:{shop.ports['payments']}/paid"
        code, document = audit(proxy, capsys, *CHECKOUT, "--method", "POST", "--search", mailbox, "--allow-retagged")
        assert code == 1
        assert len(shop.paid) == 2
        assert document["dropped_by"] == ["checkout"]
        assert fates(document) == {"leaked"}
        failures = document["probes"][0]["failures"]
        assert failures[0].endswith("/cart/items (checkout dropped the tag)")
        assert failures[1].endswith("/payments/charges (because checkout dropped the tag)")
        assert failures[2] == f"leaked to {mailbox} (from the body)"
        assert main(["leaks", *reach(proxy)]) == 1
        assert "checkout dropped the tag of 2 calls, and 2 calls of others had none because of that" in capsys.readouterr().out
        assert main(["audit", *reach(proxy), *CHECKOUT, "--method", "POST"]) == 1
        text = capsys.readouterr().out
        assert "LEAKED to" in text
        assert text.rstrip().endswith("2 probes: 2 LEAKED; 2 FAILED")


def test_a_service_that_loses_the_trace_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tag is there, so that no harm is done; the row is the probe's, as it has the very body that the probe had."""
    with running(tmp_path, cart="wanders") as (shop, proxy):
        code, document = audit(proxy, capsys, "--settle", "0", "--route", "cart", "--method", "POST", "--method", "DELETE")
        assert code == 0
        assert not shop.paid
        posted, _, deleted = document["probes"]
        assert posted["calls"] == deleted["calls"] == []
        assert "a service lost the trace: POST " in posted["remarks"][0]
        assert [(one["route"], one["fate"]) for one in document["orphans"]] == [("payments", "sunk")]


def test_a_service_that_calls_it_another_tenants_test_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its writes go to another tenant's data."""
    with running(tmp_path, cart="renames") as (_, proxy):
        code, document = audit(proxy, capsys, *CHECKOUT, "--method", "POST")
        assert code == 1
        assert "as a test of somebody: a service changed whose it is" in document["probes"][0]["failures"][0]


def test_sabotage_is_found_in_sqlite(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service passes the tag on as it should and writes to production's tables all the same: only a look into them finds that."""
    with running(tmp_path, cart="meddles") as (shop, proxy):
        assert audit(proxy, capsys, *CHECKOUT, "--method", "POST")[0] == 0
        monkeypatch.setenv("PRODUCTION", str(shop.database))
        code, document = audit(proxy, capsys, *CHECKOUT, "--method", "POST", "--sql", "env:PRODUCTION")
        assert code == 1
        assert document["probes"][0]["failures"] == [
            "leaked to production.sqlite: orders.note (from the body)",
            "leaked to production.sqlite: orders.seen (from the body)",
        ]
        assert document["dropped_by"] == []


class _Meddler:
    """A service that writes the body of every request to PostgreSQL, in production's table."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def __call__(self, turn: Any) -> None:
        body = turn.read_body()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO orders (said) VALUES (jsonb_build_object('raw', %s::text))", [body.decode()])
        turn.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def test_sabotage_is_found_in_postgres(tmp_path: Path, capsys: pytest.CaptureFixture[str], database: str) -> None:
    """The same, with PostgreSQL: the table, the column, and the part of the probe are told; of the DSN only the name."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (said jsonb)")
    origin = Origin("live")
    origin.answer = _Meddler(database)
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [origin.url]}},
        "routes": [
            {"name": "orders", "match": {"path": "/"}, "live": "live", "test_traffic": {"writes": {"partition": {"headers": {"X-T": "1"}}}}}
        ],
    }
    try:
        with SupervisedProxy(config, tmp_path) as proxy:
            code, document = audit(proxy, capsys, "--settle", "0", "--method", "POST", "--sql", database)
    finally:
        origin.stop()
    assert code == 1
    assert [one["failures"] for one in document["probes"]] == [["leaked to public.orders.said (from the body)"]] * 2
    assert document["searched"] == [f"PostgreSQL {database.rpartition('/')[2]}"]


def test_signed_listeners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key they are not asked, which strict makes a failure; with it they are; with a wrong one that is told."""
    key, wrong = tmp_path / "passport.key", tmp_path / "wrong.key"
    key.write_text("a passport key has at least thirty-two bytes\n")
    wrong.write_text("another passport key with thirty-two bytes and more\n")
    for one in (key, wrong):
        one.chmod(0o600)
    origin = Origin("live")
    config = {
        "listen": [{"name": "front", "trust": "signed"}],
        "fleets": {"live": {"endpoints": [origin.url]}},
        "routes": [{"name": "orders", "match": {"path": "/"}, "live": "live"}],
        "tenancy": {"passports": {"keys": {"ci": {"file": str(key)}}}},
    }
    signed = ("--key-id", "ci", "--passport-key-file")
    try:
        with SupervisedProxy(config, tmp_path) as proxy:
            code, document = audit(proxy, capsys, "--settle", "0", "--strict")
            assert (code, document["probes"], len(document["skipped"])) == (1, [], 1)
            code, document = audit(proxy, capsys, "--settle", "0", *signed, str(key))
            assert code == 0, document["probes"]
            assert fates(document, counts_as="write") == {"refused"}
            code, document = audit(proxy, capsys, "--settle", "0", "--method", "GET", *signed, str(wrong))
            assert code == 1
            assert document["probes"][0]["failures"][0].startswith("refused (passport_")
    finally:
        origin.stop()


def test_writes_to_live_are_sent_only_if_one_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By default nothing that changes anything reaches it."""
    origin = Origin("live")
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [origin.url]}},
        "routes": [{"name": "legacy", "match": {"path": "/legacy"}, "live": "live", "test_traffic": {"writes": "live"}}],
    }
    try:
        with SupervisedProxy(config, tmp_path) as proxy:
            code, document = audit(proxy, capsys, "--settle", "0")
            assert code == 0
            assert {one["method"] for one in document["probes"]} == {"GET"}
            assert {seen.method for seen in origin.seen("/legacy")} == {"GET"}
            code, document = audit(proxy, capsys, "--settle", "0", "--include-live", "--method", "POST")
            assert code == 0
            assert fates(document) == {"passed"}
    finally:
        origin.stop()


def test_written_probes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's requests are sent in place of what would be made up, and a sink that validates gets what it wants."""
    file = tmp_path / "probes.yaml"
    file.write_text('payments: {method: POST, path: /payments/charges, json: {amount: 100, note: "{{honey}}"}}\n')
    with running(tmp_path) as (_, proxy):
        code, document = audit(proxy, capsys, "--settle", "0", "--probes", str(file), "--route", "payments")
        assert code == 0
        assert [one["label"] for one in document["probes"]] == ["POST /payments/charges (JSON)"]


def test_list_sends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the instance's config, or with a file and no instance at all."""
    with running(tmp_path) as (_, proxy):
        assert main(["audit", *reach(proxy), "--list"]) == 0
        text = capsys.readouterr().out
        assert "DELETE /checkout/{{honey}}" in text
        assert "32 probes, none sent" in text
        assert proxy.api("GET", "/api/v1/ledger").json()["rows"] == []
    assert main(["audit", "-c", str(proxy.file), "--list", "--route", "payments", "--method", "POST", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["expected"], one["to"], one["method"]) for one in document["probes"]] == [("sunk", "payments", "POST")] * 2
    assert document["probes"][0]["host"].startswith("127.0.0.1:")


def test_listeners_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A listener that is reached another way is asked there; one that nothing answers at is told, and fails."""
    with running(tmp_path) as (_, proxy):
        host, port = proxy.address("front")
        code, document = audit(proxy, capsys, *CHECKOUT, "--at", f"front=http://{host}:{port}", "--method", "GET")
        assert code == 0
        code, document = audit(proxy, capsys, *CHECKOUT, "--at", f"front=http://{HOST}:{free_port()}", "--method", "GET")
        assert code == 1
        assert document["probes"][0]["failures"] == ["unanswered: connection refused"]


def test_what_cannot_be_audited_is_said_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 1, and no probe."""
    told = {
        ("--route", "chekout"): "no route is called 'chekout': there are",
        ("--at", "back=http://127.0.0.1:1"): "no listener is called 'back'",
        ("--sql", "/nowhere/x.sqlite"): "/nowhere/x.sqlite: no such file",
        ("--sql", "env:NOT_THERE"): "the environment has no NOT_THERE",
        ("--search", f"http://{HOST}:{free_port()}/"): "refused",
        ("--probes", "/nowhere/probes.yaml"): "cannot be read",
        ("--passport-key-file", "/nowhere/key", "--key-id", "k"): "/nowhere/key: No such file",
        ("--ca", "/nowhere/ca.pem"): "certificates cannot be used",
        ("-c", "/nowhere/config.yaml"): "cannot be read",
    }
    origin = Origin("live")
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [origin.url]}},
        "routes": [{"name": "checkout", "live": "live"}],
    }
    try:
        with SupervisedProxy(config, tmp_path) as proxy:
            for arguments, problem in told.items():
                assert main(["audit", *reach(proxy), *arguments]) == 1
                assert problem in capsys.readouterr().err
            with Client(proxy.address("front")) as client:
                client.get("/only")
            assert [seen.target for seen in origin.seen("/only")] == ["/only"]
            assert not origin.seen("/")
    finally:
        origin.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key-id", "k"),
        ("--at", "front"),
        ("--at", "front=ftp://x"),
        ("--tenant", "true"),
        ("--tenant", "a b"),
        ("--tenant", ""),
        ("--timeout", "-1"),
    ],
)
def test_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, with what is wrong."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit 4, as of every command that needs an instance."""
    token = tmp_path / "token"
    token.write_text("x" * 32)
    assert main(["audit", "--admin", f"http://{HOST}:{free_port()}", "--token-file", str(token)]) == 4


def test_psycopg_is_asked_for_by_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the extra, one line says how to get it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "psycopg" else find(name, *rest))
    with running(tmp_path) as (_, proxy):
        assert main(["audit", *reach(proxy), "--sql", "postgresql://x/y"]) == 1
    assert "pip install 'shadowproxy[postgres]'" in capsys.readouterr().err


DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    """Every command of docs/audit.md, as it stands there, but for the address of a page; each finds the instance by itself."""
    blocks = re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["list", "probes.yaml", "probes", "search", "ci", "leaks"]
    with running(tmp_path) as (shop, _):
        for name, text in blocks:
            if "." in name:
                (tmp_path / name).write_text(text)
                continue
            command = text.replace("http://127.0.0.1:8025/mails", f"http://{HOST}:{shop.ports['payments']}/paid")
            script = f'shadowproxy() {{ "{sys.executable}" -m shadowproxy "$@"; }}\n{command}'
            done = subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    assert json.loads((tmp_path / "audit.json").read_text())["is_clean"]
    assert ET.parse(tmp_path / "audit.xml").getroot().tag == "testsuites"
