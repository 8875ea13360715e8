"""How a leg ended, and how a mirrored unit of work is accounted for.

An **outcome** is one small integer: an HTTP status (100 to 599) when the leg ended with
a whole answer, else one of the failures below. A **fate** is the one counter in which a
request that a mirror could copy ends; for every mirror and at every moment

    eligible == sum(fates) + pending

where `pending` counts requests whose fate is not yet known (promise P2).
"""

from __future__ import annotations

from typing import Final

from shadowproxy.policy.mirrors import HOLDOUT, KILLED, MARKED, METHOD, NOT_SAMPLED, SHED_IN_FLIGHT, SHED_RANGE, TOO_LARGE, UPGRADE

__all__ = [
    "CLIENT_GONE", "CLIENT_LEFT", "CONNECT_TIMEOUT", "DROPPED", "FAILED_TIMEOUT", "FAILURES", "FATES", "FATE_OF_FAILURE", "HOLDOUT", "INJECTED", "KILLED",
    "LOST", "MALFORMED", "MARKED", "METHOD", "NOT_SAMPLED", "OVERFLOW", "PAIRED", "REFUSED", "RESET", "SERVED_ELSEWHERE", "SHED_BREAKER", "SHED_ERROR",
    "SHED_IN_FLIGHT", "SHED_LAG", "SHED_MEMORY", "SHED_NO_ENDPOINT", "SHED_RANGE", "SHED_SCRUB", "SHED_UNSCRUBBABLE", "TIMEOUT", "TLS", "TOO_LARGE", "TRUNCATED", "UNREACHABLE",
    "UPGRADE", "name_of",
]  # fmt: skip

REFUSED: Final = 1
UNREACHABLE: Final = 2
CONNECT_TIMEOUT: Final = 3
TIMEOUT: Final = 4
RESET: Final = 5
TRUNCATED: Final = 6
MALFORMED: Final = 7
OVERFLOW: Final = 8
CLIENT_GONE: Final = 9
TLS: Final = 10
DROPPED: Final = 11

FAILURES: Final[dict[int, str]] = {
    REFUSED: "refused",  # the endpoint refused the connection
    UNREACHABLE: "unreachable",  # the name does not resolve, or no route to the host
    CONNECT_TIMEOUT: "connect_timeout",
    TIMEOUT: "timeout",  # no answer, or no progress, within the fleet's limits
    RESET: "reset",  # the connection ended before an answer's head was complete
    TRUNCATED: "truncated",  # the connection ended inside an answer
    MALFORMED: "malformed",  # what came is not unambiguous HTTP/1
    OVERFLOW: "overflow",  # no connection was free and the queue was full
    CLIENT_GONE: "client_gone",  # the client left first (live leg only)
    TLS: "tls",  # the handshake failed
    DROPPED: "dropped",  # we gave the leg up ourselves
}


def name_of(outcome: int) -> str:
    """`"200"` for statuses, `"refused"` and the like for failures."""
    return str(outcome) if outcome >= 100 else FAILURES[outcome]


# Fates. The policy owns those that it decides (0 to 8); the data plane adds the rest.
SHED_BREAKER: Final = 9
SHED_NO_ENDPOINT: Final = 10
SHED_MEMORY: Final = 11
SHED_LAG: Final = 12
PAIRED: Final = 13
FAILED_REFUSED: Final = 14
FAILED_UNREACHABLE: Final = 15
FAILED_CONNECT_TIMEOUT: Final = 16
FAILED_TIMEOUT: Final = 17
FAILED_RESET: Final = 18
FAILED_TRUNCATED: Final = 19
FAILED_MALFORMED: Final = 20
FAILED_TLS: Final = 21
CLIENT_LEFT: Final = 22
SHED_ERROR: Final = 23
SHED_SCRUB: Final = 24
SHED_UNSCRUBBABLE: Final = 25
INJECTED: Final = 26
SERVED_ELSEWHERE: Final = 27

FATES: Final[tuple[str, ...]] = (
    "not_sampled",  # outside the sampled range
    "holdout",  # sampled, and left unmirrored on purpose
    "method",  # not one of the mirror's methods
    "too_large",  # body over body_limit (known at once, or found while streaming)
    "marked",  # already a copy
    "upgrade",  # WebSocket and other upgrades go to live only
    "killed",  # the kill switch was on, or was pulled while the copy was under way
    "shed_in_flight",  # too many copies under way
    "shed_range",  # overload shrank the sampled range: whole units are left out
    "shed_breaker",  # the breaker is open
    "shed_no_endpoint",  # no connection could be had at once
    "shed_memory",  # the worker's tee memory is used up
    "shed_lag",  # this copy's body budget is used up: the shadow reads too slowly
    "paired",  # both legs ended and are compared
    "failed_refused",  # from here: the shadow leg failed, which is compared too
    "failed_unreachable",
    "failed_connect_timeout",
    "failed_timeout",
    "failed_reset",
    "failed_truncated",
    "failed_malformed",
    "failed_tls",
    "client_gone",  # the client left before the live answer was complete
    "shed_error",  # a defect of ours in the copy's path; logged, and live went on
    "shed_scrub",  # secrets were not taken out in time: too many copies wait for it, or its process is away
    "shed_unscrubbable",  # what is secret in the request could not be told: it is not sent
    "injected",  # a fault is injected: live's answer is not live's own
    "served_elsewhere",  # a rollout's new version answers, which is not what shadows are compared with
)

LOST: Final = "lost"
"""A fate that only the control process assigns: what a killed worker had not reported."""

FATE_OF_FAILURE: Final[dict[int, int]] = {
    REFUSED: FAILED_REFUSED,
    UNREACHABLE: FAILED_UNREACHABLE,
    CONNECT_TIMEOUT: FAILED_CONNECT_TIMEOUT,
    TIMEOUT: FAILED_TIMEOUT,
    RESET: FAILED_RESET,
    TRUNCATED: FAILED_TRUNCATED,
    MALFORMED: FAILED_MALFORMED,
    OVERFLOW: SHED_NO_ENDPOINT,
    TLS: FAILED_TLS,
}
