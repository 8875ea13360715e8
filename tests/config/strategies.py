"""Hypothesis strategies for configs: plain data that the loader accepts, and values to spoil it with."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from shadowproxy.config.experiments import Experiments
from shadowproxy.config.model import Config
from shadowproxy.config.shape import Field, Shape, fields_of
from shadowproxy.config.sinks import SinkAnswer
from shadowproxy.config.tenancy import Tenancy

if TYPE_CHECKING:
    from collections.abc import Mapping

SINKS: Final = ("orders", "mail")
FLEETS: Final = ("live", "shadow", "v2.next")
LISTENERS: Final = ("front", "back")

_BY_FORMAT: Final[dict[str, st.SearchStrategy[str]]] = {
    "cidr": st.sampled_from(["10.0.0.0/8", "127.0.0.1", "::1/128", "2001:db8::/32"]),
    "endpoint": st.sampled_from(["http://10.1.2.3:80", "https://live.example", "http://[2001:db8::1]:8080", "http://localhost:9001"]),
    "file": st.text("abc/._-", max_size=20),
    "header-name": st.from_regex(r"X-[a-z]{1,8}", fullmatch=True),
    "header-value": st.from_regex(r"[!-~]([ -~]{0,6}[!-~])?", fullmatch=True),
    "host": st.sampled_from(["example.com", "10.0.0.1"]),
    "host-pattern": st.sampled_from(["example.com", "*.example.com", "[::1]", "SHOP.example"]),
    "method": st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PROPFIND"]),
    "regex": st.sampled_from([r"/a/[0-9]+", r"/(x|y)", ".*"]),
    "state": st.sampled_from(["sqlite:///a.db", "redis://localhost:6379/0", "sqlite:////var/lib/x.db"]),
}

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["5s", "1MiB", "25%", "auto", "${env:A}", "off"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
"""Anything that JSON can say, and NaN."""


@st.composite
def plain_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw plain data of a config that is sound in itself and in its references."""
    config = draw(_objects(Config, leave_out=("listen", "fleets", "routes", "admin", "sinks", "tenancy", "experiments")))
    ports = draw(st.lists(st.integers(1024, 8000), min_size=2, max_size=2, unique=True))
    config["listen"] = [{"name": name, "address": f"127.0.0.1:{port}"} for name, port in zip(LISTENERS, ports, strict=True)]
    config["fleets"] = {name: draw(_fleets()) for name in FLEETS}
    config["listen"] = [{**listener, **draw(st.sampled_from(_TRUST))} for listener in config["listen"]]
    config["tenancy"] = draw(_objects(Tenancy, leave_out=("passports",)))
    if draw(st.booleans()):
        config["tenancy"]["passports"] = {"keys": {"k1": {"file": "secret"}}}
    config["experiments"] = draw(_objects(Experiments, leave_out=("blockouts", "deny", "kill_header")))
    config["experiments"] |= {
        "deny": draw(st.sampled_from([[], ["vip"]])),
        "blockouts": draw(st.lists(st.sampled_from(_BLOCKOUTS), max_size=2)),
    }
    config["sinks"] = {name: draw(_sinks()) for name in SINKS}
    config["routes"] = [draw(_routes(number)) for number in range(draw(st.integers(1, 3)))]
    # The tests may spoil what they got; what is drawn again must not be spoilt by them.
    return deepcopy(config)


@st.composite
def _sinks(draw: st.DrawFn) -> dict[str, Any]:
    sink = draw(
        _objects(_class_of(Config, "sinks"), keyed=True, leave_out=("preset", "rules", "resources", "openapi", "respond", "latency"))
    )
    answer = draw(_objects(SinkAnswer, leave_out=("latency",)))
    # Braces may begin an expression, which text drawn at random is not.
    answer |= {
        "text": answer.get("text", "").replace("{", "("),
        "headers": {name: value.replace("{", "(") for name, value in answer.get("headers", {}).items()},
    }
    return {**sink, **draw(st.sampled_from(_SINK_PARTS)), "respond": answer, "latency": draw(st.sampled_from(_LATENCIES))}


_LATENCIES: Final[list[Any]] = [None, "50ms", {"low": 0.01, "high": "1s"}, {"median": "10ms", "p99": 2}]
_SINK_PARTS: Final[list[dict[str, Any]]] = [
    {},
    {"preset": "payment"},
    {
        "rules": [
            {"match": {"methods": ["POST"], "path": "/a/{b}/**", "json": {"c": [1]}}, "sequence": [{"status": 500}, {}], "at_end": "loop"}
        ]
    },
    {
        "rules": [
            {"match": {"query": {"q": 1}, "headers": {"X-A": "*"}}, "respond": {"json": "{{request.json.a | null}}", "latency": "5ms"}}
        ]
    },
    {"resources": {"collections": ["/orders", {"path": "/orders/{order}/items", "ids": "integer"}], "live": "shadow"}},
]


@st.composite
def _fleets(draw: st.DrawFn) -> dict[str, Any]:
    fleet = draw(_objects(_class_of(Config, "fleets"), keyed=True, leave_out=("labels",)))
    if draw(st.booleans()):
        fleet["labels"] = [
            {"endpoint": endpoint, "cell": draw(st.sampled_from(["", "a", "b"])), "zone": "z1"}
            for endpoint in sorted(set(fleet["endpoints"]))
        ]
    if "tls" in fleet and bool(fleet["tls"].get("cert")) != bool(fleet["tls"].get("key")):
        fleet["tls"].update(cert="a.pem", key="a.key")
    return fleet


@st.composite
def _routes(draw: st.DrawFn, number: int) -> dict[str, Any]:
    route = draw(_objects(_class_of(Config, "routes"), leave_out=("live", "mirror", "name", "test_traffic", "rollout")))
    route["test_traffic"] = draw(_test_traffic())
    live, other = draw(st.permutations(FLEETS))[:2]
    route |= {"name": f"r{number}", "live": live}
    if draw(st.booleans()):
        route["rollout"] = {"to": other, **draw(st.sampled_from(_ROLLOUTS))}
    if "match" in route:
        for surplus in [name for name in ("path", "exact", "regex") if route["match"].get(name)][1:]:
            del route["match"][surplus]
        if "listener" in route["match"]:
            route["match"]["listener"] = draw(st.sampled_from(LISTENERS))
    mirrors = draw(st.integers(0, 2))
    if mirrors:
        of_mirror = _class_of(_class_of(Config, "routes"), "mirror")
        drawn = [draw(_objects(of_mirror, leave_out=("to", "name"))) for _ in range(mirrors)]
        route["mirror"] = [draw(_referring(mirror, f"m{i}")) for i, mirror in enumerate(drawn)]
    return route


_BLOCKOUTS: Final[list[dict[str, Any]]] = [
    {"name": "weekends", "rrule": "DTSTART:20260102T170000\nRRULE:FREQ=WEEKLY;BYDAY=FR", "length": "2d12h", "timezone": "Europe/Berlin"},
    {"holidays": "DE-BY"},
    {"ical": "freeze.ics"},
    {"freeze_file": "freeze"},
]
_ROLLOUTS: Final[list[dict[str, Any]]] = [
    {},
    {"steps": [0.1, 100], "bake": "5m", "patience": "5m", "margin": "1%"},
    {"key": "header:x-user", "pinned": ["big"], "first": ["staff"], "salt": "s", "alpha": 0.01, "slower": 10},
]
_TRUST: Final[list[dict[str, Any]]] = [
    {},
    {"trust": "any"},
    {"trust": {"mode": "cidrs", "cidrs": ["10.0.0.0/8"]}},
    {"egress": {"calls": "all"}},
]
_DESTINATIONS: Final[list[Any]] = [
    "live",
    "refuse",
    {"rule": "refuse"},
    {"sink": "orders"},
    {"partition": {"fleet": "shadow", "headers": {"X-Tenant": "{tenant}"}}},
    {"partition": {"path_prefix": "/t/{tenant}", "host": "{tenant}.test", "query": {"t": "{tenant}"}, "headers": {"X-Tenant": "{tenant}"}}},
]
_TREATMENTS: Final[list[Any]] = [
    {"counts_as": "read", "path": "/search", "methods": ["POST"]},
    {"counts_as": "write", "query": "op=delete"},
    {"counts_as": "read", "body": "^query"},
]


@st.composite
def _test_traffic(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what happens to tagged requests, one destination each."""
    return {
        "reads": draw(st.sampled_from(_DESTINATIONS)),
        "writes": draw(st.sampled_from(_DESTINATIONS)),
        "treat": draw(st.lists(st.sampled_from(_TREATMENTS), max_size=2)),
    }


@st.composite
def _referring(draw: st.DrawFn, mirror: dict[str, Any], name: str) -> dict[str, Any]:
    """Draw what a mirror refers to, and put its margins in order."""
    to, stable = draw(st.permutations(FLEETS))[:2]
    mirror = {**mirror, "to": to, "name": name}
    if "control" in mirror:
        mirror["control"] = {"to": stable}
    for margins in [mirror.get("judge", {}).get(kind) for kind in ("errors", "latency")]:
        if margins:
            margins.update(regression=0.5, safe=draw(st.sampled_from([0.5, 1, "3%"])))
    if mirror.get("judge", {}).get("slo"):
        mirror["judge"]["slo"] = draw(st.lists(st.sampled_from([0.1, "250ms", "1s"]), unique=True))
    for rule in mirror.get("judge", {}).get("fields", ()):
        rule["key"] = "sku" if rule.get("order") == "keyed" else ""
    return mirror


def _class_of(cls: type[Any], name: str) -> type[Any]:
    shape = next(field for field in fields_of(cls) if field.name == name).shape
    assert shape.item is not None
    assert shape.item.cls is not None
    return shape.item.cls


@st.composite
def _objects(draw: st.DrawFn, cls: type[Any], *, keyed: bool = False, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {}
    for field in fields_of(cls, keyed=keyed):
        if field.name not in leave_out and (field.is_required or draw(st.booleans())):
            found[field.name] = draw(_values(field))
    return found


def _values(field: Field) -> st.SearchStrategy[Any]:
    return _of_shape(field.shape, field.metadata)


def _of_shape(shape: Shape, metadata: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    least = 1 if metadata.get("nonempty") else 0
    if shape.kind == "object":
        assert shape.cls is not None
        return _objects(shape.cls)
    if shape.kind == "list":
        assert shape.item is not None
        return st.lists(_of_shape(shape.item, {**metadata, "nonempty": True}), min_size=least, max_size=3)
    if shape.kind == "mapping":
        return st.dictionaries(_BY_FORMAT["header-name"], _BY_FORMAT["header-value"], max_size=2)
    if shape.kind == "json":
        return st.sampled_from([None, 1, 2.5, "text", {"status": "accepted", "items": [1, {"a": None}]}, [True]])
    if shape.kind == "enum":
        assert shape.cls is not None
        return st.sampled_from([str(member) for member in shape.cls])
    if shape.kind == "string":
        return _strings(metadata)
    return _numbers(shape, metadata)


def _strings(metadata: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if metadata.get("format") == "path":
        return st.from_regex(r"(/[a-zA-Z0-9%._-]{0,5}){1,3}", fullmatch=True)
    if "pattern" in metadata:
        return st.from_regex(metadata["pattern"], fullmatch=True).filter(lambda text: len(text) < 60)
    if "format" in metadata:
        return _BY_FORMAT[metadata["format"]]
    return st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def _numbers(shape: Shape, metadata: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = metadata.get("minimum"), metadata.get("maximum")
    if shape.kind == "boolean":
        return st.booleans()
    if shape.kind == "percent":
        thousandths = st.integers(0, 100_000)
        return thousandths.map(lambda n: n / 1000) | thousandths.map(lambda n: f"{n / 1000}%")
    if shape.kind == "duration":
        seconds = st.floats(low or 0, high or max(10_000, 10 * (low or 0)))
        return seconds if high or (low or 0) > 0.15 else seconds | st.sampled_from(["150ms", "5s", "2m", "1h30m"])
    if shape.kind == "size":
        sizes = ["64KiB", "100kB", *(["1024B"] if (low or 0) <= 1024 else [])]
        return st.integers(int(low or 0), int(high or 2**40)) | st.sampled_from(sizes)
    if shape.kind == "number":
        return st.floats(low, high)
    words = st.just(metadata["keyword"]) if "keyword" in metadata else st.nothing()
    return st.integers(int(low or 0), int(high or 10_000)) | words
