"""What field lines say, one by one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.fields import COLLECT, CONNECTION, HOST, TRACEPARENT
from shadowproxy.dataplane.request_lines import INERT, Meaning, RequestHead, apply, understand
from shadowproxy.errors import BadRequest
from shadowproxy.policy.tags import Tags

W3C = re.compile(rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""Trace Context section 3.2, as one pattern."""

HEX = st.text("0123456789abcdef", min_size=2, max_size=2) | st.sampled_from(["ff", "00", "0", "zz", "AB"])


@given(
    HEX,
    st.sampled_from(["0" * 32, "0" * 31 + "1", "1" * 32, "a" * 31, "A" * 32, "-" * 32]),
    st.sampled_from(["0" * 16, "0" * 15 + "1", "f" * 16, "f" * 17]),
    HEX,
    st.sampled_from(["", "-", "-x", "x"]),
)
def test_a_trace_is_read_as_its_standard_says(version: str, trace: str, parent: str, flags: str, rest: str) -> None:
    """The short way and the long one are one: a parent that is there, and `-` for one that cannot be read."""
    value = f"{version}-{trace}-{parent}-{flags}{rest}".encode()
    head = RequestHead([b"Host: a", b"traceparent: " + value], is_http10=False)
    apply(head, b"GET", [(0, Meaning(HOST, b"host", b"a")), (1, Meaning(TRACEPARENT, b"traceparent", value))], Tags())
    assert head.traceparent == (value if W3C.fullmatch(value) else b"-")
    assert head.lines == [b"Host: a"]


def test_a_line_is_understood_without_the_space_around_its_value() -> None:
    """Its action and name are those of its spelling."""
    meaning = understand(Meaning(CONNECTION | COLLECT, b"connection", b""), b" \t close\t ")
    assert (meaning.action, meaning.name, meaning.value) == (CONNECTION | COLLECT, b"connection", b"close")
    assert repr(meaning) == f"Meaning({CONNECTION | COLLECT}, connection)"
    assert INERT.action == 0


@pytest.mark.parametrize("value", [b" a b", b" a/b", b" [::1", b" a:123456", b" \xe9"])
def test_a_host_that_is_none_is_refused(value: bytes) -> None:
    """Before any route could be chosen by it."""
    with pytest.raises(BadRequest) as refused:
        understand(Meaning(HOST, b"host", b""), value)
    assert refused.value.code == "malformed_host"


def test_nominated_lines_go_and_protected_ones_stay() -> None:
    """RFC 9110 section 7.6.1: what Connection names is of that connection, unless an attacker would like it to be."""
    head = RequestHead([b"Host: a", b"X-Hop: 1", b"Cookie: c", b"Connection: x-hop, cookie"], is_http10=False)
    apply(head, b"GET", [(0, Meaning(HOST, b"host", b"a")), (3, Meaning(CONNECTION, b"connection", b"x-hop, cookie"))], Tags())
    assert head.lines == [b"Host: a", b"Cookie: c"]
