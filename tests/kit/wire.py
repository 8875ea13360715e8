"""Requests and responses off a socket, read by h11, with a fresh parser for every message.

`pull` is how bytes arrive: a callable that blocks and returns b"" at the end of the stream. What h11
refuses is a WireError; a stream that ends inside a message is Truncated. Between messages bytes that
were read too far are kept, so that pipelining and tunnels lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h11

Pull = Callable[[], bytes]
Fields = tuple[tuple[str, str], ...]

_INCOMPLETE = 8 * 1024 * 1024


class WireError(Exception):
    """A peer sent what h11 refuses."""


class Truncated(WireError):
    """A stream ended, or was reset, inside a message."""


@dataclass(slots=True)
class Seen:
    """One request as an origin read it. Text is Latin-1, so that every byte shows as one character."""

    connection: int
    method: str
    target: str
    version: str
    fields: Fields
    body: bytes = b""
    body_bytes: int = 0
    trailers: Fields = ()
    is_complete: bool = False

    def all(self, name: str) -> list[str]:
        """Values of every line of the field `name`, in order."""
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def has(self, name: str) -> bool:
        """Whether the field is present."""
        return bool(self.all(name))

    def one(self, name: str) -> str:
        """The value of a field that must be there exactly once."""
        values = self.all(name)
        assert len(values) == 1, f"{name} is there {len(values)} times in {self.fields}"
        return values[0]


@dataclass(slots=True)
class Response:
    """One answer as the client read it."""

    status: int
    reason: str
    version: str
    fields: Fields
    body: bytes = b""
    trailers: Fields = ()
    interim: list[Response] = field(default_factory=list)
    is_close_delimited: bool = False

    def all(self, name: str) -> list[str]:
        """Values of every line of the field `name`, in order."""
        return [value for known, value in self.fields if known.lower() == name.lower()]

    def has(self, name: str) -> bool:
        """Whether the field is present."""
        return bool(self.all(name))

    def one(self, name: str) -> str:
        """The value of a field that must be there exactly once."""
        values = self.all(name)
        assert len(values) == 1, f"{name} is there {len(values)} times in {self.fields}"
        return values[0]


class RequestReader:
    """Requests of one connection, one after the other: `head`, then `body` to its end, then `head` again."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._parser = h11.Connection(h11.SERVER)
        self.rest = b""
        """Bytes behind the last message that was read: the next one's, or a tunnel's."""
        self.trailers: Fields = ()

    def head(self) -> h11.Request | None:
        """The next request's head; None where the stream ends between messages.

        Raises:
            Truncated: it ends inside the head.
            WireError: h11 refuses it.
        """
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_INCOMPLETE)
        has_begun = bool(self.rest)
        if self.rest:
            self._parser.receive_data(self.rest)
            self.rest = b""
        is_ended = False
        while True:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as problem:
                raise (Truncated if is_ended else WireError)(str(problem)) from problem
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                if has_begun:
                    raise Truncated("the stream ended inside a head")
                return None
            received = self._pull()
            has_begun = has_begun or bool(received)
            is_ended = not received
            self._parser.receive_data(received)

    def body(self) -> Iterator[bytes]:
        """The body of the request whose head was read last; `trailers` and `rest` are set when it is done.

        Raises:
            Truncated: the stream ends inside the body.
            WireError: h11 refuses the framing.
        """
        is_ended = False
        while True:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as problem:
                raise (Truncated if is_ended else WireError)(str(problem)) from problem
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.trailers = fields_of(event.headers)
                self.rest = bytes(self._parser.trailing_data[0])
                return
            else:
                received = self._pull()
                is_ended = not received
                self._parser.receive_data(received)


class ResponseReader:
    """Responses of one connection, in order."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self.rest = b""
        """Bytes behind the last response: the next one's, or a tunnel's."""

    def read(self, method: str = "GET", *, version: str = "1.1", upgrade: str = "") -> Response:
        """The next final response, with the interim ones before it.

        Args:
            method: of the request that is answered; HEAD has no body, CONNECT may open a tunnel.
            version: of that request.
            upgrade: what it asked to upgrade to; only then is a 101 legal.

        Raises:
            Truncated: the stream ends before the response does.
            WireError: h11 refuses it.
        """
        stream = self.stream(method, version=version, upgrade=upgrade)
        response = next(stream)
        assert isinstance(response, Response)
        for piece in stream:
            assert isinstance(piece, bytes)
            response.body += piece
        return response

    def stream(self, method: str = "GET", *, version: str = "1.1", upgrade: str = "") -> Iterator[Response | bytes]:
        """The next final response as soon as its head is there, then its body piece by piece.

        Args and Raises are those of `read`.
        """
        parser = _asking(method, version, upgrade)
        if self.rest:
            parser.receive_data(self.rest)
            self.rest = b""
        interim: list[Response] = []
        response: Response | None = None
        is_ended = False
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as problem:
                raise (Truncated if is_ended else WireError)(str(problem)) from problem
            if isinstance(event, h11.InformationalResponse):
                interim.append(_response(event))
                if event.status_code == 101:
                    self.rest = bytes(parser.trailing_data[0])
                    response = interim.pop()
                    response.interim = interim
                    yield response
                    return
            elif isinstance(event, h11.Response):
                response = _response(event)
                response.interim = interim
                yield response
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                response.trailers = fields_of(event.headers)
                response.is_close_delimited = is_ended
                self.rest = bytes(parser.trailing_data[0])
                return
            elif event is h11.NEED_DATA:
                if is_ended:
                    raise Truncated("the stream ended before the response did")
                try:
                    received = self._pull()
                except ConnectionError as problem:
                    raise Truncated(f"the stream was reset: {problem}") from problem
                is_ended = not received
                parser.receive_data(received)
            else:
                raise Truncated(f"the stream ended before the response did ({event})")


def fields_of(headers: h11._headers.Headers) -> Fields:
    """Fields as text, with the letter case that was sent."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw_items())


def seen_of(request: h11.Request, connection: int) -> Seen:
    """A request head as an origin's record."""
    return Seen(
        connection=connection,
        method=request.method.decode("latin-1"),
        target=request.target.decode("latin-1"),
        version=request.http_version.decode("latin-1"),
        fields=fields_of(request.headers),
    )


def _asking(method: str, version: str, upgrade: str) -> h11.Connection:
    """A client parser that believes it has sent the request, because h11 frames answers by what was asked."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_INCOMPLETE)
    fields = [("Host", "h")]
    if upgrade:
        fields += [("Connection", "upgrade"), ("Upgrade", upgrade)]
    elif version == "1.0":
        fields += [("Connection", "close")]
    parser.send(h11.Request(method=method, target="/", headers=fields))
    parser.send(h11.EndOfMessage())
    return parser


def _response(event: h11.Response | h11.InformationalResponse) -> Response:
    return Response(
        status=event.status_code,
        reason=event.reason.decode("latin-1"),
        version=event.http_version.decode("latin-1"),
        fields=fields_of(event.headers),
    )
