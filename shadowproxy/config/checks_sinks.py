"""What must hold within and around the sinks of a config."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.report import child, closest, item
from shadowproxy.config.sinks import Preset, SinkAnswer
from shadowproxy.config.templates import MOST_PLACES, Place, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.config.model import Config
    from shadowproxy.config.report import Report
    from shadowproxy.config.sinks import Latency, Resources, Sink

FRAMING: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "trailer", "transfer-encoding", "upgrade", "x-shadow-sink"}
)
"""Fields that the server of the sinks writes itself."""

BODILESS: Final = frozenset({204, 205, 304})

EXTRA: Final = ("jsonschema", "rstr")
"""What `pip install 'shadowproxy[sinks]'` brings."""


def check_sinks(config: Config, report: Report) -> None:
    """Report what contradicts itself in sinks."""
    for name, sink in config.sinks.items():
        place = child("sinks", name)
        for answer, path in _answers(sink, place):
            _check_answer(answer, path, report)
        for index, rule in enumerate(sink.rules):
            path = item(child(place, "rules"), index)
            _check_segments(rule.match.path, child(child(path, "match"), "path"), report)
            if rule.sequence and rule.respond != SinkAnswer():
                report.error(child(path, "sequence"), "stands in place of respond: one of them")
        _check_latency(sink.latency, child(place, "latency"), report)
        if sink.resources is not None:
            _check_resources(config, sink.resources, child(place, "resources"), report)
        if sink.keeps:
            _check_routes(config, name, report)
        if sink.preset is not Preset.NONE and (sink.resources is not None or sink.openapi is not None):
            report.error(child(place, "preset"), "stands in place of resources and openapi")
        if sink.openapi is not None and (missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]):
            report.error(child(place, "openapi"), f"needs {' and '.join(missing)}: pip install 'shadowproxy[sinks]'")


def _check_routes(config: Config, name: str, report: Report) -> None:
    """Warn where reads go to a sink alone that tells other routes' reads to ask live."""
    tests = [route.test_traffic for route in config.routes]
    if not any(
        one.writes.sink == name and one.reads.rule in ("", "live") and not one.reads.sink and not one.reads.partition for one in tests
    ):
        return
    for index, one in enumerate(tests):
        if one.reads.sink == name:
            place = child(child(item("routes", index), "test_traffic"), "reads")
            report.warning(
                place,
                f"{name} answers 421 where it holds nothing, as reads of another route ask live then: give this route a sink of its own",
            )


def _answers(sink: Sink, place: str) -> Iterator[tuple[SinkAnswer, str]]:
    yield sink.respond, child(place, "respond")
    for index, rule in enumerate(sink.rules):
        path = item(child(place, "rules"), index)
        yield rule.respond, child(path, "respond")
        for number, answer in enumerate(rule.sequence):
            yield answer, item(child(path, "sequence"), number)


def _check_answer(answer: SinkAnswer, path: str, report: Report) -> None:
    _check_latency(answer.latency, child(path, "latency"), report)
    places = 0
    for name, value in answer.headers.items():
        if name.lower() in FRAMING:
            report.error(child(child(path, "headers"), name), f"{name} is written by the sink itself", on_key=True)
        places += _check_template(value, child(child(path, "headers"), name), report)
    for text, where in ((answer.text, "text"), *((text, "json") for text in _texts(answer.json))):
        places += _check_template(text, child(path, where), report)
    if places > MOST_PLACES:
        report.error(path, f"{places} places to fill in, limit {MOST_PLACES}")
    if answer.status in BODILESS and (answer.json is not None or answer.text):
        report.warning(
            child(path, "status"), f"an answer with {answer.status} has no body (RFC 9110 section 15): what stands here is not sent"
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)


def _check_template(text: str, path: str, report: Report) -> int:
    """Report what is no template, and return how many places it has."""
    try:
        return sum(isinstance(part, Place) for part in parse(text))
    except Unfit as error:
        report.error(path, str(error))
        return 0


def _check_latency(latency: Latency | None, path: str, report: Report) -> None:
    if latency is None:
        return
    forms = [bool(latency.fixed), bool(latency.low or latency.high), bool(latency.median or latency.p99)]
    if sum(forms) > 1:
        report.error(path, "one of fixed, low and high, median and p99")
    if latency.high < latency.low:
        report.error(child(path, "high"), f"less than low ({latency.low:g} s)")
    if bool(latency.median) != bool(latency.p99) or latency.p99 < latency.median:
        report.error(child(path, "p99"), "median and p99 are given together, p99 at least the median")


def _check_segments(path: str, place: str, report: Report) -> None:
    names = re.findall(r"\{(\w+)\}", path)
    if len(set(names)) < len(names):
        report.error(place, "a name stands here twice")


def _check_resources(config: Config, resources: Resources, path: str, report: Report) -> None:
    taken: dict[str, str] = {}
    for index, collection in enumerate(resources.collections):
        place = child(item(child(path, "collections"), index), "path")
        _check_segments(collection.path, place, report)
        if collection.path.rpartition("/")[2].startswith("{"):
            report.error(place, f"ends with an id: the collection is {collection.path.rpartition('/')[0] or '/'}")
        shape = re.sub(r"\{\w+\}", "{}", collection.path)
        if shape and taken.setdefault(shape, place) != place:
            report.error(place, f"the same paths as {taken[shape]}")
    if resources.live and resources.live not in config.fleets:
        suggestion = closest(resources.live, list(config.fleets))
        report.error(child(path, "live"), f"no fleet is called {resources.live!r}", suggestion=suggestion)
    if resources.live and not resources.merge:
        report.error(child(path, "live"), "is not asked: merge is false")
