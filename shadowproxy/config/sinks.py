"""The part of the model that is about sinks: mocks that answer tagged requests in a service's place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shadowproxy.config.declare import Json, Seconds, Size, doc
from shadowproxy.config.tenancy import NAME, PATH, PATH_PATTERN

SEGMENTS_PATTERN = r"(/(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z0-9._~!$&'()+,;=:@%-]*))*(/\*\*)?"
SEGMENTS = "a path of segments, {name} for any one of them, /** at the end for any number"
NUMBER_ABOVE_ALL = 9_000_000_000_000_000
"""Where integer ids of sinks begin: far above any sequence of production's, and still exact in every JSON reader (RFC 8259 section 6)."""


class AtEnd(StrEnum):
    """What comes after the last answer of a sequence."""

    REPEAT = "repeat"
    LOOP = "loop"


class IdForm(StrEnum):
    """What ids that a sink issues look like."""

    UUID = "uuid"
    INTEGER = "integer"
    PREFIXED = "prefixed"


class Preset(StrEnum):
    """Ready-made sinks."""

    NONE = "none"
    PAYMENT = "payment"
    EMAIL = "email"
    SMS = "sms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers take: `fixed`, evenly between `low` and `high`, or lognormal by `median` and `p99`. A bare duration is fixed."""

    fixed: Seconds = field(default=Seconds(0.0), metadata=doc("Always this long.", minimum=0.0, maximum=60.0))
    low: Seconds = field(default=Seconds(0.0), metadata=doc("The shortest.", minimum=0.0, maximum=60.0))
    high: Seconds = field(default=Seconds(0.0), metadata=doc("The longest.", minimum=0.0, maximum=60.0))
    median: Seconds = field(default=Seconds(0.0), metadata=doc("Half of the answers are faster.", minimum=0.0, maximum=60.0))
    p99: Seconds = field(default=Seconds(0.0), metadata=doc("One of a hundred is slower; none takes over 60 s.", minimum=0.0, maximum=60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkAnswer:
    """One answer. Strings may be templates with fields of the request, see docs/sinks.md."""

    status: int = field(default=200, metadata=doc("Status code.", minimum=200, maximum=599))
    headers: dict[str, str] = field(
        default_factory=dict, metadata=doc("Fields of the answer.", key_format="header-name", format="header-value")
    )
    json: Json = field(default=None, metadata=doc("Body, as JSON."))  # type: ignore[assignment]  # nothing is JSON too
    text: str = field(default="", metadata=doc("Body, as text, where `json` is not given."))
    latency: Latency | None = field(default=None, metadata=doc("How long it takes; the sink's latency if not given.", shorthand="fixed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkMatch:
    """Which requests a rule of a sink takes: all that is given must hold."""

    methods: tuple[str, ...] = field(default=(), metadata=doc("Methods; none given means all.", format="method"))
    path: str = field(
        default="",
        metadata=doc("The whole path; `{name}` is any one segment, `/**` at the end any number.", pattern=SEGMENTS_PATTERN, form=SEGMENTS),
    )
    query: dict[str, str] = field(
        default_factory=dict,
        metadata=doc(
            "Query parameter to value that it must have; `*` asks only for presence.", key_pattern=r"[A-Za-z0-9_.~\[\]-]{1,64}", form=NAME
        ),
    )
    headers: dict[str, str] = field(
        default_factory=dict,
        metadata=doc(
            "Header name to value that it must equal; `*` asks only for presence.", key_format="header-name", format="header-value"
        ),
    )
    json: Json = field(default=None, metadata=doc("What the JSON body must contain: objects by members, everything else whole."))  # type: ignore[assignment]  # as above
    body: str = field(default="", metadata=doc("Regular expression found in the first 64 KiB of the body.", format="regex"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRule:
    """Requests that get an answer of their own, or one answer after the other."""

    match: SinkMatch = field(default_factory=SinkMatch, metadata=doc("Which requests; everything by default."))
    respond: SinkAnswer = field(default_factory=SinkAnswer, metadata=doc("The answer."))
    sequence: tuple[SinkAnswer, ...] = field(
        default=(), metadata=doc("In place of `respond`: each tenant's first answer, second, third...")
    )
    at_end: AtEnd = field(default=AtEnd.REPEAT, metadata=doc("After the last answer of the sequence: that one again, or from the first."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Things that can be created, read, changed and deleted under one path. A bare string in the file is the path."""

    path: str = field(
        metadata=doc(
            "Path of the collection, `{name}` for ids of what it belongs to: /orders or /orders/{order}/items.",
            pattern=r"(/(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z0-9._~!$&'()+,;=:@%-]+))+",
            form="a path of segments, {name} for any one of them",
        )
    )
    id: str = field(default="id", metadata=doc("Member of an item that holds its id.", pattern=r"[A-Za-z0-9_$.-]{1,64}", form=NAME))
    ids: IdForm = field(
        default=IdForm.UUID,
        metadata=doc(
            "Ids of new items, none of which is one of production's: UUIDs that begin with 7e57, integers from 9e15, or `prefix` and letters."
        ),
    )
    prefix: str = field(
        default="test-", metadata=doc("What ids of form `prefixed` begin with.", pattern=r"[A-Za-z0-9_.-]{1,32}", form=NAME)
    )
    items: str = field(
        default="",
        metadata=doc(
            "Member of live's list that holds the items; found by itself if empty: items, data, results or the collection's name.",
            pattern=r"[A-Za-z0-9_$.-]{0,64}",
            form=NAME,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a sink keeps: each tenant reads its own writes, over what live holds."""

    collections: tuple[Collection, ...] = field(metadata=doc("What can be created.", nonempty=True, shorthand="path"))
    merge: bool = field(default=True, metadata=doc("Whether what live holds is seen too, changed as the tenant changed it."))
    live: str = field(default="", metadata=doc("Fleet that is asked what live holds; default is that of the one route that uses the sink."))
    timeout: Seconds = field(default=Seconds(5.0), metadata=doc("Longest wait for live.", minimum=0.05, maximum=60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenApi:
    """Answers by an OpenAPI 3.0 or 3.1 document. Needs `pip install 'shadowproxy[sinks]'`. A bare string in the file is its path."""

    file: str = field(metadata=doc("The document, YAML or JSON; read again at every reload.", nonempty=True, format="file"))
    validate: bool = field(default=True, metadata=doc("Refuse requests that the document does not allow (400)."))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """What one sink may take and keep. Over it the oldest items of the tenant that keeps most go first."""

    body: Size = field(default=Size(1048576), metadata=doc("Bytes of a request's body; over it 413.", minimum=1, maximum=67108864))
    in_flight: int = field(default=1000, metadata=doc("Requests at a time; beyond it 503.", minimum=1, maximum=100000))
    items: int = field(default=10000, metadata=doc("Items kept, of all tenants.", minimum=1, maximum=10000000))
    size: Size = field(default=Size(67108864), metadata=doc("Bytes of items kept, of all tenants.", minimum=1024))
    age: Seconds = field(default=Seconds(604800.0), metadata=doc("How long an item is kept after its last change.", minimum=0.05))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A mock that answers tagged requests and changes nothing. Rules are asked first, then what is ready-made, resources, openapi, respond."""

    name: str = field(metadata=doc("The key of the sink in the file."))
    strip_prefix: str = field(
        default="", metadata=doc("Taken off the path, by whole segments, before all else.", pattern=PATH_PATTERN, form=PATH, format="path")
    )
    rules: tuple[SinkRule, ...] = field(default=(), metadata=doc("Answers to certain requests; first match wins."))
    preset: Preset = field(default=Preset.NONE, metadata=doc("A ready-made sink: payment, email or sms."))
    resources: Resources | None = field(default=None, metadata=doc("Things that tenants create, read, change and delete."))
    openapi: OpenApi | None = field(default=None, metadata=doc("Answers by an OpenAPI document.", shorthand="file"))
    respond: SinkAnswer = field(default_factory=SinkAnswer, metadata=doc("The answer to whatever nothing else takes."))
    latency: Latency | None = field(default=None, metadata=doc("How long answers take; none: as long as they do.", shorthand="fixed"))
    limits: SinkLimits = field(default_factory=SinkLimits, metadata=doc("What it may take and keep."))

    @property
    def keeps(self) -> bool:
        """Whether it keeps what was written, so that reads ask it first; 421 then says that it holds nothing about them."""
        return self.preset is not Preset.NONE or self.resources is not None
