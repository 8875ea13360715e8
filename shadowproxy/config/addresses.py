"""Hosts, ports and URLs of endpoints: one spelling for each, and which may never be called.

A mirror target is a way to make this process send requests anywhere (server-side request
forgery), so the addresses that only a mistake or an attack would name are refused: link-local
ones, where clouds serve machine credentials, multicast and "this network". A host that
is written in decimal, octal or hexadecimal is normalised first (`inet_aton` reads `0x7f.1` and
`2130706433` as 127.0.0.1, and so do resolvers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

LOOPBACK: Final[tuple[Address, ...]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
"""What `localhost` means (RFC 6761 section 6.3)."""

_DENIED_NETWORKS: Final = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", '"this network" is no destination'),
        ("169.254.0.0/16", "link-local addresses serve machine credentials"),
        ("100.100.100.200/32", "it serves machine credentials"),
        ("224.0.0.0/4", "multicast is no destination"),
        ("255.255.255.255/32", "broadcast is no destination"),
        ("::/128", '"any address" is no destination'),
        ("fe80::/10", "link-local addresses serve machine credentials"),
        ("fd00:ec2::/32", "it serves machine credentials"),
        ("ff00::/8", "multicast is no destination"),
    )
)
_DENIED_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_NAT64: Final = ip_network("64:ff9b::/96")
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_HOST_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[^:\[\]]*))?")
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Unfit(ValueError):
    """Text that does not have the form that was asked for. `suggestion` is a text that does, or empty."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host, without brackets, and a port."""

    host: str
    port: int

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses that the host means without asking a resolver; none for other names."""
        return addresses_of(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One upstream: scheme `http` or `https`, and where it listens."""

    scheme: str
    where: HostPort


def parse_host_port(text: str, *, default_port: int | None = None, lowest_port: int = 0) -> HostPort:
    """Return the host and port of `host:port`; an IPv6 host stands in brackets (RFC 3986 section 3.2.2).

    Args:
        text: what the file says.
        default_port: port where none is given; None when one has to be.
        lowest_port: 0 where the system may choose a free port, else 1.

    Raises:
        Unfit: `text` is not of that form.

    """
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        if text.count(":") > 1 and "[" not in text:
            raise Unfit("an IPv6 host stands in brackets, as in [::1]:8080", _bracketed(text))
        raise Unfit(f"expected host:port, got {text!r}")
    if found["six"] is not None:
        try:
            host = str(IPv6Address(found["six"]))
        except ValueError:
            raise Unfit(f"not an IPv6 address: {found['six']!r}") from None
        if "%" in host:
            raise Unfit("an address with a zone is link-local and cannot be used here")
    else:
        host = found["host"]
        if not host:
            raise Unfit("the host is missing; 0.0.0.0 means every IPv4 address", f"0.0.0.0:{found['port']}" if found["port"] else "")
        check_host(host)
    if found["port"] is None:
        if default_port is None:
            raise Unfit("the port is missing, as in 127.0.0.1:8080")
        return HostPort(host, default_port)
    port = found["port"]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and lowest_port <= int(port) <= 65535):
        raise Unfit(f"expected a port from {lowest_port} to 65535, got {port!r}")
    return HostPort(host, int(port))


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint of a URL that has a scheme, a host, perhaps a port, and nothing else.

    Raises:
        Unfit: `text` is not such a URL.

    """
    found = _URL.fullmatch(text)
    if found is None:
        raise Unfit(f"expected a URL like http://host:port, got {text!r}", f"http://{text}" if _HOST_PORT.fullmatch(text) else "")
    scheme, authority, rest = found["scheme"], found["authority"], found["rest"]
    if scheme not in DEFAULT_PORTS:
        lowered = scheme.lower()
        raise Unfit(
            f"the scheme of an endpoint is http or https, got {scheme!r}", f"{lowered}://{authority}" if lowered in DEFAULT_PORTS else ""
        )
    if "@" in authority:
        raise Unfit("an endpoint carries no user or password")
    if rest:
        raise Unfit("an endpoint has no path, query or fragment: requests bring their own", f"{scheme}://{authority}")
    return Endpoint(scheme, parse_host_port(authority, default_port=DEFAULT_PORTS[scheme], lowest_port=1))


def check_host(host: str) -> None:
    """Accept a DNS name or an IPv4 address in any spelling.

    Raises:
        Unfit: `host` is neither.

    """
    if not host.isascii():
        raise Unfit(f"expected an ASCII host name, got {host!r}", _as_idna(host))
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise Unfit(f"not a host name: {host!r}")
    labels = host.rstrip(".").split(".")
    if (labels[-1].isdigit() or labels[-1].lower().startswith("0x")) and _as_ipv4(host) is None:
        raise Unfit(f"not an IPv4 address: {host!r}")


def addresses_of(host: str) -> tuple[Address, ...]:
    """Return the addresses that `host` means without asking a resolver: literals, in any spelling, and localhost."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return LOOPBACK
    if ":" in host:
        return (plain_address(ip_address(host)),)
    four = _as_ipv4(name)
    return (four,) if four is not None else ()


def plain_address(address: Address) -> Address:
    """Return the IPv4 address inside a mapped or translated IPv6 one (RFC 4291 2.5.5.2, RFC 6052), or `address` itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def denial(address: Address) -> str | None:
    """Return why no request may be sent to `address`, or None. For literals at load time and for resolved names later."""
    address = plain_address(address)
    return next((why for network, why in _DENIED_NETWORKS if address.version == network.version and address in network), None)


def host_denial(host: str) -> str | None:
    """Return why no request may be sent to `host`, as far as its spelling tells, or None."""
    if host.lower().rstrip(".") in _DENIED_NAMES:
        return "it serves machine credentials"
    return next(filter(None, map(denial, addresses_of(host))), None)


def url_denial(text: str) -> str | None:
    """Return why no request may be sent to the http(s) URL `text`, as far as its spelling tells, or None: the rules of endpoints."""
    found = _URL.fullmatch(text)
    if found is None or found["scheme"] not in DEFAULT_PORTS:
        return "expected an http(s) URL"
    if "@" in found["authority"]:
        return "a URL carries no user or password here"
    try:
        host = parse_host_port(found["authority"], default_port=DEFAULT_PORTS[found["scheme"]], lowest_port=1).host
    except Unfit as unfit:
        return str(unfit)
    denied = host_denial(host)
    return f"{host} is never asked: {denied}" if denied is not None else None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`, as far as its spelling tells."""
    addresses = addresses_of(host)
    return bool(addresses) and all(address.is_loopback for address in addresses)


def reaches(target: HostPort, listener: HostPort) -> bool:
    """Return whether a connection to `target` would end at `listener`, as far as the spellings tell."""
    if target.port != listener.port or not target.port:
        return False
    if target.host.lower().rstrip(".") == listener.host.lower().rstrip("."):
        return True
    mine = listener.addresses
    for address in target.addresses:
        if address in mine:
            return True
        # 0.0.0.0 takes every IPv4 address of the machine, [::] every address.
        if any(own.is_unspecified and own.version >= address.version and (address.is_loopback or address.is_unspecified) for own in mine):
            return True
    return False


def _as_ipv4(text: str) -> IPv4Address | None:
    """Read one to four decimal, octal (0...) or hexadecimal (0x...) parts, as inet_aton does."""
    parts = text.rstrip(".").split(".")
    if not 1 <= len(parts) <= 4 or not all(parts):
        return None
    values = []
    for part in parts:
        lowered = part.lower()
        base = 16 if lowered.startswith("0x") else 8 if len(part) > 1 and part[0] == "0" else 10
        digits = lowered[2:] if base == 16 else lowered
        if len(digits) > 16 or not re.fullmatch({16: "[0-9a-f]+", 8: "[0-7]+", 10: "[0-9]+"}[base], digits):
            return None
        values.append(int(digits, base))
    *head, last = values
    if any(value > 255 for value in head) or last >= 256 ** (4 - len(head)):
        return None
    number = last
    for index, value in enumerate(head):
        number |= value << (8 * (3 - index))
    return IPv4Address(number)


def _bracketed(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        return f"[{IPv6Address(host)}]:{port}"
    except ValueError:
        return ""


def _as_idna(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
