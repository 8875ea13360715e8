"""Pairs that are kept whole, to compare their bodies and to show as examples: a bounded sample.

Which requests are captured is decided when they arrive, before any outcome is known, by an allowance a second;
what is chosen by its outcome could not be reasoned about. A capture refers to bytes that are passing anyway and
copies none of them; it keeps the beginnings of bodies, up to a limit, and no more than all captures of a worker may
hold. What it kept goes to control when its pair is admitted, and is redacted there before anything else is done.
"""

from __future__ import annotations

import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane import outcome
from shadowproxy.logbuckets import representative

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.tally import Pair
    from shadowproxy.dataplane.worker import Worker
    from shadowproxy.policy import MirrorPolicy

BURST_S: Final = 2.0
"""Seconds of allowance that may be saved up: a burst after silence is captured, within reason."""


class Allowance:
    """So many a second, with a little saved up. `take` is asked for every copy."""

    __slots__ = ("_left", "_per_ns", "_since_ns", "_top")

    def __init__(self, per_second: float, now_ns: int) -> None:
        self._per_ns = per_second / 1e9
        self._top = max(1.0, per_second * BURST_S) if per_second > 0.0 else 0.0
        self._left = self._top
        self._since_ns = now_ns

    def __repr__(self) -> str:
        return f"Allowance({self._left:.1f} of {self._top:.1f})"

    def take(self, now_ns: int) -> bool:
        """Whether one more is allowed now, which is then taken."""
        if self._left < 1.0:
            self._left = min(self._top, self._left + (now_ns - self._since_ns) * self._per_ns)
            self._since_ns = now_ns
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True


class Purse:
    """What all captures of a worker hold, in bytes."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0

    def __repr__(self) -> str:
        return f"Purse({self.held} bytes)"


class Kept:
    """The beginning of one body, and the lines of its head.

    Args:
        purse: where what is held is counted.
        limit: bytes of the body.
        memory: bytes in the purse, from which on nothing more is kept: bodies grow after their captures have begun (P6).
    """

    __slots__ = ("body", "head", "is_cut", "limit", "memory", "purse", "size")

    def __init__(self, purse: Purse, limit: int, memory: int) -> None:
        self.purse = purse
        self.limit = limit
        self.memory = memory
        self.head = b""
        self.body: list[bytes] = []
        self.size = 0
        self.is_cut = False

    def __repr__(self) -> str:
        return f"Kept({self.size} bytes{', cut' if self.is_cut else ''})"

    def add(self, payload: bytes) -> None:
        """More of the body; what is beyond the limit, or what all captures may hold, is not kept."""
        left = max(0, min(self.limit - self.size, self.memory - self.purse.held))
        if len(payload) > left:
            self.is_cut = True
            payload = payload[:left]
        if payload:
            self.body.append(payload)
            self.size += len(payload)
            self.purse.held += len(payload)

    def release(self) -> None:
        """Let go of everything, and keep nothing more: the legs may go on."""
        self.purse.held -= self.size
        self.size = self.limit = 0
        self.body = []

    def plain(self) -> dict[str, Any]:
        """As in a `captured` message (messages.py)."""
        lines = [line for line in self.head.split(b"\r\n") if line and b":" in line]
        fields = [line.partition(b":") for line in lines]
        return {
            "headers": [[name.decode("latin-1"), value.strip(b" \t").decode("latin-1")] for name, _, value in fields],
            "body": b64encode(b"".join(self.body)).decode("ascii"),
            "cut": self.is_cut,
        }


class Request:
    """One captured request and live's answer to it; shared by the pairs with its shadows."""

    __slots__ = ("arrived_ns", "body", "identity", "live", "method", "sharers", "target", "trace")

    def __init__(self, purse: Purse, limit: int, memory: int, identity: str, arrived_ns: int) -> None:
        self.identity = identity
        self.arrived_ns = arrived_ns
        self.method = b""
        self.target = b""
        self.trace = b""
        self.body = Kept(purse, limit, memory)
        self.live = Kept(purse, limit, memory)
        self.sharers = 0

    def __repr__(self) -> str:
        return f"Request({self.identity}, {self.sharers} pairs)"


class Capture:
    """One pair that is kept: the request with live's answer, and the shadow's answer."""

    __slots__ = ("mirror", "request", "shadow")

    def __init__(self, mirror: str, request: Request, limit: int) -> None:
        self.mirror = mirror
        self.request = request
        self.shadow = Kept(request.body.purse, limit, request.body.memory)
        request.sharers += 1

    def __repr__(self) -> str:
        return f"Capture({self.mirror}, {self.request!r})"

    def release(self) -> None:
        """The pair is not compared, or has been told: let go of what only it holds."""
        self.shadow.release()
        self.request.sharers -= 1
        if not self.request.sharers:
            self.request.body.release()
            self.request.live.release()


def begin_capture(worker: Worker, policy: MirrorPolicy, exchange: Exchange, known: Request | None, payload: bytes) -> Request:
    """Begin to keep a request and its answer, or go on with what is `known` of it: all pairs of a request share it."""
    if known is not None and known.sharers:
        return known
    request = Request(worker.purse, policy.capture_body, policy.capture_memory, worker.next_capture(), exchange.arrived_ns)
    request.method = exchange.method
    request.target = exchange.target
    request.body.head = exchange.head.common
    request.body.add(payload)
    if exchange.trace is not None:
        request.trace = exchange.trace.trace_id
    return request


def told(pair: Pair, capture: Capture, now_ns: int) -> dict[str, Any]:
    """A captured pair as in a `captured` message (messages.py)."""
    request = capture.request
    live = {
        "outcome": outcome.name_of(pair.live_outcome),
        "first_ns": _first_ns(pair.live_first, pair.live_outcome),
        "last_ns": pair.live_ns,
    }
    shadow = {
        "outcome": outcome.name_of(pair.shadow_outcome),
        "first_ns": _first_ns(pair.shadow_first, pair.shadow_outcome),
        "last_ns": pair.shadow_ns,
    }
    return {
        "id": request.identity,
        "mirror": capture.mirror,
        "at": time.time() - (now_ns - request.arrived_ns) / 1e9,
        "trace": request.trace.decode("ascii"),
        "request": {"method": request.method.decode("latin-1"), "target": request.target.decode("latin-1"), **request.body.plain()},
        "live": {**live, **request.live.plain()},
        "shadow": {**shadow, **capture.shadow.plain()},
    }


def _first_ns(bucket: int, ended: int) -> int:
    """Nanoseconds to the first byte, as exactly as they are counted; 0 where none came."""
    return round(representative(bucket)) if ended >= 100 else 0
