"""Ready-made sinks for e-mail and SMS: take every message, keep it, send none.

    POST /messages          202 {id, status: "queued"}; so is a POST to any other path, whatever the provider calls it
    GET /messages           what was "sent", the newest first: {messages: [...], total}
    GET /messages/{id}      one message
    DELETE /messages        forget them
    DELETE /messages/{id}

Bodies may be JSON objects, forms, or anything else, which is kept as text. A POST to /messages itself needs somebody to send to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.sinks import Preset
from shadowproxy.sinks.call import FORM, Answer, Refused, answer_json
from shadowproxy.sinks.notebook import Notebook, fresh_id, now_s

if TYPE_CHECKING:
    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.shelf import Shelf

MESSAGES: Final = "/messages"
PREFIXES: Final = {Preset.EMAIL: "msg", Preset.SMS: "sms"}

RECIPIENTS: Final = ("to", "To", "recipients", "personalizations")


class Mailbox:
    """The messages of one sink.

    Args:
        name: of the sink.
        preset: email or sms.
        shelf: where messages are kept.
        is_asked: whether the proxy asks live where the answer is 421.
    """

    def __init__(self, name: str, preset: Preset, shelf: Shelf, *, is_asked: bool) -> None:
        self._prefix = PREFIXES[preset]
        self._book = Notebook(name, shelf, is_asked=is_asked)

    async def answer(self, call: Call) -> Answer | None:
        """What `call` is told; None for reads of other paths. Raises as `sink.Responder`."""
        head, *rest = call.segments or ("",)
        if head == MESSAGES[1:] and len(rest) <= 1:
            key = rest[0] if rest else ""
            match call.method, bool(key):
                case "GET" | "HEAD", False:
                    return self._book.listed(call, MESSAGES, "messages")
                case "GET" | "HEAD", True:
                    return self._book.shown(call, MESSAGES, key)
                case "DELETE", _:
                    return self._forget(call, key)
        if call.method in ("POST", "PUT"):
            return self._take(call, is_ours=head == MESSAGES[1:])
        return None

    def _take(self, call: Call, *, is_ours: bool) -> Answer:
        message = self._read(call)
        if is_ours and not (isinstance(message, dict) and any(message.get(name) for name in RECIPIENTS)):
            raise Refused(422, "no_recipient", "a message needs somebody to send it to", problems=(("to", "is required"),))
        key = fresh_id(self._prefix)
        self._book.put(call, MESSAGES, key, {"id": key, "status": "queued", "received": now_s(), "path": call.path, "message": message})
        return answer_json(202, {"id": key, "status": "queued"}, {"Location": f"{MESSAGES}/{key}", "X-Message-Id": key})

    def _read(self, call: Call) -> Any:
        if call.content_type == FORM or (call.is_json and call.body):
            return call.fields() if call.content_type == FORM or isinstance(call.json, dict) else call.json
        return call.text

    def _forget(self, call: Call, key: str) -> Answer:
        keys = [key] if key else [str(message["id"]) for message in self._book.all(call, MESSAGES)]
        gone = [one for one in keys if self._book.drop(call, MESSAGES, one)]
        if key and not gone:
            raise Refused(404, "not_found", "there is no such message")
        return Answer(204)
