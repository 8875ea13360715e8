"""One request and the mirrors of its route: which of them copy it, in which order live's copies are sent, and what is kept of it.

Whatever goes wrong here is counted and costs a copy; live goes on (promise P1).
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.capture import begin_capture

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.tee import Copy
    from shadowproxy.policy import MirrorPolicy


def mirror(exchange: Exchange, mirrors: tuple[MirrorPolicy, ...], forwarded: bytes, payload: bytes, *, is_end: bool) -> None:
    """Offer a request that live has been sent to its route's mirrors.

    Args:
        exchange: the live side.
        mirrors: the route's.
        forwarded: the forwarding fields, with CRLF.
        payload: what has come of the body.
        is_end: whether that is all of it.
    """
    worker = exchange.client.worker
    draw = -1.0
    for policy in mirrors:
        tee = worker.tees[policy.key]
        point = 0.0
        if policy.needs_point(tee.scale):
            if draw < 0.0:
                draw = worker.weyl.next()
            point = tee.point(exchange, draw)
        copy = tee.offer(exchange, point, forwarded)
        if copy is None:
            continue
        try:
            if tee.wants_capture(exchange.arrived_ns):
                exchange.captured = begin_capture(worker, policy, exchange, exchange.captured, payload)
                copy.capture(exchange.captured)
        except Exception as error:  # noqa: BLE001  promise P1 by construction: whatever is wrong with a capture, live goes on
            worker.caught(error)
        arm = policy.arm
        second = None
        if arm is not None and exchange.method in arm.methods and (arm.share >= 1.0 or worker.arm_weyl.next() < arm.share):
            second = tee.offer_to_arm(exchange, copy, exchange.captured, forwarded)
        if second is None:
            _start(exchange, copy, payload, is_end=is_end)
        elif random() < 0.5:  # noqa: S311  a fair coin, guards nothing
            # Whoever is sent first is served first by a machine that serves both: neither may always be.
            _start(exchange, copy, payload, is_end=is_end)
            _start(exchange, second, payload, is_end=is_end)
        else:
            _start(exchange, second, payload, is_end=is_end)
            _start(exchange, copy, payload, is_end=is_end)


def _start(exchange: Exchange, copy: Copy, payload: bytes, *, is_end: bool) -> None:
    """Send a copy on its way; its pair waits for the live leg's end."""
    if exchange.copies is None or exchange.pairs is None:
        exchange.copies = []
        exchange.pairs = []
    exchange.copies.append(copy)
    exchange.pairs.append(copy.pair)
    try:
        copy.start(payload, is_end=is_end)
    except Exception as error:  # noqa: BLE001  promise P1 by construction: whatever is wrong with a copy, live goes on
        exchange.client.worker.caught(error)
        copy.abandon(outcome.SHED_ERROR)


def leave_out(exchange: Exchange, mirrors: tuple[MirrorPolicy, ...], fate: int) -> None:
    """Count a request as one that no mirror copies, for that reason."""
    for policy in mirrors:
        exchange.client.worker.tees[policy.key].leave_out(fate)


def stop_copies(exchange: Exchange, fate: int) -> None:
    """The request will not be completed: neither will its copies."""
    if exchange.copies is not None:
        for copy in exchange.copies:
            copy.abandon(fate)
