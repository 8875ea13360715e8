"""The secrets of one capture, and what stands for each."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.edits import READINGS, resolved
from shadowproxy.redaction.shapes import PRIVATE_KEYS, shapes

if TYPE_CHECKING:
    from shadowproxy.redaction.pseudonyms import Pseudonyms
    from shadowproxy.redaction.rules import Rules

SECRETS_LIMIT: Final = 2000
"""Secrets of one capture: a thousand times what is usual, and each costs a search."""

ECHO_SHORTEST: Final = 4
"""Bytes of a secret that is looked for elsewhere: shorter ones are everywhere."""

SETTLED_SHORTEST: Final = 8
"""Characters from which on what looks like a pseudonym is one."""

_HARMLESS: Final = frozenset({"", "true", "false", "null", "none", "undefined", "nan", "0", "1"})

_SAFE: Final = "-_.~:@/,|"

_SCHEME: Final = re.compile(
    r"\s*(basic|bearer|digest|negotiate|ntlm|token|apikey|api-key|key|hmac|hawk|hoba|mutual|oauth|vapid|dpop|gnap|privatetoken|sharedkey|sharedkeylite|"
    r"aws4-hmac-sha256|aws|scram-sha-1|scram-sha-256|signature|googlelogin|splunk|ssws|jwt)(\s+)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_CLIENT: Final = re.compile(r"(\[?)([0-9A-Fa-f:]{2,39}|[0-9]{1,3}(?:\.[0-9]{1,3}){3})(\]?(?::[0-9]{1,5})?)")
_PARAMETER: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^\s,;\"]+))")
_PUBLIC_PARAMETERS: Final = frozenset(
    {"realm", "algorithm", "qop", "charset", "stale", "userhash", "signedheaders", "headers", "version", "keyid", "uri", "nc"}
)


class Findings:
    """Collects the secrets of one capture and gives out their pseudonyms.

    All text is bytes read as Latin-1; what stands for a secret is ASCII.
    """

    def __init__(self, rules: Rules, pseudonyms: Pseudonyms) -> None:
        self.rules = rules
        self.shapes = shapes(rules)
        self.looks_for_keys = not rules.is_kept(PRIVATE_KEYS.name)
        self._pseudonyms = pseudonyms
        self.secrets: dict[str, str] = {}
        """Each secret as it stood, and its pseudonym."""
        self._settled: frozenset[str] = frozenset()

    def settle(self) -> None:
        """Take the pseudonyms that were given out until now for what they are: they stand for themselves from now on.

        A shadow that was sent pseudonyms answers with them, and is compared with an answer whose secrets get the same ones. Short ones
        may well be secrets of their own.
        """
        self._settled = frozenset(stands for stands in self.secrets.values() if len(stands) >= SETTLED_SHORTEST)

    def stand_in(self, secret: str) -> str:
        """What stands for `secret`, which is looked for in the rest of the capture from now on.

        Raises:
            Unreadable: the capture has more than SECRETS_LIMIT of them.
        """
        known = self.secrets.get(secret)
        if known is not None:
            return known
        if secret.lower() in _HARMLESS or secret in self._settled:
            return secret
        if len(self.secrets) >= SECRETS_LIMIT:
            raise Unreadable(f"more than {SECRETS_LIMIT} secrets in one capture")
        stands = self._pseudonyms.of(_characters(secret))
        self.secrets[secret] = stands
        # What it would say elsewhere: without quotes and blanks, and with its escapes resolved.
        self._also(secret.strip(" \t\"'"))
        meant = secret
        for _ in range(READINGS):
            reading = resolved(meant)
            if reading is None:
                break
            meant = reading.text
            self._also(meant)
        return stands

    def _also(self, secret: str) -> None:
        if secret.lower() not in _HARMLESS and secret not in self.secrets and secret not in self._settled:
            self.secrets[secret] = self._pseudonyms.of(_characters(secret))

    def again(self, run: str) -> str:
        """What stands for a run of characters that a secret is hidden in (base64, hex); the run itself is not a secret."""
        return self._pseudonyms.of(run)

    def digest(self, content: bytes) -> str:
        """Keyed digest of content that is not kept."""
        return self._pseudonyms.digest(content)

    def coded(self, value: str) -> str:
        """What stands for the percent-encoded `value` of a query or a form, percent-encoded."""
        meant = unquote_to_bytes(value.replace("+", " ")).decode("latin-1")
        return percent_encoded(self.stand_in(meant))

    def credentials(self, value: str) -> str:
        """What stands for the value of Authorization and its kin (RFC 9110 section 11.4): the scheme stays."""
        found = _SCHEME.fullmatch(value)
        if found is None:
            return self.stand_in(value.strip()) if value.strip() else value
        scheme, blank, rest = found.groups()
        if scheme.lower() == "basic" and (pair := _basic(rest)) is not None:
            user, colon, password = pair.partition(":")
            stands = self.stand_in(user) + colon + self.stand_in(password)
            self.stand_in(rest.strip())  # the encoded pair may be repeated as it is
            return f"{scheme}{blank}{base64.b64encode(stands.encode('latin-1')).decode()}"
        parameters = list(_PARAMETER.finditer(rest))
        # Base64 ends in "=": only what has a value behind it is a parameter.
        if parameters and parameters[0].start() == 0 and (len(parameters) > 1 or parameters[0][2] is not None):
            return f"{scheme}{blank}{self._parameters(rest, parameters)}"
        return f"{scheme}{blank}{self.stand_in(rest.strip())}"

    def cookies(self, value: str) -> str:
        """What stands for a Cookie field: names stay, values do not (RFC 6265 section 4.2.1)."""
        return ";".join(self._cookie(pair) for pair in value.split(";"))

    def set_cookie(self, value: str) -> str:
        """What stands for a Set-Cookie field: its name and attributes stay (RFC 6265 section 4.1.1)."""
        pair, semicolon, attributes = value.partition(";")
        return self._cookie(pair) + semicolon + attributes

    def client(self, address: str) -> str:
        """What stands for a client's address, in brackets or not, with a port or without; the machine's own stay."""
        found = _CLIENT.fullmatch(address)
        if found is None:
            return self.stand_in(address)
        before, bare, behind = found.groups()
        return address if bare.startswith("127.") or bare == "::1" else f"{before}{self.stand_in(bare)}{behind}"

    def _cookie(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if not equals:
            bare = pair.strip()
            return pair.replace(bare, self.stand_in(bare)) if bare else pair
        if self.rules.is_kept(name.strip()):
            return pair
        blank = value[: len(value) - len(value.lstrip(' "'))]
        end = value[len(value.rstrip(' "')) :] if value.strip(' "') else ""
        bare = value[len(blank) : len(value) - len(end)]
        return f"{name}={blank}{self.stand_in(bare)}{end}"

    def _parameters(self, rest: str, parameters: list[re.Match[str]]) -> str:
        pieces: list[str] = []
        at = 0
        for found in parameters:
            pieces.append(self._between(rest[at : found.start()]))
            name, quoted, bare = found.groups()
            if name.lower() in _PUBLIC_PARAMETERS:
                pieces.append(found[0])
            else:
                stands = self.stand_in(quoted if quoted is not None else bare)
                pieces.append(f'{name}="{stands}"' if quoted is not None else f"{name}={stands}")
            at = found.end()
        pieces.append(self._between(rest[at:]))
        return "".join(pieces)

    def _between(self, text: str) -> str:
        """What stands between parameters: separators, and nothing else."""
        return text if not text.strip(" ,;\t") else self.stand_in(text)


def percent_encoded(stands: str) -> str:
    """A pseudonym as it stands in a query or a form."""
    return quote(stands, safe=_SAFE)


def _characters(secret: str) -> str:
    """Bytes as the characters that they are in UTF-8, for pseudonyms of the length that people see."""
    if secret.isascii():
        return secret
    try:
        return secret.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return secret


def _basic(rest: str) -> str | None:
    """`user:password` of Basic credentials (RFC 7617 section 2); None when they are none."""
    try:
        pair = base64.b64decode(rest.strip() + "=" * (-len(rest.strip()) % 4), validate=True).decode("latin-1")
    except ValueError:
        return None
    return pair if ":" in pair else None
