"""The forms that strings of a config take, by the name that a field's `format` metadata gives.

A check takes the text and returns nothing; text that does not fit raises `Unfit` with a sentence,
and where one is obvious with the text that was probably meant.
"""

from __future__ import annotations

import re
import warnings
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import Unfit, check_host, parse_endpoint, parse_host_port
from shadowproxy.config.patterns import LENGTH_LIMIT, check_search

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN_PATTERN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  a token of HTTP, no secret
"""RFC 9110 section 5.6.2."""

_TOKEN: Final = re.compile(TOKEN_PATTERN)
_SQLITE: Final = re.compile(r"sqlite:///[^\x00-\x1f\x7f?#]+")
_REDIS: Final = re.compile(r"rediss?://(?:[^\s/?#@]*@)?(?P<authority>[^/?#@]+)(?:/(?P<database>[0-9]{0,5}))?")


def check_address(text: str) -> None:
    """Accept host:port; port 0 lets the system choose."""
    parse_host_port(text)


def check_endpoint(text: str) -> None:
    """Accept http://host:port and https://host:port."""
    parse_endpoint(text)


def check_cidr(text: str) -> None:
    """Accept an IPv4 or IPv6 network (RFC 4632), or one address."""
    try:
        ip_network(text)
    except ValueError:
        try:
            suggestion = str(ip_network(text, strict=False))
        except ValueError:
            raise Unfit(f"expected a range like 10.0.0.0/8, got {text!r}") from None
        raise Unfit(f"{text!r} has bits beyond its prefix", suggestion) from None


def check_header_name(text: str) -> None:
    """Accept a field name (RFC 9110 section 5.1)."""
    if not _TOKEN.fullmatch(text):
        raise Unfit(f"not a header name: {text!r}", text.strip().rstrip(":") if _TOKEN.fullmatch(text.strip().rstrip(":")) else "")


def check_header_value(text: str) -> None:
    """Accept a field value (RFC 9110 section 5.5): visible characters, spaces and tabs, no line ends."""
    if not text.isascii():
        raise Unfit("a header value is ASCII")
    if any(character != "\t" and not " " <= character <= "~" for character in text):
        raise Unfit("a header value cannot contain line ends or control characters")
    if text != text.strip(" \t"):
        raise Unfit("a header value cannot start or end with white space", text.strip(" \t"))


def check_method(text: str) -> None:
    """Accept a method in capitals: methods are case-sensitive (RFC 9110 section 9.1)."""
    if not _TOKEN.fullmatch(text):
        raise Unfit(f"not a method: {text!r}")
    if text != text.upper():
        raise Unfit(f"methods are written in capitals, got {text!r}", text.upper())


def check_path(text: str) -> None:
    """Accept a path: a query or fragment never takes part in matching."""
    for mark, name in (("?", "query"), ("#", "fragment")):
        if mark in text:
            raise Unfit(f"a path has no {name}", text[: text.index(mark)])


def check_regex(text: str) -> None:
    """Accept what the re module compiles."""
    if len(text) > LENGTH_LIMIT:
        raise Unfit(f"the regular expression has {len(text)} characters, limit {LENGTH_LIMIT}")
    if not text.isascii():
        raise Unfit("paths are matched as sent, so a regular expression is ASCII: write %C3%A9, not é")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text.encode())
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise Unfit(f"not a regular expression: {error}") from None


def check_host_pattern(text: str) -> None:
    """Accept a host without a port, or `*.` and one, for all of its subdomains."""
    if text.startswith("[") or text.count(":") > 1:
        parse_host_port(text, default_port=0)
        return
    name, colon, port = text.partition(":")
    if colon:
        raise Unfit(f"a host is matched without its port {port!r}", name)
    check_host(name.removeprefix("*."))


def check_host_name(text: str) -> None:
    """Accept a host without a port."""
    check_host(text)


def check_state(text: str) -> None:
    """Accept sqlite:///path and redis://[[user]:password@]host[:port][/database] (rediss for TLS)."""
    if text.startswith("sqlite:"):
        if not _SQLITE.fullmatch(text):
            raise Unfit("expected sqlite:///PATH (three slashes; a fourth begins an absolute path)")
        return
    if text.startswith(("redis:", "rediss:")):
        found = _REDIS.fullmatch(text)
        if found is None:
            raise Unfit("expected redis://HOST:PORT/DATABASE")
        parse_host_port(found["authority"], default_port=6379, lowest_port=1)
        return
    shown = f", got {text!r}" if "@" not in text else ""  # what stands before an @ may be a password
    suggestion = f"sqlite:///{text}" if text.endswith(".db") and ":" not in text else ""
    raise Unfit(f"expected sqlite:///PATH or redis://HOST:PORT/DATABASE{shown}", suggestion)


def check_file(text: str) -> None:
    """Accept a path that a file system can hold; whether it is there is asked when a file is loaded."""
    if "\0" in text:
        raise Unfit("a path cannot contain NUL")


CHECKS: Final[dict[str, Callable[[str], None]]] = {
    "address": check_address,
    "cidr": check_cidr,
    "endpoint": check_endpoint,
    "file": check_file,
    "header-name": check_header_name,
    "header-value": check_header_value,
    "host": check_host_name,
    "host-pattern": check_host_pattern,
    "method": check_method,
    "path": check_path,
    "regex": check_regex,
    "search": check_search,
    "state": check_state,
}

PATTERNS: Final[dict[str, str]] = {
    "endpoint": r"https?://[^/?#@]+",
    "address": r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):[0-9]{1,5}",
    "header-name": TOKEN_PATTERN,
    "header-value": r"([!-~]([\t -~]*[!-~])?)?",
    "method": r"[A-Z0-9!#$%&'*+.^_`|~-]+",
    "path": r"[^?#]*",
    "state": r"(sqlite:///|rediss?://).+",
}
"""What the JSON Schema says of a format: never more than its check does."""
