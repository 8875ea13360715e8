"""Content codings and charsets: what is decoded, what is refused, and that nothing raises."""

from __future__ import annotations

import gzip
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies.decode import FREE_BYTES, Limits, decode, text_of

BODY = b'{"name": "value", "list": [1, 2, 3]}' * 40


def _bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


CODED = {
    "gzip": gzip.compress(BODY),
    "X-GZIP": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "Deflate": _bare(BODY),
    "br": brotli.compress(BODY),
    "zstd": zstandard.compress(BODY),
    "identity": BODY,
    "": BODY,
}


@pytest.mark.parametrize("encoding", CODED)
def test_every_coding_is_taken_off(encoding: str) -> None:
    """The body that went in comes out, whole."""
    decoded = decode(CODED[encoding], encoding)
    assert decoded.content == BODY
    assert decoded.is_whole


def test_codings_are_taken_off_in_the_reverse_of_their_order() -> None:
    """RFC 9110, section 8.4: the last that is listed was applied last."""
    assert decode(brotli.compress(gzip.compress(BODY)), "gzip, br").content == BODY


def test_a_gzip_body_of_several_members_is_one_body() -> None:
    """RFC 1952, section 2.2."""
    assert decode(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip").content == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_capture_that_was_cut_is_decoded_as_far_as_it_goes(encoding: str) -> None:
    """What there is comes out, and says that it is not all."""
    noise = b"".join(
        zlib.crc32(bytes([index % 251])).to_bytes(4, "big") + str(index).encode() for index in range(60_000)
    )  # zstd gives whole blocks of 128 KiB only
    coded = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda body: brotli.compress(body, quality=4),
        "zstd": zstandard.compress,
    }[encoding](noise)
    decoded = decode(coded[: len(coded) * 3 // 4], encoding, is_cut=True, limits=Limits(decoded=len(noise)))
    assert noise.startswith(decoded.content)
    assert len(decoded.content) > len(noise) // 4
    assert decoded.problem == "the capture was cut"


def test_a_stream_without_its_end_says_so() -> None:
    """A body that the upstream itself did not finish is not whole either."""
    assert decode(CODED["gzip"][:-12], "gzip").problem == "gzip: the stream is not ended"


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("deflate", zlib.compress(bytes(50_000_000))),
        ("br", brotli.compress(bytes(50_000_000), quality=5)),
        ("zstd", zstandard.compress(bytes(50_000_000))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(50_000_000)))),
    ],
)
def test_a_bomb_is_not_expanded(encoding: str, bomb: bytes) -> None:
    """Neither beyond the absolute limit nor beyond the ratio, whatever the body claims."""
    limits = Limits(decoded=100_000, ratio=10)
    decoded = decode(bomb, encoding, limits=limits)
    assert len(decoded.content) <= max(FREE_BYTES, limits.decoded)
    assert "expands beyond" in decoded.problem


@pytest.mark.parametrize(
    ("encoding", "problem"), [("rot13", "unknown content coding 'rot13'"), ("gzip," * 9, "9 content codings, limit 4"), ("gzip", "gzip: ")]
)
def test_what_cannot_be_decoded_says_why(encoding: str, problem: str) -> None:
    """The body stays as it was sent."""
    decoded = decode(b"plain", encoding)
    assert decoded.content == b"plain"
    assert decoded.problem.startswith(problem)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate", "x"]), st.booleans())
def test_no_bytes_raise(body: bytes, encoding: str, is_cut: bool) -> None:
    """Nor does any cut or stack."""
    decode(body, encoding, is_cut=is_cut)


@given(st.sampled_from(sorted(CODED)), st.integers(0, 10_000), st.integers(0, 255))
def test_no_damage_raises(encoding: str, at: int, byte: int) -> None:
    """One byte changed in a good body is decoded or refused."""
    coded = bytearray(CODED[encoding])
    coded[at % len(coded)] = byte
    decode(bytes(coded), encoding)


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("žluť".encode(), "", "žluť"),
        (b"\xef\xbb\xbf{}", "utf-8", "{}"),
        ("žluť".encode("iso8859-2"), "ISO-8859-2", "žluť"),
        (b"\xff", "", None),
        (b"a", "no-such-charset", None),
        (b"a", "hex", None),
        (b"a", "a\x00b", None),
    ],
)
def test_charsets(content: bytes, charset: str, text: str | None) -> None:
    """A charset that is unknown, not kept, or no charset at all is None and never raises."""
    assert text_of(content, charset) == text
