"""Gates for roll-out controllers, asked as those ask: Argo Rollouts' web provider, Flagger's webhooks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shadowproxy.control.admin import gates, openapi
from shadowproxy.control.admin.openapi import SCHEMAS
from shadowproxy.control.places import gate_token
from shadowproxy.judge.verdict import Outcome

if TYPE_CHECKING:
    from shadowproxy.judge.verdict import Verdict
    from tests.control.conftest import Api

ARGO = "/api/v1/gates/argo"
FLAGGER = "/api/v1/gates/flagger"


def says(api: Api, monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome, revisions: tuple[str, ...] = ()) -> None:
    """Let the judge say that of mirrors `all/shadow`, `all/shadow1`..."""
    (real,) = list(api.supervisor.judging.verdicts())
    made = [
        replace(
            real, verdict=outcome, mirror=f"shadow{at or ''}", summary=f"it is {outcome}", revisions={"live": ("1",), "shadow": revisions}
        )
        for at, outcome in enumerate(outcomes)
    ]

    def verdicts(route: str | None = None, mirror: str | None = None) -> list[Verdict]:
        return [one for one in made if route in {None, one.route} and mirror in {None, one.mirror}]

    monkeypatch.setattr(api.supervisor.judging, "verdicts", verdicts)


def token_of(api: Api) -> str:
    """The gate token."""
    assert api.supervisor.token is not None
    return gate_token(api.supervisor.token.digest)


def payload(**metadata: str) -> dict[str, Any]:
    """What Flagger posts."""
    return {"name": "podinfo", "namespace": "test", "phase": "Progressing", "checksum": "85d557f47b", "metadata": metadata}


@pytest.mark.parametrize(("outcome", "value"), [(Outcome.SAFE, 1), (Outcome.UNDECIDED, 0), (Outcome.REGRESSION, -1), (Outcome.INVALID, -2)])
async def test_argo_gets_a_number_and_two_flags(api: Api, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, value: int) -> None:
    """Positive is go, zero wait, negative stop; always 200, as the web provider takes anything else for an error."""
    says(api, monkeypatch, outcome)
    status, _, document = await api("GET", f"{ARGO}?route=all")
    assert status == 200
    jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Gate", "components": {"schemas": SCHEMAS}}).validate(document)
    assert (document["verdict"], document["value"]) == (str(outcome), value)
    assert (document["success"], document["failure"]) == (value > 0, value < 0)
    assert document["summary"] == f"all/shadow is {outcome}: it is {outcome}"


async def test_the_worst_mirror_counts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless one is chosen."""
    says(api, monkeypatch, Outcome.SAFE, Outcome.UNDECIDED, Outcome.REGRESSION)
    assert (await api("GET", ARGO))[2]["verdict"] == "REGRESSION"
    assert len((await api("GET", ARGO))[2]["mirrors"]) == 3
    assert (await api("GET", f"{ARGO}?mirror=shadow1"))[2]["verdict"] == "UNDECIDED"
    assert (await api("GET", f"{ARGO}?route=all&mirror=shadow"))[2]["verdict"] == "SAFE"


async def test_a_real_mirror_without_pairs_is_undecided(api: Api) -> None:
    """Nothing was measured: neither success nor failure."""
    document = (await api("GET", f"{ARGO}?route=all"))[2]
    assert (document["value"], document["success"], document["failure"]) == (0, False, False)


@pytest.mark.parametrize("query", ["?route=none", "?mirror=none", "?route=all&mirror=none"])
async def test_a_mirror_that_is_not_there_opens_nothing(api: Api, query: str) -> None:
    """A misspelt name must not pass for success."""
    assert (await api("GET", ARGO + query))[0] == 404
    assert (await api("POST", f"{FLAGGER}{query}&hook=rollout", payload()))[0] == 404
    assert (await api("POST", f"{FLAGGER}{query}&hook=event", payload()))[0] == 404


@pytest.mark.parametrize(
    ("seen", "asked", "counts"), [(("2",), "2", True), (("1",), "2", False), (("1", "2"), "2", False), ((), "2", False)]
)
async def test_only_evidence_about_the_build_that_is_rolled_out_counts(
    api: Api, monkeypatch: pytest.MonkeyPatch, seen: tuple[str, ...], asked: str, counts: bool
) -> None:
    """SAFE of yesterday's build does not open today's gate, and its REGRESSION does not stop it."""
    for outcome in (Outcome.SAFE, Outcome.REGRESSION):
        says(api, monkeypatch, outcome, revisions=seen)
        document = (await api("GET", f"{ARGO}?revision={asked}"))[2]
        assert document["verdict"] == (str(outcome) if counts else "UNDECIDED")


async def test_nothing_is_safe_while_the_kill_switch_is_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A regression stays one."""
    await api("POST", "/api/v1/kill")
    says(api, monkeypatch, Outcome.SAFE)
    assert (await api("GET", ARGO))[2]["verdict"] == "UNDECIDED"
    says(api, monkeypatch, Outcome.REGRESSION)
    assert (await api("GET", ARGO))[2]["verdict"] == "REGRESSION"


OPEN = {
    "confirm-rollout": {"SAFE"}, "confirm-traffic-increase": {"SAFE"}, "confirm-promotion": {"SAFE"}, "pre-rollout": {"SAFE", "UNDECIDED"},
    "rollout": {"SAFE", "UNDECIDED"}, "rollback": {"REGRESSION"}, "post-rollout": {"SAFE", "UNDECIDED", "REGRESSION", "INVALID"},
    "event": {"SAFE", "UNDECIDED", "REGRESSION", "INVALID"},
}  # fmt: skip


@pytest.mark.parametrize("hook", OPEN)
async def test_flaggers_hooks(api: Api, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """Confirmations wait for SAFE, roll-outs go on without a regression, a rollback needs one, and nothing stops what only tells."""
    for outcome in Outcome:
        says(api, monkeypatch, outcome)
        status, headers, text = await api("POST", f"{FLAGGER}?hook={hook}&route=all", payload())
        assert status == (200 if str(outcome) in OPEN[hook] else 409), (hook, outcome)
        assert headers["Content-Type"].startswith("text/plain")
        assert f"all/shadow is {outcome}" in text
    assert set(gates.HOOKS) == set(OPEN) == set(openapi._HOOKS)


async def test_what_a_waiting_hook_requires_can_be_chosen(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """By query or metadata; the query counts more. A rollback cannot be made to mean something else."""
    says(api, monkeypatch, Outcome.UNDECIDED)
    assert (await api("POST", f"{FLAGGER}?hook=confirm-rollout&require=no-regression", payload()))[0] == 200
    assert (await api("POST", FLAGGER, payload(hook="rollout", require="safe")))[0] == 409
    assert (await api("POST", f"{FLAGGER}?require=no-regression", payload(hook="rollout", require="safe")))[0] == 200
    for bad in ("hook=rollback&require=safe", "hook=rollout&require=always", "hook=event&require=safe", "hook=rollout&require="):
        assert (await api("POST", f"{FLAGGER}?{bad}", payload()))[0] == 400


@pytest.mark.parametrize(
    "body", [b"[]", b"nonsense", b'"x"', b"[" * 60000, b"\xff", b'{"metadata": []}', b'{"metadata": {"hook": 5}}', b""]
)
async def test_a_payload_that_is_none_opens_nothing(api: Api, body: bytes) -> None:
    """400, whatever it is; without a hook as well."""
    assert (await api("POST", FLAGGER, body))[0] == 400


async def test_the_token_may_stand_in_the_payload(api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Flagger sends no header fields of one's choice. It opens with either token, and neither is logged."""
    says(api, monkeypatch, Outcome.SAFE)
    for token in (token_of(api), api.token):
        assert (await api("POST", f"{FLAGGER}?hook=rollout", payload(token=token), token=""))[0] == 200
    for wrong in ({"token": "wrong"}, {"token": ""}, {}):
        assert (await api("POST", f"{FLAGGER}?hook=rollout", payload(**wrong), token=""))[0] == 401
    written = caplog.text + json.dumps(api.supervisor.audit.latest(100))
    assert token_of(api) not in written
    assert api.token not in written


async def test_a_header_beats_the_payload(api: Api) -> None:
    """A wrong one is wrong, whatever the payload says."""
    assert (await api("POST", f"{FLAGGER}?hook=event", payload(token=api.token), token="wrong"))[0] == 401


async def test_the_gate_token_opens_gates_and_nothing_else(api: Api) -> None:
    """Not to be found out from, or used in place of, the token of the API."""
    token = token_of(api)
    assert (await api("GET", ARGO, token=token))[0] == 200
    for path in ("/api/v1/status", "/api/v1/verdict", "/api/v1/config", "/api/v1/gates", "/api/v1/gatesx"):
        assert (await api("GET", path, token=token))[0] == 401
    assert (await api("POST", "/api/v1/kill", payload(token=api.token), token=""))[0] == 401
    assert (await api("POST", "/api/v1/kill", token=token))[0] == 401
    assert not api.supervisor.switch.is_on
    assert api.token not in token


@pytest.mark.parametrize(
    "path",
    ["gates/../status", "gates/%2e%2e/status", "gates%2f..%2fstatus", "gates/..%2fstatus", "gates//../status", "gates/%2e%2e%2fstatus"],
)
async def test_no_spelling_of_a_path_makes_a_gate_of_what_is_none(api: Api, path: str) -> None:
    """The guard and the router read a path the same way, or what they disagree on is not there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.supervisor.admin_address.port)
    lines = f"GET /api/v1/{path} HTTP/1.1", f"Host: 127.0.0.1:{api.supervisor.admin_address.port}", f"Authorization: Bearer {token_of(api)}"
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
    answer = await reader.read()
    assert answer.split(b" ")[1] in {b"401", b"404"}
    assert b"uptime" not in answer
    writer.close()
    await writer.wait_closed()


async def test_gates_are_asked_by_any_name(api: Api) -> None:
    """A service name of the cluster is not one that we know; without the token it opens nothing, and elsewhere it is refused."""
    host = "shadowproxy.proxy.svc.cluster.local:9901"
    assert (await api("GET", ARGO, Host=host))[0] == 200
    assert (await api("GET", ARGO, Host=host, token=""))[0] == 401
    assert (await api("GET", "/api/v1/status", Host=host))[0] == 421


async def test_pages_of_others_cannot_ask(api: Api) -> None:
    """A browser is no controller."""
    assert (await api("POST", f"{FLAGGER}?hook=event", payload(token=api.token), token="", Origin="http://evil.example"))[0] == 403
    assert (await api("POST", f"{FLAGGER}?hook=event", b"{}", Content_Type="text/plain"))[0] == 415


async def test_strangers_cannot_make_us_hold_much(api: Api) -> None:
    """A payload is bounded before the token is looked at, with a length or without."""
    big = b'{"metadata": {"token": "' + b"x" * gates.PAYLOAD_LIMIT + b'"}}'
    assert (await api("POST", FLAGGER, big, token=""))[0] == 413
    reader, writer = await asyncio.open_connection("127.0.0.1", api.supervisor.admin_address.port)
    writer.write(f"POST {FLAGGER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    writer.write(b"8000\r\n" + b" " * 0x8000 + b"\r\n" + b"8001\r\n" + b" " * 0x8001 + b"\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_strangers_cannot_make_us_wait(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload that does not come ends with 408."""
    monkeypatch.setattr(gates, "PAYLOAD_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.supervisor.admin_address.port)
    writer.write(f"POST {FLAGGER} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n".encode())
    assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
