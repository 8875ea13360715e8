"""`shadowproxy sink`: sinks by themselves, and what those of a running instance keep."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shadowproxy.cli import client
from shadowproxy.config import load_file
from shadowproxy.config.addresses import Unfit
from shadowproxy.control.logs import log_to_stderr
from shadowproxy.errors import ControlError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from shadowproxy.cli.main import Subparsers
    from shadowproxy.config.model import Config
    from shadowproxy.sinks.recorder import Recorder

LISTEN = "127.0.0.1:8099"


def register(subparsers: Subparsers) -> None:
    """Add `sink run`, `list`, `items` and `reset`."""
    parser = subparsers.add_parser(
        "sink", help="mocks that answer tagged requests", description="Run sinks by themselves, or look into them."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    running = actions.add_parser("run", help="serve the sinks of a config, without the proxy")
    running.add_argument("-c", "--config", required=True, metavar="FILE", help="the config file")
    running.add_argument("--sink", metavar="NAME", help="only this sink")
    running.add_argument(
        "--listen", metavar="ADDR", default=LISTEN, help=f"where; further sinks take the ports after it (default {LISTEN})"
    )
    running.add_argument("--state", metavar="FILE", default=":memory:", help="where what they keep survives a restart (default: nowhere)")
    running.add_argument("--ledger", metavar="FILE", help="write each write down before it is answered")
    running.set_defaults(run=run)
    listing = actions.add_parser("list", help="the sinks of a running instance")
    items = actions.add_parser("items", help="what a tenant has in a sink; without a tenant, how much each has")
    items.add_argument("--limit", type=int, default=100, metavar="N", help="at most N, the newest (default 100)")
    reset = actions.add_parser("reset", help="forget all that a tenant has in a sink")
    for action, function in ((listing, list_sinks), (items, list_items), (reset, forget)):
        if action is not listing:
            action.add_argument("name", metavar="SINK")
            action.add_argument("--tenant", metavar="T", required=action is reset, help="whose")
        client.add_arguments(action)
        action.set_defaults(run=function)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: the config cannot be used.
        ControlError: it has no such sink, or an address cannot be used.
        StateError: another process keeps the state.
    """
    from shadowproxy.sinks.shelf import Shelf  # noqa: PLC0415  the other commands must not wait for aiohttp to load
    from shadowproxy.sinks.standalone import addresses_of, serve  # noqa: PLC0415  as above

    loaded = load_file(arguments.config)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    names = [arguments.sink] if arguments.sink else list(loaded.config.sinks)
    if not names or names[0] not in loaded.config.sinks:
        known = ", ".join(loaded.config.sinks) or "none"
        raise ControlError(f"{arguments.config} has no sink{f' {arguments.sink!r}' if arguments.sink else ''}; there are: {known}")
    try:
        addresses = addresses_of(names, arguments.listen)
    except Unfit as error:
        raise ControlError(f"--listen {arguments.listen}: {error}") from None
    log = log_to_stderr(logging.INFO)
    try:
        with _recording(loaded.config, arguments.ledger) as record:
            asyncio.run(serve(loaded.config, addresses, Shelf(arguments.state), record=record, on_ready=_announce))
    finally:
        log.close()
    return 0


def _announce(urls: dict[str, str]) -> None:
    for name, url in urls.items():
        print(f"{name} {url}")
    sys.stdout.flush()


@contextlib.contextmanager
def _recording(config: Config, path: str | None) -> Iterator[Recorder | None]:
    """What writes rows to the ledger at `path`, until it is closed."""
    if path is None:
        yield None
        return
    from shadowproxy.redaction import Rules, Scrubber  # noqa: PLC0415  only who records needs it
    from shadowproxy.sinks.ledger import Ledger  # noqa: PLC0415  as above
    from shadowproxy.sinks.recorder import Recorder  # noqa: PLC0415  as above

    rules = Rules(config.redaction.headers, config.redaction.fields, config.redaction.keep)
    terms = config.tenancy.ledger
    ledger = Ledger(path, terms.retention, terms.max_size, redact=Scrubber(rules, secrets.token_bytes(32)).target)
    try:
        yield Recorder(ledger)
    finally:
        ledger.close()


def list_sinks(arguments: argparse.Namespace) -> int:
    """Show every sink: address, requests, and what it keeps."""
    document = client.connect(arguments).get("/api/v1/sinks")
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
        return 0
    for one in document["sinks"]:
        answered = " ".join(f"{status}:{count}" for status, count in one["requests"].items()) or "nothing yet"
        print(f"{one['name']:<20} {one['url']:<28} {one['items']} items, {one['bytes']} bytes; answered {answered}")
        if one["problem"]:
            print(f"  {one['problem']}", file=sys.stderr)
    if document["problem"]:
        print(document["problem"], file=sys.stderr)
    return 1 if document["problem"] or any(one["problem"] for one in document["sinks"]) else 0


def list_items(arguments: argparse.Namespace) -> int:
    """Show a tenant's items, one JSON line each, or the tenants."""
    query = f"?limit={arguments.limit}" + (f"&tenant={quote(arguments.tenant)}" if arguments.tenant else "")
    document = client.connect(arguments).get(f"/api/v1/sinks/{quote(arguments.name, safe='')}/items{query}")
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    elif arguments.tenant:
        for item in document["items"]:
            print(_line(item))
    else:
        for tenant, count in document["tenants"].items():
            print(f"{tenant} {count}")
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Forget a tenant in a sink."""
    path = f"/api/v1/sinks/{quote(arguments.name, safe='')}/reset?tenant={quote(arguments.tenant)}"
    document = client.connect(arguments).post(path)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        print(f"{document['removed']} items of {document['tenant']} are forgotten")
    return 0


def _line(item: dict[str, Any]) -> str:
    """An item on one line; JSON in ASCII, so that nothing in it can move a terminal's cursor."""
    value = "deleted" if item["value"] is None else json.dumps(item["value"])
    return f"{json.dumps(item['collection'] + '/' + item['id'])[1:-1]} {value}"
