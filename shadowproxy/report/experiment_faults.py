"""What an experiment breaks, in words: faults, where they happen, and whom they hit, out of the plain experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.document import number
from shadowproxy.report.experiment import count, objects, part

if TYPE_CHECKING:
    from shadowproxy.report.document import Plain

UNHARMED: Final = {
    "paused": "the run was paused",
    "lease": "the lease had lapsed",
    "killed": "the kill switch was on",
    "ended": "the run had ended",
    "released": "let go at once when the run ended",
    "endpoint": "another endpoint answered it",
    "no_body": "its answer had no body",
    "json": "its answer was no JSON that could be damaged",
    "short": "its answer was too short for the fault",
    "upstream_failed": "its upstream failed by itself",
    "client_gone": "its client left first",
    "nothing": "the fault found nothing to change",
    "nothing_asked": "the request asked for no fault",
    "other_run": "another experiment had it already",
    "upgrade": "an upgrade, which goes on as it is",
    "attempt": "a further attempt of a client that tries again",
    "units": "as many units had been hit as may be (budget.units)",
    "repeats": "its unit had been hit often enough (budget.repeats)",
    "first": "not one of its unit's first requests (first)",
    "every": "not the request's turn (every)",
    "active": "as many were held back as may be at once (active)",
    "per_second": "as many had been hit in this second as may be (per_second)",
}
"""Why a request in the slice got no fault; others are shown by their code."""


def faults(experiment: Plain) -> list[str]:
    """One line a fault, in the order of the file."""
    inject = part(experiment, "inject")
    said = [words for fault in objects(inject.get("faults")) if (words := fault_words(fault))]
    accept = part(inject, "envoy_headers").get("accept")
    if accept not in {None, "", "off"}:
        said.append(f"what requests ask for themselves by x-envoy-fault-* ({accept})")
    return said


def fault_words(fault: Plain) -> str:
    """One fault."""
    said = [
        _throttle(part(fault, "throttle")),
        _delay(part(fault, "delay"), "delay of"),
        _abort(part(fault, "abort")),
        "connection reset" if fault.get("reset") else "",
        "connection closed without an answer" if fault.get("half_close") else "",
        f"no answer for {numbers.span(number(fault.get('hang')))}, then closed" if number(fault.get("hang")) else "",
        "black hole" if fault.get("black_hole") else "",
        f"request body at {numbers.count(number(fault.get('upload')))} bytes/s" if number(fault.get("upload")) else "",
        _delay(part(fault, "first_byte"), "answer's first byte later by"),
        _headers(part(fault, "headers")),
        _corrupt(part(fault, "corrupt")),
        _truncate(number(fault.get("truncate"))),
        f"answer's body at {numbers.count(number(fault.get('download')))} bytes/s" if number(fault.get("download")) else "",
        _dribble(part(fault, "dribble")),
    ]
    words = ", ".join(one for one in said if one)
    first, every = count(fault.get("first")), count(fault.get("every"))
    if first:
        words += f"; only each unit's first {numbers.count(first)} requests"
    if every > 1:
        words += f"; only one request of {numbers.count(every)}"
    return words


def where(experiment: Plain) -> list[tuple[str, str]]:
    """Where faults happen and whom they hit: names and values."""
    inject, share, domain = (part(experiment, name) for name in ("inject", "slice", "domain"))
    percent = number(share.get("percent"))
    said = [
        ("routes", _listed(inject.get("routes"))),
        ("fleet", _text(inject.get("fleet"))),
        ("endpoint", _text(inject.get("endpoint"))),
        ("methods", _listed(inject.get("methods"))),
        ("paths below", _text(inject.get("path"))),
        ("slice", "" if percent is None else f"{numbers.share(percent / 100)} of the units, and as many to compare with"),
        ("unit", _text(share.get("key")) or "each request by itself"),
        ("only", "test traffic" if share.get("tagged") else ""),
        ("with fields", ", ".join(str(name) for name in part(share, "headers"))),
        ("test tenants", _listed(share.get("tenants"))),
        ("always in it", _number_of(share.get("pinned"), "unit")),
        ("never in it", _number_of(share.get("deny"), "unit")),
        ("level", _text(domain.get("level"))),
        ("cells", _listed(domain.get("cells"))),
        ("dependencies", _listed(domain.get("dependencies"))),
        ("at the longest", numbers.span(found) if (found := number(experiment.get("duration"))) is not None else ""),
    ]
    return [(name, value) for name, value in said if value]


def _delay(delay: Plain, prefix: str) -> str:
    if not delay:
        return ""
    uniform, lognormal, pareto = (part(delay, name) for name in ("uniform", "lognormal", "pareto"))
    if uniform:
        how = f"{_time(uniform, 'lower')} to {_time(uniform, 'upper')}"
    elif lognormal:
        how = f"{_time(lognormal, 'median')} in the median, p99 {_time(lognormal, 'p99')}"
    elif pareto:
        how = f"{_time(pareto, 'scale')} and more (Pareto, shape {numbers.plain(number(pareto.get('shape')))})"
    elif delay.get("empirical"):
        how = "as recorded"
    else:
        how = _time(delay, "fixed")
    correlation = number(delay.get("correlation"))
    return f"{prefix} {how}" + (f", in bursts ({numbers.plain(correlation)})" if correlation else "")


def _abort(abort: Plain) -> str:
    if not abort:
        return ""
    grpc = number(abort.get("grpc"))
    what = f"gRPC status {grpc:.0f}" if grpc is not None and grpc >= 0 else f"status {count(abort.get('status'))}"
    return f"{what} in place of the answer"


def _throttle(throttle: Plain) -> str:
    if not throttle:
        return ""
    return f"{numbers.plain(number(throttle.get('rate')))} requests/s go on, others get {count(throttle.get('status'))}"


def _headers(headers: Plain) -> str:
    names = [f"{name} set" for name in part(headers, "set")] + [f"{name} removed" for name in headers.get("remove") or []]
    return f"header fields: {', '.join(names)}" if names else ""


def _corrupt(corrupt: Plain) -> str:
    if not corrupt:
        return ""
    damages = [f"{one.get('path', '')} {one.get('do', '')}" for one in objects(corrupt.get("json"))]
    return (
        f"answer damaged: {', '.join(damages)}"
        if damages
        else f"{numbers.share(number(corrupt.get('share')))} of the answer's bytes changed"
    )


def _truncate(size: float | None) -> str:
    return "" if size is None or size < 0 else f"answer cut off after {numbers.count(size)} bytes"


def _dribble(dribble: Plain) -> str:
    if not dribble:
        return ""
    return f"answer in pieces of {numbers.count(number(dribble.get('size')))} bytes every {_time(dribble, 'every')}"


def _time(plain: Plain, name: str) -> str:
    return numbers.duration(number(plain.get(name)))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _listed(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, (list, tuple)) else ""


def _number_of(value: object, what: str) -> str:
    found = len(value) if isinstance(value, (list, tuple)) else 0
    return f"{found} {what}{'s' * (found != 1)}" if found else ""
