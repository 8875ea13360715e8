"""Sends probes, each once and on a connection of its own, and reads what matters of the answers."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shadowproxy.errors import AuditFailed
from shadowproxy.passports import Request, mint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from shadowproxy.audit.plan import Plan, Probe

ANSWER_LIMIT: Final = 64 * 1024
"""Bytes of an answer that are read: what says why a probe was refused is short."""

PASSPORT_LIFETIME_S: Final = 60
NONCE_BYTES: Final = 16

TOO_EARLY: Final = "passport_created_before_start"
"""How a proxy refuses passports for some seconds after its start, while it cannot tell which were used. Asked again, it has done no harm."""

START_S: Final = 65.0
"""How long that may last: the largest skew that a config can allow, and some."""

PAUSE_S: Final = 0.25

OUT_OF_TIME: Final = "not sent: the audit's time was up"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `error` says why nothing did; `code` is of a refusal by the proxy itself; `sink` answered in live's place."""

    status: int = 0
    code: str = ""
    sink: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """What passports are signed with."""

    id: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where a listener is reached: `scheme` http or https."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def connect(self, timeout_s: float, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)


def target_of(url: str) -> Target:
    """The target that a URL names.

    Raises:
        AuditFailed: it is no http or https URL.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return Target(parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme])
    except ValueError:
        pass
    raise AuditFailed(f"{url!r} is no http or https URL")


@dataclass(frozen=True, slots=True)
class Sender:
    """How probes are sent.

    Args:
        targets: where each listener is.
        context: how TLS listeners are verified.
        key: for listeners that take signed tags only.
        timeout_s: longest wait for one answer.
    """

    targets: Mapping[str, Target]
    context: ssl.SSLContext
    key: Key | None
    timeout_s: float

    def all(self, plan: Plan, deadline: float) -> Iterator[tuple[Probe, Answer]]:
        """Send every probe of a plan, one after the other, until `deadline` on the monotonic clock."""
        until = min(deadline, time.monotonic() + START_S)
        for probe in plan.probes:
            answer = self.send(probe) if time.monotonic() < deadline else Answer(error=OUT_OF_TIME)
            while answer.code == TOO_EARLY and time.monotonic() < until:
                time.sleep(PAUSE_S)
                answer = self.send(probe)
            yield probe, answer

    def send(self, probe: Probe) -> Answer:
        """Send one probe. What goes wrong is in the answer."""
        target = self.targets[probe.listener]
        connection = target.connect(self.timeout_s, self.context)
        try:
            connection.putrequest(probe.method, probe.target, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", probe.host), *self._fields(probe, target), ("Connection", "close")):
                connection.putheader(name, value)
            connection.endheaders(probe.body or None)
            return _read(connection.getresponse(), time.monotonic() + self.timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(error=_reason(error))
        finally:
            connection.close()

    def _fields(self, probe: Probe, target: Target) -> list[tuple[str, str]]:
        fields = list(probe.headers)
        if probe.body:
            fields.append(("Content-Length", str(len(probe.body))))
        if not probe.is_signed:
            return fields
        assert self.key is not None
        created = int(time.time())
        request = Request(
            probe.method.encode(),
            target.scheme.encode(),
            probe.host.encode(),
            probe.target.encode(),
            [(name.lower().encode(), value.encode("latin-1")) for name, value in fields],
        )
        return fields + mint(
            request,
            probe.body,
            keyid=self.key.id,
            key=self.key.secret,
            nonce=secrets.token_hex(NONCE_BYTES),
            created=created,
            expires=created + PASSPORT_LIFETIME_S,
            tenant=probe.tenant,
        )


def _read(response: http.client.HTTPResponse, deadline: float) -> Answer:
    sink = response.headers.get("X-Shadow-Sink", "")
    is_problem = response.headers.get("Content-Type", "").startswith("application/problem+json")
    is_ours = is_problem and response.headers.get("Server") == "shadowproxy" and not sink
    body = b""
    while is_ours and len(body) < ANSWER_LIMIT and time.monotonic() < deadline:
        part = response.read1(ANSWER_LIMIT)
        if not part:
            break
        body += part
    try:
        code = str(json.loads(body).get("code", "")) if body else ""
    except (ValueError, AttributeError):
        code = ""
    # The answer to HEAD has no body that could say why.
    return Answer(response.status, code or ("refused" if is_ours else ""), sink)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
