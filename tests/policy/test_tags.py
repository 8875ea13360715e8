"""Whose test a request is."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.policy.tags import (
    BAGGAGE_LIMIT,
    DEFAULT,
    DIALECTS,
    DOUBTFUL_MEMBERS,
    MEMBERS_LIMIT,
    Tags,
    baggage_line,
    members,
    plain,
    tag_line,
    tenant_of,
)
from tests.data.tag_cases import CASES, MALFORMED

TENANT = frozenset((string.ascii_letters + string.digits + "._-").encode())


def judged(*lines: bytes, dialects: tuple[str, ...] = ()) -> tuple[bytes | None, list[bytes]]:
    """What a request with these lines is taken for."""
    tags = Tags(dialects)
    fields = [
        (name.lower(), value.strip(b" \t")) for line in lines for name, _, value in [line.partition(b":")] if plain(name) in tags.names
    ]
    return tags.judge(fields)


@pytest.mark.parametrize("dialects", [(), tuple(DIALECTS)])
def test_the_corpus(dialects: tuple[str, ...]) -> None:
    """Every case whose form is not what is wrong with it."""
    for case in (case for case in CASES if case not in MALFORMED):
        verdict, tenant = case.expected(has_dialects=bool(dialects))
        found, tagged_by = judged(*(line.encode("latin-1") for line in case.lines), dialects=dialects)
        assert found == {"tagged": tenant.encode(), "untagged": b"", "refused": None}[verdict], case
        assert bool(tagged_by) is (verdict != "untagged"), case


def test_all_that_tags_is_named() -> None:
    """Names are told as they were sent, once a line; baggage once, however many lines it has; what says no is not named."""
    assert judged(b"X_Test_Traffic: a", b"X-Test-Traffic: true", b"x.test.traffic: 0", b"baggage: synthetic_request=1", b"Baggage: a=1") == (
        b"a", [b"x_test_traffic", b"x-test-traffic", b"baggage"],
    )  # fmt: skip


@given(st.binary())
def test_a_tenant_is_a_name(value: bytes) -> None:
    """1 to 64 of letters, digits, dot, dash and underscore, and no step up; reading the name again gives the same."""
    tenant = tenant_of(value)
    if tenant is None:
        assert value.strip(b" \t").lower() in {b"", b"0", b"false"}
    else:
        assert 1 <= len(tenant) <= 64
        assert set(tenant) <= TENANT
        assert tenant.strip(b".")
        assert tenant_of(tenant) == tenant


@given(st.binary(max_size=80), st.lists(st.binary(max_size=300), max_size=5), st.sampled_from([(), tuple(DIALECTS)]))
def test_our_own_spelling_is_read_as_what_it_says(value: bytes, others: list[bytes], dialects: tuple[str, ...]) -> None:
    """Both lines, and each alone, give the tenant that they were written for, whatever baggage the client had: header and baggage cannot disagree."""
    tenant = tenant_of(value) or DEFAULT
    lines = tag_line(tenant), baggage_line(tenant, others)
    assert judged(*lines)[0] == judged(lines[0])[0] == judged(lines[1])[0] == tenant
    if tenant != DEFAULT:
        assert judged(*lines, dialects=dialects)[0] == tenant


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [b"a=1", b"b = 2;p", b"", b" ", b"no", b"sp ace=1", b"synthetic_request=0", b"%74est_tenant=x", b"k=" + b"v" * 2000]
            ),
            max_size=300,
        ).map(b",".join),
        max_size=4,
    )
)
def test_baggage_keeps_within_its_limits(values: list[bytes]) -> None:
    """Ours first, at most 8192 bytes and 180 members, the client's own in order and as they were, none of them malformed or about us."""
    name, _, value = baggage_line(b"canary-7", values).partition(b": ")
    assert name == b"baggage"
    assert len(value) <= BAGGAGE_LIMIT
    kept = value.split(b",")
    assert len(kept) <= MEMBERS_LIMIT
    assert kept[:2] == [b"synthetic_request=true", b"test_tenant=canary-7"]
    sent = [member.strip(b" \t") for whole in values for member in whole.split(b",")]
    good = [member for member in sent if member in {b"a=1", b"b = 2;p"} or member.startswith(b"k=")]
    assert kept[2:] == good[: len(kept) - 2]


def test_members_are_read_as_the_most_generous_reader_does() -> None:
    """Keys decoded, without what is beside them, in lower case; values decoded, without properties; no value says yes."""
    assert list(members(b' "A" = 1;p, %62%3D =%32 3,c;x=1,,d==e')) == [
        (b"a", b"1"), (b"b", b"2 3"), (b"c", b"true"), (b"", b"true"), (b"d", b"=e"),
    ]  # fmt: skip


def test_strangers_baggage_costs_one_look() -> None:
    """Baggage without our keys is not taken apart; with one of them and over a thousand members it is in doubt, and a tag."""
    many = b",".join(b"k=v" for _ in range(DOUBTFUL_MEMBERS))
    assert judged(b"baggage: " + many) == (b"", [])
    assert judged(b"baggage: " + many + b",synthetic_request=0") == (DEFAULT, [b"baggage"])


def test_repr_names_the_fields() -> None:
    """What can tag a request."""
    assert repr(Tags()) == "Tags(baggage, signature-input, x-test-traffic)"
    assert repr(Tags(["datadog", "signadot"])) == (
        "Tags(baggage, ot-baggage-sd-routing-key, sec-datadog, signature-input, tracestate, uberctx-sd-routing-key, x-test-traffic)"
    )
