"""What the head of an answer says."""

from __future__ import annotations

from shadowproxy.dataplane.head import UNTIL_CLOSE
from shadowproxy.dataplane.response_lines import ResponseHead


def test_an_answer_that_says_nothing_ends_with_its_connection() -> None:
    """RFC 9112 section 6.3, item 8; only what it says makes it another."""
    head = ResponseHead(200)
    assert (head.status, head.length, head.announced, head.is_reusable, head.has_date, head.upgrade) == (
        200,
        UNTIL_CLOSE,
        -1,
        True,
        False,
        b"",
    )
    assert repr(head) == "ResponseHead(200, length=-2, reusable=True)"
