"""Captures to scrub, every way to hide a secret in one, and a search that finds it wherever it is left."""

from __future__ import annotations

import base64
import gzip
import html
import json
import zlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

from shadowproxy.redaction import Rules, Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY: Final = bytes(range(32))

Plain = dict[str, Any]


def scrubber(*, key: bytes = KEY, **rules: tuple[str, ...]) -> Scrubber:
    """One with the built-in rules and those given."""
    return Scrubber(Rules(**rules), key)


def coded(body: bytes) -> str:
    """As a capture has it."""
    return base64.b64encode(body).decode()


def answer(body: bytes = b"", *headers: tuple[str, str], outcome: str = "200", **more: Any) -> Plain:
    """One answer."""
    return {
        "outcome": outcome,
        "first_ns": 1,
        "last_ns": 2,
        "headers": [list(header) for header in headers],
        "body": coded(body),
        "cut": False,
        **more,
    }


def capture(
    *headers: tuple[str, str], target: str = "/", method: str = "POST", body: bytes = b"", live: Plain | None = None, shadow: Plain | None = None, **more: Any
) -> Plain:  # fmt: skip
    """One pair."""
    request = {
        "method": method,
        "target": target,
        "headers": [list(header) for header in headers],
        "body": coded(body),
        "cut": False,
        **more,
    }
    return {
        "id": "1-2",
        "mirror": "all/shadow",
        "at": 1.5,
        "trace": "ab" * 16,
        "request": request,
        "live": live or answer(),
        "shadow": shadow or answer(),
    }


def body_of(message: Plain) -> bytes:
    """The body that was kept."""
    return base64.b64decode(message["body"])


def everything(scrubbed: Plain) -> bytes:
    """All that would be kept of a capture: the document, and its bodies decoded."""
    bodies = [body_of(scrubbed[name]) for name in ("request", "live", "shadow", "control") if name in scrubbed]
    return b"\n".join([json.dumps(scrubbed).encode(), json.dumps(scrubbed, ensure_ascii=False).encode("utf-8", "surrogatepass"), *bodies])


def spellings(secret: str) -> Iterator[bytes]:
    """`secret` in every spelling that is searched for: as it is, percent-encoded, JSON-escaped, HTML-escaped, base64, hex."""
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    yield quote_plus(secret, safe="").encode()
    yield "".join(f"%{byte:02x}" for byte in raw).encode()
    yield "".join(f"%{byte:02X}" for byte in raw).encode()
    yield json.dumps(secret)[1:-1].encode()
    yield "".join(f"\\u{ord(character):04x}" for character in secret if ord(character) < 0x10000).encode()
    yield html.escape(secret).encode()
    yield "".join(f"&#{ord(character)};" for character in secret).encode()
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):
        digits = base64.b64encode(bytes(before) + raw)
        core = digits[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def leaks(secret: str, kept: bytes) -> list[bytes]:
    """The spellings of `secret` that are in `kept`."""
    return [spelling for spelling in spellings(secret) if spelling in kept]


def _multipart(name: str, secret: str) -> Plain:
    lines = [
        "--XX", f'Content-Disposition: form-data; name="{name}"', "", secret, "--XX", 'Content-Disposition: form-data; name="z"', "", "1", "--XX--", "",
    ]  # fmt: skip
    return capture(("Content-Type", "multipart/form-data; boundary=XX"), body="\r\n".join(lines).encode())


PLACES: Final[dict[str, Callable[[str], Plain]]] = {
    "authorization": lambda s: capture(("aUTHORIZATION", f"Bearer {quote(s)}")),
    "authorization without a scheme": lambda s: capture(("Authorization", quote(s))),
    "proxy-authorization": lambda s: capture(("Proxy-Authorization", f'Digest username="u", response="{quote(s)}"')),
    "basic password": lambda s: capture(("Authorization", f"Basic {coded(b'user:' + s.encode())}")),
    "basic user": lambda s: capture(("authorization", f"basic {coded(s.replace(':', '').encode() + b':pass')}")),
    "cookie": lambda s: capture(("Cookie", f"a=b; sid={quote(s)}; c=d")),
    "duplicate cookies": lambda s: capture(("cookie", "a=b"), ("COOKIE", f"sid={quote(s)}")),
    "set-cookie": lambda s: capture(live=answer(b"", ("Set-Cookie", f"sid={quote(s)}; Path=/; HttpOnly"))),
    "api key header": lambda s: capture(("X-Api-Key", quote(s))),
    "query": lambda s: capture(target=f"/x?a=1&access_token={quote(s, safe='')}&b=2"),
    "query with an encoded name": lambda s: capture(target=f"/x?a=1&%74ok%65n={quote_plus(s)}"),
    "oauth code": lambda s: capture(target=f"/cb?code={quote(s, safe='')}&state=1"),
    "url in a query": lambda s: capture(target=f"/x?next={quote('https://h/cb?token=' + quote(s, safe=''), safe='')}"),
    "referer": lambda s: capture(("Referer", f"https://h/p?session_id={quote(s, safe='')}&x=1")),
    "location": lambda s: capture(live=answer(b"", ("Location", f"/cb?code={quote(s, safe='')}"), outcome="302")),
    "fragment": lambda s: capture(live=answer(b"", ("Location", f"https://h/#access_token={quote(s, safe='')}&x=1"), outcome="302")),
    "userinfo": lambda s: capture(("Referer", f"https://user:{quote(s, safe='')}@h/p")),
    "json": lambda s: capture(("Content-Type", "application/json"), body=json.dumps({"a": 1, "password": s}).encode()),
    "json, raw": lambda s: capture(("Content-Type", "application/json"), body=json.dumps({"apiKey": s}, ensure_ascii=False).encode()),
    "json without a type": lambda s: capture(body=json.dumps([{"x": {"client_secret": [s, {"y": s}]}}]).encode()),
    "json name escaped": lambda s: capture(("Content-Type", "application/json"), body=b'{"passw\\u006frd": %s}' % json.dumps(s).encode()),
    "json in json": lambda s: capture(("Content-Type", "application/json"), body=json.dumps({"p": json.dumps({"token": s.replace(chr(92), "")})}).encode()),
    "json cut": lambda s: capture(("Content-Type", "application/json"), body=json.dumps({"token": s, "b": "c" * 20}).encode()[:-15], cut=True),
    "json answer": lambda s: capture(live=answer(json.dumps({"refresh_token": s}).encode(), ("Content-Type", "application/json; charset=utf-8"))),
    "json gzip": lambda s: capture(
        shadow=answer(gzip.compress(json.dumps({"id_token": s}).encode()), ("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    ),
    "json deflate": lambda s: capture(
        shadow=answer(zlib.compress(json.dumps({"id_token": s}).encode()), ("Content-Type", "application/json"), ("content-encoding", "Deflate"))
    ),
    "form": lambda s: capture(("Content-Type", "application/x-www-form-urlencoded"), body=f"a=1&user%5Bpassword%5D={quote_plus(s)}&b=2".encode()),
    "multipart": lambda s: _multipart("password", s),
    "html": lambda s: capture(live=answer(f'<form><input type=hidden name="csrf_token" value="{html.escape(s)}">'.encode(), ("Content-Type", "text/html"))),
    "xml": lambda s: capture(live=answer(f"<a><ns:Password>{html.escape(s)}</ns:Password></a>".encode(), ("Content-Type", "application/xml"))),
    "text": lambda s: capture(live=answer(f"debug: password={quote(s, safe='')} ok".encode(), ("Content-Type", "text/plain"))),
}  # fmt: skip
"""Where a secret is known to be one: each makes a capture with the secret there."""

ECHOES: Final[dict[str, Callable[[str], Plain]]] = {
    "plain": lambda s: answer(f"x {s} y".encode(), ("Content-Type", "text/plain")),
    "inside a word": lambda s: answer(f"x{s}y".encode(), ("Content-Type", "text/plain")),
    "percent": lambda s: answer(f"/x/{quote(s, safe='')}/y".encode(), ("Content-Type", "text/plain")),
    "all percent": lambda s: answer("".join(f"%{byte:02x}" for byte in s.encode()).encode(), ("Content-Type", "text/plain")),
    "json": lambda s: answer(json.dumps({"echo": s}).encode(), ("Content-Type", "application/json")),
    "json as a name": lambda s: answer(json.dumps({s: 1}).encode(), ("Content-Type", "application/json")),
    "all of json": lambda s: answer(('{"e": "' + "".join(f"\\u{ord(c):04X}" for c in s) + '"}').encode(), ("Content-Type", "application/json")),
    "html": lambda s: answer(f"<p>{html.escape(s)}</p>".encode(), ("Content-Type", "text/html")),
    "all of html": lambda s: answer("".join(f"&#{ord(c)};" for c in s).encode(), ("Content-Type", "text/html")),
    "base64": lambda s: answer(base64.b64encode(b"zz:" + s.encode() + b":z"), ("Content-Type", "text/plain")),
    "base64 for urls": lambda s: answer(base64.urlsafe_b64encode(b"z" + s.encode()), ("Content-Type", "text/plain")),
    "hex": lambda s: answer(s.encode().hex().upper().encode(), ("Content-Type", "text/plain")),
    "header": lambda s: answer(b"", ("X-Echo", f"you said {quote(s)}")),
    "location": lambda s: answer(b"", ("Location", f"/r/{quote(s, safe='')}"), outcome="302"),
    "gzip": lambda s: answer(gzip.compress(f"x {s} y".encode()), ("Content-Type", "text/plain"), ("Content-Encoding", "gzip")),
    "percent in json": lambda s: answer(json.dumps({"u": "https://h/" + quote(s, safe="")}).encode(), ("Content-Type", "application/json")),
    "percent twice": lambda s: answer(quote(quote(s, safe=""), safe="").encode(), ("Content-Type", "text/plain")),
}  # fmt: skip
"""Where the same secret may stand again: each makes an answer with it there."""
