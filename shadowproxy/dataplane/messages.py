"""What control and a worker say to each other, over one Unix stream socket a worker.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, an object with
`type`. Control speaks first (`policy`); a worker that cannot read a frame exits, and a
worker whose socket ends lets go of everything and exits (no orphans).

Control to worker
    policy    {generation: int, config: plain config, slots: {"route/mirror": int}, killed: bool, instance: hex,
               sinks: {name: url}, passport_keys: {id: base64}, since: unix seconds (older passports may have been used before),
               redaction_key: hex (only where a mirror scrubs its copies), experiments: {as in the message}}
    experiments {armed: [Armed, ...], splits: [Split, ...], evacuated: [{fleet, label: cell|zone|region, value}, ...]}    all there is from now on
    kill      {id: int}        stop mirroring now; acknowledged after the last shadow socket is closed
    resume    {id: int}
    drain     {seconds: float} close listeners, finish what is in flight, report, exit 0
    rotate    {}               read TLS files again
    ledger_done {ids: [text], problem: text}      these rows are durable, or (problem) cannot be made so
    nonces_done {id: int, uses: [text]}           of each passport: fresh, or the reason why it is not
    recent    {id: int}                           set aside the requests that are remembered; answered by remembered
    look_back {id: int, since: ns, percents: [rising], experiment: plain, deny: [units], endpoints: [urls] or null}
                                                  what it would have touched of those that came `since` then; answered by looked_back

Worker to control
    ready     {pid: int}                         the socket is read; sent once
    applied   {generation: int}
    refused   {generation: int, problem: str}    the policy could not be applied, the old one stays; of the generation in force:
                                                 a rotation failed, the old TLS files stay
    done      {id: int}                          kill or resume was carried out
    tally     see Tally below; every REPORT_S seconds, and before exit
    stalled   {seconds: float}                   the event loop was held up this long
    captured  {pairs: [Capture, ...]}            pairs that were kept whole, after the tally that counts them; not redacted yet
    ledger    {rows: [Row, ...]}                 tagged writes to be made durable before they are carried out; answered by ledger_done
    ledger_status {statuses: {row id: status or [status, Location]}}   how they were answered in the end; not answered
    nonces    {id: int, nonces: [[key id, nonce, unix seconds of expiry], ...]}    answered by nonces_done

    exposure  {experiments: {run id: Exposure}, splits: {route: Halves}}    deltas, EXPOSURE_S after something has changed, and before exit
    remembered {id: int, times: base64}    when each request that is remembered came, the oldest first: unsigned 64-bit ns, in this machine's order
    looked_back {id: int, problem: text, or else "" and requests: n looked at, first: ns when the first of them came, too_long: n whose head was not
               kept, unread: n that the config of now refuses, of_routes: n, denied: n that a deny list keeps from the fault, steps: [Step, ...]}
    evacuated {under_way: {fleet: {endpoint: requests}}}    what is evacuated gets no new request from now on; after each `experiments` with any

Armed {id: run id, epoch: int, lease: index of its word among the leases, lease_ns: int, percent: of the present step, paused: bool, dry: bool (decide and
    count, break nothing), workers: int, deny: [units], endpoints: [urls that faults may hit] or null for all, experiment: plain experiment}. A run whose epoch is not above that of an
    earlier one of its id, or that has been over here once, is never armed again.

Exposure {epoch: int, fault: Arm, control: Arm, outside: requests of its routes in neither, faults: {kind: n}, unharmed: {reason: n, of requests in the slice
    that got no fault}, seen: requests in the slice that the fault concerns, hit: those that got it, units: {hash: n, of units with the fault}, units_dropped: n, samples: [Sample, ...], over: why it is
    over here ("" while it is not)}; at every moment seen = hit + sum of unharmed + those under way; faults by kind
    may be more than hit, as one request may get several.
    Arm {requests: n, responses: {outcome: n}, last: {bucket: n}, injected: {outcome: n, answers that we made up}}
    Sample {route, status (0: there was no whole answer), headers: [[name, value], ...], body: base64 of at most SAMPLE_BYTES, cut: bool}
Step {percent, seen: requests in the slice that the fault concerns, reads: n that would have got it, writes: n of the same, units: [hash, of units with
    the fault], control: n in the control slice}
Split {route, live: fleet, to: fleet, percent, unit, salt, pinned: [units], first: [units], denied: [units], epoch}: requests that would go to `live`
    are shared out as policy/splits.py says.
Halves {epoch, stable: Side, canary: Side (the two that are compared), more: Side, ring: Side (others on the new version: beyond one half of all, or
    chosen), outside: requests in none, without_unit: requests that had no unit where the split goes by one}
    Side is an Arm with {units: [hash of a unit in it], failed: [hash of one with a request that failed]}; a worker may tell a hash again

Tally (counts are deltas since the last tally of this worker; gauges are marked =)
    routes    {route: {responses: {outcome: n}, first: {bucket: n}, last: {bucket: n}, received: bytes, sent: bytes}}
    mirrors   {"route/mirror": {eligible: n, pending: =n, fates: {fate: n}, matrix: {"live,shadow": n},
               bodies: {equal: n, different: n, unknown: n}, live_first, live_last, shadow_first, shadow_last,
               holdout_last, shed_last: {bucket: n}, lag_ns: =age of the head of line,
               ratio: Ratios, slo: {threshold_ns: [live only, shadow only]},
               back: Ratios (of a control arm only: of it + resolution to live),
               versus: Ratios | {matrix: {"control,shadow": n}, slo} (only where there is a control arm: shadow against control),
               range: =0..1, breaker: ="closed"|"open"|"half-open", in_flight: =n, held: =bytes}}
    refusals  {code: n}        local answers to clients by reason (bad requests, no route, limits)
    fleets    {fleet: {endpoint: {outstanding: =n, idle: =n, open: =n, connects: n, failures: {outcome: n}, is_ejected: =bool,
               late: n requests that it got although it was evacuated, for want of others, ended: n exchanges that ended, and connections that could
               not be opened, errors: n of those that were no whole answer, or a 5xx}}}
    clients   {accepted: n, open: =n, requests: n, turned_away: n}
    process   {cpu_seconds: =s, rss_bytes: =n, lag_ns: {bucket: n}, errors: n}
    access    [record, ...]    sampled access log lines; access_dropped: n
    tests     {route: {seen: n, sunk: n, partitioned: n, refused: n, passed: n, pending: =n, answers: {outcome: n}}}    tagged writes; tests_held: =bytes
    leaks     [record, ...]    calls of tagged traces without their tag: {time, service, trace, tenant, listener, method, host, path, action}; leaks_dropped: n

Ratios {n: pairs, s1: sum of d, s2: sum of d*d, buckets: {k: n}}, where d is the logarithm of the shadow's duration to the last byte over
    that of the baseline plus the mirror's resolution, of pairs that neither leg failed; bucket k holds d in ((k-1)*0.005, k*0.005].
    The slo counts are of pairs of which only that leg took longer than the threshold, however it ended.

Capture {id: text, the same for all pairs of a request, mirror: "route/mirror", at: unix seconds, trace: hex,
    request: {method, target, headers: [[name, value], ...], body: base64, cut: bool}, live: Answer, shadow: Answer}
    Answer is {outcome, first_ns, last_ns, headers, body, cut}; text is latin-1, cut says that the body is longer than what was kept.

Row {id, time: unix seconds, trace: hex, tenant, listener, route, method, host, target, digest: sha256 of the body in hex, body_bytes,
    fate: sunk|partitioned|refused|passed, reason: of one that is refused, to: sink or fleet, origin: tag|mark|listener|trace, client}

Outcomes, buckets and fates are written as strings (`outcome.name_of`, decimal bucket, `outcome.FATES`).
Buckets are `logbuckets` buckets of nanoseconds.

Leases: word LEASE_WORD + n of a worker is when lease n ends, in nanoseconds of the monotonic clock, 0 for never begun. A fault exists while that is
later than now, and by no more than its length: control renews it every third of it, and nobody else ever writes there.

Shared words: control gives each worker a memory file of WORDS unsigned 64-bit words. Word 0 is
the kill switch (non-zero: no mirroring), read before every copy, so that it holds even while the
worker's socket has not been read. Word `slots["route/mirror"]` counts that mirror's eligible
requests; it outlives the worker, so control knows exactly what a killed worker had not reported.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

Message = dict[str, Any]

REPORT_S: Final = 0.25
"""Seconds between tallies: what a killed worker can lose of its counts' detail."""

FRAME_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one frame: a config of a hundred thousand routes fits; a runaway does not."""

WORDS: Final = 16384
"""Shared words a worker: the kill switch, up to 16319 mirrors, arms included, and the leases of experiments."""

KILL_WORD: Final = 0

LEASES: Final = 64
"""Experiments that can be armed at once."""

LEASE_WORD: Final = WORDS - LEASES
"""The first of the words that are leases; the last of all words, beyond those of mirrors."""

EXPOSURE_S: Final = 0.025
"""How soon control hears of what experiments do: guards must see harm within a tenth of a second."""

SAMPLE_BYTES: Final = 65536
"""Bytes of an answer's body that are looked at for an experiment's expectations."""

TRACES_BYTES: Final = 16384 * 96
"""Bytes of the memory in which all workers remember which traces are tests (`dataplane/traces.py`)."""

_LENGTH = struct.Struct(">I")


def encode(message: Message) -> bytes:
    """One frame.

    Raises:
        ValueError: the frame would be over FRAME_LIMIT.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > FRAME_LIMIT:
        raise ValueError(f"frame of {len(body)} bytes, limit {FRAME_LIMIT}")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Frames out of a byte stream; keeps at most one incomplete frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[Message]:
        """The messages that `received` completes, in order.

        Raises:
            ValueError: a frame is over FRAME_LIMIT or is not a JSON object with a `type`.
        """
        self._buffer += received
        messages: list[Message] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > FRAME_LIMIT:
                raise ValueError(f"frame of {length} bytes, limit {FRAME_LIMIT}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            message = json.loads(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise ValueError("a frame must be a JSON object with a type")  # noqa: TRY004  the bytes are wrong, not the caller
            messages.append(message)
        return messages
