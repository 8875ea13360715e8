"""What may come behind a body: nothing that says who asked or what the proxy has decided (RFC 9110 section 6.5.1)."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane.framing import ChunkedReader
from shadowproxy.errors import BadRequest


def read(trailer: bytes) -> list[bytes]:
    """The trailers of a body with this one."""
    reader = ChunkedReader(is_request=True)
    reader.feed(b"1\r\na\r\n0\r\n%b\r\n\r\n" % trailer)
    assert reader.is_done
    return reader.trailers


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For", b"x_forwarded_host", b"Forwarded", b"Via", b"X-Real-IP", b"X-Shadow-Mirror", b"x.shadow.mirror", b"X-Fault-Delay",
        b"tracestate", b"baggage",
    ],
)  # fmt: skip
def test_what_is_taken_out_of_heads_is_left_out_of_trailers(name: bytes) -> None:
    """The body passes; the field does not."""
    assert read(name + b": forged") == []


@pytest.mark.parametrize("name", [b"X-Test-Traffic", b"X_Test_Traffic", b"x.test.traffic"])
def test_a_tag_that_comes_too_late_is_refused_in_any_spelling(name: bytes) -> None:
    """It is never dropped: the request would pass as a customer's (P3)."""
    with pytest.raises(BadRequest, match="cannot be a trailer"):
        read(name + b": 1")


def test_other_trailers_pass_as_they_were_sent() -> None:
    """Checksums and gRPC statuses are what trailers are for."""
    assert read(b"Grpc_Status: 0") == [b"Grpc_Status: 0"]
    assert read(b"x-amz-checksum-crc32: abc=") == [b"x-amz-checksum-crc32: abc="]
