"""The fields that tell an upstream who asked: X-Forwarded-*, Forwarded and Via.

From a peer in the listener's `trusted_proxies` what it says is kept and appended to; from anyone else it
is dropped and ours takes its place. A private address is not a reason to trust (CVE-2024-45806). Ours come
behind the client's lines and after its Connection field was applied, so that it cannot remove them.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from shadowproxy.config.model import Forwarded
from shadowproxy.dataplane.head import CHUNKED
from shadowproxy.dataplane.request_lines import RequestHead

VIA_NAME: Final = b"shadowproxy"
"""Our pseudonym in Via (RFC 9110 section 7.6.3)."""

VIA_LIMIT: Final = 8
"""Times our pseudonym may stand in Via: proxies may be chained; two that mirror to each other must stop."""

Networks = tuple[IPv4Network | IPv6Network, ...]


def plain_address(host: str) -> str:
    """A peer's address as people write it: without zone, and as IPv4 where a dual-stack socket shows `::ffff:192.0.2.1`."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def networks(ranges: tuple[str, ...]) -> Networks:
    """The CIDR ranges of a config, parsed."""
    return tuple(ip_network(text, strict=False) for text in ranges)


class ForwardedFields:
    """What one client connection adds to each of its requests. `peer` is what `plain_address` makes of its address."""

    __slots__ = ("_block", "_block_for", "_mode", "_peer", "_scheme", "is_trusted")

    def __init__(self, peer: str, scheme: bytes, trusted: Networks, mode: Forwarded) -> None:
        address = ip_address(peer) if peer else None
        self._peer = peer.encode()
        self._scheme = scheme
        self._mode = mode
        self.is_trusted = address is not None and any(address in network for network in trusted)
        self._block_for: bytes | None = None
        self._block = b""

    def lines(self, head: RequestHead) -> bytes:
        """The field lines for one request, each with CRLF."""
        if not head.forwarded and not head.via and not head.is_http10:
            # Same Host as the last request of this connection, as good as always: same lines.
            if head.authority != self._block_for:
                self._block = self._build(head)
                self._block_for = head.authority
            return self._block
        return self._build(head)

    def _build(self, head: RequestHead) -> bytes:
        said = head.forwarded if self.is_trusted else []
        out: list[bytes] = []
        if self._mode in (Forwarded.X_FORWARDED, Forwarded.BOTH):
            chain = [value for name, value in said if name == b"x-forwarded-for" and value]
            out.append(b"X-Forwarded-For: " + b", ".join([*chain, self._peer]))
            names = {name for name, _ in said}
            if b"x-forwarded-proto" not in names:
                out.append(b"X-Forwarded-Proto: " + self._scheme)
            if b"x-forwarded-host" not in names and head.authority:
                out.append(b"X-Forwarded-Host: " + head.authority)
            said = [pair for pair in said if pair[0] != b"x-forwarded-for"]
        out += [b"%b: %b" % (name.title(), value) for name, value in said if name != b"forwarded"]
        chain = [value for name, value in said if name == b"forwarded"]
        if self._mode in (Forwarded.RFC7239, Forwarded.BOTH):
            chain.append(self._element(head))
        if chain:
            out.append(b"Forwarded: " + b", ".join(chain))
        out.append(b"Via: " + b", ".join([*head.via, b"1.%d %b" % (0 if head.is_http10 else 1, VIA_NAME)]))
        return b"\r\n".join(out) + b"\r\n"

    def _element(self, head: RequestHead) -> bytes:
        """One forwarded-element (RFC 7239 section 4)."""
        peer = b'"[%b]"' % self._peer if b":" in self._peer else self._peer
        host = b';host="%b"' % head.authority if head.authority else b""
        return b"for=%b%b;proto=%b" % (peer, host, self._scheme)


def is_looping(head: RequestHead) -> bool:
    """Whether the request has been through proxies of our name too often."""
    if not head.via:
        return False
    return sum(value.count(VIA_NAME) for value in head.via) >= VIA_LIMIT


def hop_lines(head: RequestHead, endpoint: bytes, *, is_request_done: bool) -> bytes:
    """What the hop to live needs: framing, upgrade, TE, Expect, and a Host (`endpoint`) where the client sent none or an empty one."""
    if not (head.length == CHUNKED or head.upgrade or head.te_trailers or head.expects_continue or not head.authority):
        return b""
    lines = b""
    if head.length == CHUNKED:
        lines = b"Transfer-Encoding: chunked\r\n"
    if not head.authority:
        lines += b"Host: %b\r\n" % endpoint
    if head.upgrade:
        lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade
    elif head.te_trailers:
        lines += b"TE: trailers\r\nConnection: TE\r\n"
    if head.expects_continue and not is_request_done:
        lines += b"Expect: 100-continue\r\n"
    return lines
