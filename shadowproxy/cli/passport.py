"""`shadowproxy passport mint|verify|key`: makes and judges signed tags, for listeners with `trust: signed`.

    shadowproxy passport key FILE                 make a key, in a file that only its owner can read
    shadowproxy passport mint ... | curl -H @- …  print the header lines to add to one request
    shadowproxy passport verify ... REQUEST       say whether a captured request's passport holds, and if not why

Exit codes: 0 ok, 1 the passport does not hold or a file cannot be used, 2 usage.

`mint --output json` prints `{headers: {name: value}, key_id, nonce, created, expires}`. `verify --output json` prints
`{ok, reason, detail, tenant, key_id, nonce, created, expires, covers}`: `reason` is empty where it holds, the rest null where it
is not known. Whether a passport was used before only the proxy knows.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config import load_file
from shadowproxy.config.files import SHORTEST_SECRET, read_secret
from shadowproxy.config.tenancy import Passports
from shadowproxy.config.units import read_seconds
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.errors import BadRequest, ControlError, PassportRefused
from shadowproxy.passports import Reason, Request, Terms, mint, refused, verify
from shadowproxy.policy.tags import Tags

if TYPE_CHECKING:
    from shadowproxy.cli.main import Subparsers
    from shadowproxy.passports import Passport

HOLDS: Final = 0
REFUSED: Final = 1

_URL: Final = re.compile(r"(https?)://([^/?#@]+)((?:[/?][^#]*)?)(?:#.*)?", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]*")
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")

SECRET_BYTES: Final = 32


def register(subparsers: Subparsers) -> None:
    """Add `passport`."""
    parser = subparsers.add_parser(
        "passport", help="signed tags: make one, judge one, make a key", description="Signed tags for test traffic."
    )
    commands = parser.add_subparsers(dest="passport_command", metavar="COMMAND", required=True)
    _register_key(commands)
    _register_mint(commands)
    _register_verify(commands)


def _register_key(commands: Subparsers) -> None:
    parser = commands.add_parser("key", help="make a key", description="Make a key, in a file that only its owner can read.")
    parser.add_argument("file", metavar="FILE", help="the file to make; one that is there is left alone")
    parser.set_defaults(run=run_key, parser=parser)


def _register_mint(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "mint",
        help="header lines for one request",
        description="Print the header lines that make one request a test request that is believed.",
    )
    parser.add_argument("--key-file", required=True, metavar="FILE", help="file with the secret")
    parser.add_argument("--key-id", required=True, metavar="ID", help="its name in the proxy's config")
    parser.add_argument("--method", type=_method, metavar="METHOD", help="default: POST with a body, else GET")
    parser.add_argument("--url", required=True, type=_url, metavar="URL", help="the URL, exactly as it will be sent")
    parser.add_argument("--tag", default="true", metavar="TENANT", help="whose test it is (X-Test-Traffic; default: true)")
    parser.add_argument("--body", metavar="FILE", help="file with the body, - for standard input")
    parser.add_argument("--lifetime", default="60s", type=_duration, metavar="DURATION", help="how long it is valid (default: 60s)")
    parser.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="a header line to cover as well; printed too",
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the result")
    parser.set_defaults(run=run_mint, parser=parser)


def _register_verify(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "verify", help="judge a captured request", description="Say whether a captured request's passport holds, and if not why."
    )
    parser.add_argument("request", metavar="REQUEST", help="file with the request as it was sent, head and body; - for standard input")
    parser.add_argument("-c", "--config", metavar="FILE", help="the proxy's config, which names keys, lifetime and skew")
    parser.add_argument("--key-file", metavar="FILE", help="file with the secret, where there is no config")
    parser.add_argument("--key-id", metavar="ID", help="its name")
    parser.add_argument("--scheme", choices=("http", "https"), default="http", help="how the request reached the proxy (default: http)")
    parser.add_argument("--at", type=float, metavar="UNIX_SECONDS", help="when it arrived (default: now)")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the result")
    parser.set_defaults(run=run_verify, parser=parser)


def _duration(text: str) -> float:
    return float(read_seconds(text))


def _method(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no method")
    return text


def _url(text: str) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and target of an absolute URL; what is not ASCII has to be percent-encoded, as on the wire."""
    found = _URL.fullmatch(text)
    if found is None or _VISIBLE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no absolute http URL in ASCII: percent-encode the rest")
    scheme, authority, rest = (part.encode() for part in found.groups())
    return scheme.lower(), authority, rest if rest.startswith(b"/") else b"/" + rest


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no header line: NAME: VALUE in ASCII")
    return found[1], found[2]


def run_key(arguments: argparse.Namespace) -> int:
    """Make a key file.

    Raises:
        ControlError: it is there already, or cannot be made.
    """
    try:
        descriptor = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=") + "\n")
    except OSError as error:
        raise ControlError(f"{arguments.file}: {error.strerror}") from None
    print(
        f"made {arguments.file}; name it in the config: tenancy: {{passports: {{keys: {{ID: {{file: {arguments.file}}}}}}}}}",
        file=sys.stderr,
    )
    return HOLDS


def run_mint(arguments: argparse.Namespace) -> int:
    """Print a passport.

    Raises:
        ControlError: a file cannot be used.
        PassportRefused: a header cannot be covered.
    """
    body = _read(arguments.body) if arguments.body else b""
    headers: list[tuple[str, str]] = arguments.header
    scheme, authority, target = arguments.url
    fields = [(name.lower().encode(), value.encode()) for name, value in headers]
    method = arguments.method or ("POST" if body else "GET")
    created = int(time.time())
    # Whole seconds, and at least one: sub-second passports would be over before they arrive.
    expires = created + max(1, round(arguments.lifetime))
    nonce = secrets.token_urlsafe(18)
    try:
        minted = mint(
            Request(method.encode(), scheme, authority, target, fields),
            body,
            keyid=arguments.key_id,
            key=_secret(arguments.key_file),
            nonce=nonce,
            created=created,
            expires=expires,
            tenant=arguments.tag,
            also=list(dict.fromkeys(name.lower() for name, _ in headers)),
        )
    except ValueError as error:
        arguments.parser.error(str(error))
    lines = [*headers, *minted]
    if arguments.output == "json":
        found = {"headers": dict(lines), "key_id": arguments.key_id, "nonce": nonce, "created": created, "expires": expires}
        print(json.dumps(found, indent=2))
    else:
        print("".join(f"{name}: {value}\n" for name, value in lines), end="")
    return HOLDS


def run_verify(arguments: argparse.Namespace) -> int:
    """Judge a captured request.

    Raises:
        ConfigError: the config cannot be used.
        ControlError: a file cannot be used, or it holds no request.
    """
    terms, tags = _terms(arguments)
    captured = _read(arguments.request)
    try:
        request, body, tagged_by, tenant = _captured(captured, arguments.scheme.encode(), tags)
    except BadRequest as error:
        raise ControlError(f"{arguments.request}: no request: {error.detail}") from None
    now = time.time() if arguments.at is None else arguments.at
    found: dict[str, Any] = {"ok": True, "reason": "", "detail": "", "tenant": tenant or None}
    passport: Passport | None = None
    try:
        if not tagged_by:
            raise refused(Reason.TAG_NOT_COVERED, "there is none")
        passport = verify(request, body, tagged_by=tagged_by, terms=terms, now=now)
    except PassportRefused as error:
        found |= {"ok": False, "reason": error.reason, "detail": error.detail}
    found |= {
        "key_id": passport.keyid if passport else None,
        "nonce": passport.nonce if passport else None,
        "created": passport.created if passport else None,
        "expires": passport.expires if passport else None,
        "covers": list(passport.components) if passport else None,
    }
    print(json.dumps(found, indent=2) if arguments.output == "json" else _shown(found, now))
    return HOLDS if found["ok"] else REFUSED


def _shown(found: dict[str, Any], now: float) -> str:
    if not found["ok"]:
        return f"refused: {found['reason']}: {found['detail']}"
    return (
        f"holds: tenant {found['tenant']}, key {found['key_id']}, nonce {found['nonce']}, "
        f"{found['expires'] - now:.0f} s left; covers {' '.join(found['covers'])}"
    )


def _terms(arguments: argparse.Namespace) -> tuple[Terms, Tags]:
    if arguments.config:
        tenancy = load_file(arguments.config).config.tenancy
        keys = {name: _secret(key.file) for name, key in tenancy.passports.keys.items()}
        return Terms(keys, tenancy.passports.lifetime, tenancy.passports.skew), Tags(tenancy.dialects)
    if not (arguments.key_file and arguments.key_id):
        arguments.parser.error("which keys? --config, or --key-file and --key-id")
    default = Passports()
    return Terms({arguments.key_id: _secret(arguments.key_file)}, default.lifetime, default.skew), Tags()


def _captured(captured: bytes, scheme: bytes, tags: Tags) -> tuple[Request, bytes, list[bytes], str]:
    """A request as it was captured, read by what the proxy reads requests with; its body, which tags it has, and whose test it is."""
    head, end, body = captured.partition(b"\r\n\r\n")
    if not end:  # an editor was here
        head, end, body = captured.partition(b"\n\n")
        head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    method, target, _, fields = RequestHeads(frozenset(), tags=tags, count_limit=10_000, line_limit=1 << 20).read(head + b"\r\n\r\n")
    lines = [(line.partition(b":")[0].lower(), line.partition(b":")[2].strip(b" \t")) for line in fields.received]
    return Request(method, scheme, fields.authority, target, lines), body, fields.tagged_by, fields.tenant.decode()


def _secret(file: str) -> bytes:
    try:
        secret = read_secret(file)
    except OSError as error:
        raise ControlError(f"{file}: {error.strerror}") from None
    if len(secret) < SHORTEST_SECRET:
        raise ControlError(f"{file}: {len(secret)} bytes, a key has at least {SHORTEST_SECRET}")
    return secret


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ControlError(f"{file}: {error.strerror}") from None
