"""From header fields to what is carried, and back: laws, limits and bad input."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.propagate.carried import BAGGAGE_BYTES_LIMIT, MEMBERS_LIMIT, NOTHING, Carried, extract, tenant_of
from tests.propagate.fields import PARENT, TRACE, incoming


@given(incoming())
def test_what_is_written_reads_the_same(fields: dict[str, str]) -> None:
    """One hop changes the span and nothing else, so that no number of hops loses anything."""
    carried = extract(fields)
    again = extract(carried.fields())
    assert (again.tenant, again.baggage, again.mark) == (carried.tenant, carried.baggage, carried.mark)
    assert again.trace_id == carried.trace_id
    assert again.tracestate == carried.tracestate
    assert again.traceparent != carried.traceparent or not carried.traceparent


@given(incoming())
def test_no_spelling_of_the_tag_hides_it(fields: dict[str, str]) -> None:
    """A field that says anything but no, under any alias, tags; so does baggage; nothing else does."""
    said = [value for name, value in fields.items() if name.lower().replace("_", "-").replace(".", "-") == "x-test-traffic"]
    words = [value.strip(" \t").lower() for value in said]
    baggage = ",".join(value for name, value in fields.items() if name.lower() == "baggage")
    is_tagged = bool(set(words) - {"", "0", "false"}) or re.search(r"synthetic_request ?= ?(true|1)", baggage) is not None
    assert extract(fields).is_tagged is is_tagged


@given(st.text())
def test_a_tenant_is_a_short_plain_name(value: str) -> None:
    """Whatever a tag says, the tenant stands in headers, SQL and file names as it is; a tenant's name names itself."""
    tenant = tenant_of(value)
    assert re.fullmatch(r"[A-Za-z0-9._-]{0,64}", tenant)
    assert tenant_of(tenant) == tenant
    assert Carried(tenant=tenant).tenant == tenant


@pytest.mark.parametrize(
    ("value", "tenant"),
    [("true", "default"), (" YES\t", "default"), ("1", "default"), ("test", "default"), ("canary-7", "canary-7"), ("a b/c", "a_b_c"), ("x" * 65, "x" * 64), ("...", "___"), (".a", ".a"), ("é", "_"), ("0", ""), ("False", ""), ("", "")],
)  # fmt: skip
def test_tenants_by_example(value: str, tenant: str) -> None:
    """Yes is `default`, no is nobody, and what no name has becomes `_`."""
    assert tenant_of(value) == tenant


@pytest.mark.parametrize(
    ("fields", "tenant"),
    [
        ([("X-Test-Traffic", "true"), ("x_test_traffic", "canary-7")], "canary-7"),
        ([("X-Test-Traffic", "0"), ("X-Test-Traffic", "yes")], "default"),
        ([("X-Test-Traffic", "true"), ("baggage", "synthetic_request=1"), ("baggage", "test_tenant=canary%2D7")], "canary-7"),
        ([("X-Test-Traffic", "true"), ("baggage", "test_tenant=somebody-elses")], "default"),
        ([("X-Test-Traffic", "a"), ("baggage", "synthetic_request=true,test_tenant=b")], "a"),
        ([("baggage", "x=1"), ("Baggage", "synthetic_request=true;level=2")], "default"),
        ([("baggage", "synthetic_request=true,test_tenant=false")], "default"),
        ([("baggage", "test_tenant=b")], ""),
        ([("baggage", "synthetic_request=1,test_tenant=b,test_tenant=c")], "b"),
        ([("baggage", "%73ynthetic_request=1,+test_tenant+=b")], "b"),
        ([("baggage", '"synthetic_request"="1"')], "default"),
        ([("X-Test-Traffic", "0,false")], "default"),
        ([("X-Test-Traffic", "..")], "__"),
        ([("baggage", "synthetic_request")], "default"),
        ([("baggage", "Synthetic_Request;p=1")], "default"),
        ([("baggage", "synthetic_request=true\0")], "default"),
        ([("baggage", "synthetic_request=canary-7")], "default"),
        ([("baggage", "synthetic_request=%30")], ""),
        ([("baggage", "synthetic_requests=1,x=synthetic_request=1")], ""),
        ([("X-Test-Traffic", "0"), ("baggage", "synthetic_request=0")], ""),
        ([(b"x-test-traffic", b"caf\xe9")], "caf_"),
    ],
)
def test_which_tenant_when_several_are_said(fields: list[tuple[str | bytes, str | bytes]], tenant: str) -> None:
    """A name counts more than a yes, a header more than baggage; a tenant alone tags nothing."""
    assert extract(fields).tenant == tenant


def test_baggage_of_other_people_is_carried_as_it_came() -> None:
    """Percent-encoding, properties, order and repetition are kept over several fields; what is malformed is not."""
    found = extract([("baggage", "a=%20x;p=1;q , b = 2"), ("X", "y"), ("baggage", "a=again,bad,=,é=1,c=\x01,d=")])
    assert found.baggage == ("a=%20x;p=1;q", "b = 2", "a=again", "d=")
    assert found.fields() == {"baggage": "a=%20x;p=1;q,b = 2,a=again,d="}


@given(
    st.lists(st.from_regex(r"[a-z]{1,4}=([a-z]{0,400}|[a-z]{0,3})", fullmatch=True), max_size=200),
    st.sampled_from(["", "default", "canary-7"]),
)
def test_baggage_stays_within_the_limits_of_w3c(members: list[str], tenant: str) -> None:
    """At most 180 members and 8192 bytes, whole members only, ours always among them; what fits is all there."""
    carried = Carried(tenant=tenant, baggage=tuple(members))
    written = carried.fields().get("baggage", "")
    kept = written.split(",") if written else []
    ours = [member for member in kept if member.partition("=")[0] in {"synthetic_request", "test_tenant"}]
    assert len(written) <= BAGGAGE_BYTES_LIMIT
    assert len(kept) <= MEMBERS_LIMIT
    assert len(ours) == {"": 0, "default": 1}.get(tenant, 2)
    everything = ",".join([*ours, *members])
    if len(everything) <= BAGGAGE_BYTES_LIMIT and len(ours) + len(members) <= MEMBERS_LIMIT:
        assert written == everything


def test_a_tag_behind_more_baggage_than_is_passed_on_counts() -> None:
    """The limits are for writing: nobody hides the tag by putting it last."""
    carried = extract({"baggage": ",".join([f"k{number}=1" for number in range(5000)] + ["synthetic_request=true"])})
    assert carried.is_tagged
    assert carried.fields()["baggage"].startswith("synthetic_request=true,k0=1,")


@pytest.mark.parametrize(
    "parents",
    [
        [""], ["00"], [PARENT.upper()], [f"ff{PARENT[2:]}"], [f"{PARENT}-more"], [f"00-{'0' * 32}-b7ad6b7169203331-01"],
        [f"00-{TRACE}-{'0' * 16}-01"], [PARENT, PARENT], [f"01{PARENT[2:]}\n"], [f"00-{TRACE}-b7ad6b7169203331-0g"],
    ],
)  # fmt: skip
def test_an_unreadable_traceparent_is_not_carried(parents: list[str]) -> None:
    """Nor is a tracestate that belongs to it (W3C Trace Context sections 3.2 and 3.3). Untagged traffic goes without; tagged begins a trace."""
    fields = [*(("traceparent", parent) for parent in parents), ("tracestate", "v=1")]
    assert not extract(fields)
    begun = extract([*fields, ("X-Test-Traffic", "1")])
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", begun.traceparent)
    assert begun.trace_id != TRACE
    assert begun.tracestate == ""


@pytest.mark.parametrize(
    ("parent", "flags"),
    [
        (PARENT, "01"),
        (f"00-{TRACE}-b7ad6b7169203331-00", "00"),
        (f"00-{TRACE}-b7ad6b7169203331-ff", "03"),
        (f"cc-{TRACE}-b7ad6b7169203331-01-what.else", "01"),
    ],
)
def test_calls_are_spans_of_the_same_trace(parent: str, flags: str) -> None:
    """Each call has a span of its own under version 00, with the flags that are known."""
    carried = extract({"traceparent": parent})
    calls = {carried.fields()["traceparent"] for _ in range(20)}
    assert len(calls) == 20
    assert all(re.fullmatch(rf"00-{TRACE}-(?!0{{16}}|b7ad6b7169203331)[0-9a-f]{{16}}-{flags}", call) for call in calls)


def test_the_mark_of_a_mirror_goes_on() -> None:
    """Calls of a shadow are known where they leave. The mark alone does not make test traffic."""
    carried = extract([("X-Shadow-Mirror", "shadow;by=1"), ("x_shadow_mirror", "other;by=2")])
    assert not carried.is_tagged
    assert carried.fields() == {"X-Shadow-Mirror": "shadow;by=1, other;by=2"}


@given(
    st.dictionaries(st.sampled_from(["X-Test-Traffic", "baggage", "traceparent", "tracestate", "X-Shadow-Mirror"]), st.text() | st.binary())
)
def test_no_input_raises_or_splits_a_field(fields: dict[str, str | bytes]) -> None:
    """Messages of a queue may hold anything: what is written has no line ends, no controls and nothing beyond ASCII."""
    for value in extract(fields).fields().values():
        assert re.fullmatch(r"[\t\x20-\x7e]+", value)


def test_absent_values_are_absent() -> None:
    """A queue's client may give None for a header without a value."""
    assert extract({"X-Test-Traffic": None, "baggage": None}) is NOTHING
    assert extract({}) is NOTHING
    assert extract({"Accept": "*/*"}) is NOTHING


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": "a b"},
        {"tenant": "true"},
        {"tenant": "x" * 65},
        {"traceparent": "00-1"},
        {"baggage": ("a=\r\n",)},
        {"mark": "é"},
        {"tracestate": "\0"},
    ],
)
def test_a_value_that_no_field_can_hold_is_refused(fields: dict[str, str]) -> None:
    """Who builds a value by hand cannot inject a header field with it."""
    with pytest.raises(ValueError, match=r"tenant|traceparent|header field"):
        Carried(**fields)  # type: ignore[arg-type]  # tuples among strings, on purpose


@pytest.mark.parametrize(
    "value",
    [
        "," * 1_000_000,
        "a=" + " " * 1_000_000 + "\0",
        "a" * 1_000_000,
        "a" + " " * 1_000_000,
        "a" + " " * 1_000_000 + "b=1",
        "%20" * 300_000 + "b",
    ],
)
def test_long_fields_are_read_in_linear_time(value: str) -> None:
    """A megabyte of commas or blanks is read like any other text; the limit on a test's time would end what backtracks."""
    assert not extract({"baggage": value, "tracestate": value, "X-Shadow-Mirror": "\0" + value})


def test_long_tags_name_a_tenant() -> None:
    """However long the value is, the name is cut."""
    assert extract({"X-Test-Traffic": " " * 1_000_000 + "x" * 1_000_000}).tenant == "x" * 64
