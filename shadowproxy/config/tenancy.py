"""The part of the model that is about test traffic: who may send it, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shadowproxy.config.declare import Seconds, Size, doc

NAME = "a name of up to 64 of A-Z a-z 0-9 _ . -"
PATH = "a path: / and visible ASCII characters"
PATH_PATTERN = r"(/[\x21-\x7e]*)?"


class TrustMode(StrEnum):
    """Whose tags count on a listener."""

    ANY = "any"
    CIDRS = "cidrs"
    SIGNED = "signed"


class EgressCalls(StrEnum):
    """Which calls count as test traffic on an egress listener."""

    ALL = "all"
    MARKED = "marked"


class LostTags(StrEnum):
    """What becomes of a call that belongs to a tagged trace and has lost its tag."""

    RETAG = "retag"
    REFUSE = "refuse"
    REPORT = "report"


class CountsAs(StrEnum):
    """Whether a request changes anything."""

    READ = "read"
    WRITE = "write"


class Dialect(StrEnum):
    """Other ways to say that a request is a test."""

    UBER = "uber"
    SIGNADOT = "signadot"
    MIRRORD = "mirrord"
    OKTETO = "okteto"
    TAKIN = "takin"
    DATADOG = "datadog"
    OTEL = "otel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Who may send tagged requests through a listener. Everyone else's are answered 403. A bare word in the file is the mode."""

    mode: TrustMode = field(
        default=TrustMode.ANY, metadata=doc("any: everyone; cidrs: clients of these ranges; signed: requests with a passport.")
    )
    cidrs: tuple[str, ...] = field(default=(), metadata=doc("Ranges of client addresses whose tags count.", format="cidr"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """Makes a listener one for outgoing calls of services: shadows' and test tenants' writes are kept from what they call."""

    calls: EgressCalls = field(
        default=EgressCalls.MARKED,
        metadata=doc("marked: calls with a tag or a mirror's mark are test traffic; all: every call is, as only shadows use the listener."),
    )
    lost_tags: LostTags = field(
        default=LostTags.RETAG,
        metadata=doc("What becomes of a call of a tagged trace without its tag: tagged again, refused, or passed and reported."),
    )
    service: str = field(
        default="",
        metadata=doc(
            "The one service that calls through this listener; empty: `caller` tells.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME
        ),
    )
    caller: str = field(
        default="user-agent", metadata=doc("Header field in which services name themselves, up to a / or space.", format="header-name")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Test tenants' own part of a service: another fleet, or the same one asked differently. `{tenant}` stands for the tenant's name."""

    fleet: str = field(default="", metadata=doc("The fleet; the route's live fleet if empty."))
    headers: dict[str, str] = field(
        default_factory=dict,
        metadata=doc("Fields to set, in place of any that the client sent.", key_format="header-name", format="header-value"),
    )
    path_prefix: str = field(default="", metadata=doc("Put before the path.", pattern=PATH_PATTERN, form=PATH))
    host: str = field(default="", metadata=doc("Host to ask for; the client's if empty.", pattern=r"[A-Za-z0-9._:{}\[\]-]*", form="a host"))
    query: dict[str, str] = field(
        default_factory=dict,
        metadata=doc(
            "Query parameters to set, in place of any of that name; written as they stand.",
            key_pattern=r"[A-Za-z0-9_.~-]{1,64}",
            form=NAME,
            pattern=r"[A-Za-z0-9_.~%{}-]*",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a route's tagged requests go. A bare word in the file is the rule."""

    rule: str = field(default="", metadata=doc("live, or refuse (409).", pattern="(live|refuse)?", form="live or refuse"))
    sink: str = field(default="", metadata=doc("The sink that answers instead."))
    partition: Partition | None = field(default=None, metadata=doc("The part of a service that is for tests."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """Requests whose method says the wrong thing: a search by POST reads, a GET that changes something writes. All that is given must hold."""

    counts_as: CountsAs = field(metadata=doc("read or write."))
    path: str = field(default="", metadata=doc("Prefix by whole segments.", pattern=PATH_PATTERN, form=PATH, format="path"))
    exact: str = field(default="", metadata=doc("The whole path.", pattern=PATH_PATTERN, form=PATH, format="path"))
    regex: str = field(default="", metadata=doc("Regular expression that the whole path must match.", format="regex"))
    methods: tuple[str, ...] = field(default=(), metadata=doc("Methods; none given means all.", format="method"))
    query: str = field(
        default="",
        metadata=doc(
            "NAME or NAME=VALUE that the raw query must contain as a parameter.",
            pattern=r"([A-Za-z0-9_.~%-]+(=[A-Za-z0-9_.~%+:/-]*)?)?",
            form="NAME or NAME=VALUE",
        ),
    )
    body: str = field(default="", metadata=doc("Regular expression found in the first 64 KiB of the body.", format="regex"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTraffic:
    """What happens to requests tagged X-Test-Traffic."""

    reads: Destination = field(
        default_factory=Destination,
        metadata=doc("Tagged requests without side effects: live answers unless said otherwise.", shorthand="rule"),
    )
    writes: Destination = field(
        default_factory=Destination, metadata=doc("Tagged requests with side effects: without a rule refused with 409.", shorthand="rule")
    )
    treat: tuple[Treatment, ...] = field(
        default=(), metadata=doc("Which requests read or write against their method; the first that holds.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What a route changes about requests before its live fleet gets them: for dependencies that are called by a base URL of ours."""

    strip_prefix: str = field(default="", metadata=doc("Taken off the path, by whole segments.", pattern=PATH_PATTERN, form=PATH))
    path_prefix: str = field(default="", metadata=doc("Put before the path.", pattern=PATH_PATTERN, form=PATH))
    host: str = field(
        default="preserve",
        metadata=doc(
            "Host that the fleet is asked for: preserve, endpoint (its own name) or literal:NAME.",
            pattern=r"preserve|endpoint|literal:[A-Za-z0-9._:\[\]-]+",
            form="preserve, endpoint or literal:NAME",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportKey:
    """A key that passports are signed with (RFC 9421, hmac-sha256)."""

    name: str = field(metadata=doc("The key's id in the file and in signatures."))
    file: str = field(metadata=doc("File with the secret, at least 32 bytes; read again at every reload.", nonempty=True, format="file"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passports:
    """Signed, expiring tags, for listeners with trust: signed."""

    keys: dict[str, PassportKey] = field(
        default_factory=dict, metadata=doc("Keys by id; two while one replaces the other.", key_pattern=r"[A-Za-z0-9_.-]{1,64}", form=NAME)
    )
    lifetime: Seconds = field(default=Seconds(300.0), metadata=doc("Longest time from created to expires.", minimum=1.0, maximum=3600.0))
    skew: Seconds = field(default=Seconds(5.0), metadata=doc("How far clocks may differ.", minimum=0.0, maximum=60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The durable record of tagged writes."""

    path: str = field(default="", metadata=doc("SQLite file; default is beside the state.", format="file"))
    retention: Seconds = field(default=Seconds(2592000.0), metadata=doc("How long rows are kept.", minimum=0.05))
    max_size: Size = field(
        default=Size(1073741824),
        metadata=doc("Bytes of the file; over it the oldest rows go, refused and sunk ones first.", minimum=1024),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenancy:
    """Test traffic, for all routes."""

    dialects: tuple[Dialect, ...] = field(default=(), metadata=doc("Other tags that count as X-Test-Traffic does."))
    body_limit: Size = field(
        default=Size(8388608), metadata=doc("Bytes of a tagged request's body, which is held until it is whole; over it 413.", minimum=0)
    )
    memory: Size = field(
        default=Size(67108864), metadata=doc("Bytes of tagged bodies that one worker may hold; beyond it 503.", minimum=1024)
    )
    passports: Passports = field(default_factory=Passports, metadata=doc("Signed tags."))
    ledger: Ledger = field(default_factory=Ledger, metadata=doc("The record of tagged writes."))
