"""An experiment as its file says it: what is broken, for whom, what is expected, and when it ends by itself.

`shadowproxy experiment run FILE` and the admin API read it into an `Experiment` with the loader of the config
(`config.experiment_file`), so that every problem is told at once, with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shadowproxy.config.declare import NOT_GIVEN, Json, Percent, Seconds, Size, doc
from shadowproxy.config.tenancy import NAME

KEY_PATTERN = r"(header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|cookie:[A-Za-z0-9!#$%&'*+.^_`|~-]+|client|segment:[1-9][0-9]?|trace)?"
KEY_FORM = "header:NAME, cookie:NAME, client, segment:N or trace"


FRAMING_FIELDS: Final = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields, in lower case, that say where an answer ends: a fault that changed them would reach into the next answer on the connection."""


class HeaderFaults(StrEnum):
    """Whose x-envoy-fault-* headers count."""

    OFF = "off"
    TAGGED = "tagged"
    ANY = "any"


class Attempts(StrEnum):
    """Which attempts of a client that tries again get the fault."""

    EVERY = "every"
    FIRST = "first"


class Damage(StrEnum):
    """What becomes of a member of a JSON answer."""

    DROP = "drop"
    NULL = "null"
    RETYPE = "retype"


class Metric(StrEnum):
    """What a guard looks at, of the units with the fault; `*_excess` is that minus the control slice's."""

    ERROR_RATE = "error_rate"
    ERROR_EXCESS = "error_excess"
    P50 = "p50"
    P99 = "p99"
    P99_EXCESS = "p99_excess"
    UNITS = "units"
    REPEATS = "repeats"
    BURN_RATE = "burn_rate"
    PROBE = "probe"


class Level(StrEnum):
    """How far an experiment may reach: a canary slice, one cluster (cell), one zone, one region."""

    CANARY = "canary"
    CLUSTER = "cluster"
    ZONE = "zone"
    REGION = "region"


class ProbeKind(StrEnum):
    """What a probe asks."""

    PROMETHEUS = "prometheus"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every duration between two is as likely."""

    lower: Seconds = field(metadata=doc("Shortest.", minimum=0.0))
    upper: Seconds = field(metadata=doc("Longest.", minimum=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Most durations near the median, a few far above it, as those of real services are."""

    median: Seconds = field(metadata=doc("Half are shorter.", minimum=0.0001))
    p99: Seconds = field(metadata=doc("One of a hundred is longer.", minimum=0.0001))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """A heavy tail: P(longer than d) = (scale / d) ** shape."""

    scale: Seconds = field(metadata=doc("Shortest.", minimum=0.0001))
    shape: float = field(metadata=doc("Tail index; the smaller, the heavier.", minimum=0.1, maximum=100.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How long something takes longer. Exactly one of fixed, uniform, lognormal, pareto, empirical. A bare duration in the file is fixed."""

    fixed: Seconds = field(default=Seconds(0.0), metadata=doc("Always as long; 0 is none.", minimum=0.0, maximum=600.0))
    uniform: Uniform | None = field(default=None, metadata=doc("Between two durations."))
    lognormal: Lognormal | None = field(default=None, metadata=doc("Median and p99."))
    pareto: Pareto | None = field(default=None, metadata=doc("Scale and shape."))
    empirical: tuple[Seconds, ...] = field(
        default=(), metadata=doc("Quantiles of a recorded distribution, from shortest to longest, evenly spaced; drawn between them.")
    )
    limit: Seconds = field(default=Seconds(60.0), metadata=doc("No delay is longer.", minimum=0.0, maximum=600.0))
    correlation: float = field(
        default=0.0,
        metadata=doc(
            "Chance that a delay is drawn near the one before it: 0 for independent delays, near 1 for bursts.", minimum=0.0, maximum=0.999
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """An answer that we give in place of the upstream, which is not asked. One of status and grpc."""

    status: int = field(default=0, metadata=doc("200 to 599; 0 for none.", minimum=0, maximum=599))
    grpc: int = field(
        default=-1, metadata=doc("gRPC status 0 to 16 in place of `status`, sent as HTTP 200; -1 for none.", minimum=-1, maximum=16)
    )
    headers: dict[str, str] = field(
        default_factory=dict, metadata=doc("Fields of the answer.", key_format="header-name", format="header-value")
    )
    body: str = field(default="", metadata=doc("Body of the answer.", max_bytes=65536))


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """So many requests of the slice a second go on, all workers together; the others are answered at once."""

    rate: float = field(metadata=doc("Requests a second.", minimum=0.001, maximum=1000000.0))
    status: int = field(default=429, metadata=doc("What the others are answered.", minimum=400, maximum=599))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dribble:
    """A body in pieces with pauses between them."""

    size: Size = field(metadata=doc("Bytes of one piece.", minimum=1))
    every: Seconds = field(metadata=doc("Pause between pieces; 0 only cuts the body up.", minimum=0.0, maximum=60.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonDamage:
    """What is wrong with a member of a JSON answer."""

    path: str = field(
        metadata=doc(
            "Where: `$.items[*].price`, `[*]` for every element.",
            pattern=r"\$(\.[A-Za-z0-9_-]+|\[(\*|[0-9]+)\])+",
            form="a path such as $.items[*].price",
        )
    )
    do: Damage = field(metadata=doc("drop the member, make it null, or give it another type."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrupt:
    """A damaged body. One of `share` and `json`."""

    share: float = field(default=0.0, metadata=doc("Share of the body's bytes that are changed, from 0 to 1.", minimum=0.0, maximum=1.0))
    json: tuple[JsonDamage, ...] = field(default=(), metadata=doc("Members of a JSON answer (up to 1 MiB, held until it is whole)."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHeaders:
    """Changes to the answer's fields."""

    set: dict[str, str] = field(default_factory=dict, metadata=doc("Fields to set.", key_format="header-name", format="header-value"))
    remove: tuple[str, ...] = field(default=(), metadata=doc("Fields to leave out.", format="header-name"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong. Of what is given all happens, in this order.

    throttle; delay; one of abort, reset, half_close, hang and black_hole (upstream is then not asked); upload; and on the answer
    first_byte, headers, corrupt, truncate, download, dribble.
    """

    delay: Delay | None = field(default=None, metadata=doc("Before the request goes on.", shorthand="fixed"))
    abort: Abort | None = field(default=None, metadata=doc("An answer in place of upstream's."))
    reset: bool = field(default=False, metadata=doc("The client's connection is reset without an answer."))
    half_close: bool = field(default=False, metadata=doc("Our side of the client's connection is closed without an answer, in good order."))
    hang: Seconds = field(
        default=Seconds(0.0), metadata=doc("No answer for so long; then the connection is closed.", minimum=0.0, maximum=600.0)
    )
    black_hole: bool = field(
        default=False, metadata=doc("As a dependency whose packets are lost: no answer until the fleet's connect timeout, then 504.")
    )
    throttle: Throttle | None = field(default=None, metadata=doc("A limit on requests."))
    upload: Size = field(default=Size(0), metadata=doc("Bytes a second of the request's body; 0 for no limit.", minimum=0))
    download: Size = field(default=Size(0), metadata=doc("Bytes a second of the answer's body; 0 for no limit.", minimum=0))
    first_byte: Delay | None = field(default=None, metadata=doc("Before the answer's first byte.", shorthand="fixed"))
    dribble: Dribble | None = field(default=None, metadata=doc("The answer's body in pieces."))
    truncate: int = field(
        default=-1, metadata=doc("Bytes of the answer's body after which the connection breaks; -1 for none.", minimum=-1)
    )
    corrupt: Corrupt | None = field(default=None, metadata=doc("A damaged answer."))
    headers: AnswerHeaders | None = field(default=None, metadata=doc("Changes to the answer's fields."))
    first: int = field(
        default=0,
        metadata=doc("Only each unit's first so many requests (per worker); then all is well. 0: all.", minimum=0, maximum=1000000),
    )
    every: int = field(default=1, metadata=doc("Only every so manieth request of the slice (per worker).", minimum=1, maximum=1000000))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyHeaders:
    """Faults that requests ask for themselves (x-envoy-fault-*), within what is allowed here. A bare word in the file is `accept`."""

    accept: HeaderFaults = field(default=HeaderFaults.OFF, metadata=doc("off; tagged: of verified test traffic; any: of every client."))
    percent: Percent = field(default=Percent(100.0), metadata=doc("No request's own percentage counts beyond this."))
    delay: Seconds = field(default=Seconds(10.0), metadata=doc("No delay is longer.", minimum=0.0, maximum=600.0))
    abort: bool = field(default=True, metadata=doc("Whether aborts may be asked for."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """What goes wrong where. Requests that these routes take, if all that is given holds."""

    routes: tuple[str, ...] = field(metadata=doc("Names of routes; those of an egress listener are calls of dependencies.", nonempty=True))
    faults: tuple[Fault, ...] = field(
        default=(), metadata=doc("What goes wrong; several are combined, the first that says something counts.")
    )
    fleet: str = field(default="", metadata=doc("Only requests that this fleet would get."))
    endpoint: str = field(
        default="",
        metadata=doc(
            "Only requests that this endpoint (its URL) gets.", pattern=r"(https?://[^/?#@]+)?", form="a URL of scheme and authority"
        ),
    )
    methods: tuple[str, ...] = field(default=(), metadata=doc("Only these methods.", format="method"))
    path: str = field(
        default="",
        metadata=doc("Only paths with this prefix, by whole segments.", pattern=r"(/[\x21-\x7e]*)?", form="a path", format="path"),
    )
    attempts: Attempts = field(
        default=Attempts.EVERY,
        metadata=doc("every attempt of a client that tries again, or the first only (told by x-envoy-attempt-count or retry-attempt)."),
    )
    envoy_headers: EnvoyHeaders = field(default_factory=EnvoyHeaders, metadata=doc("Faults that requests ask for.", shorthand="accept"))
    active: int = field(
        default=100, metadata=doc("Requests that a worker holds back at once; beyond it they go on unharmed.", minimum=1, maximum=100000)
    )
    per_second: float = field(
        default=0.0, metadata=doc("Faults a second of one worker; beyond it requests go on unharmed. 0 for no limit.", minimum=0.0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Whom it hits: a share of the units. An equal share, the control slice, is only watched."""

    percent: Percent = field(metadata=doc("Share of the units at the most, to 0.001; the control slice is as large, so at most 50."))
    key: str = field(default="", metadata=doc("The unit, as of mirrors. None: each request by itself.", pattern=KEY_PATTERN, form=KEY_FORM))
    salt: str = field(
        default="",
        metadata=doc("Of the hash space; the experiment's name if empty. Experiments with one salt need disjoint ranges.", max_bytes=64),
    )
    offset: Percent = field(default=Percent(0.0), metadata=doc("Where in the hash space the slice begins."))
    tagged: bool = field(default=False, metadata=doc("Only test traffic."))
    headers: dict[str, str] = field(
        default_factory=dict,
        metadata=doc("Only requests with these fields; `*` asks only for presence.", key_format="header-name", format="header-value"),
    )
    tenants: tuple[str, ...] = field(default=(), metadata=doc("Only these test tenants."))
    pinned: tuple[str, ...] = field(
        default=(), metadata=doc("Units that are in it whatever their point; listed units have no counterpart in control.")
    )
    deny: tuple[str, ...] = field(default=(), metadata=doc("Units that are never in it, nor in control. Always wins."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """If <fault>, we expect <behaviour>, resulting in <business impact>."""

    fault: str = field(metadata=doc("What goes wrong, in words.", nonempty=True))
    expect: str = field(metadata=doc("What should happen then.", nonempty=True))
    impact: str = field(metadata=doc("What it means for the business.", nonempty=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What answers to units with the fault must look like: a fallback and not an error. Looked at in a sample of answers."""

    route: str = field(metadata=doc("The route whose answers are looked at.", nonempty=True))
    status: tuple[int, ...] = field(
        default=(), metadata=doc("Statuses that are right; any below 500 if none is given.", minimum=100, maximum=599)
    )
    contains: str = field(default="", metadata=doc("Text that the body must contain."))
    regex: str = field(default="", metadata=doc("Regular expression that must be found in the body.", format="search"))
    json: str = field(
        default="",
        metadata=doc(
            "Path into a JSON body that must exist, such as $.recommendations.source.",
            pattern=r"(\$(\.[A-Za-z0-9_-]+|\[(\*|[0-9]+)\])*)?",
            form="a path such as $.a.b",
        ),
    )
    equals: Json = field(default=NOT_GIVEN, metadata=doc("What must be there; if it is left out, anything but null."))
    share: Percent = field(default=Percent(99.0), metadata=doc("Share of the answers for which it must hold."))
    sample: float = field(default=20.0, metadata=doc("Answers a second and worker that are looked at.", minimum=0.1, maximum=1000.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A number from somewhere else: a business metric."""

    name: str = field(metadata=doc("What guards and reports call it.", pattern=r"[A-Za-z0-9_.-]{1,64}", form=NAME))
    kind: ProbeKind = field(default=ProbeKind.JSON, metadata=doc("prometheus: an instant query; json: a number in a JSON document."))
    url: str = field(metadata=doc("http or https; of Prometheus its base.", pattern=r"https?://[\x21-\x7e]+", form="an http(s) URL"))
    query: str = field(default="", metadata=doc("PromQL, for kind prometheus; its result must be one number."))
    json: str = field(
        default="$",
        metadata=doc(
            "Path to the number, for kind json.", pattern=r"\$(\.[A-Za-z0-9_-]+|\[[0-9]+\])*", form="a path such as $.orders.rate"
        ),
    )
    every: Seconds = field(default=Seconds(5.0), metadata=doc("How often it is asked.", minimum=0.1))
    timeout: Seconds = field(default=Seconds(2.0), metadata=doc("When asking counts as failed.", minimum=0.05))


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """A probe and where it must be for the system to be well: within bounds, or near what it was before."""

    probe: str = field(metadata=doc("Name of a probe.", nonempty=True))
    above: float | None = field(default=None, metadata=doc("At least this."))
    below: float | None = field(default=None, metadata=doc("At most this."))
    within: Percent = field(default=Percent(0.0), metadata=doc("At most so many percent from its baseline; 0 for no such bound."))
    baseline: Seconds = field(default=Seconds(60.0), metadata=doc("How long before the first fault the baseline is taken.", minimum=0.0))
    seasonal: bool = field(
        default=False, metadata=doc("Baseline of the same hour of the week, where it is known from before; prometheus probes only.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What ends the experiment when it is true. A threshold, or (sequential) evidence that the slice is worse than control."""

    metric: Metric = field(
        metadata=doc("error_rate, error_excess (percent); p50, p99, p99_excess (seconds); units, repeats (numbers); burn_rate; probe.")
    )
    above: float | None = field(default=None, metadata=doc("More than this is too much: percent, seconds or a number, as the metric is."))
    below: float | None = field(default=None, metadata=doc("Less than this is too little; of probes."))
    hold: Seconds = field(default=Seconds(0.0), metadata=doc("How long it must be true.", minimum=0.0))
    window: Seconds = field(default=Seconds(10.0), metadata=doc("Over the last so many seconds; 0 for the whole run.", minimum=0.0))
    probe: str = field(default="", metadata=doc("Name of a probe, for metric probe."))
    least: int = field(default=20, metadata=doc("Requests in the window before rates and latencies count.", minimum=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """Evidence at any time that the slice with the fault is worse than control, however late it begins."""

    alpha: float = field(
        default=0.05, metadata=doc("Chance that it says so of equal slices, over the whole ramp.", minimum=0.000001, maximum=0.5)
    )
    run_length: float = field(default=10000.0, metadata=doc("Errors between false alarms of the abort detector, on average.", minimum=20.0))
    margin: Percent = field(
        default=Percent(1.0), metadata=doc("A ramp goes on when the slice is shown to be worse by less than so many points.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """The objective that an experiment spends error budget of."""

    target: Percent = field(default=Percent(99.9), metadata=doc("Share of good answers that is promised."))
    period: Seconds = field(default=Seconds(2592000.0), metadata=doc("Over so long.", minimum=60.0))
    requests: float = field(default=0.0, metadata=doc("Requests of one period; 0: the rate that was seen, times the period.", minimum=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an experiment may cost at the most; it is over when any of it is used up."""

    units: int = field(default=0, metadata=doc("Different units that get the fault; 0 for no limit.", minimum=0))
    requests: int = field(default=0, metadata=doc("Requests that get the fault; 0 for no limit.", minimum=0))
    repeats: int = field(
        default=0, metadata=doc("Faults that one unit gets, per worker; then it is left alone. 0 for no limit.", minimum=0)
    )
    error_budget: Percent = field(default=Percent(10.0), metadata=doc("Share of the remaining error budget that may be spent."))
    slo: Slo = field(default_factory=Slo, metadata=doc("The objective."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Steps from small to large. Without steps the whole slice at once."""

    steps: tuple[Percent, ...] = field(
        default=(), metadata=doc("Shares in rising order, each at most double the one before; the last is the slice's percent.")
    )
    every: Seconds = field(
        default=Seconds(60.0), metadata=doc("Shortest time of a step; the next begins when this one is shown to be safe.", minimum=0.1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What the experiment touches. No two run in the same cell, zone's upgrade domain or on the same dependency."""

    level: Level = field(default=Level.CANARY, metadata=doc("How far it reaches."))
    cells: tuple[str, ...] = field(
        default=(),
        metadata=doc("Cells, upgrade domains or zones that it is confined to, by the labels of endpoints; harm in others ends it."),
    )
    dependencies: tuple[str, ...] = field(
        default=(), metadata=doc("What other services share; the fleets of `inject.routes` count by themselves.")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who is told of every transition, by a POST of JSON. Failures are logged and hold nothing up."""

    url: str = field(metadata=doc("http or https.", pattern=r"https?://[\x21-\x7e]+", form="an http(s) URL"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A fault on a slice, with a hypothesis, and everything that ends it."""

    name: str = field(metadata=doc("Unique among what runs.", pattern=r"[A-Za-z0-9_.-]{1,64}", form=NAME))
    owner: str = field(metadata=doc("Who answers for it.", nonempty=True))
    hypothesis: Hypothesis = field(metadata=doc("What is tested."))
    inject: Inject = field(metadata=doc("What goes wrong, and where."))
    slice: Slice = field(metadata=doc("Whom it hits."))
    duration: Seconds = field(metadata=doc("When it is over at the latest.", minimum=0.1, maximum=604800.0))
    guards: tuple[Guard, ...] = field(metadata=doc("What aborts it.", nonempty=True))
    observe: tuple[str, ...] = field(default=(), metadata=doc("Routes whose answers tell how the slices fare; those of `inject` if empty."))
    expect: tuple[Expectation, ...] = field(default=(), metadata=doc("What answers must look like."))
    probes: tuple[Probe, ...] = field(default=(), metadata=doc("Numbers from elsewhere."))
    steady_state: tuple[Steady, ...] = field(
        default=(), metadata=doc("What holds when the system is well: before (else it does not begin), during and after.")
    )
    sequential: Sequential = field(default_factory=Sequential, metadata=doc("Statistical evidence."))
    ramp: Ramp = field(default_factory=Ramp, metadata=doc("From small to large."))
    budget: Budget = field(default_factory=Budget, metadata=doc("What it may cost."))
    domain: Domain = field(default_factory=Domain, metadata=doc("What it touches."))
    notify: tuple[Notify, ...] = field(default=(), metadata=doc("Who is told.", shorthand="url"))
    approved_by: str = field(default="", metadata=doc("Who allowed it, for the journal."))
