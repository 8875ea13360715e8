"""From a request to the text that is signed: derived components, fields, the signature base (RFC 9421 section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowproxy.passports.reasons import Reason, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)", re.DOTALL)
_PORT: Final = re.compile(rb":([0-9]*)\Z")
_DEFAULT_PORTS: Final = {b"http": b"80", b"https": b"443"}
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_SIGNABLE: Final = re.compile(rb"[\t\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What a request says about itself, as it was received.

    Args:
        method: as sent.
        scheme: `http` or `https`: how the client reached us, or the proxy before us.
        authority: the Host field, or that of a target in absolute form.
        target: origin form, absolute form or `*`; of the absolute form scheme and authority count.
        fields: every field line, name in lower case, value without space around it.
    """

    method: bytes
    scheme: bytes
    authority: bytes
    target: bytes
    fields: Sequence[tuple[bytes, bytes]]
    # Looked up for each component: strangers may cover 64 of 200 fields.
    _lines: dict[bytes, list[bytes]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            lines.setdefault(name, []).append(value)
        object.__setattr__(self, "_lines", lines)

    def lines(self, name: bytes) -> Sequence[bytes]:
        """The values of the lines of one field, in order; empty when there is none."""
        return self._lines.get(name, ())


def _parts(request: Request) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and target in origin form, normalised."""
    scheme, authority, target = request.scheme.lower(), request.authority, request.target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        # RFC 9112 section 3.2.2: the target's authority counts, whatever Host says.
        scheme, authority, target = absolute[1].lower(), absolute[2].rpartition(b"@")[2], absolute[3]
        if not target.startswith(b"/"):
            target = b"/" + target
    authority = authority.lower()
    port = _PORT.search(authority)
    if port is not None and port[1] in (b"", _DEFAULT_PORTS.get(scheme)):
        authority = authority[: port.start()]
    return scheme, authority, target


def _method(request: Request) -> bytes:
    return request.method


def _authority(request: Request) -> bytes:
    """Section 2.2.3: in lower case, without the scheme's own port."""
    return _parts(request)[1]


def _scheme(request: Request) -> bytes:
    return _parts(request)[0]


def _target_uri(request: Request) -> bytes:
    """Section 2.2.2: put together as RFC 9110 section 7.1 says, with the normalised authority."""
    scheme, authority, target = _parts(request)
    return scheme + b"://" + authority + (b"" if target == b"*" else target)


def _path(request: Request) -> bytes:
    """Section 2.2.6: as sent, never decoded."""
    return _parts(request)[2].partition(b"?")[0]


def _query(request: Request) -> bytes:
    """Section 2.2.7: with its question mark, which is also there when there is no query."""
    return b"?" + _parts(request)[2].partition(b"?")[2]


DERIVED: Final[dict[str, Callable[[Request], bytes]]] = {
    "@method": _method,
    "@authority": _authority,
    "@scheme": _scheme,
    "@target-uri": _target_uri,
    "@path": _path,
    "@query": _query,
}
"""Derived components that can be covered. Not @request-target, which changes with the form in which proxies are asked."""


def component(request: Request, name: str) -> bytes:
    """The value of one component.

    Raises:
        PassportRefused: unknown_component, component_absent or component_unusable.
    """
    derive = DERIVED.get(name)
    if derive is not None:
        value = derive(request)
    elif _FIELD_NAME.fullmatch(name) is None:
        raise refused(Reason.UNKNOWN_COMPONENT)
    else:
        lines = request.lines(name.encode())
        if not lines:
            raise refused(Reason.COMPONENT_ABSENT, name)
        # Section 2.1: lines of one field are joined.
        value = b", ".join(line.strip(b" \t") for line in lines)
    # Section 2.5: no line ends, nothing but ASCII; else a value could say what other components are.
    if _SIGNABLE.fullmatch(value) is None:
        raise refused(Reason.COMPONENT_UNUSABLE, name)
    return value


def signature_base(request: Request, names: Sequence[str], signature_params: str) -> bytes:
    """The text that is signed (RFC 9421 section 2.5).

    Args:
        request: what the components are taken from.
        names: of the components, in the order in which they are covered.
        signature_params: the inner list and its parameters, as they stand in Signature-Input.

    Raises:
        PassportRefused: duplicate_component, unknown_component, component_absent or component_unusable.
    """
    if len(set(names)) < len(names):
        raise refused(Reason.DUPLICATE_COMPONENT)
    lines = [b'"%b": %b' % (name.encode(), component(request, name)) for name in names]
    return b"\n".join([*lines, b'"@signature-params": ' + signature_params.encode()])
