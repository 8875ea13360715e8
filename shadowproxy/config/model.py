"""The typed configuration: what a config file means once it has been accepted.

Every class here is frozen. A field's annotation says how the loader reads it
(`Seconds` takes `150ms`, `Size` takes `64KiB`, `Percent` takes 0 to 100), its default
is the default that the documentation states, and `doc()` carries the sentence that
the JSON Schema and docs/configuration.md show. Anything that can be checked without
the network has been checked before one of these objects exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shadowproxy.config.declare import Percent, Seconds, Size, doc
from shadowproxy.config.experiments import EndpointLabels, Experiments, Rollout
from shadowproxy.config.sinks import Sink  # noqa: TC001  shapes read annotations when they run
from shadowproxy.config.tenancy import NAME, PATH, Egress, Rewrite, Tenancy, TestTraffic, Trust

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""What a mirror copies unless told otherwise: methods without side effects (RFC 9110 9.2.1)."""

SCRUBBED_BODY_LIMIT = 1024 * 1024
"""Bytes of a body that secrets are taken out of, before and after its content codings are undone: as much takes a fifth of a second to look through, in which others wait."""

_FIELD = r"[\x21-\x7e]{1,128}"
_FIELD_FORM = "a name of up to 128 visible ASCII characters"


class Balance(StrEnum):
    """How a fleet chooses among its healthy endpoints."""

    LEAST_OUTSTANDING = "least_outstanding"
    ROUND_ROBIN = "round_robin"


class Forwarded(StrEnum):
    """Which forwarding headers the proxy writes."""

    X_FORWARDED = "x-forwarded"
    RFC7239 = "forwarded"
    BOTH = "both"
    OFF = "off"


class Credentials(StrEnum):
    """What happens to Authorization, Cookie and Proxy-Authorization on a mirrored copy."""

    REMOVE = "remove"
    KEEP = "keep"


class BodyFindings(StrEnum):
    """What fields that differ mean for the verdict."""

    REPORT = "report"
    FAIL = "fail"


class FieldTreatment(StrEnum):
    """What a difference in a field of an answer means."""

    LEARN = "learn"
    IGNORE = "ignore"
    EQUAL = "equal"
    IDS = "ids"


class FieldOrder(StrEnum):
    """How the elements of two arrays are put beside each other."""

    AUTO = "auto"
    ORDERED = "ordered"
    UNORDERED = "unordered"
    KEYED = "keyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTLS:
    """TLS towards clients. Files are read again at every reload."""

    cert: str = field(metadata=doc("PEM file with the certificate chain, leaf first.", nonempty=True, format="file"))
    key: str = field(metadata=doc("PEM file with the private key.", nonempty=True, format="file"))
    client_ca: str = field(default="", metadata=doc("PEM bundle; when given, clients must present a certificate it signed.", format="file"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address where clients connect. A bare string in the file is its address."""

    address: str = field(metadata=doc("host:port to listen on; [::1]:8080 for IPv6.", nonempty=True, format="address"))
    name: str = field(
        default="",
        metadata=doc(
            "Name that routes match on; default is the address.",
            pattern=r"[A-Za-z0-9_.:\[\]-]{0,300}",
            form="a name of A-Z a-z 0-9 _ . : [ ] -",
        ),
    )
    tls: ListenerTLS | None = field(default=None, metadata=doc("Serve HTTPS with these files."))
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "CIDR ranges whose X-Forwarded-*, Forwarded and mirror marks are believed; a private address alone earns no trust.",
            format="cidr",
        ),
    )
    trust: Trust = field(default_factory=Trust, metadata=doc("Whose tagged requests count as test traffic.", shorthand="mode"))
    egress: Egress | None = field(default=None, metadata=doc("Serve outgoing calls of services, kept from side effects."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The admin API, metrics and page."""

    address: str = field(
        default="127.0.0.1:9901", metadata=doc("host:port; loopback unless a token file is named.", nonempty=True, format="address")
    )
    token_file: str = field(
        default="",
        metadata=doc(
            "File with the bearer token (at least 22 characters). Default: generated, mode 0600, beside the state.", format="file"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may ask of one worker. Each limit exists because a peer without it fell over."""

    head: Size = field(default=Size(65536), metadata=doc("Bytes of one request head; over it 431.", minimum=1024, maximum=1048576))
    request_line: Size = field(
        default=Size(16384), metadata=doc("Bytes of a request line; over it 414. RFC 9112 section 3 asks for 8000.", minimum=1024)
    )
    header_count: int = field(default=200, metadata=doc("Header lines of one request; over it 431.", minimum=8, maximum=10000))
    body: Size = field(default=Size(0), metadata=doc("Bytes of one request body; over it 413. 0 means no limit: bodies stream.", minimum=0))
    connections: int = field(
        default=20000, metadata=doc("Client connections of one worker; beyond it new ones are closed at once.", minimum=1)
    )
    header_timeout: Seconds = field(
        default=Seconds(10.0), metadata=doc("From the first byte of a head (or the TLS handshake) to its last; then 408.", minimum=0.05)
    )
    body_timeout: Seconds = field(default=Seconds(30.0), metadata=doc("Longest silence inside a request body; then 408.", minimum=0.05))
    idle_timeout: Seconds = field(
        default=Seconds(75.0), metadata=doc("Longest wait for the next request of a kept-alive connection.", minimum=0.05)
    )
    write_timeout: Seconds = field(
        default=Seconds(60.0), metadata=doc("Longest time a client may read nothing of an answer that waits for it.", minimum=0.05)
    )
    drain_timeout: Seconds = field(
        default=Seconds(30.0), metadata=doc("How long requests in flight may take after a stop was asked for.", minimum=0.0)
    )
    tee_memory: Size = field(
        default=Size(67108864), metadata=doc("Bytes of mirrored bodies that one worker may hold for slow shadows.", minimum=0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTLS:
    """TLS towards https endpoints."""

    verify: bool = field(default=True, metadata=doc("Check the certificate and the name. Turning it off is for tests."))
    ca: str = field(default="", metadata=doc("PEM bundle of roots; default is the system's.", format="file"))
    cert: str = field(default="", metadata=doc("PEM client certificate chain.", format="file"))
    key: str = field(default="", metadata=doc("PEM key of the client certificate.", format="file"))
    server_name: str = field(default="", metadata=doc("Name to send (SNI) and to verify; default is the endpoint's host.", format="host"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """Passive health: an endpoint that keeps failing is left out for a while."""

    failures: int = field(
        default=5, metadata=doc("Consecutive connect failures, resets or timeouts that eject an endpoint; 0 never ejects.", minimum=0)
    )
    period: Seconds = field(
        default=Seconds(10.0), metadata=doc("How long it stays out; doubles each time, up to ten periods.", minimum=0.05)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Active health: a GET per endpoint and interval, from each worker."""

    path: str = field(default="/", metadata=doc("Path to ask for.", pattern=r"/[\x21-\x7e]*", form=PATH))
    interval: Seconds = field(default=Seconds(5.0), metadata=doc("Pause between checks.", minimum=0.05))
    timeout: Seconds = field(default=Seconds(2.0), metadata=doc("When a check counts as failed.", minimum=0.05))
    unhealthy: int = field(default=3, metadata=doc("Failed checks in a row that take an endpoint out.", minimum=1))
    healthy: int = field(default=2, metadata=doc("Passed checks in a row that bring it back.", minimum=1))
    status: tuple[int, ...] = field(default=(200, 204), metadata=doc("Status codes that pass.", nonempty=True, minimum=100, maximum=599))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A named set of endpoints that answer alike."""

    name: str = field(metadata=doc("The key of the fleet in the file."))
    endpoints: tuple[str, ...] = field(
        metadata=doc("URLs of scheme http or https with a host and optionally a port; no path.", nonempty=True, format="endpoint"),
    )
    balance: Balance = field(default=Balance.LEAST_OUTSTANDING, metadata=doc("How an endpoint is chosen."))
    timeout: Seconds = field(
        default=Seconds(0.0), metadata=doc("From dispatch to the last byte of the answer; 0 means none (streams).", minimum=0.0)
    )
    connect_timeout: Seconds = field(default=Seconds(3.0), metadata=doc("To a usable connection, TLS included; then 504.", minimum=0.05))
    header_timeout: Seconds = field(
        default=Seconds(60.0), metadata=doc("From the last request byte to the answer's head; then 504.", minimum=0.05)
    )
    idle_timeout: Seconds = field(default=Seconds(60.0), metadata=doc("Longest silence inside an answer's body.", minimum=0.05))
    keepalive: Seconds = field(default=Seconds(55.0), metadata=doc("How long an unused connection is kept.", minimum=0.0))
    max_connections: int = field(default=512, metadata=doc("Connections per endpoint and worker.", minimum=1))
    max_waiting: int = field(default=1024, metadata=doc("Requests per worker that may wait for a connection; beyond it 503.", minimum=0))
    dns_refresh: Seconds = field(default=Seconds(30.0), metadata=doc("How often names are resolved again; 0 resolves once.", minimum=0.0))
    eject: Ejection = field(default_factory=Ejection, metadata=doc("Passive health."))
    health: HealthCheck | None = field(default=None, metadata=doc("Active health checks; off unless given."))
    tls: UpstreamTLS = field(default_factory=UpstreamTLS, metadata=doc("TLS towards https endpoints."))
    labels: tuple[EndpointLabels, ...] = field(
        default=(), metadata=doc("Where endpoints are: what experiments are confined to and evacuations move away from.")
    )
    revision: str = field(
        default="",
        metadata=doc(
            "Where answers name the build that gave them, as header:NAME. A new value restarts the evidence.",
            pattern=r"(header:[A-Za-z0-9!#$%&'*+.^_`|~-]+)?",
            form="header:NAME",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests a route takes: all that is given must hold. At most one of path, exact, regex."""

    listener: str = field(default="", metadata=doc("Name of a listener."))
    host: str = field(
        default="", metadata=doc("Host without port, any letter case; `*.example.com` takes every subdomain.", format="host-pattern")
    )
    path: str = field(
        default="",
        metadata=doc(
            "Prefix by whole segments: /orders takes /orders and /orders/7, not /orders2.",
            pattern=r"(/[\x21-\x7e]*)?",
            form=PATH,
            format="path",
        ),
    )
    exact: str = field(
        default="",
        metadata=doc("The whole path, byte for byte, without the query.", pattern=r"(/[\x21-\x7e]*)?", form=PATH, format="path"),
    )
    regex: str = field(default="", metadata=doc("Regular expression that the whole path must match.", format="regex"))
    methods: tuple[str, ...] = field(default=(), metadata=doc("Methods; none given means all.", format="method"))
    headers: dict[str, str] = field(
        default_factory=dict,
        metadata=doc(
            "Header name to value that one of its lines must equal; `*` asks only for presence.",
            key_format="header-name",
            format="header-value",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyHeaders:
    """Header changes on the mirrored copy only."""

    set: dict[str, str] = field(
        default_factory=dict,
        metadata=doc("Fields to set, in place of any that the client sent.", key_format="header-name", format="header-value"),
    )
    remove: tuple[str, ...] = field(default=(), metadata=doc("Fields to leave out.", format="header-name"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a mirror stops trying for a while."""

    failures: int = field(default=5, metadata=doc("Failures in a row that open the breaker; 0 never opens it.", minimum=0))
    period: Seconds = field(
        default=Seconds(1.0), metadata=doc("First pause; doubles to 30 s while probes fail. One probe at a time.", minimum=0.05)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlArm:
    """A second fleet of the live build that gets the same copies: what differs there is noise (an A/A test)."""

    to: str = field(metadata=doc("The fleet that runs the live build.", nonempty=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMargins:
    """How much worse the shadow's error rate may be, in percentage points."""

    regression: Percent = field(
        default=Percent(0.0), metadata=doc("More than this many points worse is a regression; 0: anything that can be shown.")
    )
    safe: Percent = field(default=Percent(0.2), metadata=doc("SAFE says that errors are worse by less than this many points."))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyMargins:
    """How much slower the shadow's median answer may be, in percent of live's on the same request."""

    regression: Percent = field(default=Percent(1.0), metadata=doc("More than this many percent slower is a regression."))
    safe: Percent = field(default=Percent(2.0), metadata=doc("SAFE says that the median is slower by less than this many percent."))
    resolution: Seconds = field(
        default=Seconds(0.00005),
        metadata=doc(
            "What the proxy itself may add to the second leg: not held against the shadow. With a control arm it is not needed, nor used.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """How fields of answers are compared, where it is known better than learnt. The first rule that says something holds."""

    path: str = field(
        metadata=doc(
            "Where, as reports show it: status, header.vary, body.items[*].price; `*` is any part of a name, `**` any number of steps.",
            pattern=r"(status|header|body|\*)[\x20-\x7e\u00a1-\ud7ff]{0,500}",
            form="a path that begins with status, header, body or *",
        )
    )
    treat: FieldTreatment = field(
        default=FieldTreatment.LEARN,
        metadata=doc("learn what is noise; ignore differences; equal: the first one counts; ids: each world issues its own."),
    )
    order: FieldOrder = field(
        default=FieldOrder.AUTO, metadata=doc("How elements of an array are matched: by what names them, by index, in any order, by `key`.")
    )
    key: str = field(default="", metadata=doc("The member that `order: keyed` matches elements by."))
    absolute: float = field(default=0.0, metadata=doc("How far numbers may be apart.", minimum=0.0, maximum=1000000.0))
    relative: float = field(
        default=0.0, metadata=doc("How far numbers may be apart, as a part of the larger one.", minimum=0.0, maximum=1.0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """When a mirror's shadow counts as worse, and when as safe. Probabilities hold however often one looks."""

    alpha: float = field(default=0.05, metadata=doc("Chance of a false REGRESSION over the whole run.", minimum=0.000001, maximum=0.5))
    beta: float = field(default=0.05, metadata=doc("Chance of a false SAFE over the whole run.", minimum=0.000001, maximum=0.5))
    errors: ErrorMargins = field(default_factory=ErrorMargins, metadata=doc("Margins of the error rate."))
    latency: LatencyMargins = field(default_factory=LatencyMargins, metadata=doc("Margins of the latency."))
    slo: tuple[Seconds, ...] = field(
        default=(),
        metadata=doc("Durations whose crossing is tested by itself, up to eight: how questions about a p99 are asked.", minimum=0.000001),
    )
    bodies: BodyFindings = field(
        default=BodyFindings.REPORT,
        metadata=doc("Whether fields that differ make a REGRESSION (fail) or stand beside the verdict (report)."),
    )
    fields: tuple[FieldRule, ...] = field(default=(), metadata=doc("Rules for fields of answers; without any all is learnt."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Which pairs are kept whole, redacted, to compare their bodies and to show as examples."""

    per_second: float = field(
        default=10.0, metadata=doc("Pairs per worker and second; chosen on arrival. 0 captures none.", minimum=0.0, maximum=1000.0)
    )
    body: Size = field(
        default=Size(65536), metadata=doc("Bytes of each body that are kept; what is longer is cut.", minimum=0, maximum=4194304)
    )
    memory: Size = field(
        default=Size(16777216), metadata=doc("Bytes that the captures of one worker may hold; beyond it none is begun.", minimum=0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is replaced by pseudonyms before anything captured is kept or shown. Well-known secrets always are."""

    headers: tuple[str, ...] = field(default=(), metadata=doc("Further header fields.", format="header-name"))
    fields: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "Further names of query parameters, cookies, form and JSON fields; any letter case, `-` and `_` alike.",
            pattern=_FIELD,
            form=_FIELD_FORM,
        ),
    )
    keep: tuple[str, ...] = field(
        default=(), metadata=doc("Names of the built-in list that are no secret here.", pattern=_FIELD, form=_FIELD_FORM)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A copy of a route's requests to a shadow fleet, whose answers are discarded."""

    to: str = field(metadata=doc("The shadow fleet.", nonempty=True))
    name: str = field(
        default="", metadata=doc("Name in metrics and reports; default is the fleet's.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME)
    )
    percent: Percent = field(
        default=Percent(100.0),
        metadata=doc("Share of the eligible units that is sampled, to 0.001.", omitted="percent not given: 100 % is mirrored"),
    )
    holdout: Percent = field(
        default=Percent(0.0),
        metadata=doc("Share of the sampled units that is left unmirrored after all, to measure what mirroring costs live."),
    )
    key: str = field(
        default="",
        metadata=doc(
            "Unit that is sampled as a whole: header:NAME, cookie:NAME, client, segment:N (from 1) or trace. None: each request by itself.",
            pattern=r"(header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|cookie:[A-Za-z0-9!#$%&'*+.^_`|~-]+|client|segment:[1-9][0-9]?|trace)?",
            form="header:NAME, cookie:NAME, client, segment:N or trace",
        ),
    )
    salt: str = field(
        default="",
        metadata=doc(
            "Salt of the hash space, up to 64 bytes; default is the route's name, so that mirrors of a route sample the same units first.",
            max_bytes=64,
        ),
    )
    methods: tuple[str, ...] = field(default=SAFE_METHODS, metadata=doc("Methods to mirror.", nonempty=True, format="method"))
    body_limit: Size = field(default=Size(1048576), metadata=doc("Requests with a larger body are not mirrored.", minimum=0))
    body_budget: Size = field(
        default=Size(262144), metadata=doc("Bytes of one copy that may wait for a slow shadow before the copy is abandoned.", minimum=0)
    )
    timeout: Seconds = field(default=Seconds(5.0), metadata=doc("From dispatch to the shadow's last byte, in all.", minimum=0.01))
    pair_timeout: Seconds = field(
        default=Seconds(30.0), metadata=doc("How long a pair may hold up the pairs behind it before it is excluded.", minimum=0.1)
    )
    in_flight: int = field(default=256, metadata=doc("Copies under way per worker; beyond it new ones are shed.", minimum=1))
    credentials: Credentials = field(
        default=Credentials.REMOVE, metadata=doc("What happens to Authorization, Cookie and Proxy-Authorization.")
    )
    headers: CopyHeaders = field(default_factory=CopyHeaders, metadata=doc("Header changes on the copy."))
    scrub: bool = field(
        default=False,
        metadata=doc(
            "Send pseudonyms in place of what redaction calls secret. What cannot be looked through (binary, unknown coding, over 1 MiB) is not sent."
        ),
    )
    host: str = field(
        default="preserve",
        metadata=doc(
            "Host of the copy: preserve, literal:NAME or suffix:TEXT (put behind the name, before the port).",
            pattern=r"preserve|(literal|suffix):[A-Za-z0-9._:\[\]-]+",
            form="preserve, literal:NAME or suffix:TEXT",
        ),
    )
    breaker: Breaker = field(default_factory=Breaker, metadata=doc("When the mirror pauses."))
    control: ControlArm | None = field(default=None, metadata=doc("A/A arm: a fleet of the live build that gets the same copies."))
    resend: Percent = field(
        default=Percent(0.0),
        metadata=doc(
            "Share of the copied GET and HEAD requests that live itself gets once more, marked, to learn what differs by nature; "
            "0.1 is plenty. Not used beside a control arm. 0 sends none: live gets what clients sent, and nothing else.",
        ),
    )
    judge: Judge = field(default_factory=Judge, metadata=doc("When the shadow counts as worse, and when as safe."))
    capture: Capture = field(default_factory=Capture, metadata=doc("Which pairs are kept whole."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A match and what is done with what it takes."""

    live: str = field(metadata=doc("The fleet that answers.", nonempty=True))
    name: str = field(
        default="", metadata=doc("Name in metrics and reports; default is route-N.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME)
    )
    match: Match = field(default_factory=Match, metadata=doc("Which requests; everything by default."))
    mirror: tuple[Mirror, ...] = field(default=(), metadata=doc("Copies to shadow fleets."))
    rewrite: Rewrite = field(default_factory=Rewrite, metadata=doc("What changes on the way to live, and for copies too."))
    test_traffic: TestTraffic = field(default_factory=TestTraffic, metadata=doc("Requests tagged X-Test-Traffic."))
    rollout: Rollout | None = field(default=None, metadata=doc("A new version that live's traffic is to move to, step by step."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """One JSON line a request, sampled; lines are dropped rather than waited for."""

    path: str = field(default="", metadata=doc("File to append to, or `stdout`; empty writes none.", format="file"))
    sample: float = field(
        default=1.0, metadata=doc("Share of requests from 0 to 1; failed ones are always logged.", minimum=0.0, maximum=1.0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration, accepted."""

    listen: tuple[Listener, ...] = field(metadata=doc("Where clients connect.", nonempty=True, shorthand="address"))
    fleets: dict[str, Fleet] = field(
        metadata=doc("Named sets of endpoints.", nonempty=True, key_pattern=r"[A-Za-z0-9_.-]{1,64}", form=NAME)
    )
    routes: tuple[Route, ...] = field(metadata=doc("First match wins.", nonempty=True))
    admin: Admin = field(default_factory=Admin, metadata=doc("Admin API, metrics and page."))
    workers: int = field(
        default=1, metadata=doc("Worker processes; `auto` is one per CPU this process may use.", minimum=1, maximum=256, keyword="auto")
    )
    state: str = field(
        default="sqlite:///shadowproxy.db",
        metadata=doc("Where durable state lives: sqlite:///PATH or redis://HOST:PORT/DATABASE.", nonempty=True, format="state"),
    )
    limits: Limits = field(default_factory=Limits, metadata=doc("Limits on clients."))
    forwarded: Forwarded = field(default=Forwarded.X_FORWARDED, metadata=doc("Which forwarding headers are written."))
    access_log: AccessLog = field(default_factory=AccessLog, metadata=doc("Structured access log."))
    redaction: Redaction = field(default_factory=Redaction, metadata=doc("What is never kept or shown."))
    tenancy: Tenancy = field(default_factory=Tenancy, metadata=doc("Test traffic, for all routes."))
    experiments: Experiments = field(default_factory=Experiments, metadata=doc("What experiments and rollouts obey."))
    sinks: dict[str, Sink] = field(
        default_factory=dict,
        metadata=doc("Mocks that answer tagged requests.", key_pattern=r"[A-Za-z0-9_.-]{1,64}", form=NAME),
    )
