"""Ways to write, hide, duplicate, forge or split the tag of a test request, each with what it must be taken for.

Of every case: the field lines that a client sends beside Host and framing, and the verdict. "tagged" has the tenant whose test it
is; "untagged" is an ordinary request; "refused" reaches nobody. `on` is the verdict where all dialects are switched on, where it differs.
Lines are Latin-1 text, joined as they stand with CRLF.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TAGGED: Final = "tagged"
UNTAGGED: Final = "untagged"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Case:
    """One way. `tenant` is "" where it is no test; `on_verdict` and `on_tenant` hold with all dialects on."""

    verdict: str
    tenant: str
    lines: tuple[str, ...]
    on_verdict: str
    on_tenant: str

    def expected(self, *, has_dialects: bool) -> tuple[str, str]:
        """Verdict and tenant."""
        return (self.on_verdict, self.on_tenant) if has_dialects else (self.verdict, self.tenant)

    @property
    def block(self) -> bytes:
        """The lines as bytes, each with CRLF."""
        return "".join(f"{line}\r\n" for line in self.lines).encode("latin-1")


def _tagged(tenant: str, *lines: str) -> Case:
    return Case(TAGGED, tenant, lines, TAGGED, tenant)


def _untagged(*lines: str) -> Case:
    return Case(UNTAGGED, "", lines, UNTAGGED, "")


def _refused(*lines: str) -> Case:
    return Case(REFUSED, "", lines, REFUSED, "")


def _dialect(tenant: str, *lines: str) -> Case:
    """A test only for those who have the dialect switched on."""
    return Case(UNTAGGED, "", lines, TAGGED, tenant)


NAMES: Final = (
    "X-Test-Traffic", "x-test-traffic", "X-TEST-TRAFFIC", "x-TeSt-tRaFfIc", "X_Test_Traffic", "X.Test.Traffic", "x_test-traffic", "X-Test.Traffic",
    "x.test_traffic", "X_TEST_TRAFFIC",
)  # fmt: skip

SPELLINGS: Final = (
    *(_tagged("default", f"{name}: true") for name in NAMES),
    *(_tagged("canary-7", f"{name}:canary-7") for name in NAMES),
    *(_untagged(f"{name}: false") for name in NAMES),
)

VALUES: Final = (
    *(_tagged("default", f"X-Test-Traffic: {yes}") for yes in ("TRUE", "True", "1", "yes", "Yes", "on", "y", "t", "test", "default", "\t true \t")),
    *(_tagged(same, f"X-Test-Traffic: {same}") for same in ("canary-7", "a.b_c-1", "no", "off", "00", "0.0", "null", "None", "falsey", "-0", "0x0", "Default", "x" * 64)),
    *(_untagged(f"X-Test-Traffic: {no}".rstrip(" ")) for no in ("", "0", "FALSE", "False", "fAlSe", "\t0 ", " false\t")),
    _tagged("x" * 64, "X-Test-Traffic: " + "x" * 65),
    _tagged("_0", "X-Test-Traffic: +0"),
    _tagged("0_q_0", "X-Test-Traffic: 0;q=0"),
    _tagged("_false_", 'X-Test-Traffic: "false"'),
    _tagged("_0_", "X-Test-Traffic: '0'"),
    _tagged("_66alse", "X-Test-Traffic: %66alse"),
    _tagged("fa_lse", "X-Test-Traffic: fa lse"),
    _tagged("_false", "X-Test-Traffic: \xa0false"),
    _tagged("___false", "X-Test-Traffic: \xef\xbb\xbffalse"),
    _tagged("_", "X-Test-Traffic: ."),
    _tagged("__", "X-Test-Traffic: .."),
    _tagged("___", "X-Test-Traffic: ..."),
    _tagged(".._x", "X-Test-Traffic: ../x"),
    _tagged("a_b", "X-Test-Traffic: a/b"),
    _tagged("_tenant_", "X-Test-Traffic: {tenant}"),
    _tagged("_", "X-Test-Traffic: *"),
    _tagged("a_1_2", "X-Test-Traffic: a&1=2"),
)  # fmt: skip

SEVERAL: Final = (
    _tagged("default", "X-Test-Traffic: true", "X-Test-Traffic: true"),
    _tagged("default", "X-Test-Traffic: true", "X-Test-Traffic: false"),
    _tagged("default", "X-Test-Traffic: false", "X-Test-Traffic: true"),
    _tagged("default", "X-Test-Traffic:", "X-Test-Traffic: 1"),
    _tagged("a", "X-Test-Traffic: a", "X-Test-Traffic: true"),
    _tagged("a", "X-Test-Traffic: a", "x_test.traffic: a"),
    _tagged("a", "X-Test-Traffic: 0", "x.test.traffic: a"),
    _tagged("default", "X-Test-Traffic: true,false"),
    _tagged("default", "X-Test-Traffic: false, true"),
    _tagged("canary", "X-Test-Traffic: 0,canary"),
    _tagged("a", "X-Test-Traffic: a, a"),
    _tagged("a", "X-Test-Traffic: true, a, 0"),
    _tagged("default", "X-Test-Traffic: ,"),
    _tagged("default", "X-Test-Traffic: 0,0"),
    _tagged("default", *["X-Test-Traffic: true"] * 20),
    _tagged("default", *["X-Test-Traffic: false"] * 20, "X-Test-Traffic: true"),
    _untagged("X-Test-Traffic: false", "X-Test-Traffic: 0"),
    _untagged("X-Test-Traffic: false", "x_test_traffic: FALSE"),
    _refused("X-Test-Traffic: a", "X-Test-Traffic: b"),
    _refused("X-Test-Traffic: a, b"),
    _refused("X-Test-Traffic: a", "X-Test-Traffic: A"),
    _refused("X-Test-Traffic: a", "X_Test_Traffic: b"),
    _refused("X-Test-Traffic: a", "X-Test-Traffic: false", "x.test.traffic: true, c"),
)

MALFORMED: Final = (
    _refused("X-Test-Traffic : true"),
    _refused("X-Test-Traffic\t: true"),
    _refused(" X-Test-Traffic: true"),
    _refused("A: b", " X-Test-Traffic: true"),
    _refused("A: b", "\tX-Test-Traffic: true"),
    _refused("X-Test-Traffic: true", " folded"),
    _refused("X-Test-Traffic:", " true"),
    _refused("X-Test-Traffic"),
    _refused(":X-Test-Traffic: true"),
    _refused("X-Test\xadTraffic: true"),
    _refused("X-Test Traffic: true"),
    _refused("X-Test-Traffic: tr\x00ue"),
    _refused("X-Test-Traffic: true\nA: b"),
    _refused("A: b\nX-Test-Traffic: true"),
    _refused("A: b\rX-Test-Traffic: true"),
    _refused("X-Test-Traffic\x00: true"),
    _refused("\ufeff".encode().decode("latin-1") + "X-Test-Traffic: true"),
    _refused("X-Test-Traffic: \x1b[0mtrue"),
    _refused("X-Test-Traffic: true", "Content-Type: a", "Content-Type: b"),
    _refused("X-Test-Traffic: true", "Host: other.example"),
)

LOOKALIKES: Final = (
    _untagged("X-Test-Traffic-Id: true"),
    _untagged("X-TestTraffic: true"),
    _untagged("Test-Traffic: true"),
    _untagged("X--Test-Traffic: true"),
    _untagged("X-Test-Traffic-: true"),
    _untagged("X~Test~Traffic: true"),
    _untagged("Cookie: X-Test-Traffic=true"),
    _untagged("Authorization: X-Test-Traffic true"),
    _untagged("X-Note: X-Test-Traffic: true"),
    _untagged("X-Original-Header: X-Test-Traffic"),
    _untagged("Referer: http://shop.example/?X-Test-Traffic=true"),
    _untagged("X-Baggage: synthetic_request=true"),
    _untagged("Baggages: synthetic_request=true"),
    _untagged("X-Shadow-Test: true"),
    _untagged("X-Fault-Test-Traffic: true"),
    _untagged("X-Shadow-Mirror: m;by=somebody"),
    _untagged("Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate: test=true"),
)

NOMINATED: Final = (
    _tagged("default", "Connection: X-Test-Traffic", "X-Test-Traffic: true"),
    _tagged("default", "X-Test-Traffic: true", "Connection: x-test-traffic"),
    _tagged("default", "Connection: x_test_traffic", "x_test_traffic: true"),
    _tagged("default", "Connection: X.TEST.TRAFFIC", "X-Test-Traffic: true"),
    _tagged("default", "Connection: close, X-Test-Traffic", "X-Test-Traffic: true"),
    _tagged("default", "Connection: a", "Connection: X-Test-Traffic", "X-Test-Traffic: true", "A: b"),
    _tagged("a", "Connection: baggage, X-Test-Traffic", "X-Test-Traffic: a", "baggage: b=1"),
    _tagged("default", "Connection: baggage", "baggage: synthetic_request=true"),
    _tagged("default", "Connection: Baggage , Traceparent", "baggage: synthetic_request=true"),
    _untagged("Connection: X-Test-Traffic"),
    _untagged("Connection: X-Test-Traffic", "X-Test-Traffic: false"),
    _untagged("Proxy-Connection: X-Test-Traffic"),
    _untagged("Keep-Alive: X-Test-Traffic=true"),
    _untagged("TE: X-Test-Traffic"),
    _untagged("Trailer: X-Test-Traffic"),
)

_MANY: Final = ",".join(f"k{number}=v" for number in range(1500))

BAGGAGE: Final = (
    *(_tagged("default", f"{name}: synthetic_request=true") for name in ("baggage", "Baggage", "BAGGAGE", "bAgGaGe")),
    *(
        _tagged("default", f"baggage: {value}")
        for value in (
            "synthetic_request=1", "synthetic_request=TRUE", "synthetic_request = true", " \tsynthetic_request\t=\ttrue\t", "synthetic_request=true;p",
            "synthetic_request=true;p=1;q", "synthetic_request = true ; p = 1", "SYNTHETIC_REQUEST=true", "Synthetic_Request=1", "a=1,synthetic_request=true",
            "a=1 , synthetic_request=true , b=2", ",,synthetic_request=true", "synthetic_request=true,,", "synthetic_request", "synthetic_request;p",
            "synthetic_request;p=0", "synthetic_request=%74rue", "synthetic_request=no", "synthetic%5Frequest=true", "%73ynthetic_request=true",
            "%53YNTHETIC%5fREQUEST=1", "+synthetic_request=true", '"synthetic_request"=true', 'synthetic_request="false"', "synthetic_request=true=1",
            "synthetic_request==", "synthetic_request=0,synthetic_request=true", "synthetic_request=true,synthetic_request=false", "\xa0synthetic_request=true",
            "\xc2\xa0synthetic_request=true", "%20synthetic_request=true", "synthetic_request%20=true", "synthetic_request=false%00", "x;y=1,synthetic_request=true",
            "synthetic_request=true,test_tenant=", "synthetic_request=true,test_tenant=0", "synthetic_request=true,test_tenant=true", 'a="b,synthetic_request=true,c"',
            "é=1,synthetic_request=true",
        )
    ),
    *(
        _untagged(f"baggage: {value}")
        for value in (
            "synthetic_request=", "synthetic_request=0", "synthetic_request=false", "synthetic_request=FALSE", "synthetic_request = false ; p=true",
            "synthetic_request=%66alse", "synthetic_request=%30", "a=1;synthetic_request=true", ";synthetic_request=true", "a=synthetic_request=true",
            "xsynthetic_request=true", "synthetic_requests=true", "a.synthetic_request=true", "a=%2Csynthetic_request%3Dtrue", "a=synthetic_request",
            "test_tenant=canary", "synthetic_request=false,test_tenant=canary", "synthetic=true", "request=synthetic", "synthetic-request=true", "", ",", "=", "=true",
        )
    ),
    _tagged("canary", "baggage: synthetic_request=true,test_tenant=canary"),
    _tagged("canary", "baggage: test_tenant=canary,synthetic_request=true"),
    _tagged("canary", "baggage: test_tenant=canary , a=1,synthetic_request=1;p"),
    _tagged("canary", "baggage: synthetic_request=true,test_tenant=%63anary"),
    _tagged("canary", "baggage: synthetic_request=true,TEST_TENANT=canary"),
    _tagged("canary", "baggage: synthetic_request=true,test%5Ftenant=canary"),
    _tagged("a_b", "baggage: synthetic_request=true,test_tenant=a%2Fb"),
    _tagged("__", "baggage: synthetic_request=true,test_tenant=.."),
    _tagged("__", "baggage: synthetic_request=true,test_tenant=%2e%2E"),
    _tagged("a__b", "baggage: synthetic_request=true,test_tenant=a%0D%0Ab"),
    _tagged("canary", "baggage: test_tenant=canary", "baggage: synthetic_request=true"),
    _tagged("canary", "baggage: synthetic_request=true", "a: b", "Baggage: test_tenant=canary"),
    _tagged("default", "baggage: a=1", "baggage: b=2", "baggage: synthetic_request=true"),
    _tagged("default", "baggage: synthetic_request=true", "baggage: synthetic_request=false"),
    _tagged("default", "baggage:", "baggage: ,synthetic_request=true"),
    _tagged("default", f"baggage: {_MANY},synthetic_request=true"),
    _tagged("default", f"baggage: synthetic_request=false,{_MANY}"),
    _untagged(f"baggage: {_MANY}"),
    _refused("baggage: synthetic_request=true,test_tenant=a,test_tenant=b"),
    _refused("baggage: synthetic_request=true,test_tenant=a", "baggage: test_tenant=b"),
    _refused("X-Test-Traffic: a", "baggage: synthetic_request=true,test_tenant=b"),
    _tagged("b", "X-Test-Traffic: true", "baggage: synthetic_request=true,test_tenant=b"),
    _tagged("a", "X-Test-Traffic: a", "baggage: synthetic_request=true"),
    _tagged("a", "X-Test-Traffic: a", "baggage: synthetic_request=true,test_tenant=a"),
    _tagged("a", "X-Test-Traffic: a", "baggage: synthetic_request=false"),
    _tagged("a", "X-Test-Traffic: a", "baggage: test_tenant=b"),
    _tagged("b", "X-Test-Traffic: false", "baggage: synthetic_request=true,test_tenant=b"),
    _tagged("a", "X-Test-Traffic: a", "baggage: %%%,=;;,\xff"),
)  # fmt: skip

DIALECTS: Final = (
    _dialect("testing", "request-tenancy: uber/testing/rides"),
    _dialect("testing", "Request_Tenancy: uber/testing"),
    _dialect("testing", "uberctx-request-tenancy: uber/testing"),
    _dialect("testing", "request-tenancy: testing"),
    _dialect("testing", "request-tenancy: production/testing"),
    _dialect("production-2", "request-tenancy: uber/production-2"),
    _dialect("uber", "request-tenancy: uber/"),
    _dialect("_", "request-tenancy: /"),
    _dialect("testing", "baggage: request-tenancy=uber%2Ftesting"),
    _dialect("testing", "Connection: request-tenancy", "request-tenancy: uber/testing"),
    _untagged("request-tenancy: uber/production"),
    _untagged("request-tenancy: uber/Production/eu"),
    _untagged("request-tenancy: production"),
    _untagged("request-tenancy:"),
    _untagged("baggage: request-tenancy=uber/production"),
    _dialect("branch-1", "baggage: sd-routing-key=branch-1"),
    _dialect("branch-1", "ot-baggage-sd-routing-key: branch-1"),
    _dialect("branch-1", "uberctx-sd-routing-key: branch-1"),
    _dialect(
        "branch-1",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01",
        "tracestate: a=b,sd-routing-key=branch-1",
    ),
    _dialect("branch-1", "tracestate: sd-routing-key=branch-1"),
    _dialect("default", "baggage: sd-routing-key=0"),
    _untagged("baggage: sd-routing-key="),
    _untagged("tracestate: xsd-routing-key=1"),
    _dialect("s-1", "baggage: mirrord-session=s-1"),
    _dialect("ns", "baggage: okteto-divert=ns"),
    _dialect("default", "p-pradar-cluster-test: true"),
    _dialect("default", "P-Pradar-Cluster-Test: 1"),
    _dialect("default", "src-p-pradar-cluster-test: 1"),
    _untagged("p-pradar-cluster-test: false"),
    _untagged("p-pradar-cluster-test: 0"),
    _dialect("default", "User-Agent: PerfomanceTest"),
    _dialect("default", "User-Agent: PerfomanceTest/1.0"),
    _untagged("User-Agent: Mozilla/5.0 (PerfomanceTest)"),
    _dialect("datadog", "Sec-Datadog: Request sent by a Datadog Synthetics Browser Test"),
    _untagged("Sec-Datadog:"),
    _dialect("bot", "baggage: user_agent.synthetic.type=bot"),
    _dialect("default", "baggage: user_agent.synthetic.type=Test"),
    _untagged("baggage: user_agent.synthetic.type=none"),
    _tagged("a", "X-Test-Traffic: a", "request-tenancy: uber/b"),
    _tagged("a", "X-Test-Traffic: a", "Sec-Datadog: b", "baggage: sd-routing-key=c"),
    Case(TAGGED, "default", ("X-Test-Traffic: true", "baggage: sd-routing-key=c"), TAGGED, "c"),
    Case(TAGGED, "default", ("baggage: synthetic_request=true,sd-routing-key=c",), TAGGED, "c"),
    _dialect("datadog", "X-Test-Traffic: false", "Sec-Datadog: b"),
    _dialect("b", "baggage: synthetic_request=false,okteto-divert=b"),
)

SIGNED: Final = (
    _tagged("default", 'Signature-Input: test=("@method");created=1;tag="shadowproxy"', "Signature: test=:AAAA:"),
    _tagged("default", 'signature_input: a=();tag="other", b=();tag="shadowproxy"'),
    _tagged("a", "X-Test-Traffic: a", 'Signature-Input: test=();tag="shadowproxy"'),
    _tagged("default", "X-Test-Traffic: false", 'Signature-Input: test=();tag="shadowproxy"'),
    _untagged('Signature-Input: test=();tag="shop"', "Signature: test=:AAAA:"),
    _untagged("Signature: shadowproxy=:AAAA:"),
)
"""Passports that nobody asks for mean a test all the same, also where the tag was lost on the way."""

CASES: Final[tuple[Case, ...]] = (*SIGNED, *SPELLINGS, *VALUES, *SEVERAL, *MALFORMED, *LOOKALIKES, *NOMINATED, *BAGGAGE, *DIALECTS)
