"""`shadowproxy explain 'POST /orders' -H 'X-Test-Traffic: true'`: what would become of a request, and why.

Of the running instance: its config, its rollouts and experiments as they are now. With `-c FILE` of that file alone, which needs no instance; then
`--experiment FILE` says in which slice the request would be.

The request is written as the head that a client would send, and read, routed and decided on by the data
plane's own functions. What depends on the moment (kill switch, breaker, overload, memory) is left out.

Exit codes: 0 a fleet gets the request (or it is answered here), 1 no route takes it or it is refused, 2 usage.

With `--output json` one object is printed::

    request   {method, target, path, host, listener, client, body_bytes, is_tagged, is_marked}, null where it cannot be read
    refused   {status, code, detail} of the answer that the client gets from the proxy itself, null where a fleet answers
    routes    [{name, takes, failed}] in the order they were asked; `failed` is the first condition that does not hold
    live      {fleet, endpoints} of the route that takes it, or of the version that its rollout gives to the request; or null
    test      of a tagged request {tenant, counts_as: read|write, goes_to: live|sink|partition|refuse, to, asks_first, target, added}, else null:
              `to` is a sink or fleet, `asks_first` the sink whose own answer comes before live's, `target` and `added` what a partition changes
    mirrors   [{name, to, endpoints, decision, reason, share, sampled, copied, unit, head, removed, added, scrubbed}]:
              `decision` is `copy`, `by_chance` or the fate that the counters carry; `share` the probability in [0, 1]
              that such a request is copied; `sampled` and `copied` the ends of the ranges in the hash space;
              `unit` {from, value, point} or null; `head` the lines of the copy; `removed` and `added` the
              names of fields that only the client's or only the copy's head has
    rollout   {to, live, percent, place, share, reason, new_from_percent, unit} of the route, else null: `percent` and `place` are null while it is
              not under way, `place` else one of stable, control, canary, more, ring or by_chance; `new_from_percent` is the first step at
              which the new version answers
    experiments [{id, state, percent, place, share, reason, spared, endpoints, faults, unit}]: `state` is running, paused, dry or planned (a file);
              `place` is fault, control, outside or by_chance; `spared` says why one in the slice gets no fault, "" where it does
"""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.cli import client
from shadowproxy.cli.explain_parts import Parts, lines_of
from shadowproxy.config import from_plain, load_file
from shadowproxy.config.experiment_file import load_experiment_file
from shadowproxy.dataplane.forwarded import ForwardedFields, is_looping, networks
from shadowproxy.dataplane.head import CHUNKED
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.tee import MARK, copied_lines
from shadowproxy.errors import BadRequest
from shadowproxy.policy import bare_host, compile_policy
from shadowproxy.policy.explain import Facts, MirrorFinding, explain, percent
from shadowproxy.policy.tenancy import LIVE, REFUSE, SINK_FLEET, UNRULED, DestinationPolicy, refusal

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers
    from shadowproxy.config.model import Config, Listener
    from shadowproxy.dataplane.request_head import RequestParts
    from shadowproxy.policy import RoutePolicy
    from shadowproxy.policy.explain import Explanation

FOUND: Final = 0
NOT_SERVED: Final = 1


def register(subparsers: Subparsers) -> None:
    """Add `explain`."""
    parser = subparsers.add_parser(
        "explain",
        help="what would become of a request, and why",
        description="Say which route takes a request, which fleet answers it, and what each mirror does with it.",
    )
    parser.add_argument("request", metavar="REQUEST", help="METHOD and target, as in 'POST /orders?x=1'; GET where only a target is given")
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="a config file, to which nothing has to run (default: the running instance is asked)"
    )
    parser.add_argument(
        "--experiment",
        action="append",
        default=[],
        metavar="FILE",
        help="an experiment that does not run, at its full share; may be repeated",
    )
    parser.add_argument("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header line; may be repeated")
    parser.add_argument("--client", default="127.0.0.1", type=_address, metavar="ADDRESS", help="where the client connects from")
    parser.add_argument("--listener", metavar="NAME", help="where it connects to (default: the first listener)")
    parser.add_argument("--body-bytes", default=0, type=_size, metavar="N", help="size of the request's body")
    client.add_arguments(parser)
    parser.set_defaults(run=run, parser=parser)


def _address(text: str) -> str:
    return str(ip_address(text))


def _size(text: str) -> int:
    size = int(text)
    if size < 0:
        raise ValueError(text)
    return size


def run(arguments: argparse.Namespace) -> int:
    """Explain one request.

    Raises:
        ConfigError: the config, or an experiment, cannot be used.
        AdminUnreachable: no instance answers.
    """
    if arguments.config is not None:
        config, armed = load_file(arguments.config).config, None
    else:
        admin = client.connect(arguments)
        config, armed = from_plain(admin.get("/api/v1/config")["config"]), admin.get("/api/v1/armed")
    parts = Parts(config, armed, [load_experiment_file(file) for file in arguments.experiment])
    listeners = {listener.name: listener for listener in config.listen}
    name = arguments.listener if arguments.listener is not None else config.listen[0].name
    if name not in listeners:
        arguments.parser.error(f"no listener is called {name!r}; there is {', '.join(listeners)}")
    found = describe(parts, listeners[name], head_of(arguments, listeners[name]), arguments.client, arguments.body_bytes)
    print(json.dumps(found, indent=2) if arguments.output == "json" else render(found))
    return NOT_SERVED if found["refused"] is not None and found["refused"]["status"] >= 400 else FOUND


def head_of(arguments: argparse.Namespace, listener: Listener) -> bytes:
    """The head that a client would send: what was asked for, and what no client leaves out (Host, Content-Length)."""
    start: str = arguments.request
    if " " not in start:
        start = f"GET {start}"
    if not start.rpartition(" ")[2].startswith("HTTP/"):
        start = f"{start} HTTP/1.1"
    lines: list[str] = list(arguments.header)
    names = {line.partition(":")[0].strip().lower() for line in lines}
    if "host" not in names:
        lines.insert(0, f"Host: {listener.address}")
    if arguments.body_bytes and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {arguments.body_bytes}")
    return b"".join(os.fsencode(line) + b"\r\n" for line in (start, *lines, ""))


def describe(beside: Parts, listener: Listener, head: bytes, source: str, body_bytes: int) -> dict[str, Any]:
    """What becomes of the request with the head `head` that comes from `source`, in the terms of the module's text."""
    found: dict[str, Any] = {"request": None, "refused": None, "routes": [], "live": None, "test": None, "mirrors": []}
    found |= {"rollout": None, "experiments": []}
    config = beside.config
    policy = compile_policy(config, 1)
    limits = config.limits
    try:
        if len(head) > limits.head:
            raise BadRequest(431, "head_too_long", f"read {len(head)} bytes of a head, limit {limits.head}")  # noqa: TRY301  as accept.py does
        parts = RequestHeads(
            policy.wanted | beside.wanted, policy.touched, policy.tags, count_limit=limits.header_count, line_limit=limits.request_line
        ).read(head)
    except BadRequest as error:
        found["refused"] = _refusal(error.status, error.code, error.detail)
        return found
    method, target, path, fields = parts
    forwarded = ForwardedFields(
        source, b"https" if listener.tls is not None else b"http", networks(listener.trusted_proxies), config.forwarded
    )
    facts = Facts(
        listener=listener.name,
        host=bare_host(fields.authority),
        path=path,
        method=method,
        headers=fields.fields,
        client=source.encode(),
        trace_id=fields.traceparent[3:35],
        length=fields.length,
        body_bytes=max(body_bytes, fields.length),
        is_upgrade=bool(fields.upgrade),
        is_marked=bool(fields.mark) and forwarded.is_trusted,
    )
    found["request"] = {
        "method": _text(method),
        "target": _text(target),
        "path": _text(path),
        "host": _text(fields.authority),
        "listener": listener.name,
        "client": source,
        "body_bytes": facts.body_bytes,
        "is_tagged": bool(fields.tenant),
        "is_marked": facts.is_marked,
    }
    explanation = explain(policy, facts)
    found["routes"] = [{"name": route.name, "takes": not route.failed, "failed": route.failed} for route in explanation.asked]
    found["refused"] = _local_answer(config, explanation.route, parts, facts)
    if explanation.route is not None:
        live = explanation.route.live
        found["live"] = {"fleet": live, "endpoints": list(config.fleets[live].endpoints)}
        if fields.tenant:
            found["test"] = _test(explanation.route, parts)
    if found["refused"] is None and explanation.route is not None:
        test = found["test"]
        if test is None or test["goes_to"] == "live":
            _divert(found, config, beside.rollout(explanation.route.name, facts))
            if not _is_new(found):
                found["mirrors"] = _mirrors(config, explanation, parts, head, forwarded)
        if test is None or not test["asks_first"]:
            fleet = found["live"]["fleet"] if test is None or test["goes_to"] == "live" else test["to"]
            found["experiments"] = beside.experiments(explanation.route.name, fleet, facts, fields.tenant)
    return found


def _divert(found: dict[str, Any], config: Config, rollout: dict[str, Any] | None) -> None:
    """Take up what the route's rollout says: where the new version answers for certain, it is live for this request."""
    found["rollout"] = rollout
    if _is_new(found) and rollout is not None:
        found["live"] = {"fleet": rollout["to"], "endpoints": list(config.fleets[rollout["to"]].endpoints)}


def _is_new(found: dict[str, Any]) -> bool:
    """Whether the new version of a rollout answers the request for certain."""
    rollout = found["rollout"]
    return rollout is not None and rollout["place"] is not None and rollout["share"] == 1.0


def _refusal(status: int, code: str, detail: str) -> dict[str, Any]:
    return {"status": status, "code": code, "detail": detail}


def _local_answer(config: Config, route: RoutePolicy | None, parts: RequestParts, facts: Facts) -> dict[str, Any] | None:
    """The answer that the proxy gives itself, in the order in which `accept` and `Exchange.begin` look; None where live answers."""
    method, _, _, fields = parts
    limit = config.limits.body
    if limit and facts.body_bytes > limit:
        return _refusal(413, "body_too_large", f"the body is {facts.body_bytes} bytes, limit {limit}")
    if route is None:
        return _refusal(404, "no_route", "no route takes this request")
    if is_looping(fields):
        return _refusal(508, "mirror_loop", "this request has been through this proxy before")
    if fields.max_forwards == 0 and method in (b"OPTIONS", b"TRACE"):
        status = 200 if method == b"OPTIONS" else 405
        return _refusal(status, "max_forwards", "Max-Forwards is 0: the proxy is the final recipient and answers itself")
    if fields.tenant:
        _, destination = _decision(route, parts)
        if destination.kind in (REFUSE, UNRULED):
            return _refusal(409, *refusal(destination, route.name))
    return None


def _decision(route: RoutePolicy, parts: RequestParts) -> tuple[bool, DestinationPolicy]:
    """Whether a tagged request writes, and where it goes. Its body is not known here: rules that look at it are asked about an empty one."""
    method, target, _, fields = parts
    return route.tests.decide(method, target, fields.lines, b"", is_upgrade=bool(fields.upgrade))


def _test(route: RoutePolicy, parts: RequestParts) -> dict[str, Any]:
    """What a tagged request is taken for, and where it goes instead of live, if it does."""
    fields = parts[3]
    is_write, destination = _decision(route, parts)
    target, lines = parts[1], fields.lines
    for rewrite in destination.rewrites:
        target, lines = rewrite.target(target, fields.tenant), rewrite.lines(lines, fields.tenant, b"<endpoint>")
    return {
        "tenant": _text(fields.tenant),
        "counts_as": "write" if is_write else "read",
        "goes_to": ("live", "sink", "partition", "refuse", "refuse")[destination.kind],
        "to": destination.to,
        "asks_first": route.tests.asks.removeprefix(SINK_FLEET) if destination.kind == LIVE and not is_write else "",
        "target": _text(target),
        "added": [_text(line) for line in lines if line not in fields.lines],
    }


def _mirrors(
    config: Config, explanation: Explanation, parts: RequestParts, head: bytes, forwarded: ForwardedFields
) -> list[dict[str, Any]]:
    found = []
    for mirror in explanation.mirrors:
        policy = mirror.policy
        endpoints = config.fleets[policy.fleet].endpoints
        copy = _copy_head(mirror, parts, forwarded, endpoints[0]) if mirror.share else []
        sent, copied = _names(head.split(b"\r\n")[1:]), _names(copy[1:])
        unit = None
        if mirror.unit_from:
            value = _text(mirror.unit) if mirror.unit is not None else None
            unit = {"from": mirror.unit_from, "value": value, "point": mirror.point}
        found.append(
            {
                "name": policy.name,
                "to": policy.fleet,
                "endpoints": list(endpoints),
                "decision": mirror.decision,
                "reason": mirror.reason,
                "share": mirror.share,
                "sampled": policy.sampled,
                "copied": policy.copied,
                "unit": unit,
                "head": [_text(line) for line in copy],
                "removed": [name for name in sent if copy and name not in copied],
                "added": [name for name in copied if name not in sent],
                "scrubbed": policy.is_scrubbed,
            }
        )
    return found


def _copy_head(mirror: MirrorFinding, parts: RequestParts, forwarded: ForwardedFields, endpoint: str) -> list[bytes]:
    """The lines of a copy's head, in the order of `Tee._head`; what is made anew for each copy stands in angle brackets."""
    method, target, _, fields = parts
    policy = mirror.policy
    trace = b"<new trace>" if len(fields.traceparent) < 2 else fields.traceparent[3:35]
    wire = b"".join((
        method, b" ", target, b" HTTP/1.1\r\n",
        copied_lines(fields, policy, endpoint.partition("://")[2].encode()),
        forwarded.lines(fields),
        b"traceparent: 00-%b-<new span>-%b\r\n" % (trace, fields.traceparent[53:55] or b"01"),
        b"Transfer-Encoding: chunked\r\n" if fields.length == CHUNKED else b"",
        b"TE: trailers\r\nConnection: TE\r\n" if fields.te_trailers else b"",
        b"%b: %b;by=<instance>\r\n" % (MARK, policy.name.encode()),
        policy.added,
    ))  # fmt: skip
    return wire.split(b"\r\n")[:-1]


def _names(lines: list[bytes]) -> list[str]:
    """The field names of header lines, as sent, each once."""
    return list(dict.fromkeys(_text(line.partition(b":")[0]).lower() for line in lines if line))


def render(found: dict[str, Any]) -> str:
    """What `describe` found, for people."""
    lines: list[str] = []
    request = found["request"]
    if request is not None:
        tag = ", tagged as test traffic" if request["is_tagged"] else ""
        lines.append(
            f"{request['method']} {request['target']}  ({request['host']}, from {request['client']} at {request['listener']}{tag})"
        )
    lines += [f"route {route['name']}: {'takes it' if route['takes'] else 'no: ' + route['failed']}" for route in found["routes"]]
    if found["refused"] is not None:
        refused = found["refused"]
        lines.append(f"answered here: {refused['status']} {refused['code']}: {refused['detail']}")
        lines.append("live and shadow hear nothing of it")
        return "\n".join(lines)
    live = found["live"]
    test = found["test"]
    if test is not None:
        lines += _test_lines(test)
    if test is None or test["goes_to"] == "live":
        lines.append(f"live: {live['fleet']} ({', '.join(live['endpoints'])})")
    elif test["to"] == live["fleet"]:
        lines.append(f"partition of live: {live['fleet']} ({', '.join(live['endpoints'])}), asked as above")
    else:
        lines += ["live hears nothing of it", *lines_of(None, found["experiments"])]
        return "\n".join(lines)
    lines += lines_of(found["rollout"], found["experiments"])
    for mirror in found["mirrors"]:
        lines += _mirror_lines(mirror)
    if not found["mirrors"]:
        lines.append("the new version answers it, so that no mirror copies it" if _is_new(found) else "the route has no mirror")
    return "\n".join(lines)


def _test_lines(test: dict[str, Any]) -> list[str]:
    where = {"live": "live, like any other", "sink": f"sink {test['to']}", "partition": f"partition {test['to']}"}.get(
        test["goes_to"], "nobody"
    )
    lines = [f"a test of tenant {test['tenant']}; counts as a {test['counts_as']}: goes to {where}"]
    if test["counts_as"] == "write" and test["goes_to"] != "refuse":
        lines.append("  written to the ledger first")
    if test["asks_first"]:
        lines.append(f"  sink {test['asks_first']} is asked first: the tenant's own writes are there")
    if test["goes_to"] == "partition":
        lines.append(f"  as {test['target']}")
        lines += [f"  with {line}" for line in test["added"]]
    return lines


def _mirror_lines(mirror: dict[str, Any]) -> list[str]:
    verdict = {"copy": "copied", "by_chance": f"copied with {percent(mirror['share'])} probability"}.get(
        mirror["decision"], f"not copied, counted as {mirror['decision']}"
    )
    lines = [f"mirror {mirror['name']} to {mirror['to']} ({', '.join(mirror['endpoints'])}): {verdict}", f"  {mirror['reason']}"]
    unit = mirror["unit"]
    if unit is not None:
        where = f"{unit['value']!r}, point {unit['point']:.6f}" if unit["value"] is not None else "none in this request"
        lines.append(f"  unit: {unit['from']}: {where} (copied below {mirror['copied']:.6f}, sampled below {mirror['sampled']:.6f})")
    if mirror["head"]:
        if mirror["scrubbed"]:
            lines.append("  pseudonyms take the place of its secrets before it is sent; what cannot be looked through is not sent")
        lines += [f"  {what}: {', '.join(mirror[what])}" for what in ("removed", "added") if mirror[what]]
        lines.append("  head:")
        lines += [f"    {line}" for line in mirror["head"]]
    return lines


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
