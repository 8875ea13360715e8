"""The traces that are known to be tests, in memory that several processes write."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.messages import TRACES_BYTES
from shadowproxy.dataplane.traces import SLOT, SLOTS, Traces

TENANTS = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789._-", min_size=1, max_size=64).map(str.encode)
TRACES = st.integers(1, 2**128 - 1).map(lambda number: b"%032x" % number)


def table() -> Traces:
    """An empty one."""
    return Traces(memoryview(bytearray(TRACES_BYTES)))


@given(st.lists(st.tuples(TRACES, TENANTS), max_size=30))
def test_what_is_found_was_added(added: list[tuple[bytes, bytes]]) -> None:
    """The tenant that a trace was added with last, or nothing; nothing for a trace that was never added."""
    traces = table()
    last: dict[bytes, bytes] = {}
    for trace, tenant in added:
        traces.add(trace, tenant)
        last[trace] = tenant
        assert traces.find(trace) == tenant
    for trace, tenant in last.items():
        assert traces.find(trace) in {tenant, None}
    assert traces.find(b"f" * 32) == last.get(b"f" * 32)


def test_a_trace_has_one_tenant() -> None:
    """Also where its neighbours come and go: an old name does not come back."""
    traces = table()
    noise = random.Random(1)
    for _ in range(20):
        traces.add(b"a" * 32, b"old")
        traces.add(b"a" * 32, b"new")
        for _ in range(SLOTS):
            traces.add(b"%032x" % noise.getrandbits(128), b"other")
            assert traces.find(b"a" * 32) in {b"new", None}
        if traces.find(b"a" * 32) is None:
            break


def test_it_forgets_the_old_ones() -> None:
    """The memory is bounded: most of the last few thousand are known, and of those long before nearly none."""
    traces = table()
    names = [b"%032x" % number for number in range(1, 8 * SLOTS)]
    for name in names:
        traces.add(name, b"t")
    assert sum(traces.find(name) is not None for name in names[-SLOTS // 8 :]) > SLOTS // 16
    assert sum(traces.find(name) is not None for name in names) <= SLOTS


@given(TRACES, TENANTS, TENANTS, st.integers(0, SLOT), st.integers(0, SLOT))
def test_a_torn_write_is_no_tenant(trace: bytes, old: bytes, new: bytes, start: int, size: int) -> None:
    """Whatever part of a slot another process has written yet: the old tenant, the new one, or nothing."""
    first, second = bytearray(TRACES_BYTES), bytearray(TRACES_BYTES)
    Traces(memoryview(first)).add(trace, old)
    Traces(memoryview(second)).add(trace, new)
    at = next(index for index in range(0, TRACES_BYTES, SLOT) if any(second[index : index + SLOT]))
    torn = bytearray(first)
    torn[at + start : at + min(start + size, SLOT)] = second[at + start : at + min(start + size, SLOT)]
    assert Traces(memoryview(torn)).find(trace) in {old, new, None}


_WRITER = """
import mmap, sys
from shadowproxy.dataplane.messages import TRACES_BYTES
from shadowproxy.dataplane.traces import Traces
me = int(sys.argv[2])
traces = Traces(memoryview(mmap.mmap(int(sys.argv[1]), TRACES_BYTES)))
for turn in range(4000):
    for trace in (turn % 8, 8 + (turn * 7 + me) % 40):
        tenant = traces.find(b"%032x" % (trace * 2**100))
        assert tenant is None or tenant == (b"t%d" % trace) * 12, (trace, tenant)
        traces.add(b"%032x" % (trace * 2**100), (b"t%d" % trace) * 12)
"""


def test_several_processes_write_at_once() -> None:
    """Nobody ever reads a tenant that a trace was not added with."""
    memory = os.memfd_create("traces")
    try:
        os.ftruncate(memory, TRACES_BYTES)
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, str(memory), str(number)], pass_fds=[memory], stderr=subprocess.PIPE)
            for number in range(4)
        ]
        for writer in writers:
            _, complaint = writer.communicate()
            assert writer.returncode == 0, complaint.decode()
        traces = Traces(memoryview(mmap.mmap(memory, TRACES_BYTES)))
        assert traces.find(b"%032x" % (3 * 2**100)) == b"t3" * 12
    finally:
        os.close(memory)
