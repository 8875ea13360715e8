"""What an origin does with a request.

An answer is a callable that takes a `Turn`. Those here cover the ways in which origins behave and
misbehave; a test that needs another writes a function. Unless its sentence says otherwise an answer
reads the whole request first and leaves the connection open for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.origin import Answer, Turn

Pairs = Sequence[tuple[str, str]]


def head(status: int = 200, fields: Pairs = (), *, reason: str = "Reason") -> bytes:
    """A response head, with its empty line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


def ok(body: bytes = b"ok", *, status: int = 200, fields: Pairs = (), pause_s: float = 0.0) -> Answer:
    """An answer with Content-Length, after `pause_s` seconds; none of its body for HEAD."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.pause(pause_s)
        whole = head(status, [*fields, ("Content-Length", str(len(body)))])
        turn.send(whole if turn.request.method == "HEAD" else whole + body)

    return answer


def echo() -> Answer:
    """The request's own body, with Content-Length."""

    def answer(turn: Turn) -> None:
        body = turn.read_body()
        turn.send(head(200, [("Content-Length", str(len(body)))]) + body)

    return answer


def raw(*pieces: bytes) -> Answer:
    """These bytes as they are, a segment each."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(*pieces)

    return answer


def raw_then_close(*pieces: bytes) -> Answer:
    """These bytes, then FIN: a close-delimited answer, or a truncated one."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(*pieces)
        turn.close()

    return answer


def raw_then_reset(*pieces: bytes) -> Answer:
    """These bytes, then RST."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(*pieces)
        turn.pause(0.05)  # RST overtakes what is not read yet; this lets it be read
        turn.reset()

    return answer


def chunked(pieces: Iterable[bytes], *, fields: Pairs = (), trailers: Pairs = (), pause_s: float = 0.0) -> Answer:
    """A chunked answer, a segment each chunk, with `pause_s` seconds before each but the first."""
    kept = list(pieces)

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(head(200, [*fields, ("Transfer-Encoding", "chunked")]))
        for number, piece in enumerate(kept):
            if number:
                turn.pause(pause_s)
            turn.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        turn.send(b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1") + b"\r\n")

    return answer


def interim(*heads: bytes, final: Answer | None = None) -> Answer:
    """Interim heads as soon as the request's head is there, then the final answer (`ok` by default)."""

    def answer(turn: Turn) -> None:
        turn.send(*heads)
        (final or ok())(turn)

    return answer


def early(*pieces: bytes, then_close: bool = False) -> Answer:
    """A whole answer before any of the body was read; the body is read afterwards unless `then_close`."""

    def answer(turn: Turn) -> None:
        turn.send(*pieces)
        if then_close:
            turn.close()

    return answer


def hang() -> Answer:
    """Reads the request and says nothing until the proxy gives up."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.hang()

    return answer


def hang_unread() -> Answer:
    """Reads the head, and then nothing at all, until the origin stops: the peer's writes back up."""

    def answer(turn: Turn) -> None:
        turn.origin.stopping.wait()
        turn.pause(0)

    return answer


def hang_after(*pieces: bytes) -> Answer:
    """These bytes, then silence until the proxy gives up."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(*pieces)
        turn.hang()

    return answer


def reset() -> Answer:
    """RST in answer to a whole request."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.reset()

    return answer


def close() -> Answer:
    """FIN in answer to a whole request, without a byte."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.close()

    return answer


def endless(piece: bytes = b"x" * 65536, *, fields: Pairs = ()) -> Answer:
    """A chunked answer without end, as fast as it is read."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(head(200, [*fields, ("Transfer-Encoding", "chunked")]))
        wire = b"%x\r\n%b\r\n" % (len(piece), piece)
        while True:
            turn.send(wire)

    return answer


def drip(wire: bytes, *, pause_s: float = 0.02) -> Answer:
    """These bytes, one a segment, with a pause before each."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        for at in range(len(wire)):
            turn.pause(pause_s)
            turn.send(wire[at : at + 1])

    return answer


def tunnel(protocol: str = "echo", talk: Callable[[Turn], None] | None = None) -> Answer:
    """101 to an upgrade, then `talk`; by default every byte comes back, and FIN is answered with FIN."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        turn.send(head(101, [("Connection", "Upgrade"), ("Upgrade", protocol)]))
        (talk or _echo_bytes)(turn)
        turn.close()

    return answer


def _echo_bytes(turn: Turn) -> None:
    while received := turn.receive():
        turn.send(received)


def in_turn(*answers: Answer) -> Answer:
    """The first request gets the first answer, and so on; the last one repeats."""
    remaining = list(answers)

    def answer(turn: Turn) -> None:
        (remaining.pop(0) if len(remaining) > 1 else remaining[0])(turn)

    return answer


def by_method(answers: dict[str, Answer], otherwise: Answer | None = None) -> Answer:
    """An answer for each method."""

    def answer(turn: Turn) -> None:
        answers.get(turn.request.method, otherwise or ok())(turn)

    return answer
