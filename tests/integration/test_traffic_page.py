"""docs/test-traffic.md: its configs load, its codes are the proxy's, and its example does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowproxy.config import load_text
from shadowproxy.config.tenancy import Dialect
from shadowproxy.dataplane.traces import SLOTS
from shadowproxy.policy.tags import BAGGAGE_LIMIT, MEMBERS_LIMIT, NAMELESS
from shadowproxy.policy.tenancy import BODY_LOOKED_AT, READ_METHODS
from tests.kit import Client, Origin, WorkerProxy, answers, network

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "test-traffic.md").read_text()
CONFIGS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_every_config_on_the_page_loads(number: int) -> None:
    """Those that show a part, together with the first."""
    load_text(yaml.safe_dump({**CONFIGS[0], **CONFIGS[number]}))


def test_the_codes_are_those_of_the_proxy() -> None:
    """Each code that the tagged path answers with is in the table, with its status, and no other."""
    shown = set(re.findall(r"^\| (\d{3}) \| `(\w+)`", PAGE, re.MULTILINE)) - {("403", "passport_")}
    code = "".join((ROOT / "shadowproxy" / "dataplane" / f"{name}.py").read_text() for name in ("admission", "gate", "exchange"))
    answered = set(re.findall(r"""_give_up\(\s*(\d{3}), "(\w+)\"""", code)) | set(re.findall(r"""BadRequest\((\d{3}), "(\w+)\"""", code))
    answered |= {(status, name) for status, name in re.findall(r"""_answer\((\d{3}), "(\w+)\"""", code)}
    answered |= {("503", name) for name in re.findall(r"""status, code = 503, "(\w+)\"""", code)}
    answered |= {("409", name) for name in re.findall(r'return "(\w+)",', (ROOT / "shadowproxy" / "policy" / "tenancy.py").read_text())}
    answered |= {("400", "conflicting_tags")}
    assert shown == answered - {("404", "no_route"), ("508", "mirror_loop")}


def test_names_and_numbers_are_as_the_page_says() -> None:
    """Dialects, words that name nobody, methods that read, limits."""
    dialects = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\| (`[a-z`, ]+`) \| ", PAGE.partition("| dialect |")[2].partition("\n\n")[0], re.MULTILINE))
    )
    assert set(dialects) == {str(dialect) for dialect in Dialect}
    nobody = PAGE.partition("whose test it is. ")[2].partition("name nobody")[0]
    assert {word.encode() for word in re.findall(r"`(\w+)`", nobody)} == NAMELESS
    reading = PAGE.partition("The method says which it is: ")[2].partition(" read,")[0]
    assert {word.encode() for word in re.findall(r"[A-Z]+", reading)} == READ_METHODS
    assert (MEMBERS_LIMIT, BAGGAGE_LIMIT, BODY_LOOKED_AT, SLOTS) == (180, 8192, 65536, 16384)


def test_the_first_example() -> None:
    """A sink, a partition, a rule that refuses, and none; users notice nothing."""
    live, test, sink = Origin("live"), Origin("test"), Origin("sink")
    listener = network.listening(reuse_port=True)
    try:
        host, port = network.address_of(listener)
        config: dict[str, Any] = {
            **CONFIGS[0],
            "listen": [{"name": "front", "address": f"{host}:{port}"}],
            "fleets": {"live": {"endpoints": [live.url]}, "test": {"endpoints": [test.url]}},
        }
        proxy = WorkerProxy(yaml.safe_dump(config), {"front": listener}, told={"sinks": {"orders": sink.url}})
        tag = ("X-Test-Traffic", "canary-7")
        with Client((host, port)) as client:
            expected = {"/orders": (200, sink), "/carts": (200, test), "/prices": (409, None), "/else": (409, None)}
            for path, (status, recorder) in expected.items():
                assert client.request("POST", path, tag, body=b"a=1").status == status
                assert recorder is None or recorder.wait_for(path).one("X-Test-Traffic") == "canary-7"
                assert not live.seen(path)
                assert client.request("POST", path, body=b"a=1").status == 200
                assert not live.wait_for(path).has("X-Test-Traffic")
        proxy.stop()
    finally:
        for origin in (live, test, sink):
            origin.stop()
        listener.close()


def test_the_egress_example() -> None:
    """By base URL and as HTTP proxy: what counts as a test is kept from the others, reads and users' calls reach them under their own names."""
    payments, mail, live, sink = Origin("payments"), Origin("mail"), Origin("live"), Origin("sink")
    listener = network.listening(reuse_port=True)
    try:
        host, port = network.address_of(listener)
        (example,) = [config for config in CONFIGS if "egress" in str(config)]
        fleets = {"payments": payments, "mail": mail, "live": live}
        config: dict[str, Any] = {
            **example,
            "listen": [{**example["listen"][0], "address": f"{host}:{port}"}],
            "fleets": {name: {"endpoints": [origin.url]} for name, origin in fleets.items()},
        }
        proxy = WorkerProxy(yaml.safe_dump(config), {"out": listener}, told={"sinks": {"payments": sink.url, "mail": sink.url}})
        tag, mark = ("X-Test-Traffic", "canary-7"), ("X-Shadow-Mirror", "shop/next;by=1")
        # It keeps charges, so it is asked first; this one it knows nothing about.
        sink.on("/payments/charges/1", answers.ok(b"", status=421))
        with Client((host, port)) as client:
            client.request("POST", "/payments/charges", tag, body=b"{}")
            client.request("POST", "/payments/charges", mark, body=b"{}")
            assert [seen.one("X-Test-Traffic") for seen in sink.seen("/payments/charges")] == ["canary-7", "shadow"]
            client.request("GET", "/payments/charges/1", tag)
            assert payments.wait_for("/v1/charges/1").one("Host") == payments.authority
            client.request("POST", "/payments/charges", body=b"{}")
            assert not payments.wait_for("/v1/charges").has("X-Test-Traffic")
            client.request("POST", "http://mail.internal/messages", tag, body=b"{}", host="elsewhere")
            assert sink.wait_for("/messages").one("Host") == "mail.internal"
            client.request("POST", "http://mail.internal/messages", body=b"{}", host="elsewhere")
            assert mail.wait_for("/messages").one("Host") == "mail.internal"
            assert client.request("POST", "http://unknown.internal/", tag, body=b"{}").status == 409
        assert [row["origin"] for row in proxy.rows.values()] == ["tag", "mark", "tag", "tag"]
        assert not live.requests
        proxy.stop()
    finally:
        for origin in (payments, mail, live, sink):
            origin.stop()
        listener.close()
