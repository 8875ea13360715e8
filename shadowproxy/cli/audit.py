"""`shadowproxy audit`: sends tagged probes through every route, and says where each of them ended.

Exit codes: 0 every probe ended where its rule says and nothing leaked, 1 not so, or the audit could not be made, 2 usage,
4 no instance answers.

With `--output json` one object is printed: `{run, tenant, time, seconds, is_clean, fates, dropped_by, searched, probes,
orphans, skipped}`. Each probe is `{route, listener, method, target, label, trace, counts_as, expected, fate, to, is_ok, status, code,
failures, remarks, lost_tags, found, calls}`; see docs/audit.md. With `--list` it is `{probes, skipped}`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from rich.console import Console

from shadowproxy.audit import databases, junit, pages, plan, probefile, records, reports, table
from shadowproxy.audit.fates import results
from shadowproxy.audit.honey import Honey
from shadowproxy.audit.outcome import Outcome
from shadowproxy.audit.sending import Key, Sender, Target, target_of
from shadowproxy.cli import client
from shadowproxy.config import from_plain, load_file
from shadowproxy.config.addresses import parse_host_port
from shadowproxy.config.files import read_secret
from shadowproxy.errors import AuditFailed
from shadowproxy.policy.tags import tenant_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.audit.finds import Find
    from shadowproxy.audit.plan import Plan, Probe
    from shadowproxy.cli.client import AdminClient
    from shadowproxy.cli.main import Subparsers
    from shadowproxy.config.model import Config

FROM_ENVIRONMENT: Final = "env:"
"""What a DSN or URL begins with that stands in the environment: other users of the machine can read a command's arguments."""

LOG_WIDTH: Final = 200

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared with, not bound

_EPILOG: Final = (
    "PostgreSQL needs psycopg: pip install 'shadowproxy[postgres]'. DSN and URL may be env:NAME, which reads the variable NAME."
)


def register(subparsers: Subparsers) -> None:
    """Add `audit`."""
    parser = subparsers.add_parser(
        "audit",
        help="send tagged probes through every route, and find where they end",
        description="Send tagged probes with honey tokens through every route and method, and search where they ended. Exit 1 on any leak.",
        epilog=_EPILOG,
    )
    client.add_arguments(parser)
    parser.add_argument("--list", action="store_true", help="print what would be sent, and send nothing")
    parser.add_argument("-c", "--config", metavar="FILE", help="plan by this config (default: the running instance's)")
    _add_choices(parser)
    _add_ways(parser)
    _add_searches(parser)
    parser.add_argument("--junit", metavar="FILE", help="write the result as JUnit XML too")
    parser.add_argument("--strict", action="store_true", help="fail when something could not be asked")
    parser.add_argument(
        "--allow-retagged", action="store_true", help="a tag that a service dropped is no failure where the proxy put it back or refused"
    )
    parser.set_defaults(run=run, parser=parser)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    asked = parser.add_argument_group("what is asked")
    asked.add_argument("--route", action="append", default=[], metavar="NAME", help="only this route; may be repeated")
    asked.add_argument("--listener", action="append", default=[], metavar="NAME", help="only by this listener; may be repeated")
    asked.add_argument(
        "--method",
        action="append",
        metavar="METHOD",
        help=f"for routes that take all: may be repeated (default: {', '.join(plan.METHODS)})",
    )
    asked.add_argument("--probes", metavar="FILE", help="YAML file with requests for routes that need more than what is made up")
    asked.add_argument("--tenant", default=plan.Wishes().tenant, type=_tenant, metavar="NAME", help="whose tests the probes are")
    asked.add_argument(
        "--include-live", action="store_true", help="probe writes that their rule sends to live too: they WILL be carried out"
    )


def _add_ways(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_argument_group("how listeners are reached")
    ways.add_argument(
        "--at",
        action="append",
        default=[],
        type=_at,
        metavar="LISTENER=URL",
        help="where a listener is, if not where it says; may be repeated",
    )
    ways.add_argument("--passport-key-file", metavar="FILE", help="secret to sign probes with, for listeners with trust: signed")
    ways.add_argument("--key-id", metavar="ID", help="its name in the proxy's config")
    ways.add_argument("--ca", metavar="FILE", help="PEM file of authorities to verify listeners by")
    ways.add_argument("--cert", metavar="FILE", help="PEM file with a client certificate and its key")
    ways.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="longest wait for an answer (default: 10)")
    ways.add_argument("--deadline", type=_seconds, default=300.0, metavar="SECONDS", help="send no probe after this long (default: 300)")


def _add_searches(parser: argparse.ArgumentParser) -> None:
    searches = parser.add_argument_group("where probes must not be found")
    searches.add_argument(
        "--sql", action="append", default=[], metavar="DSN", help="production's database: postgresql://..., or an SQLite file"
    )
    searches.add_argument("--schema", action="append", default=[], metavar="NAME", help="only this schema of PostgreSQL (default: all)")
    searches.add_argument(
        "--search", action="append", default=[], metavar="URL", help="a page that shows what production got, as a mailbox"
    )
    searches.add_argument(
        "--settle", type=_seconds, default=1.0, metavar="SECONDS", help="wait before searching, for what services do later (default: 1)"
    )
    searches.add_argument(
        "--search-timeout", type=_seconds, default=60.0, metavar="SECONDS", help="for each database and page (default: 60)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the audit; 1 when it is not clean.

    Raises:
        AuditFailed: it cannot be made.
        ConfigError: the config or the probe file cannot be used.
        AdminUnreachable: no instance answers.
    """
    if (arguments.passport_key_file is None) != (arguments.key_id is None):
        arguments.parser.error("--passport-key-file and --key-id belong together")
    is_alone = arguments.list and arguments.config is not None
    api = None if is_alone else client.connect(arguments)
    config = load_file(arguments.config).config if arguments.config is not None else _config_of(api)
    targets = _targets(config, api, dict(arguments.at))
    planned = plan.make(config, Honey(secrets.token_hex(5)), _wishes(arguments, targets))
    if arguments.list:
        return _list(planned, arguments.output)
    assert api is not None
    outcome = _Audit(arguments, api, config, planned, targets).make()
    if arguments.junit:
        _write(Path(arguments.junit), junit.text(outcome))
    if arguments.output == "json":
        print(json.dumps(outcome.as_plain(), indent=2))
    else:
        _console().print(table.render(outcome))
    return 0 if outcome.is_clean else 1


def _console() -> Console:
    """Logs of CI servers are no terminal, and wider than the 80 columns that would be assumed of them."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=True, width=None if is_known else LOG_WIDTH)


def _list(planned: Plan, output: str) -> int:
    if output == "json":
        probes = [_shown(probe) for probe in planned.probes]
        left_out = [{"route": one.route, "listener": one.listener, "method": one.method, "reason": one.reason} for one in planned.skipped]
        print(json.dumps({"probes": probes, "skipped": left_out}, indent=2))
    else:
        _console().print(table.planned(planned))
    return 0


def _shown(probe: Probe) -> dict[str, Any]:
    return {
        "route": probe.route,
        "listener": probe.listener,
        "method": probe.method,
        "target": probe.target,
        "host": probe.host,
        "headers": [list(one) for one in probe.headers],
        "body": probe.body.decode("utf-8", "replace"),
        "counts_as": "write" if probe.is_write else "read",
        "expected": probe.expected,
        "to": probe.to,
        "is_signed": probe.is_signed,
    }


class _Audit:
    """One run, step by step."""

    def __init__(
        self, arguments: argparse.Namespace, api: AdminClient, config: Config, planned: Plan, targets: Mapping[str, Target]
    ) -> None:
        self._arguments = arguments
        self._api = api
        self._config = config
        self._plan = planned
        self._targets = targets
        self._databases = [_secret(one) for one in arguments.sql]
        self._pages = [_secret(one) for one in arguments.search]
        self._context = _context(arguments)

    def make(self) -> Outcome:
        """Send, wait, search, conclude."""
        arguments = self._arguments
        began, start = time.time(), time.monotonic()
        generation = self._generation()
        self._check_searches()
        stood = records.before(self._api)
        key = _key(arguments)
        sender = Sender(self._targets, self._context, key, arguments.timeout)
        answers = {probe.number: answer for probe, answer in sender.all(self._plan, start + arguments.deadline)}
        time.sleep(arguments.settle)
        reports.wait(self._api)
        found = self._search()
        known = records.gather(self._api, self._config.sinks, self._plan, stood, began)
        if self._generation() != generation:
            raise AuditFailed("the instance took another config during the audit: probes and rules do not belong together, try again")
        return Outcome(
            run=self._plan.honey.run,
            tenant=arguments.tenant,
            began=began,
            seconds=time.monotonic() - start,
            results=tuple(results(self._plan, answers, known, found, allows_retagged=arguments.allow_retagged)),
            skipped=self._plan.skipped,
            orphans=tuple(known.orphans),
            searched=(*map(databases.shown, self._databases), *map(pages.shown, self._pages)),
            is_strict=arguments.strict,
        )

    def _generation(self) -> tuple[int, int]:
        status = self._api.get("/api/v1/status")
        return int(status["config"]["generation"]), int(status["pid"])

    def _check_searches(self) -> None:
        """What cannot be searched afterwards is known before anything is sent."""
        for dsn in self._databases:
            databases.check(dsn)
        for url in self._pages:
            pages.search(url, self._plan.honey, self._context, self._arguments.search_timeout)

    def _search(self) -> list[Find]:
        timeout_s, honey = self._arguments.search_timeout, self._plan.honey
        found: list[Find] = []
        for dsn in self._databases:
            found += databases.search(dsn, self._arguments.schema, honey, timeout_s)
        for url in self._pages:
            found += pages.search(url, honey, self._context, timeout_s)
        return found


def _wishes(arguments: argparse.Namespace, targets: Mapping[str, Target]) -> plan.Wishes:
    return plan.Wishes(
        tenant=arguments.tenant,
        routes=arguments.route,
        listeners=arguments.listener,
        methods=arguments.method or plan.METHODS,
        templates=probefile.read_file(arguments.probes) if arguments.probes is not None else {},
        has_key=arguments.key_id is not None,
        includes_live=arguments.include_live,
        authorities={name: target.authority for name, target in targets.items()},
    )


def _config_of(api: AdminClient | None) -> Config:
    assert api is not None
    return from_plain(api.get("/api/v1/config")["config"])


def _targets(config: Config, api: AdminClient | None, given: Mapping[str, Target]) -> dict[str, Target]:
    """Where each listener is: as the caller says, as the instance says, or as the config says."""
    for name in given:
        if all(listener.name != name for listener in config.listen):
            raise AuditFailed(f"no listener is called {name!r}")
    bound = {one["name"]: one["address"] for one in api.get("/api/v1/status")["listeners"]} if api is not None else {}
    here = urlsplit(api.url).hostname or "127.0.0.1" if api is not None else "127.0.0.1"
    found = {}
    for listener in config.listen:
        address = parse_host_port(bound.get(listener.name, listener.address))
        host = here if address.host in _EVERYWHERE else address.host
        found[listener.name] = given.get(listener.name) or Target("https" if listener.tls else "http", host, address.port)
    return found


def _key(arguments: argparse.Namespace) -> Key | None:
    if arguments.key_id is None:
        return None
    try:
        return Key(arguments.key_id, read_secret(arguments.passport_key_file))
    except OSError as error:
        raise AuditFailed(f"{arguments.passport_key_file}: {error.strerror}") from None


def _context(arguments: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=arguments.ca)
        if arguments.cert is not None:
            context.load_cert_chain(arguments.cert)
    except OSError as error:
        raise AuditFailed(f"certificates cannot be used: {error.strerror or error}") from None
    return context


def _secret(text: str) -> str:
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(FROM_ENVIRONMENT)
    value = os.environ.get(name)
    if not value:
        raise AuditFailed(f"the environment has no {name}")
    return value


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AuditFailed(f"{path}: {error.strerror}") from None


def _at(text: str) -> tuple[str, Target]:
    name, equals, url = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not LISTENER=URL")
    try:
        return name, target_of(url)
    except AuditFailed as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _tenant(text: str) -> str:
    if (tenant_of(text.encode()) or b"").decode() != text or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is no tenant: 1 to 64 of A-Z a-z 0-9 . _ -, and not a word such as true or 0")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86400:
        raise ValueError(text)
    return seconds
