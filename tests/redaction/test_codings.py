"""Content codings: undone when whole, within limits, and refused when in doubt."""

from __future__ import annotations

import contextlib
import gzip
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.codings import decode, text_of

TEXT = b"the quick brown fox " * 50
LIMIT = 100_000

CODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:300]) + gzip.compress(TEXT[300:]),
    "deflate": zlib.compress(TEXT),
    "Deflate ": zlib.compress(TEXT)[2:-4],
    "br": brotli.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
    "identity": TEXT,
    "": TEXT,
    "gzip, br": brotli.compress(gzip.compress(TEXT)),
}


@pytest.mark.parametrize("coding", CODED)
def test_codings_are_undone(coding: str) -> None:
    """Every coding that is in use, in any case, on top of one another, and in several members."""
    assert decode(CODED[coding], coding, LIMIT, is_cut=False) == TEXT
    assert decode(b"", coding, LIMIT, is_cut=False) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_cut_body_is_decoded_as_far_as_it_goes(coding: str) -> None:
    """When the capture was cut; a body that ends early by itself is in doubt."""
    cut = CODED[coding][:-3]
    assert TEXT.startswith(decode(cut, coding, LIMIT, is_cut=True))
    with pytest.raises(Unreadable):
        decode(cut, coding, LIMIT, is_cut=False)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate", "x"]), st.booleans())
def test_bytes_of_any_kind_are_decoded_or_refused(body: bytes, coding: str, is_cut: bool) -> None:
    """With the one documented error, under any coding and cut."""
    with contextlib.suppress(Unreadable):
        decode(body, coding, LIMIT, is_cut=is_cut)


@given(st.sampled_from(sorted(CODED)), st.integers(0, 10_000), st.integers(0, 255))
def test_damage_is_decoded_or_refused(coding: str, at: int, byte: int) -> None:
    """One byte changed in a good body."""
    coded = bytearray(CODED[coding])
    coded[at % len(coded)] = byte
    with contextlib.suppress(Unreadable):
        decode(bytes(coded), coding, LIMIT, is_cut=False)


def test_members_without_end_are_not_read() -> None:
    """Empty ones would never come to the limit of the result."""
    assert decode(gzip.compress(b"") * 63 + gzip.compress(b"x"), "gzip", LIMIT, is_cut=False) == b"x"
    with pytest.raises(Unreadable, match="more than 64 members"):
        decode(gzip.compress(b"") * 10_000, "gzip", LIMIT, is_cut=False)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_not_inflated(coding: str) -> None:
    """The limit is that of the result, and is kept to while decoding."""
    bomb = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda data: brotli.compress(data, quality=1),
        "zstd": zstandard.compress,
    }[coding](bytes(30_000_000))
    assert len(bomb) < 40_000
    with pytest.raises(Unreadable, match=f"more than {LIMIT} bytes"):
        decode(bomb, coding, LIMIT, is_cut=False)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"no"),
        ("deflate", b"\xff\xff"),
        ("br", b"\xff\xff\xff"),
        ("zstd", b"nope"),
        ("compress", b"x"),
        ("x" * 500, b"x"),
        ("gzip,gzip,gzip,gzip", b"x"),
    ],
)
def test_what_is_not_in_its_coding_is_unreadable(coding: str, body: bytes) -> None:
    """Broken, unknown, or too many."""
    with pytest.raises(Unreadable):
        decode(body, coding, LIMIT, is_cut=False)


def test_a_large_body_is_not_looked_through() -> None:
    """Without a coding too."""
    with pytest.raises(Unreadable, match="at most 10"):
        decode(b"x" * 11, "", 10, is_cut=False)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"plain", ""),
        ("gr\u00fc\u00df".encode(), "text/plain"),
        ("gr\u00fc\u00df".encode(), 'text/plain; charset="UTF-8"'),
        (b"gr\xfc\xdf", "text/plain; charset=ISO-8859-1"),
        (b"\x93quoted\x94", "text/plain; charset=windows-1252"),
        (b"\tone\r\ntwo\x0c\x1b[0m", "text/plain"),
    ],
)
def test_text_is_read_byte_by_byte(body: bytes, kind: str) -> None:
    """Every character is one byte, so nothing is lost."""
    assert text_of(body, kind, is_cut=False).encode("latin-1") == body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xfe", "text/plain"),
        (b"a\0b", "text/plain; charset=latin-1"),
        (b"\x01", ""),
        (b"p+AG8-w", "text/plain; charset=utf-7"),
        ("x".encode("utf-16"), "text/plain; charset=utf-16"),
        (b"x", "text/plain; charset=shift_jis"),
        (b"x", "text/plain; charset=no-such"),
    ],
)
def test_what_is_no_readable_text_is_refused(body: bytes, kind: str) -> None:
    """Bytes that are not text, and charsets in which ASCII bytes mean other things."""
    with pytest.raises(Unreadable):
        text_of(body, kind, is_cut=False)


def test_a_cut_may_go_through_a_character() -> None:
    """Only at the very end, and only when it was cut."""
    body = "gr\u00fc".encode()[:-1]
    assert text_of(body, "", is_cut=True)
    with pytest.raises(Unreadable):
        text_of(body, "", is_cut=False)
    with pytest.raises(Unreadable):
        text_of(body + b" more", "", is_cut=True)
