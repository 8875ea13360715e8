"""The payment sink: charges, declines, refunds, idempotency, and no card number anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadowproxy.sinks.call import Answer, Refused
from shadowproxy.sinks.payment import DECLINES, Payment
from shadowproxy.sinks.shelf import Shelf
from tests.sinks.kit import call

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
CHARGE = {"amount": 1250, "currency": "EUR", "card": {"number": "4242 4242 4242 4242", "exp_month": 1}}


async def told(service: Payment, method: str, target: str, **more: Any) -> tuple[int, Any, Answer | None]:
    """Status, body and answer; of a refusal its code and problems."""
    try:
        answer = await service.answer(call(method, target, **more))
    except Refused as refused:
        return refused.status, (refused.code, [path for path, _ in refused.problems]), None
    assert answer is not None
    return answer.status, json.loads(answer.body) if answer.body else None, answer


async def test_a_charge_succeeds_and_is_there() -> None:
    """201 with an id of no real service, and it can be read, by its tenant."""
    shelf = Shelf()
    service = Payment("p", shelf, is_asked=True)
    status, charge, answer = await told(service, "POST", "/charges", json=CHARGE)
    assert answer is not None
    assert (status, charge["status"], charge["amount"], charge["currency"], charge["livemode"]) == (201, "succeeded", 1250, "eur", False)
    assert charge["id"].startswith("ch_test_")
    assert answer.headers["Location"] == f"/charges/{charge['id']}"
    assert (await told(service, "GET", f"/charges/{charge['id']}"))[:2] == (200, charge)
    assert (await told(service, "GET", "/charges"))[1] == {"data": [charge], "total": 1}
    assert (await told(service, "GET", f"/charges/{charge['id']}", tenant="other"))[0] == 421
    assert (await told(service, "GET", "/charges", tenant="other"))[1] == {"data": [], "total": 0}
    kept = " ".join(item.body or "" for item in shelf.contents("p", "default", 100))
    assert "4242424242424242" not in kept
    assert "4242 4242" not in kept
    assert charge["last4"] == "4242"


@pytest.mark.parametrize(("number", "code"), DECLINES.items())
async def test_test_cards_decline(number: str, code: str) -> None:
    """Each with its reason; the failed charge can be read."""
    service = Payment("p", Shelf(), is_asked=False)
    status, error, _ = await told(service, "POST", "/charges", json=CHARGE | {"card": number})
    assert (status, error["error"]["code"]) == (402, code)
    _, charge, _ = await told(service, "GET", f"/charges/{error['error']['charge']}")
    assert (charge["status"], charge["failure_code"], charge["captured"]) == ("failed", code, False)


async def test_forms_as_payment_clients_send_them() -> None:
    """Numbers are text there, and cards have brackets."""
    service = Payment("p", Shelf(), is_asked=False)
    body = b"amount=700&currency=usd&source[number]=4000000000000002"
    assert (await told(service, "POST", "/charges", body=body, **FORM))[0] == 402
    status, charge, _ = await told(service, "POST", "/charges", body=b"amount=700&currency=usd&source=tok_visa&capture=false", **FORM)
    assert (status, charge["amount"], charge["status"], charge["last4"]) == (201, 700, "requires_capture", None)
    assert (await told(service, "POST", f"/charges/{charge['id']}/refunds"))[0] == 400
    assert (await told(service, "POST", f"/charges/{charge['id']}/capture"))[1]["status"] == "succeeded"
    assert (await told(service, "POST", f"/charges/{charge['id']}/capture"))[0] == 409


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({}, ["amount", "currency", "source"]),
        ({"amount": 0}, ["amount"]),
        ({"amount": -5}, ["amount"]),
        ({"amount": 12.5}, ["amount"]),
        ({"amount": True}, ["amount"]),
        ({"amount": "12.50"}, ["amount"]),
        ({"amount": 10**30}, ["amount"]),
        ({"currency": "EURO"}, ["currency"]),
        ({"currency": None}, ["currency"]),
        ({"card": {}}, ["source"]),
        ({"card": ["4242"]}, ["source"]),
    ],
)
async def test_what_no_processor_would_take(fields: dict[str, Any], places: list[str]) -> None:
    """Every problem is listed."""
    service = Payment("p", Shelf(), is_asked=False)
    status, said, _ = await told(service, "POST", "/charges", json=(CHARGE | fields) if fields else {})
    assert (status, said) == (400, ("invalid_request", places))


async def test_refunds_add_up() -> None:
    """No more than was charged comes back, by either path."""
    service = Payment("p", Shelf(), is_asked=False)
    _, charge, _ = await told(service, "POST", "/charges", json=CHARGE)
    path = f"/charges/{charge['id']}"
    status, refund, _ = await told(service, "POST", f"{path}/refunds", json={"amount": 1000})
    assert (status, refund["amount"], refund["charge"]) == (201, 1000, charge["id"])
    assert (await told(service, "POST", "/refunds", json={"charge": charge["id"], "amount": 251}))[0] == 400
    assert (await told(service, "POST", "/refunds", json={"charge": charge["id"]}))[1]["amount"] == 250
    assert (await told(service, "POST", f"{path}/refunds"))[0] == 400
    assert (await told(service, "GET", path))[1]["amount_refunded"] == 1250
    assert (await told(service, "GET", "/refunds"))[1]["total"] == 2
    assert (await told(service, "GET", f"/refunds/{refund['id']}"))[:2] == (200, refund)
    assert (await told(service, "POST", "/refunds", json={"charge": "ch_nobody"}))[:2] == (404, ("not_found", []))


async def test_an_idempotency_key_charges_once() -> None:
    """The same request gets the same answer; another with the key is refused; tenants do not share keys."""
    service = Payment("p", Shelf(), is_asked=False)
    first = (await told(service, "POST", "/charges", json=CHARGE, Idempotency_Key="k"))[2]
    again = (await told(service, "POST", "/charges", json=CHARGE, Idempotency_Key="k"))[2]
    assert first is not None
    assert again is not None
    assert (again.status, again.body, again.headers["Idempotent-Replayed"]) == (first.status, first.body, "true")
    assert (await told(service, "POST", "/charges", json=CHARGE | {"amount": 1}, Idempotency_Key="k"))[0] == 422
    assert (await told(service, "POST", "/charges", json=CHARGE, Idempotency_Key="k", tenant="b"))[0] == 201
    assert (await told(service, "GET", "/charges"))[1]["total"] == 1
    declined = CHARGE | {"card": "4000000000000002"}
    assert [(await told(service, "POST", "/charges", json=declined, Idempotency_Key="d"))[0] for _ in range(2)] == [402, 402]
    assert (await told(service, "GET", "/charges"))[1]["total"] == 2
    for bad in ("x" * 256, "a\udcffb"):
        assert (await told(service, "POST", "/charges", json=CHARGE, Idempotency_Key=bad))[0] == 400


async def test_bodies_that_are_none() -> None:
    """Neither JSON nor a form; and paths that are not ours."""
    service = Payment("p", Shelf(), is_asked=False)
    assert (await told(service, "POST", "/charges", body=b"<a/>", Content_Type="text/xml"))[0] == 415
    assert (await told(service, "POST", "/charges", body=b"[1]"))[0] == 400
    assert (await told(service, "GET", "/charges?limit=0"))[0] == 400
    assert await service.answer(call("PUT", "/charges")) is None
    assert await service.answer(call("GET", "/balance")) is None
