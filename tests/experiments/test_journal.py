"""The journal's text: whatever is done to it is seen at that entry, and what was written comes back bit for bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments.journal import FIRST, BrokenJournal, Chain, canonical, first_broken, read

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(), PLAIN, max_size=4)
ENTRIES = st.lists(
    st.tuples(st.floats(0, 1e10), st.sampled_from(["", "a-1", "é\n-2"]), st.sampled_from(["tick", "ended"]), BODIES), min_size=1, max_size=8
)


def written(entries: list[tuple[float, str, str, dict[str, Any]]]) -> list[bytes]:
    """Lines of these entries."""
    chain = Chain()
    return [chain.write(time, run, kind, canonical(body)) for time, run, kind, body in entries]


@given(ENTRIES)
def test_what_is_written_is_read(entries: list[tuple[float, str, str, dict[str, Any]]]) -> None:
    """Every bit of every number, every character, and the order."""
    found = list(read(written(entries)))
    assert [(one.time, one.run, one.kind, one.body) for one in found] == entries
    assert [canonical(one.body) for one in found] == [canonical(body) for *_, body in entries]
    assert [one.seq for one in found] == list(range(1, len(entries) + 1))
    assert found[0].prev == FIRST


@given(ENTRIES, st.data())
def test_a_changed_byte_is_seen_at_its_entry(entries: list[tuple[float, str, str, dict[str, Any]]], data: st.DataObject) -> None:
    """Any byte, replaced by any other, removed or doubled; the first broken line is the one that was changed."""
    lines = written(entries)
    at = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[at]) - 1))
    old = lines[at][place : place + 1]
    new = data.draw(st.binary(max_size=2).filter(lambda some: some != old and b"\n" not in some))
    lines[at] = lines[at][:place] + new + lines[at][place + 1 :]
    broken = first_broken(lines)
    assert broken is not None
    assert broken.line == at + 1
    assert broken.seq == at


@given(ENTRIES.filter(lambda entries: len(entries) > 2), st.data())
def test_what_is_removed_added_or_moved_is_seen(entries: list[tuple[float, str, str, dict[str, Any]]], data: st.DataObject) -> None:
    """All but what is missing at the end, which no chain can show."""
    lines = written(entries)
    at = data.draw(st.integers(0, len(lines) - 2))
    removed = lines[:at] + lines[at + 1 :]
    doubled = [*lines[: at + 1], *lines[at:]]
    swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    for forged, line in ((removed, at + 1), (doubled, at + 2), (swapped, at + 1)):
        broken = first_broken(forged)
        assert broken is not None
        assert broken.line == line
    assert first_broken(lines) is None
    assert first_broken(lines[:-1]) is None


def test_a_spelling_of_the_same_is_another_text() -> None:
    """Spaces, another order of keys, another spelling of a number: not what was written."""
    (line,) = written([(1.5, "a-1", "tick", {"b": 1.0, "a": "é"})])
    value = json.loads(line)
    for other in (json.dumps(value), canonical(value).replace("1.0", "1.00"), canonical(value).replace("\\u00e9", "é")):
        assert first_broken([other.encode()]) is not None
    assert canonical(value).encode() == line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is no entry"),
        (b"{}", "is no entry"),
        (b'{"body":1,"hash":"","kind":"","nth":1,"prev":"","run":"","seq":1,"time":1}', "is no entry"),
        (b'{"body":{},"hash":"","kind":"","nth":1,"prev":"","run":[],"seq":1,"time":1}', "does not follow"),
    ],
)
def test_what_is_no_entry_is_named(line: bytes, reason: str) -> None:
    """With the line and the last good entry before it."""
    lines = [*written([(1.0, "", "opened", {})]), line]
    with pytest.raises(BrokenJournal, match=rf"line 2, after entry 1: .*{reason}"):
        list(read(lines))


def test_what_is_no_json_is_not_written() -> None:
    """A NaN would come back as something else, or not at all."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            canonical({"a": value})


def test_a_run_counts_its_own() -> None:
    """So that an extract of one run shows a gap."""
    found = list(read(written([(1.0, "a-1", "tick", {}), (1.0, "b-1", "tick", {}), (1.0, "a-1", "tick", {})])))
    assert [(one.run, one.nth) for one in found] == [("a-1", 1), ("b-1", 1), ("a-1", 2)]


def test_a_copy_of_a_chain_goes_its_own_way() -> None:
    """What was tried and not written moves nothing."""
    chain = Chain()
    first = chain.copy().write(1.0, "a-1", "tick", "{}")
    assert chain.write(1.0, "a-1", "tick", "{}") == first
