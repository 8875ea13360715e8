"""What an audit sends: one probe or two for each route, method and listener, decided without I/O.

The policy that workers compile from the same config says which route takes a probe and what its rule makes of it. Rules
of the file:

- a probe that another route would take first is not sent as this route's: it tries a deeper path, or is named as left out;
- PUT, PATCH and DELETE go to an item that cannot exist, so that one that leaks changes nothing;
- a write that its rule sends to live is left out unless it is asked for;
- the same config and the same options make the same probes, but for the tokens in them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from shadowproxy.audit.honey import MOST, Honey, hidden
from shadowproxy.audit.probefile import OURS, SLOT
from shadowproxy.audit.samples import sample
from shadowproxy.config.tenancy import TrustMode
from shadowproxy.errors import AuditFailed
from shadowproxy.policy import bare_host, compile_policy
from shadowproxy.policy.tags import tenant_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shadowproxy.audit.probefile import Template
    from shadowproxy.config.model import Config, Listener, Match, Route
    from shadowproxy.policy.routes import Policy, RoutePolicy

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""What a route that takes every method is asked with."""

NAME: Final = "shadowproxy_audit"
"""The parameter and the member that hold tokens in probes that nobody has written."""

TAG: Final = "X-Test-Traffic"
HEADER: Final = "X-Shadowproxy-Audit"

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_OF_AN_ITEM: Final = frozenset({"PUT", "PATCH", "DELETE"})
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request.

    `number` counts from 0 and is that of its tokens; `expected` and `to` are what its route's rule says; `status` is that which the answer must have, 0
    for any.
    """

    number: int
    route: str
    listener: str
    method: str
    target: str
    host: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    trace: str
    tenant: str
    is_write: bool
    expected: str
    to: str
    is_signed: bool
    status: int = 0

    @property
    def label(self) -> str:
        """What people call it, in every run alike."""
        kinds = {_JSON: " (JSON)", _FORM: " (form)"}
        kind = next((kinds.get(value, "") for name, value in self.headers if name.lower() == "content-type"), "")
        return f"{self.method} {hidden(self.target.partition('?')[0])}{kind}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not asked, and why."""

    route: str
    listener: str
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be sent, in this order, and what is left out."""

    honey: Honey
    tenant: str
    probes: tuple[Probe, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the caller wants.

    Args:
        tenant: whose tests the probes are.
        routes, listeners: only these; empty for all.
        methods: for routes that take every method.
        templates: by route, in place of what would be made up.
        has_key: whether passports can be made, for listeners that ask for them.
        includes_live: send writes that their rule sends to live, too.
        authorities: by listener, the host and port to ask for.
    """

    tenant: str = "shadowproxy-audit"
    routes: Sequence[str] = ()
    listeners: Sequence[str] = ()
    methods: Sequence[str] = METHODS
    templates: Mapping[str, Sequence[Template]] = field(default_factory=dict)
    has_key: bool = False
    includes_live: bool = False
    authorities: Mapping[str, str] = field(default_factory=dict)


def make(config: Config, honey: Honey, wishes: Wishes) -> Plan:
    """The plan of an audit.

    Raises:
        AuditFailed: a route or a listener that was named is not there, or it would take more probes than can be told apart.
    """
    _check_names(config, wishes)
    planner = _Planner(config, honey, wishes)
    for route, policy in zip(config.routes, planner.policy.routes, strict=True):
        if not wishes.routes or route.name in wishes.routes:
            for listener in config.listen:
                if route.match.listener in {"", listener.name} and (not wishes.listeners or listener.name in wishes.listeners):
                    planner.ask(route, policy, listener)
    return Plan(honey, wishes.tenant, tuple(planner.probes), tuple(planner.skipped))


def _check_names(config: Config, wishes: Wishes) -> None:
    routes, listeners = {route.name for route in config.routes}, {listener.name for listener in config.listen}
    for kind, named, known in (("route", [*wishes.routes, *wishes.templates], routes), ("listener", wishes.listeners, listeners)):
        for name in named:
            if name not in known:
                raise AuditFailed(f"no {kind} is called {name!r}: there are {', '.join(sorted(known))}")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A request before it is known whether its route takes it."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    status: int = 0


class _Planner:
    """Collects probes. The next one's number is the length of `probes`."""

    def __init__(self, config: Config, honey: Honey, wishes: Wishes) -> None:
        self.policy: Policy = compile_policy(config, 1)
        self.probes: list[Probe] = []
        self.skipped: list[Skipped] = []
        self._honey = honey
        self._wishes = wishes

    def ask(self, route: Route, policy: RoutePolicy, listener: Listener) -> None:
        """Plan the probes of one route by way of one listener."""
        if listener.trust.mode is TrustMode.SIGNED and not self._wishes.has_key:
            self._skip(route, listener, "*", "the listener takes signed tags only: --passport-key-file and --key-id")
            return
        templates = self._wishes.templates.get(route.name)
        if templates is not None:
            for template in templates:
                self._take(route, policy, listener, template.method, self._written(route.match, template))
            return
        for method in route.match.methods or self._wishes.methods:
            if method == "CONNECT":
                self._skip(route, listener, method, "what a tunnel carries cannot be probed")
            elif method in _WITH_BODY:
                self._take(route, policy, listener, method, self._made_up(route.match, method, _JSON))
                self._take(route, policy, listener, method, self._made_up(route.match, method, _FORM))
            else:
                self._take(route, policy, listener, method, self._made_up(route.match, method, ""))

    def _token(self, place: str) -> str:
        """The token of the next probe for a place in it."""
        return self._honey.token(len(self.probes), place)

    def _paths(self, match: Match, method: str) -> Iterator[str]:
        """Paths that the match of a route takes, the one to try first coming first."""
        if match.exact:
            yield match.exact
        elif match.regex:
            found = sample(match.regex)
            if found is not None:
                yield found
        else:
            prefix = match.path.rstrip("/")
            item = f"{prefix}/{self._token('p')}"
            if method not in _OF_AN_ITEM:
                yield prefix or "/"
            yield item

    def _made_up(self, match: Match, method: str, content_type: str) -> Iterator[_Draft]:
        query = f"{NAME}={self._token('q')}"
        headers, body = [(HEADER, self._token("h"))], b""
        if content_type:
            value = {NAME: self._token("b")}
            body = (json.dumps(value) if content_type == _JSON else urlencode(value)).encode()
            headers.append(("Content-Type", content_type))
        for path in self._paths(match, method):
            yield _Draft(method, path, query, tuple(headers), body)

    def _written(self, match: Match, template: Template) -> Iterator[_Draft]:
        path, mark, query = template.path.partition("?")
        body = template.body if template.json is None else json.dumps(template.json)
        headers = [(HEADER, self._token("h"))]
        if template.json is not None:
            headers.append(("Content-Type", _JSON))
        given = tuple((name, value.replace(SLOT, self._token("h"))) for name, value in template.headers.items())
        for one in [path.replace(SLOT, self._token("p"))] if path else self._paths(match, template.method):
            yield _Draft(
                template.method,
                one,
                query.replace(SLOT, self._token("q")) if mark else "",
                _merged(tuple(headers), given),
                body.replace(SLOT, self._token("b")).encode(),
                template.status,
            )

    def _take(self, route: Route, policy: RoutePolicy, listener: Listener, method: str, drafts: Iterator[_Draft]) -> None:
        """Plan the first of some drafts that the route takes."""
        reason = "no path is known that its regex takes: give one in --probes"
        for draft in drafts:
            probe, taken = self._probe(route, policy, listener, draft)
            if taken is policy:
                self._add(route, listener, probe)
                return
            by = f"route {taken.name!r} takes {draft.method} {draft.path} first" if taken else f"no route takes {draft.method} {draft.path}"
            reason = f"{by}: give another in --probes"
        self._skip(route, listener, method, reason)

    def _add(self, route: Route, listener: Listener, probe: Probe) -> None:
        if not probe.tenant:
            self._skip(route, listener, probe.method, "its match asks for a tag that says that a request is no test")
            return
        if probe.is_write and probe.expected == "passed" and not self._wishes.includes_live:
            self._skip(route, listener, probe.method, "its rule sends writes to live: --include-live probes that too")
            return
        if len(self.probes) >= MOST:
            raise AuditFailed(f"more than {MOST} probes: choose by --route, --listener or --method")
        self.probes.append(probe)

    def _probe(self, route: Route, policy: RoutePolicy, listener: Listener, draft: _Draft) -> tuple[Probe, RoutePolicy | None]:
        """A draft as a probe of a route, and the route that takes it in truth."""
        number = len(self.probes)
        trace = self._honey.trace(number)
        host = _host(route.match, self._wishes.authorities.get(listener.name, listener.address))
        is_signed = listener.trust.mode is TrustMode.SIGNED
        tag = _tag(route.match, self._wishes.tenant)
        headers = _merged(_asked_for(route.match, "" if is_signed else tag, trace, number), draft.headers)
        target = f"{draft.path}?{draft.query}" if draft.query else draft.path
        method, path = draft.method.encode(), draft.path.encode()
        fields: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            fields.setdefault(name.lower().encode(), []).append(value.encode("latin-1"))
        lines = [f"{name}: {value}".encode("latin-1") for name, value in headers]
        is_write, destination = policy.tests.decide(method, target.encode(), lines, draft.body, is_upgrade=b"upgrade" in fields)
        probe = Probe(
            number=number,
            route=route.name,
            listener=listener.name,
            method=draft.method,
            target=target,
            host=host,
            headers=headers,
            body=draft.body,
            trace=trace,
            tenant=(tenant_of(tag.encode()) or b"").decode(),
            is_write=is_write,
            expected=destination.fate,
            to=destination.to,
            is_signed=is_signed,
            status=draft.status,
        )
        return probe, self.policy.find(listener.name, bare_host(host.encode()), path, method, fields)

    def _skip(self, route: Route, listener: Listener, method: str, reason: str) -> None:
        found = Skipped(route.name, listener.name, method, reason)
        if found not in self.skipped:
            self.skipped.append(found)


def _tag(match: Match, tenant: str) -> str:
    """The value of a probe's tag: a route may be for one tenant's tests only."""
    asked = next((value for name, value in match.headers.items() if name.lower() == TAG.lower()), "*")
    return tenant if asked == "*" else asked


def _asked_for(match: Match, tag: str, trace: str, number: int) -> tuple[tuple[str, str], ...]:
    """The fields that a match asks for, and those that make a request a probe."""
    asked = tuple((name, "audit" if value == "*" else value) for name, value in match.headers.items() if name.lower() not in OURS)
    return (*asked, *(((TAG, tag),) if tag else ()), ("traceparent", f"00-{trace}-{number + 1:016x}-01"))


def _host(match: Match, authority: str) -> str:
    if not match.host:
        return authority
    return f"audit{match.host[1:]}" if match.host.startswith("*.") else match.host


def _merged(ours: tuple[tuple[str, str], ...], given: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Given fields take the place of ours of the same name."""
    named = {name.lower() for name, _ in given}
    return (*(one for one in ours if one[0].lower() not in named), *given)
