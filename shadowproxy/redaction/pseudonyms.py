"""What stands for a secret: something of the same form, from which the secret cannot be found.

A pseudonym is a function of the secret and of a key. The same secret has the same
pseudonym wherever it occurs, so what could be joined before can be joined after;
under another key it has another one, and without the key neither tells anything
but its form: its length, where its separators are, and which of its characters
were digits, small or capital letters.

::

    a@shop.test                            an e-mail address, under a domain that nobody can own (RFC 2606)
    4111 1111 1111 1111                    as many digits in the same groups, with a right check digit (Luhn)
    +49 (30) 123-456                       digits for digits
    192.0.2.7, 2001:db8::7                 an address that no host has: 240.0.0.0/4 and 2001:db8::/32
    6f1c...-4...-...                       a UUID of the same version and variant
    eyJ....eyJ....sig                      as many parts, divided by dots
    -12.50                                 a number with the same digits before and after the point
    everything else                        letters for letters, digits for digits, separators stay
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import string
from typing import Final

KEY_BYTES: Final = 32

_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_CARD: Final = re.compile(r"[0-9](?:[ -]?[0-9]){11,18}")
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]{2,39}(?:[0-9.]{7,15})?")
_TOKEN: Final = re.compile(r"eyJ[\w-]*(?:\.[\w-]*){2,4}", re.ASCII)
_HEX: Final = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{8,}|(?=[0-9]*[A-F])[0-9A-F]{8,}")

_NETWORK_4: Final = 240 << 24
_NETWORK_6: Final = 0x20010DB8 << 96


class Pseudonyms:
    """The pseudonyms under one key.

    Args:
        key: 16 to 64 random bytes that are kept secret.
    """

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a key of {len(key)} bytes, from 16 to {hashlib.blake2b.MAX_KEY_SIZE} are needed")
        self._key = key

    def of(self, secret: str) -> str:
        """What stands for `secret`: ASCII, of the same form, and never the secret itself (unless that is empty)."""
        if not secret:
            return ""
        for turn in range(8):
            stands = self._shaped(secret, _Draw(self._key, secret, turn))
            if stands != secret:
                return stands
        return _Draw(self._key, secret, 8).letters(len(secret))

    def digest(self, content: bytes) -> str:
        """Keyed digest of `content`, as 32 hex digits: tells equal from different and nothing else."""
        return hashlib.blake2b(content, key=self._key, digest_size=16, person=b"digest").hexdigest()

    def _shaped(self, secret: str, draw: _Draw) -> str:
        if not secret.isascii():
            return _characters(secret, draw)
        if _UUID.fullmatch(secret):
            return _uuid(secret, draw)
        if _CARD.fullmatch(secret) and is_luhn(secret):
            return _card(secret, draw)
        if found := _NUMBER.fullmatch(secret):
            return found[1] + _digits(found[2], draw) + _fraction(found[3], draw) + (found[4] or "")
        if _ADDRESS.fullmatch(secret) and (address := _address(secret)) is not None:
            return _internet(address, draw)
        if _EMAIL.fullmatch(secret):
            local, _, domain = secret.rpartition("@")
            # The domain has a pseudonym of its own: who shares a domain still does.
            place = _Draw(self._key, domain.lower(), 0).lower(max(6, min(len(domain) - 8, 20)))
            return f"{_characters(local, draw)}@{place}.example"
        if _TOKEN.fullmatch(secret):
            return ".".join(
                ("eyJ" if part.startswith("eyJ") else "") + _characters(part.removeprefix("eyJ"), draw) for part in secret.split(".")
            )
        if _HEX.fullmatch(secret):
            return draw.pick(string.hexdigits[:16] if secret.islower() else string.hexdigits[:10] + "ABCDEF", len(secret))
        return _characters(secret, draw)


class _Draw:
    """A stream of choices that the key and the secret decide: BLAKE2b in counter mode."""

    def __init__(self, key: bytes, secret: str, turn: int) -> None:
        self._seed = hashlib.blake2b(secret.encode("utf-8", "surrogatepass") + bytes((turn,)), key=key, person=b"pseudonym").digest()
        self._pool = self._seed
        self._block = 0

    def bytes(self, count: int) -> bytes:
        """The next bytes of the stream."""
        while len(self._pool) < count:
            self._block += 1
            self._pool += hashlib.blake2b(self._seed + self._block.to_bytes(8, "big")).digest()
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def pick(self, alphabet: str, count: int) -> str:
        size = len(alphabet)
        return "".join([alphabet[byte % size] for byte in self.bytes(count)])

    def lower(self, count: int) -> str:
        return self.pick(string.ascii_lowercase, count)

    def letters(self, count: int) -> str:
        return self.pick(string.ascii_letters, count)

    def bits(self, count: int) -> int:
        return int.from_bytes(self.bytes(-(-count // 8)), "big") % (1 << count)


def is_luhn(text: str) -> bool:
    """Whether the last digit of `text`, separators aside, is the check digit of those before it (ISO/IEC 7812-1)."""
    digits = [int(character) for character in text if character.isdigit()]
    return len(digits) > 1 and _checksum(digits) == 0


def _checksum(digits: list[int]) -> int:
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(doubled) + sum(digits[-1::-2])) % 10


def _card(text: str, draw: _Draw) -> str:
    """The first digit names the industry and stays; the last one checks the others."""
    digits = [character for character in text if character.isdigit()]
    digits[1:] = draw.pick(string.digits, len(digits) - 1)
    digits[-1] = "0"
    digits[-1] = str(-_checksum([int(digit) for digit in digits]) % 10)
    supply = iter(digits)
    return "".join(next(supply) if character.isdigit() else character for character in text)


def _digits(text: str, draw: _Draw) -> str:
    """As many digits; a leading zero stays one, and nothing else becomes one: JSON forbids it."""
    if len(text) == 1:
        return draw.pick(string.digits, 1) if text == "0" else draw.pick("123456789", 1)
    zeros = len(text) - len(text.lstrip("0"))
    rest = len(text) - zeros
    return text[:zeros] + (draw.pick("123456789", 1) + draw.pick(string.digits, rest - 1) if rest else "")


def _fraction(text: str | None, draw: _Draw) -> str:
    return "." + draw.pick(string.digits, len(text) - 1) if text else ""


def _uuid(text: str, draw: _Draw) -> str:
    alphabet = string.hexdigits[:16] if text == text.lower() else string.hexdigits[:10] + "ABCDEF"
    fresh = draw.pick(alphabet, len(text))
    # Positions 14 and 19 are version and variant (RFC 9562 section 4).
    return "".join(old if old == "-" or at in {14, 19} else new for at, (old, new) in enumerate(zip(text, fresh, strict=True)))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _internet(address: ipaddress.IPv4Address | ipaddress.IPv6Address, draw: _Draw) -> str:
    if address.version == 4:
        return str(ipaddress.IPv4Address(_NETWORK_4 | draw.bits(28)))
    return str(ipaddress.IPv6Address(_NETWORK_6 | draw.bits(96)))


def _choices(alphabet: str) -> str:
    """What each of the 256 bytes chooses from `alphabet`."""
    return "".join(alphabet[byte % len(alphabet)] for byte in range(256))


_LOWER: Final = _choices(string.ascii_lowercase)
_CLASSES: Final = {
    **dict.fromkeys(string.digits, _choices(string.digits)),
    **dict.fromkeys(string.ascii_uppercase, _choices(string.ascii_uppercase)),
    **{separator: separator * 256 for separator in "-_.:/+=,@| \n\r\t"},
}
"""What a character becomes; those that are not listed become small letters."""


def _characters(text: str, draw: _Draw) -> str:
    return "".join([_CLASSES.get(character, _LOWER)[byte] for character, byte in zip(text, draw.bytes(len(text)), strict=True)])
