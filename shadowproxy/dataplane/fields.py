"""What a field name means to the proxy.

One table a direction, by lower-case name; what is not in it passes as it came. The tables are the policy of
RFC 9110 section 7.6.1 (connection-level fields), of our own fields, and of fields that may come only once.
"""

from __future__ import annotations

from typing import Final

# What a field name means to the proxy. 0: nothing, the line passes as it is.
HOST: Final = 1
LENGTH: Final = 2
CODING: Final = 3
CONNECTION: Final = 4
DROP: Final = 5
EXPECT: Final = 6
UPGRADE: Final = 7
TE: Final = 8
FORWARDED: Final = 9
VIA: Final = 10
TRACEPARENT: Final = 11
MARK: Final = 12
TAG: Final = 13
SINGLETON: Final = 14
MAX_FORWARDS: Final = 15
REFUSE: Final = 16
DATE: Final = 17
BAGGAGE: Final = 18
TRACESTATE: Final = 19
ACTION: Final = 31
"""Mask of the above; the bits over it come beside any of them."""
COLLECT: Final = 32
"""Bit: the policy looks at this field."""
TOUCH: Final = 64
"""Bit: some mirror's copies do not get this field as it came."""
TAGS: Final = 128
"""Bit: this field can say that the request is a test."""

REQUEST_FIELDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"te": TE,
    b"forwarded": FORWARDED,
    b"x-forwarded-for": FORWARDED,
    b"x-forwarded-host": FORWARDED,
    b"x-forwarded-proto": FORWARDED,
    b"x-forwarded-port": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"via": VIA,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"baggage": BAGGAGE,
    b"max-forwards": MAX_FORWARDS,
    # Fields of which a second line means that two readers may take different ones.
    b"content-type": SINGLETON,
    b"content-location": SINGLETON,
    b"content-range": SINGLETON,
    b"etag": SINGLETON,
    b"server": SINGLETON,
    b"user-agent": SINGLETON,
    # The 2010 WebSocket draft sent eight bytes after the head without announcing them: unframed data.
    b"sec-websocket-key1": REFUSE,
}

RESPONSE_FIELDS: Final[dict[bytes, int]] = {
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"upgrade": UPGRADE,
    b"date": DATE,
}

PROTECTED: Final = frozenset(
    {
        b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie", b"content-type", b"via", b"traceparent", b"tracestate",
        b"baggage", b"forwarded", b"x-real-ip", b"x-request-id", b"x-test-traffic",
    }
)  # fmt: skip
"""End-to-end fields that a Connection field cannot remove: the nomination is ignored (HBH-05, HBH-06)."""

FRAMING: Final = (LENGTH, CODING)
"""What says where a body ends."""

OURS: Final = (b"x-forwarded-", b"x-shadow-", b"x-fault-")

OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
"""Connection options that name no field."""
