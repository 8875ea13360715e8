"""The journal's text: whatever is done to it is seen at that entry, and what was written comes back bit for bit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments import journal as module
from shadowproxy.experiments.journal import FIRST, BrokenJournal, Chain, alone, canonical, first_broken, read

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


def a_header(chain: Chain, number: int = 2) -> bytes:
    """Of a segment that goes on behind this chain."""
    return chain.write_header(1.0, number, {"epoch": 1}, {"a-1": [[1, 0]]})


def test_a_header_stands_for_what_is_not_here() -> None:
    """Read behind the entries before it, or as the very first: what follows is the same, with each run's own numbers."""
    chain = Chain()
    before = [chain.write(1.0, run, "tick", "{}") for run in ("b-1", "a-1", "")]
    after = [a_header(chain), *(chain.write(1.0, run, "tick", "{}") for run in ("", "a-1", "c-1"))]
    found = list(read([*before, *after]))
    assert list(read(after)) == found[3:]
    assert [(one.run, one.nth) for one in found[3:]] == [("", 2), ("", 3), ("a-1", 2), ("c-1", 1)]
    assert [row[0] for row in found[3].body["runs"]] == ["b-1", "a-1", ""]
    whole, part = Chain(), Chain()
    list(read([*before, *after], whole))
    list(read(after, part))
    assert whole == part == chain


def test_a_header_carries_the_runs_written_to_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded; a run that is not carried begins anew, for readers as for the writer."""
    monkeypatch.setattr(module, "RUNS_CARRIED", 2)
    chain = Chain()
    lines = [chain.write(1.0, run, "tick", "{}") for run in ("a-1", "b-1", "c-1", "a-1")]
    lines += [a_header(chain), *(chain.write(1.0, run, "tick", "{}") for run in ("a-1", "b-1"))]
    found = list(read(lines))
    assert list(read(lines[4:])) == found[4:]
    assert [(one.run, one.nth) for one in found[4:]] == [("", 1), ("a-1", 3), ("b-1", 1)]


@pytest.mark.parametrize(
    "runs", ["[]", '[["a-1",1,"00",[]]]', '[["a-1",2,"HEAD",[]]]', '[["z-1",1,"00",[]]]', '[["a-1"]]', "1", '[[[],1,"",[]]]']
)
def test_a_header_that_says_something_else_is_seen(runs: str) -> None:
    """Than the entries before it, where these are here; where they are not, that it is no header."""
    chain = Chain()
    first = chain.write(1.0, "a-1", "tick", "{}")
    body = f'{{"runs":{runs.replace("HEAD", chain.head)},"segment":2,"standing":{{}}}}'
    line = chain.write(1.0, "", "segment", body)
    broken = first_broken([first, line])
    assert (broken is None) == (runs == "[]")
    if broken is not None:
        assert (broken.line, broken.seq) == (2, 1)


def test_a_header_is_verified_as_any_entry() -> None:
    """Changed, or behind a gap in the middle of a file."""
    chain = Chain()
    lines = [chain.write(1.0, "a-1", "tick", "{}") for _ in range(2)] + [a_header(chain)]
    assert first_broken([lines[0], lines[2]]) is not None
    assert first_broken([lines[2].replace(b'"epoch":1', b'"epoch":2')]) is not None
    assert first_broken([lines[2], lines[2]]) is not None


def test_an_entry_by_itself() -> None:
    """Its content is verified, not its place."""
    _, line = written([(1.0, "a-1", "tick", {}), (1.0, "a-1", "ended", {"n": 1})])
    assert alone(line).body == {"n": 1}
    with pytest.raises(ValueError, match="changed"):
        alone(line.replace(b'"n":1', b'"n":2'))
