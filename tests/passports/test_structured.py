"""Dictionaries of structured fields: what RFC 9651 allows is read as it stands, the rest is refused."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import PassportRefused
from shadowproxy.passports.structured import SIZE_LIMIT, read_dictionary


def refusal(*lines: bytes) -> str:
    """Why lines are refused."""
    with pytest.raises(PassportRefused) as caught:
        read_dictionary(lines)
    return caught.value.reason


def test_members_stand_as_they_came() -> None:
    """Label, value and parameters, without anything being decoded; lines of one field are one dictionary."""
    members = read_dictionary([b'sig1=( "a";sf  "b");created=1; tag="x", b;p;q=?0', b"c=:AA==:"])
    assert list(members) == ["sig1", "b", "c"]
    assert members["sig1"].text == 'sig1=( "a";sf  "b");created=1; tag="x"'
    assert members["sig1"].value == '( "a";sf  "b")'
    assert members["sig1"].signed == '( "a";sf  "b");created=1; tag="x"'
    assert members["sig1"].parameters == (("created", "1"), ("tag", '"x"'))
    assert (members["b"].value, members["b"].parameters) == ("", (("p", "?1"), ("q", "?0")))
    assert members["c"].signed == ":AA==:"


@pytest.mark.parametrize("lines", [[], [b""], [b" \t"]])
def test_nothing_is_no_members(lines: list[bytes]) -> None:
    """A field that is not there, and one that is empty."""
    assert read_dictionary(lines) == {}


@pytest.mark.parametrize(
    "value",
    [
        b'"a \\"quoted\\" \\\\ string"', b'""', b":AA==:", b"::", b"1", b"-1", b"999999999999999", b"1.5", b"-0.125", b"?0", b"?1", b"@1700000000", b"@-1", b"token", b"*", b"a/b:c",
        b"sha-256", b'%"caf%c3%a9"', b'%""', b"()", b"(  )", b"(1 2)", b'("a";p=1 tok)', b"(:AA==:)", b"(?1)", b"( 1)", b"(1 )",
    ],
)  # fmt: skip
def test_every_kind_of_value_is_read(value: bytes) -> None:
    """Others' signatures may use all of RFC 9651; each stands whole, alone and with parameters behind."""
    for behind in (b"", b";p", b";p=1;q=tok", b"; p"):
        assert read_dictionary([b"a=" + value + behind, b"b"])["a"].value == value.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"=", b"a=", b"a=,b", b"A", b"1", b"a b", b"a,", b",a", b"a,,b", b"a=(1", b"a=1)", b"a=(1)(2)", b'a="', b'a="\\x"', b"a=:A", b"a=:A-_:", b"a=?2", b"a=1.", b"a=.5", b"a=1.2345", b"a=1e3",
        b"a=1234567890123456", b"a=--1", b"a=@x", b"a;", b"a;=1", b"a;P", b"a; ;b", b"a ;b", b"a=1 ;b", b"a = 1", b"a= 1", b"a=1;b= 1", b"a=((1))", b"a=(1,2)", b'a=("b""c")', b"a=(1\t2)", b'a="\xff"',
        b'a="\t"', b"a=\n", b"a\n", b"\na", b"a,\nb", b"\0", b'a=%"%C3"', b'a=%"%"', b"a\x0b", b"a,\x0cb", b"a\xa0", b"a,\xa0b",
    ],
)  # fmt: skip
def test_everything_else_is_malformed(value: bytes) -> None:
    """A field is read whole, or not at all."""
    assert refusal(value) == "malformed"
    assert refusal(b"first=1", value) == "malformed"


def test_what_comes_twice_is_refused() -> None:
    """RFC 9651 would have the last one count, and other readers take the first."""
    assert refusal(b"a=1, a=2") == refusal(b"a=1", b"a=2") == refusal(b"a, b, a") == "duplicate_label"
    assert refusal(b"a=1;p;p") == refusal(b"a=1;p=1;q;p=2") == "duplicate_parameter"


def test_fields_are_bounded() -> None:
    """Over the limit nothing is read, also when it comes in many lines."""
    assert read_dictionary([b"a=:" + b"A" * (SIZE_LIMIT - 4) + b":"])
    assert refusal(b"a=:" + b"A" * (SIZE_LIMIT - 3) + b":") == "too_large"
    assert refusal(*[b"a"] * SIZE_LIMIT) == "too_large"


@pytest.mark.parametrize("start", [b'a="', b"a=(", b"a=:", b"a", b"a;", b"a=1", b'a=%"', b"a=tok"])
@pytest.mark.parametrize("piece", [b"\\\\", b" ", b"1", b"a", b";a", b'"a"', b'"a" ', b"1 ", b"A=", b"%c3", b";a=1", b"(", b", a"])
def test_hostile_fields_are_read_in_no_time(start: bytes, piece: bytes) -> None:
    """Nothing is given back once it was taken: eight thousand bytes of almost anything are one pass. (The suite's time limit shows it.)"""
    for end in (b"", b"!", b"\xff", b'"'):
        text = (start + piece * SIZE_LIMIT)[: SIZE_LIMIT - 1] + end
        try:
            read_dictionary([text])
        except PassportRefused:
            continue


keys = st.from_regex(r"[a-z*][a-z0-9_.*-]{0,5}", fullmatch=True)
bare = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8),
    st.binary(max_size=8),
    st.booleans(),
    st.from_regex(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,6}", fullmatch=True).map(http_sf.Token),
)
parameters = st.dictionaries(keys, bare, max_size=3)
items = st.tuples(bare, parameters)
members = st.one_of(items, st.tuples(st.lists(items, max_size=3), parameters))


@given(st.dictionaries(keys, members, min_size=1, max_size=4))
def test_what_another_library_writes_is_read(dictionary: dict[str, Any]) -> None:
    """Labels in order, and joined again it is the same field."""
    written = http_sf.ser(dictionary)
    read = read_dictionary([written.encode()])
    assert list(read) == list(dictionary)
    assert ", ".join(member.text for member in read.values()) == written


@given(
    st.lists(
        st.sampled_from([b"a", b"b", b"=", b"(", b")", b'"', b";", b",", b" ", b":", b"A", b"1", b"?", b"-", b".", b"%", b"\\"]),
        max_size=10,
    ).map(b"".join)
)
def test_what_is_read_another_library_reads_too(field: bytes) -> None:
    """We are the stricter one: nothing is taken for a dictionary that is none."""
    try:
        read = read_dictionary([field])
    except PassportRefused:
        return
    if read:
        theirs: Any = http_sf.parse(field, tltype="dictionary")
        assert list(theirs) == list(read)
