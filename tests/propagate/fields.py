"""Fields as they come in, drawn in the spellings that gateways make of them."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT: Final = f"00-{TRACE}-b7ad6b7169203331-01"

TAGS: Final = ("X-Test-Traffic", "x-test-traffic", "X_TEST_TRAFFIC", "x.test.traffic", "x-Test_traffic")
WORDS: Final = ("true", "1", "yes", "canary-7", "0", "false", "FALSE", "", "a b", "ünïcode", "x" * 70, "true, canary-7", "0,0", "\t1 ")


def members() -> st.SearchStrategy[str]:
    """Baggage members: ours, other people's, and what is none."""
    ours = st.sampled_from(
        ["synthetic_request=true", "synthetic_request = 1 ;p", "synthetic_request=false", "test_tenant=canary-7", "test_tenant=%41;p=2"]
    )
    foreign = st.from_regex(r"[a-z]{1,3}=[!#-+.-:<-\[\]-~]{0,6}(;p=1)?", fullmatch=True)
    return ours | foreign | st.sampled_from(["", "novalue", "=x", "a=\x00", "é=1", "sp ace=1"])


def incoming() -> st.SearchStrategy[dict[str, str]]:
    """Header fields of a request, some of which mean something."""
    tag = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(WORDS), max_size=2)
    baggage = st.dictionaries(st.sampled_from(["baggage", "Baggage"]), st.lists(members(), max_size=5).map(",".join), max_size=2)
    parent = st.sampled_from(["", PARENT, PARENT.upper(), f"01{PARENT[2:]}-more", f"ff{PARENT[2:]}", "00-0-0-0"])
    rest = st.fixed_dictionaries(
        {}, optional={"traceparent": parent, "Tracestate": st.sampled_from(["v=1", "a=b,c=d", "\n"]), "X_Shadow.Mirror": st.just("m;by=1")}
    )
    return st.builds(lambda *parts: {name: value for part in parts for name, value in part.items()}, tag, baggage, rest)
