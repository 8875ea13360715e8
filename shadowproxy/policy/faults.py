"""What goes wrong with one request, compiled: bytes instead of text, nanoseconds instead of seconds.

Several faults of an experiment are combined: of each kind the first that says something counts, and abort, reset,
half_close, hang and black_hole are one kind, as each takes the place of upstream's answer. The order in which the kinds
happen to a request is that of `config.experiment.Fault`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shadowproxy.config.experiment import FRAMING_FIELDS, Corrupt, Damage, EnvoyHeaders, Fault
from shadowproxy.policy.compile import nanoseconds
from shadowproxy.policy.delays import Chance, DelayPlan, compile_delay, fixed_delay

NOTHING: Final = 0
ABORT: Final = 1
RESET: Final = 2
HALF_CLOSE: Final = 3
HANG: Final = 4
BLACK_HOLE: Final = 5
INSTEAD_NAMES: Final = ("", "abort", "reset", "half_close", "hang", "black_hole")
"""What takes the place of upstream's answer, by number."""

FRAMING: Final = frozenset(name.encode() for name in FRAMING_FIELDS)

HTTP_OF_GRPC: Final = (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
"""The HTTP status that says what a gRPC status says, by its number (the comments of google/rpc/code.proto)."""

KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class AbortPlan:
    """An answer that we give. `lines` are its field lines, each with CRLF; `counted` is the status that it is counted under."""

    status: int
    counted: int
    lines: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class DamagePlan:
    """What becomes of the members of a JSON body at `path`: names, numbers, and None for every element."""

    path: tuple[str | int | None, ...]
    do: Damage


class FaultMemory:
    """What the faults of one run in one worker remember from request to request.

    What a throttle has left, the `quantiles` that were drawn last, by kind of delay, and the `mask` that bodies are damaged by, once it is drawn.
    """

    __slots__ = ("_left", "_since_ns", "mask", "quantiles")

    def __init__(self) -> None:
        self.quantiles: dict[str, float] = {}
        self.mask = b""
        self._left = -1.0
        self._since_ns = 0

    def __repr__(self) -> str:
        return f"FaultMemory(left={self._left:.2f}, quantiles={self.quantiles})"

    def draw(self, name: str, plan: DelayPlan, chance: Chance) -> int:
        """The next delay in nanoseconds of the kind `name`."""
        before = self.quantiles.get(name)
        quantile = plan.next_quantile(before if before is not None else chance(), chance)
        self.quantiles[name] = quantile
        return plan.at(quantile)

    def admits(self, rate: float, now_ns: int) -> bool:
        """Whether one more request may go on at `rate` a second; up to a second's worth is saved up, at least one."""
        top = max(1.0, rate)
        left = top if self._left < 0.0 else min(top, self._left + (now_ns - self._since_ns) * rate / 1e9)
        self._since_ns = now_ns
        self._left = left - 1.0 if left >= 1.0 else left
        return left >= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All that happens to one request; nothing by default. `memory` is shared by all requests with the plan and is no part of its value.

    Rates are bytes a second (0: no limit), `throttle` requests a second of all workers together. `truncate` is -1 for none. `removed` are names
    in lower case, `added` is whole field lines with CRLF.
    """

    throttle: float = 0.0
    throttle_status: int = 429
    delay: DelayPlan | None = None
    instead: int = NOTHING
    abort: AbortPlan | None = None
    hang_ns: int = 0
    upload: int = 0
    first_byte: DelayPlan | None = None
    removed: frozenset[bytes] = frozenset()
    added: bytes = b""
    corrupt: float = 0.0
    damage: tuple[DamagePlan, ...] = ()
    truncate: int = -1
    download: int = 0
    dribble: int = 0
    dribble_ns: int = 0
    first: int = 0
    every: int = 1
    memory: FaultMemory = field(default_factory=FaultMemory, compare=False)

    @property
    def is_paced(self) -> bool:
        """Whether the answer's body is held back."""
        return bool(self.download or self.dribble)


UNHARMED: Final = FaultPlan()
"""Nothing goes wrong."""

_GROUPS: Final = (
    ("throttle", "throttle_status"), ("delay",), ("instead", "abort", "hang_ns"), ("upload",), ("first_byte",), ("removed", "added"), ("corrupt", "damage"),
    ("truncate",), ("download",), ("dribble", "dribble_ns"), ("first",), ("every",),
)  # fmt: skip
"""What belongs to one kind: it is taken from one fault, all of it."""


def compile_faults(faults: Sequence[Fault]) -> FaultPlan | None:
    """The faults of an experiment that has been checked, combined; None for none."""
    return combined([_plan(fault) for fault in faults]) if faults else None


def combined(plans: Sequence[FaultPlan]) -> FaultPlan:
    """Of each kind the first that says something."""
    if len(plans) == 1:
        return plans[0]
    taken: dict[str, object] = {}
    for group in _GROUPS:
        for plan in plans:
            values = [getattr(plan, name) for name in group]
            if values != [getattr(UNHARMED, name) for name in group]:
                taken.update(zip(group, values, strict=True))
                break
    return FaultPlan(**taken)  # type: ignore[arg-type]  # the names and values are those of other plans


def _plan(fault: Fault) -> FaultPlan:
    headers = fault.headers
    instead, abort = NOTHING, None
    if fault.abort is not None:
        instead, abort = ABORT, _abort(fault.abort.status, fault.abort.grpc, fault.abort.headers, fault.abort.body)
    elif fault.reset:
        instead = RESET
    elif fault.half_close:
        instead = HALF_CLOSE
    elif fault.hang:
        instead = HANG
    elif fault.black_hole:
        instead = BLACK_HOLE
    removed = {name.lower().encode() for name in (*headers.remove, *headers.set)} if headers is not None else set()
    return FaultPlan(
        throttle=fault.throttle.rate if fault.throttle is not None else 0.0,
        throttle_status=fault.throttle.status if fault.throttle is not None else 429,
        delay=compile_delay(fault.delay) if fault.delay is not None else None,
        instead=instead,
        abort=abort,
        hang_ns=nanoseconds(fault.hang),
        upload=fault.upload,
        first_byte=compile_delay(fault.first_byte) if fault.first_byte is not None else None,
        removed=frozenset(removed - FRAMING),
        added=_lines(headers.set) if headers is not None else b"",
        corrupt=fault.corrupt.share if fault.corrupt is not None else 0.0,
        damage=_damage(fault.corrupt),
        truncate=fault.truncate,
        download=fault.download,
        dribble=fault.dribble.size if fault.dribble is not None else 0,
        dribble_ns=nanoseconds(fault.dribble.every) if fault.dribble is not None else 0,
        first=fault.first,
        every=fault.every,
    )


def _lines(headers: Mapping[str, str]) -> bytes:
    kept = [(name, value) for name, value in headers.items() if name.lower().encode() not in FRAMING]
    return b"".join(b"%b: %b\r\n" % (name.encode(), value.encode("latin-1")) for name, value in kept)


def _abort(status: int, grpc: int, headers: Mapping[str, str], text: str) -> AbortPlan:
    lines = _lines(headers)
    names = {name.lower() for name in headers}
    body = text.encode()
    if grpc >= 0:
        # The Trailers-Only form: what would be trailers is in the head, and there is no body (the gRPC protocol over HTTP).
        lines += b"Content-Type: application/grpc\r\n" if "content-type" not in names else b""
        lines += b"grpc-status: %d\r\n" % grpc
        lines += b"grpc-message: %b\r\n" % _percent_encoded(body) if body else b""
        return AbortPlan(200, HTTP_OF_GRPC[grpc], lines, b"")
    if body and "content-type" not in names:
        lines += b"Content-Type: text/plain; charset=utf-8\r\n"
    return AbortPlan(status, status, lines, body)


def _percent_encoded(text: bytes) -> bytes:
    """As the gRPC protocol encodes a status message."""
    return b"".join(b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text)


def _damage(corrupt: Corrupt | None) -> tuple[DamagePlan, ...]:
    return tuple(DamagePlan(json_path(one.path), one.do) for one in corrupt.json) if corrupt is not None else ()


def json_path(path: str) -> tuple[str | int | None, ...]:
    """The steps of a path such as `$.items[*].price`: names of members, numbers of elements, None for every element."""
    steps: list[str | int | None] = []
    for part in path[1:].replace("[", ".[").split(".")[1:]:
        if part.startswith("["):
            steps.append(None if part == "[*]" else int(part[1:-1]))
        else:
            steps.append(part)
    return tuple(steps)


# Faults that requests ask for.


def requested(fields: Mapping[bytes, list[bytes]], allowed: EnvoyHeaders, chance: Chance) -> FaultPlan | None:
    """What a request asks for by Envoy's fault header fields, as far as `allowed`; None where that is nothing.

    Args:
        fields: values by lower-case name; of a repeated field the first counts. A value that is no number in its range asks for nothing.
        allowed: whether aborts may be asked for, the longest delay, and the largest percentage; which is also what counts where none is asked for.
        chance: decides about percentages, one draw a kind that is asked for.
    """
    delay_ns = _number(fields, b"x-envoy-fault-delay-request", 1, 10**9)
    delay = None
    if delay_ns is not None and _happens(fields, b"x-envoy-fault-delay-request-percentage", allowed, chance):
        delay = fixed_delay(min(delay_ns * 10**6, nanoseconds(allowed.delay)))
    instead, abort = NOTHING, None
    status = _number(fields, b"x-envoy-fault-abort-request", 200, 599)
    grpc = _number(fields, b"x-envoy-fault-abort-grpc-request", 0, 16) if status is None else None
    is_asked = allowed.abort and (status is not None or grpc is not None)
    if is_asked and _happens(fields, b"x-envoy-fault-abort-request-percentage", allowed, chance):
        instead, abort = ABORT, _abort(status or 200, -1 if grpc is None else grpc, {}, "")
    rate = _number(fields, b"x-envoy-fault-throughput-response", 1, 10**9)
    if rate is not None and not _happens(fields, b"x-envoy-fault-throughput-response-percentage", allowed, chance):
        rate = None
    if delay is None and abort is None and rate is None:
        return None
    return FaultPlan(delay=delay, instead=instead, abort=abort, download=(rate or 0) * KIB)


def _happens(fields: Mapping[bytes, list[bytes]], name: bytes, allowed: EnvoyHeaders, chance: Chance) -> bool:
    asked = _number(fields, name, 0, 100)
    percent = allowed.percent if asked is None else min(float(asked), allowed.percent)
    return chance() * 100.0 < percent


def _number(fields: Mapping[bytes, list[bytes]], name: bytes, lowest: int, highest: int) -> int | None:
    """The number in a field; None where it is not there, or not from `lowest` to `highest`."""
    values = fields.get(name)
    if not values or not values[0].isdigit() or len(values[0]) > 10:
        return None
    number = int(values[0])
    return number if lowest <= number <= highest else None
