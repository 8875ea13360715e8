"""Content codings undone, within limits."""

from __future__ import annotations

import io
import re
import zlib
from typing import Final

import brotli  # type: ignore[import-untyped]  # the wheel has no stubs
import zstandard

from shadowproxy.errors import Unreadable

LAYERS_LIMIT: Final = 3
"""Codings on top of one another."""

MEMBERS_LIMIT: Final = 64
"""Members of one gzip body: empty ones would cost time without end."""

_WINDOW: Final = 8 * 1024 * 1024
"""Bytes of history that a Zstandard frame may ask for: what RFC 8878 section 3.1.1.1.2 recommends to support."""

_STEP: Final = 64 * 1024

_GZIP: Final = 16 + zlib.MAX_WBITS
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w:.-]{1,40})", re.IGNORECASE | re.ASCII)
_SINGLE_BYTE: Final = re.compile(r"us-ascii|ascii|iso-?8859-?[0-9]{1,2}|latin-?[0-9]|windows-125[0-8]|cp125[0-8]|koi8-[ru]|macintosh")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def decode(body: bytes, codings: str, limit: int, *, is_cut: bool) -> bytes:
    """`body` without its content codings (RFC 9110 section 8.4.1).

    Args:
        body: as it was sent.
        codings: values of Content-Encoding, the first applied first.
        limit: bytes of a result.
        is_cut: the body may end early.

    Raises:
        Unreadable: a coding is not known or broken, or the result is larger than `limit`.
    """
    names = [name for coding in codings.split(",") if (name := coding.strip().lower()) not in {"", "identity"}]
    if len(names) > LAYERS_LIMIT:
        raise Unreadable(f"{len(names)} content codings, at most {LAYERS_LIMIT} are undone")
    for name in reversed(names):
        body = _undone(body, name, limit, is_cut=is_cut)
    if len(body) > limit:
        raise Unreadable(f"a body of {len(body)} bytes, at most {limit} are looked through")
    return body


def _undone(body: bytes, name: str, limit: int, *, is_cut: bool) -> bytes:
    if not body:
        return body
    if name in {"gzip", "x-gzip"}:
        windows: tuple[int, ...] = (_GZIP,)
    elif name == "deflate":
        windows = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # some send it without the zlib wrapper
    elif name == "br":
        return _unbrotlied(body, limit, is_cut=is_cut)
    elif name == "zstd":
        return _unzstandarded(body, limit, is_cut=is_cut)
    else:
        raise Unreadable(f"content coding {name[:40]!r} is not known")
    for window in windows:
        try:
            return _inflated(body, window, limit, is_cut=is_cut)
        except zlib.error:
            continue
    raise Unreadable(f"not {name}")


def _inflated(body: bytes, window: int, limit: int, *, is_cut: bool) -> bytes:
    result = b""
    rest = body
    for _ in range(MEMBERS_LIMIT):
        machine = zlib.decompressobj(window)
        result += machine.decompress(rest, limit + 1 - len(result))
        if len(result) > limit:
            raise Unreadable(f"more than {limit} bytes when decoded")
        if not machine.eof:
            if not is_cut:
                raise Unreadable("a content coding that ends early")
            return result
        rest = machine.unused_data  # RFC 1952 section 2.2: members one after another
        if not rest:
            return result
    raise Unreadable(f"more than {MEMBERS_LIMIT} members")


def _unbrotlied(body: bytes, limit: int, *, is_cut: bool) -> bytes:
    machine = brotli.Decompressor()
    result = b""
    rest = body
    try:
        while not machine.is_finished():
            piece = machine.process(rest, output_buffer_limit=_STEP)
            rest = b""
            result += piece
            if len(result) > limit:
                raise Unreadable(f"more than {limit} bytes when decoded")
            if not piece and machine.can_accept_more_data():
                break
    except brotli.error as error:
        raise Unreadable(f"not br: {error}") from None
    if not machine.is_finished() and not is_cut:
        raise Unreadable("a content coding that ends early")
    return result


def _unzstandarded(body: bytes, limit: int, *, is_cut: bool) -> bytes:
    result = b""
    try:
        machine = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        with machine.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
            while piece := reader.read(_STEP):
                result += piece
                if len(result) > limit:
                    raise Unreadable(f"more than {limit} bytes when decoded")
        claimed = zstandard.frame_content_size(body)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Unreadable(f"not zstd: {error}") from None
    if len(result) < claimed and not is_cut:
        raise Unreadable("a content coding that ends early")
    return result


def text_of(body: bytes, content_type: str, *, is_cut: bool) -> str:
    """`body` as Latin-1 text in which ASCII is what it says.

    Args:
        body: decoded.
        content_type: with the charset, if it names one.
        is_cut: the body may end inside a character.

    Raises:
        Unreadable: it is not text, or in a charset where ASCII bytes mean other things.
    """
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else "utf-8"
    text = body.decode("latin-1")
    if _CONTROL.search(text):
        raise Unreadable("control characters: not text")
    if charset in {"utf-8", "utf8"}:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            if not (is_cut and error.start >= len(body) - 3 and error.reason == "unexpected end of data"):
                raise Unreadable("not UTF-8") from None
    elif not _SINGLE_BYTE.fullmatch(charset):
        raise Unreadable(f"charset {charset} is not looked through")
    return text
