"""What a client's Connection field can remove: nothing of ours, in no spelling."""

from __future__ import annotations

import pytest

from tests.dataplane.stage import Stage, pipe


@pytest.mark.parametrize("name", [b"X-Test-Traffic", b"X_Test_Traffic", b"x.test.traffic", b"x-TEST_traffic"])
@pytest.mark.parametrize("other", [b"x-test-traffic", b"X_TEST_TRAFFIC", b"x.test.traffic", b"x-test_traffic"])
def test_the_tag_cannot_be_nominated_away(name: bytes, other: bytes) -> None:
    """A tagged read reaches live tagged, whatever its Connection field says."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    stage.client().data_received(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: %b, %b\r\n%b: 1\r\n\r\n" % (other, name, name))
    assert b"\r\nX-Test-Traffic: true\r\n" in pipe(live).sent


def test_other_fields_can() -> None:
    """RFC 9110 section 7.6.1."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    stage.client().data_received(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: x_hop\r\nX_Hop: 1\r\n\r\n")
    assert b"X_Hop" not in pipe(live).sent
