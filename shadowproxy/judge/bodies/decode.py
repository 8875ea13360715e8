"""From the bytes of a captured body to what they stand for: content codings and charset.

The rules of this file:

* no bytes raise: what cannot be decoded is returned with the reason;
* a body expands to at most `Limits.decoded` bytes and `Limits.ratio` times its size, per
  coding, whatever it claims (a small body may always expand to `FREE_BYTES`);
* a capture that was cut is decoded as far as it goes.

Codings: gzip and x-gzip (also several members), deflate (zlib as RFC 9110, section
8.4.1.2 has it, and the bare form that some servers send), br (RFC 7932), zstd (RFC 8878),
and any stack of up to `STACK_LIMIT` of them.
"""

from __future__ import annotations

import codecs
import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import brotli  # type: ignore[import-untyped]  # the wheel has no stubs
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FREE_BYTES: Final = 64 * 1024
"""What any body may expand to, however small it is: a page of spaces compresses a thousandfold."""

STACK_LIMIT: Final = 4
"""Codings on one body. More than two are unheard of."""

_ZSTD_WINDOW: Final = 8 * 1024 * 1024  # RFC 8878, section 3.1.1.1.2: what decoders should at least support, and no more
_MEMBERS: Final = 64  # members of one gzip body: empty ones would cost time without end
_STEP_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of decoding, per coding."""

    decoded: int = 1024 * 1024
    ratio: int = 200


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body without its content codings.

    `problem` is empty, or says why `content` is not (all of) what the body stands for. Where `is_partial` it is the
    beginning of that; else it is the body as it was sent.
    """

    content: bytes
    problem: str = ""
    is_partial: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether `content` is everything."""
        return not self.problem


class _Undecodable(Exception):
    """A coding that the bytes do not keep, or a bound that they break."""


def decode(body: bytes, encoding: str, *, is_cut: bool = False, limits: Limits | None = None) -> Decoded:
    """Take the content codings off a body. Never raises.

    Args:
        body: the bytes as they were sent.
        encoding: the value of Content-Encoding, all of its lines joined by commas; the last coding was applied last.
        is_cut: whether the capture ends before the body did; then what there is decoded, and `problem` says so.
        limits: bounds; those of `Limits` when not given.
    """
    bounds = limits or Limits()
    cut = "the capture was cut" if is_cut else ""
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) and name != "identity"]
    if not names or not body:
        return Decoded(body, cut, is_partial=is_cut)
    if len(names) > STACK_LIMIT:
        return Decoded(body, f"{len(names)} content codings, limit {STACK_LIMIT}")
    content = body
    for name in reversed(names):
        expand = _CODINGS.get(name)
        if expand is None:
            return Decoded(body, f"unknown content coding {name[:32]!r}")
        limit = min(bounds.decoded, max(FREE_BYTES, bounds.ratio * len(content)))
        try:
            content, is_ended = expand(content, limit)
        except _Undecodable as reason:
            return Decoded(body, f"{name}: {reason}")
        if len(content) > limit:
            return Decoded(content[:limit], f"{name}: expands beyond {limit} bytes", is_partial=name is names[0])
        if not is_ended and not cut:
            cut = f"{name}: the stream is not ended"
    return Decoded(content, cut, is_partial=bool(cut))


def text_of(content: bytes, charset: str) -> str | None:
    """The characters of `content`, or None when its charset is unknown or not kept.

    Args:
        content: decoded bytes.
        charset: what the Content-Type names; empty means UTF-8, with a byte order mark taken off.
    """
    name = charset or "utf-8"
    try:
        if codecs.lookup(name).name == "utf-8":
            name = "utf-8-sig"
        decoded = content.decode(name)
    except (LookupError, ValueError):
        return None
    return decoded if isinstance(decoded, str) else None


def _inflate(body: bytes, limit: int, bits: int) -> tuple[bytes, bool]:
    out = b""
    rest = body
    for _ in range(_MEMBERS):
        reader = zlib.decompressobj(bits)
        try:
            out += reader.decompress(rest, limit + 1 - len(out))
        except zlib.error as error:
            if out:  # a whole member, then bytes that are none: padding
                return out, True
            raise _Undecodable(str(error)) from None
        if not reader.eof:
            return out, False
        rest = reader.unused_data
        if not rest or len(out) > limit or bits < zlib.MAX_WBITS + 16:
            return out, True
    return out, False


def _gzip(body: bytes, limit: int) -> tuple[bytes, bool]:
    return _inflate(body, limit, zlib.MAX_WBITS + 16)


def _deflate(body: bytes, limit: int) -> tuple[bytes, bool]:
    try:
        return _inflate(body, limit, zlib.MAX_WBITS)
    except _Undecodable:
        return _inflate(body, limit, -zlib.MAX_WBITS)


def _brotli(body: bytes, limit: int) -> tuple[bytes, bool]:
    reader = brotli.Decompressor()
    out = bytearray()
    try:
        out += reader.process(body, output_buffer_limit=_STEP_BYTES)
        while not reader.is_finished() and len(out) <= limit:
            more = reader.process(b"", output_buffer_limit=_STEP_BYTES)
            if not more and reader.can_accept_more_data():
                break
            out += more
    except brotli.error as error:
        raise _Undecodable(str(error)) from None
    return bytes(out), bool(reader.is_finished())


def _zstd(body: bytes, limit: int) -> tuple[bytes, bool]:
    out = bytearray()
    try:
        claimed = zstandard.frame_content_size(body)
    except zstandard.ZstdError as error:
        raise _Undecodable(str(error)) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with decompressor.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            while len(out) <= limit and (more := reader.read(min(_STEP_BYTES, limit + 1 - len(out)))):
                out += more
    except (zstandard.ZstdError, MemoryError) as error:
        raise _Undecodable(str(error) or "not enough memory") from None
    return bytes(out), len(out) >= claimed  # a frame that claims no size is -1: then nobody knows


_CODINGS: Final[Mapping[str, Callable[[bytes, int], tuple[bytes, bool]]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
