"""A ready-made payment service: charges succeed, test cards decline, nothing is charged.

    POST /charges                   {amount, currency, source | card}: 201, or 402 for cards that decline
    POST /charges/{id}/capture      of a charge made with capture: false
    POST /charges/{id}/refunds      {amount}: all that is left if not given; POST /refunds with {charge} is the same
    GET /charges, /charges/{id}, /refunds, /refunds/{id}

Amounts are whole numbers of the currency's smallest unit. `Idempotency-Key` holds: the same request again gets the same answer, another
with the same key 422. Bodies are JSON or forms (`card[number]=...`). Of a card only the last four digits are kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.sinks.call import Answer, Refused, answer_json
from shadowproxy.sinks.notebook import Notebook, fresh_id, now_s
from shadowproxy.sinks.shelf import HIDDEN

if TYPE_CHECKING:
    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.shelf import Shelf

CHARGES: Final = "/charges"
REFUNDS: Final = "/refunds"
KEYS: Final = f"{HIDDEN}idempotency"
KEY_LIMIT: Final = 255
LARGEST_AMOUNT: Final = 99_999_999_999

DECLINES: Final = {
    "4000000000000002": "card_declined",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000009979": "stolen_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
    "tok_chargeDeclined": "card_declined",
    "tok_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "tok_chargeDeclinedExpiredCard": "expired_card",
    "tok_chargeDeclinedIncorrectCvc": "incorrect_cvc",
    "tok_chargeDeclinedProcessingError": "processing_error",
}
"""Numbers and tokens that payment services document for tests, and why they decline."""

_CURRENCY: Final = re.compile(r"[A-Za-z]{3}")
_DIGITS: Final = re.compile(r"[0-9]{1,12}")


class Payment:
    """The charges and refunds of one sink.

    Args:
        name: of the sink.
        shelf: where they are kept.
        is_asked: whether the proxy asks live where the answer is 421.
    """

    def __init__(self, name: str, shelf: Shelf, *, is_asked: bool) -> None:
        self._book = Notebook(name, shelf, is_asked=is_asked)

    async def answer(self, call: Call) -> Answer | None:
        """What `call` is told; None for other paths. Raises as `sink.Responder`."""
        match call.method, call.segments:
            case "GET" | "HEAD", ("charges" | "refunds" as kind,):
                return self._book.listed(call, f"/{kind}", "data")
            case "GET" | "HEAD", ("charges" | "refunds" as kind, key):
                return self._book.shown(call, f"/{kind}", key)
            case "POST", ("charges",):
                return self._once(call, self._charge)
            case "POST", ("charges", key, "capture"):
                return self._once(call, lambda one: self._capture(one, key))
            case "POST", ("charges", key, "refunds"):
                return self._once(call, lambda one: self._refund(one, key))
            case "POST", ("refunds",):
                return self._once(call, lambda one: self._refund(one, str(one.fields().get("charge", ""))))
        return None

    def _once(self, call: Call, act: Any) -> Answer:
        """Do what an idempotency key has not done yet; else repeat what was answered, declines included."""
        key = call.headers.get("idempotency-key", "")
        if not key:
            return _done(act, call)
        if len(key) > KEY_LIMIT or not key.isprintable():
            raise Refused(400, "bad_idempotency_key", f"at most {KEY_LIMIT} visible characters")
        known = self._book.get(call, KEYS, key)
        if known is not None:
            if known["digest"] != call.digest:
                raise Refused(422, "idempotency_key_reused", "this key was used with another request")
            return Answer(known["status"], known["body"].encode(), known["type"], {"Idempotent-Replayed": "true"})
        answer = _done(act, call)
        kept = {"digest": call.digest, "status": answer.status, "type": answer.content_type, "body": answer.body.decode()}
        self._book.put(call, KEYS, key, kept)
        return answer

    def _charge(self, call: Call) -> Answer:
        fields = call.fields()
        amount, currency = fields.get("amount"), fields.get("currency")
        problems = []
        if (cents := _amount(amount)) is None:
            problems.append(("amount", f"must be a whole number from 1 to {LARGEST_AMOUNT}"))
        if not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
            problems.append(("currency", "must be a code of three letters (ISO 4217)"))
        number = _number(fields)
        if not number:
            problems.append(("source", "name a source, a payment_method or a card with its number"))
        if problems or cents is None:
            raise Refused(400, "invalid_request", "; ".join(f"{path} {message}" for path, message in problems), problems=tuple(problems))
        key = fresh_id("ch")
        declined = DECLINES.get(number, "")
        is_captured = fields.get("capture", True) not in (False, "false")
        charge = {
            "id": key,
            "object": "charge",
            "amount": cents,
            "amount_refunded": 0,
            "currency": str(currency).lower(),
            "status": "failed" if declined else "succeeded" if is_captured else "requires_capture",
            "captured": is_captured and not declined,
            "created": now_s(),
            "failure_code": declined or None,
            "last4": number[-4:] if number.isdigit() else None,
            "description": fields.get("description"),
            "metadata": fields.get("metadata") or {},
            "livemode": False,
        }
        self._book.put(call, CHARGES, key, charge)
        if declined:
            return answer_json(402, {"error": {"type": "card_error", "code": declined, "charge": key, "message": "The card was declined."}})
        return answer_json(201, charge, {"Location": f"{CHARGES}/{key}"})

    def _capture(self, call: Call, key: str) -> Answer:
        charge = self._found(call, key)
        if charge["status"] != "requires_capture":
            raise Refused(409, "not_capturable", f"the charge is {charge['status']}")
        return answer_json(200, self._book.put(call, CHARGES, key, charge | {"status": "succeeded", "captured": True}))

    def _refund(self, call: Call, key: str) -> Answer:
        charge = self._found(call, key)
        fields = call.fields() if call.body else {}
        left = charge["amount"] - charge["amount_refunded"]
        amount = left if fields.get("amount") is None else _amount(fields["amount"])
        if charge["status"] != "succeeded" or amount is None or not 1 <= amount <= left:
            raise Refused(
                400,
                "not_refundable",
                f"the charge is {charge['status']}, and {left} of it can be refunded",
                problems=(("amount", "too much"),),
            )
        self._book.put(call, CHARGES, key, charge | {"amount_refunded": charge["amount_refunded"] + amount})
        refund_key = fresh_id("re")
        refund = {
            "id": refund_key,
            "object": "refund",
            "charge": key,
            "amount": amount,
            "currency": charge["currency"],
            "status": "succeeded",
            "created": now_s(),
            "livemode": False,
        }
        return answer_json(201, self._book.put(call, REFUNDS, refund_key, refund), {"Location": f"{REFUNDS}/{refund_key}"})

    def _found(self, call: Call, key: str) -> dict[str, Any]:
        charge = self._book.get(call, CHARGES, key)
        if charge is None:
            raise Refused(404, "not_found", "there is no such charge")
        return charge


def _done(act: Any, call: Call) -> Answer:
    answer = act(call)
    assert isinstance(answer, Answer)
    return answer


def _amount(value: Any) -> int | None:
    """A whole number of the smallest unit, also as a form writes it."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_AMOUNT else None


def _number(fields: dict[str, Any]) -> str:
    """The card's number, or the token that stands for it; empty when there is neither."""
    for name in ("card", "source", "payment_method"):
        value = fields.get(name)
        if isinstance(value, dict):
            value = value.get("number") or value.get("token") or value.get("id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value.strip():
            return re.sub(r"[ -]", "", value.strip()) if value.strip()[0].isdigit() else value.strip()
    return ""
