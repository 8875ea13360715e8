"""Traces: carried on, or begun."""

from __future__ import annotations

import re

import pytest

from shadowproxy.dataplane.trace import SPANS, Spans, Trace

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
LINE = re.compile(rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n")


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    found = LINE.fullmatch(line)
    assert found, line
    return found[1], found[2], found[3]


def test_a_client_s_trace_goes_to_live_as_it_came() -> None:
    """Byte for byte: live is the call that the client made."""
    assert Trace(PARENT).live_line() == b"traceparent: " + PARENT + b"\r\n"


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_copy_is_another_call_of_the_same_trace(earlier: int) -> None:
    """Same trace id and flags, a span id of its own."""
    trace = Trace(PARENT)
    trace_id, span, flags = [_parts(trace.copy_line()) for _ in range(earlier + 1)][-1]
    assert trace_id == PARENT[3:35]
    assert span != PARENT[36:52]
    assert flags == b"00"


@pytest.mark.parametrize("parent", [b"", b"-"])
def test_without_a_readable_parent_a_trace_begins(parent: bytes) -> None:
    """Live and each copy are spans of one new trace, which is sampled."""
    trace = Trace(parent)
    lines = [trace.live_line(), trace.copy_line(), trace.copy_line(), trace.copy_line()]
    parts = [_parts(line) for line in lines]
    assert {trace_id for trace_id, _, _ in parts} == {trace.trace_id}
    assert len({span for _, span, _ in parts}) == 4
    assert {flags for _, _, flags in parts} == {b"01"}
    assert trace.live_line() == lines[0]


def test_traces_are_told_apart() -> None:
    """No two exchanges share one, and a repr shows which it is."""
    assert len({Trace(b"").trace_id for _ in range(1000)}) == 1000
    assert repr(Trace(PARENT)) == "Trace(4bf92f3577b34da6a3ce929d0e0e4736)"


def test_a_longer_version_passes_as_it_is() -> None:
    """W3C: a later version may have more behind the flags; a copy speaks version 00."""
    later = b"01" + PARENT[2:] + b"-more"
    trace = Trace(later)
    assert trace.live_line() == b"traceparent: " + later + b"\r\n"
    assert _parts(trace.copy_line())[0] == PARENT[3:35]


def test_spans_are_never_given_twice() -> None:
    """However many are drawn at once."""
    spans = Spans()
    given = [spans.next() for _ in range(5 * SPANS)]
    assert len(set(given)) == len(given)
    assert all(re.fullmatch(rb"[0-9a-f]{16}", span) for span in given)
    assert repr(spans) == "Spans(0 left)"
