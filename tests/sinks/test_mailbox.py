"""The e-mail and SMS sinks: take everything, send nothing, show what they took."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadowproxy.config.sinks import Preset
from shadowproxy.sinks.call import Refused
from shadowproxy.sinks.mailbox import Mailbox
from shadowproxy.sinks.shelf import Shelf
from tests.sinks.kit import call


async def told(service: Mailbox, method: str, target: str, **more: Any) -> tuple[int, Any]:
    """Status and body; of a refusal its code."""
    try:
        answer = await service.answer(call(method, target, **more))
    except Refused as refused:
        return refused.status, refused.code
    assert answer is not None
    return answer.status, json.loads(answer.body) if answer.body else None


@pytest.mark.parametrize(("preset", "prefix"), [(Preset.EMAIL, "msg_test_"), (Preset.SMS, "sms_test_")])
async def test_a_message_is_kept_and_shown(preset: Preset, prefix: str) -> None:
    """Accepted at once, listed the newest first, by its tenant only, until it is deleted."""
    service = Mailbox("m", preset, Shelf(), is_asked=False)
    status, first = await told(service, "POST", "/messages", json={"to": "ada@example.com", "text": "hello"})
    assert (status, first["status"], first["id"].startswith(prefix)) == (202, "queued", True)
    await told(service, "POST", "/messages", json={"to": ["bob"], "subject": "again"})
    _, listed = await told(service, "GET", "/messages")
    assert [one["message"]["to"] for one in listed["messages"]] == [["bob"], "ada@example.com"]
    assert (await told(service, "GET", "/messages?limit=1"))[1]["total"] == 2
    assert (await told(service, "GET", f"/messages/{first['id']}"))[1]["message"] == {"to": "ada@example.com", "text": "hello"}
    assert (await told(service, "GET", "/messages", tenant="other"))[1] == {"messages": [], "total": 0}
    assert (await told(service, "DELETE", "/messages", tenant="other"))[0] == 204
    assert (await told(service, "DELETE", f"/messages/{first['id']}"))[0] == 204
    assert await told(service, "DELETE", f"/messages/{first['id']}") == (404, "not_found")
    assert await told(service, "GET", f"/messages/{first['id']}") == (404, "not_found")
    assert (await told(service, "DELETE", "/messages"))[0] == 204
    assert (await told(service, "GET", "/messages"))[1]["total"] == 0


@pytest.mark.parametrize(
    ("target", "more", "kept"),
    [
        ("/v3/mail/send", {"json": {"personalizations": [{"to": [{"email": "a"}]}]}}, {"personalizations": [{"to": [{"email": "a"}]}]}),
        ("/Messages.json", {"body": b"To=%2B47&Body=hi", "Content_Type": "application/x-www-form-urlencoded"}, {"To": "+47", "Body": "hi"}),
        ("/send", {"json": [1, 2]}, [1, 2]),
        ("/raw", {"body": b"From: a\r\n\r\nhi \xff", "Content_Type": "message/rfc822"}, "From: a\r\n\r\nhi \ufffd"),
        ("/empty", {}, ""),
    ],
)
async def test_whatever_the_provider_calls_it(target: str, more: dict[str, Any], kept: Any) -> None:
    """Other providers' paths and bodies are taken as they come."""
    service = Mailbox("m", Preset.EMAIL, Shelf(), is_asked=True)
    assert (await told(service, "POST", target, **more))[0] == 202
    _, listed = await told(service, "GET", "/messages")
    assert [(one["path"], one["message"]) for one in listed["messages"]] == [(target, kept)]


async def test_a_message_to_nobody() -> None:
    """Our own path asks for somebody to send to; broken JSON is refused everywhere."""
    service = Mailbox("m", Preset.EMAIL, Shelf(), is_asked=True)
    for body in ({}, {"to": ""}, [1]):
        assert await told(service, "POST", "/messages", json=body) == (422, "no_recipient")
    assert await told(service, "POST", "/send", body=b"{", Content_Type="application/json") == (400, "bad_json")
    assert await told(service, "GET", "/messages/msg_nobody") == (421, None)
    assert await service.answer(call("GET", "/other")) is None
