"""What a client gets in place of an answer that nobody gave: a made-up one, or none.

The request's body may still be on its way: then the connection ends behind the answer, and what comes is read and
discarded (RFC 9112 section 9.6), never taken for a next request (CVE-2019-20372).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.problem import problem

MARK_NAME: Final = b"X-Shadowproxy-Fault: "
MARK_LINE: Final = MARK_NAME + b"%b;%b\r\n"
"""Which experiment did what to an answer."""

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = (204, 205, 304)


def give_answer(exchange: Exchange, status: int, mark: bytes, lines: bytes, body: bytes, *, code: str, counted: int = 0) -> None:
    """End an exchange with a made-up answer; a problem document where it is an error with neither fields nor body of its own.

    Args:
        exchange: nothing of an answer has been sent for it.
        status: 200 to 599.
        mark: the line that says that it is made up.
        lines: further field lines, each with CRLF; none that frames the answer.
        body: of the answer; it is left out where HEAD or the status want none.
        code: what the access log calls it.
        counted: the status that the run counts it under, where it is not `status`.
    """
    client = exchange.client
    worker = client.worker
    exchange.injected(counted or status)
    client.exchange = None
    request = exchange.head
    if not exchange.is_request_done or not request.is_keep_alive or worker.is_draining:
        client.is_last = True
    if request.is_http10 and not client.is_last:
        mark += b"Connection: keep-alive\r\n"
    is_head = exchange.method == b"HEAD"
    if status >= 400 and not lines and not body:
        detail = "an experiment made this answer up"
        wire = problem(status, code, detail, date_line=worker.date_line, is_last=client.is_last, is_head=is_head, extra=mark)
    else:
        wire = b"HTTP/1.1 %d %b\r\nServer: shadowproxy\r\n%b%b%b%b%b\r\n%b" % (
            status,
            _PHRASES.get(status, "Made Up").encode(),
            worker.date_line,
            mark,
            lines,
            b"" if status in (204, 304) else b"Content-Length: %d\r\n" % (0 if status == 205 else len(body)),
            b"Connection: close\r\n" if client.is_last else b"",
            b"" if is_head or status in _BODILESS else body,
        )
    exchange.sent += len(wire)
    client.transport.write(wire)
    if worker.access_sample:
        worker.log_refusal(client, exchange, status, code)
    client.after_local_answer()


def give_nothing(exchange: Exchange, ended: int, *, is_reset: bool, is_half: bool) -> None:
    """End an exchange, and with it the client's connection, without an answer.

    Answers to earlier requests that are still on their way arrive: a reset waits for nothing, so it is none where they would be lost.

    Args:
        exchange: nothing of an answer has been sent for it.
        ended: the outcome that it is counted under.
        is_reset: by a reset.
        is_half: only our side ends; what the client still sends is read for a while.
    """
    client = exchange.client
    worker = client.worker
    exchange.injected(ended)
    client.exchange = None
    client.is_last = True
    if worker.access_sample:
        worker.log_refusal(client, exchange, 0, "injected_reset" if is_reset else "injected_close")
    if is_half:
        client.after_local_answer()
    else:
        worker.requests += 1
        client.break_off(is_framed=not is_reset or client.transport.get_write_buffer_size() > 0)
