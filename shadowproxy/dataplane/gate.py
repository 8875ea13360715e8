"""What a listener asks of requests that are tests, or that may be: whose tags count, and which calls count as tagged.

A listener that believes every tag and takes no outgoing calls of services has no gate, and its untagged requests
pay for none of this.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from shadowproxy.config.model import Listener
from shadowproxy.config.tenancy import EgressCalls, LostTags, TrustMode
from shadowproxy.dataplane.forwarded import Networks, networks
from shadowproxy.dataplane.tagging import with_lines
from shadowproxy.errors import BadRequest
from shadowproxy.passports import Pending, Request, Terms, begin, foreign

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.request_lines import RequestHead
    from shadowproxy.dataplane.traces import Traces

SHADOW: Final = b"shadow"
"""The tenant of calls that count as tests because of who makes them, and not by a tag."""

TAG: Final = "tag"
MARK: Final = "mark"
LISTENER: Final = "listener"
TRACE: Final = "trace"
"""Why a request counts as tagged."""

Origin = tuple[str, bytes]
"""Why a request counts as tagged, and whose test it is."""


class Gate:
    """One listener's rules for test traffic, compiled."""

    __slots__ = ("_caller", "_calls", "_mode", "_networks", "_service", "_terms", "is_egress", "lost")

    def __init__(self, listener: Listener, terms: Terms) -> None:
        egress = listener.egress
        self._mode = listener.trust.mode
        self._networks: Networks = networks(listener.trust.cidrs)
        self._terms = terms
        self.is_egress = egress is not None
        self._calls = egress.calls if egress is not None else EgressCalls.MARKED
        self.lost = egress.lost_tags if egress is not None else LostTags.RETAG
        self._service = egress.service if egress is not None else ""
        self._caller = egress.caller.lower().encode() if egress is not None else b""

    def origin(self, head: RequestHead, traces: Traces) -> Origin | None:
        """Why the request counts as a test; None for one that does not."""
        if head.tenant:
            return TAG, head.tenant
        if not self.is_egress:
            return None
        if head.mark:
            return MARK, SHADOW
        if self._calls is EgressCalls.ALL:
            return LISTENER, SHADOW
        if len(head.traceparent) > 1:
            tenant = traces.find(head.traceparent[3:35])
            if tenant is not None:
                return TRACE, tenant
        return None

    def admit(self, exchange: Exchange) -> Pending | None:
        """Believe a tagged request, or not: what its passport still has to prove once the body is there, None where nothing is asked.

        Raises:
            BadRequest: 403, as its tag does not count here: it is neither a test nor normal traffic.
            PassportRefused: the same, for the reason that it says.
        """
        client = exchange.client
        if self._mode is TrustMode.ANY:
            return None
        if self._mode is TrustMode.CIDRS:
            address = ip_address(client.address.decode()) if client.address else None
            if address is not None and any(address in network for network in self._networks):
                return None
            raise BadRequest(403, "tag_not_trusted", "tagged requests are not taken from this address")
        head = exchange.head
        scheme = client.scheme
        if client.forwarded.is_trusted:
            # The proxy before us knows how the client, who signed, reached it.
            scheme = next((value for name, value in head.forwarded if name == b"x-forwarded-proto"), scheme)
        fields = _fields(head.received)
        nominated = {name for name in head.connection_tokens if name not in head.tagged_by}
        if nominated:
            # They go no further (RFC 9110 section 7.6.1): a signature must not hold for what is then left out.
            fields = [pair for pair in fields if pair[0] not in nominated]
        request = Request(exchange.method, scheme, head.authority, exchange.target, fields)
        return begin(request, tagged_by=head.tagged_by, has_body=head.length != 0, terms=self._terms, now=time.time())

    def caller(self, head: RequestHead, address: bytes) -> str:
        """The name of the service that made a call: as the config has it, as the service calls itself, or where it called from."""
        if self._service:
            return self._service
        for line in head.lines:
            name, _, value = line.partition(b":")
            if name.lower() == self._caller:
                return value.strip(b" \t").partition(b"/")[0].partition(b" ")[0].decode("latin-1")[:64] or address.decode()
        return address.decode()


def gate_of(listener: Listener, terms: Terms) -> Gate | None:
    """The gate of a listener; None where it asks nothing."""
    if listener.trust.mode is TrustMode.ANY and listener.egress is None:
        return None
    return Gate(listener, terms)


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    found = []
    for line in lines:
        name, _, value = line.partition(b":")
        found.append((name.lower(), value.strip(b" \t")))
    return found


def without_passport(head: RequestHead) -> RequestHead:
    """What goes on of a request that showed a passport: others' signatures do, the key that ours was made with is between us and the client."""
    values = dict(zip((b"Signature-Input", b"Signature"), foreign(_fields(head.received)), strict=True))
    lines = [line for line in head.lines if line.partition(b":")[0].title() not in values]
    return with_lines(head, lines + [b"%b: %b" % (name, value) for name, value in values.items() if value])
