"""Our own raw requests with verdicts: at least one for every class of mistake that parsers are known for.

CASES holds (name, verdict, bytes); tests/conformance/verdicts.py says what the verdicts mean. Names begin
with the class. Requests are written from RFC 9112 and RFC 9110, whose sections the comments name.
"""

from __future__ import annotations

from typing import Final

ACCEPT: Final = "accept"
REJECT: Final = "reject"
EITHER: Final = "either"
NO_SUCCESS: Final = "no_success"

_HOST = b"Host: shop.example\r\n"


def _line(line: bytes, fields: bytes = _HOST) -> bytes:
    """A request of this request line."""
    return line + b"\r\n" + fields + b"\r\n"


def _field(field: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    """A request with one more field line."""
    return method + b" /orders HTTP/1.1\r\n" + _HOST + field + b"\r\n\r\n" + body


def _chunks(body: bytes) -> bytes:
    """A chunked request with this on the wire as its body."""
    return _field(b"Transfer-Encoding: chunked", body)


_CARTS = b"GET /carts HTTP/1.1\r\n" + _HOST

# RFC 9112 section 3 and RFC 9110 section 9: the request line.
_REQUEST_LINES = [
    ("line/plain", ACCEPT, _line(b"GET /orders HTTP/1.1")),
    ("line/no-target", REJECT, _line(b"GET HTTP/1.1")),
    ("line/empty-target", REJECT, _line(b"GET  HTTP/1.1")),
    ("line/no-version", REJECT, _line(b"GET /orders")),
    ("line/two-spaces-before-version", REJECT, _line(b"GET /orders  HTTP/1.1")),
    ("line/tab-for-space", REJECT, _line(b"GET\t/orders HTTP/1.1")),
    ("line/space-in-target", REJECT, _line(b"GET /my orders HTTP/1.1")),
    ("line/space-before-method", REJECT, _line(b" GET /orders HTTP/1.1")),
    ("line/trailing-space", EITHER, _line(b"GET /orders HTTP/1.1 ")),
    ("line/bare-lf", REJECT, b"GET /orders HTTP/1.1\nHost: shop.example\n\n"),
    ("line/bare-cr", REJECT, b"GET /orders HTTP/1.1\rHost: shop.example\r\n\r\n"),
    ("line/one-leading-crlf", ACCEPT, b"\r\n" + _line(b"GET /orders HTTP/1.1")),
    ("line/two-leading-crlf", ACCEPT, b"\r\n\r\n" + _line(b"GET /orders HTTP/1.1")),
    ("line/nul-in-target", REJECT, _line(b"GET /or\0ders HTTP/1.1")),
    ("line/tls-handshake", REJECT, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("line/only-rubbish", REJECT, b"hello there\r\n\r\n"),
]

_METHODS = [
    *[
        (f"method/{method.decode()}", ACCEPT, _line(method + b" /orders HTTP/1.1"))
        for method in (b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
    ],
    *[
        (f"method/{method.decode()}", ACCEPT, _line(method + b" /dav HTTP/1.1"))
        for method in (b"PROPFIND", b"REPORT", b"SEARCH", b"PURGE", b"LINK", b"QUERY")
    ],
    ("method/HEAD-malformed-host", REJECT, b"HEAD /orders HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("method/HEAD-malformed-field", REJECT, b"HEAD /orders HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
    ("method/lower-case", EITHER, _line(b"get /orders HTTP/1.1")),
    ("method/unknown", EITHER, _line(b"BREW /pot HTTP/1.1")),
    ("method/known-with-suffix", REJECT, _line(b"GETX /orders HTTP/1.1")),
    ("method/quoted", REJECT, _line(b'"GET" /orders HTTP/1.1')),
    ("method/colon", REJECT, _line(b"GET: /orders HTTP/1.1")),
    ("method/nul", REJECT, _line(b"GET\0 /orders HTTP/1.1")),
    ("method/obs-text", REJECT, _line(b"GET\xe9 /orders HTTP/1.1")),
    ("method/http2-preface", REJECT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("method/rtsp", REJECT, _line(b"DESCRIBE /orders HTTP/1.1")),
    ("method/connect", EITHER, _line(b"CONNECT shop.example:443 HTTP/1.1", b"Host: shop.example:443\r\n") + b"tunnelled"),
]

_VERSIONS = [
    *[(f"version/{version.decode()}", REJECT, _line(b"GET /orders " + version)) for version in (
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1", b"HTTP/11", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/x.1", b"http/1.1", b"HTTPS/1.1", b"RTSP/1.0", b"HTTP/1,1",
    )],
    ("version/1.0-without-host", ACCEPT, b"GET /orders HTTP/1.0\r\n\r\n"),
    ("version/1.0-keep-alive", ACCEPT, b"GET /orders HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
]  # fmt: skip

# RFC 9112 section 3.2: origin-form, absolute-form, authority-form, asterisk-form.
_TARGETS = [
    ("target/escapes-kept", ACCEPT, _line(b"GET /a%2Fb//c/./%7e?x=%20+;y=&z=[1] HTTP/1.1")),
    ("target/many-slashes", ACCEPT, _line(b"GET ////orders HTTP/1.1")),
    ("target/bare-question-mark", ACCEPT, _line(b"GET /orders? HTTP/1.1")),
    ("target/second-question-mark", ACCEPT, _line(b"GET /orders?a=b?c HTTP/1.1")),
    ("target/malformed-escape", EITHER, _line(b"GET /100%/%zz HTTP/1.1")),
    ("target/fragment", EITHER, _line(b"GET /orders#top HTTP/1.1")),
    ("target/quotes-and-pipes", EITHER, _line(b'GET /"a"|b\\c HTTP/1.1')),
    ("target/utf-8", EITHER, _line("GET /käse HTTP/1.1".encode())),
    ("target/latin-1", EITHER, _line(b"GET /k\xe4se HTTP/1.1")),
    ("target/utf-8-query", EITHER, _line("GET /orders?q=ß HTTP/1.1".encode())),
    ("target/absolute", ACCEPT, _line(b"GET http://shop.example/orders?q HTTP/1.1")),
    ("target/absolute-upper-case-scheme", ACCEPT, _line(b"GET HTTP://shop.example/orders HTTP/1.1")),
    ("target/absolute-https", ACCEPT, _line(b"GET https://shop.example/orders HTTP/1.1")),
    ("target/absolute-no-path", ACCEPT, _line(b"GET http://shop.example HTTP/1.1")),
    ("target/absolute-query-only", ACCEPT, _line(b"GET http://shop.example?all HTTP/1.1")),
    ("target/absolute-other-host", ACCEPT, _line(b"GET http://other.example/orders HTTP/1.1")),
    ("target/absolute-ipv6", ACCEPT, _line(b"GET http://[::1]:8080/orders HTTP/1.1", b"Host: [::1]:8080\r\n")),
    ("target/absolute-userinfo", ACCEPT, _line(b"GET http://me:secret@shop.example/orders HTTP/1.1")),
    ("target/absolute-other-scheme", REJECT, _line(b"GET ftp://shop.example/orders HTTP/1.1")),
    ("target/absolute-bad-authority", REJECT, _line(b"GET http://]shop/orders HTTP/1.1")),
    ("target/absolute-no-authority", REJECT, _line(b"GET http:///orders HTTP/1.1")),
    ("target/asterisk-options", ACCEPT, _line(b"OPTIONS * HTTP/1.1")),
    ("target/asterisk-get", REJECT, _line(b"GET * HTTP/1.1")),
    ("target/authority-get", REJECT, _line(b"GET shop.example:80 HTTP/1.1")),
    ("target/relative", REJECT, _line(b"GET orders/7 HTTP/1.1")),
]

# RFC 9112 section 5: field lines.
_FIELD_NAMES = [
    ("name/all-token-characters", ACCEPT, _field(b"a!#$%&'*+-.^_`|~9Z: 1")),
    *[(f"name/with-0x{byte:02x}", REJECT, _field(b"na%cme: 1" % byte)) for byte in b'\x00\x01\t\x0b\x0c\x1b\x7f "(),/;<=>?@[\\]{}\xc3'],
    ("name/colon-in-value", ACCEPT, _field(b"name:with:colons")),
    ("name/empty", REJECT, _field(b": 1")),
    ("name/no-colon", REJECT, _field(b"name")),
    ("name/space-before-colon", REJECT, _field(b"Content-Length : 3", b"abc")),
    ("name/tab-before-colon", REJECT, _field(b"X-A\t: 3")),
    ("name/space-first", REJECT, b"GET / HTTP/1.1\r\n X-A: 1\r\n" + _HOST + b"\r\n"),
    ("name/tab-first", REJECT, b"GET / HTTP/1.1\r\n\tContent-Length: 1\r\n" + _HOST + b"\r\nX"),
    ("name/underscore-length-is-no-length", ACCEPT, _field(b"Content_Length: -1")),
    ("name/cr-inside", REJECT, _field(b"Content\rLength: 3", b"abc")),
]

_FIELD_VALUES = [
    *[(f"value/with-0x{byte:02x}", REJECT, _field(b"X-A: b%cc" % byte)) for byte in b"\x00\x01\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f"],
    ("value/obs-text", ACCEPT, _field(b"X-A: \xff\xfe\x80")),
    ("value/utf-8", ACCEPT, _field("X-A: grün".encode())),
    ("value/empty", ACCEPT, _field(b"X-A:")),
    ("value/only-blanks", ACCEPT, _field(b"X-A: \t ")),
    ("value/blanks-around", ACCEPT, _field(b"X-A: \t value \t ")),
    ("value/no-blank-before", ACCEPT, _field(b"X-A:value")),
    ("value/unbalanced-quote", ACCEPT, _field(b'X-A: "one, two')),
    ("value/bare-lf", REJECT, _field(b"X-A: b\nX-B: c")),
    ("value/bare-cr", REJECT, _field(b"X-A: b\rX-B: c")),
    ("value/cr-then-framing", REJECT, _field(b"X-A: \rTransfer-Encoding: chunked", b"0\r\n\r\n")),
    ("value/lf-then-framing", REJECT, _field(b"X-A:\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    (
        "value/lf-hides-request",
        REJECT,
        b"GET / HTTP/1.1\r\n" + _HOST + b"X: a\nContent-Length: 40\r\n\r\nGET /admin HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ),
    ("value/folded-with-space", REJECT, _field(b"X-A: one\r\n two")),
    ("value/folded-with-tab", REJECT, _field(b"X-A: one\r\n\ttwo")),
    ("value/folded-framing", REJECT, _field(b"X-A: one\r\n Content-Length: 3", b"abc")),
    ("value/fold-of-nothing", REJECT, _field(b"X-A: one\r\n ")),
    ("end/cr-cr-lf", REJECT, b"GET / HTTP/1.1\r\n" + _HOST + b"\r\r\n"),
    ("end/lf-lf", REJECT, b"GET / HTTP/1.1\r\n" + b"Host: shop.example\n\n"),
    ("end/lone-cr-then-request", REJECT, b"GET / HTTP/1.1\r\n" + _HOST + b"\r" + _CARTS + b"\r\n"),
    ("end/unfinished-head", NO_SUCCESS, b"GET / HTTP/1.1\r\n" + _HOST),
    ("end/unfinished-line", NO_SUCCESS, b"GET /or"),
]

# RFC 9112 section 3.2 and RFC 9110 section 7.2.
_HOSTS = [
    ("host/missing", REJECT, b"GET / HTTP/1.1\r\nX-A: 1\r\n\r\n"),
    ("host/twice", REJECT, _field(_HOST + b"Host: other.example")),
    ("host/twice-other-case", REJECT, _field(b"hOST: shop.example")),
    ("host/port", ACCEPT, b"GET / HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n"),
    ("host/ipv6", ACCEPT, b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"),
    ("host/odd-but-harmless", ACCEPT, b"GET / HTTP/1.1\r\nHost: 10.0.0.1=80\r\n\r\n"),
    ("host/userinfo", REJECT, b"GET / HTTP/1.1\r\nHost: me@shop.example\r\n\r\n"),
    ("host/path", REJECT, b"GET / HTTP/1.1\r\nHost: shop.example/orders\r\n\r\n"),
    ("host/comma", REJECT, b"GET / HTTP/1.1\r\nHost: shop.example, other.example\r\n\r\n"),
    ("host/space", REJECT, b"GET / HTTP/1.1\r\nHost: shop.example other\r\n\r\n"),
    ("host/control", REJECT, b"GET / HTTP/1.1\r\nHost: shop.example\x01@other\r\n\r\n"),
    ("host/empty", EITHER, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("host/empty-1.0", EITHER, b"GET / HTTP/1.0\r\nHost: \r\n\r\n"),
    ("host/empty-with-authority", EITHER, b"GET http://shop.example/ HTTP/1.1\r\nHost:\r\n\r\n"),
    ("host/second-pipelined-without", EITHER, _line(b"GET /1 HTTP/1.1") + b"GET /2 HTTP/1.1\r\n\r\n"),
]

_SINGLETONS = [
    *[(f"twice/{name.decode()}", REJECT, _field(name + b": a\r\n" + name + b": b")) for name in (
        b"Content-Type", b"Content-Location", b"Content-Range", b"ETag", b"Max-Forwards", b"Server", b"User-Agent",
    )],
    ("twice/other-field", ACCEPT, _field(b"Accept: a/b\r\nAccept: c/d")),
    ("obsolete/websocket-key1", REJECT, _field(b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", method=b"GET")),
]  # fmt: skip

# RFC 9112 sections 6.1 to 6.3, RFC 9110 section 8.6.
_LENGTHS = [
    ("length/right", ACCEPT, _field(b"Content-Length: 3", b"abc")),
    ("length/get-with-body", ACCEPT, _field(b"Content-Length: 3", b"abc", b"GET")),
    ("length/zero", ACCEPT, _field(b"Content-Length: 0")),
    ("length/leading-zeros", ACCEPT, _field(b"Content-Length: 0003", b"abc")),
    ("length/any-case", ACCEPT, _field(b"cONTENT-lENGTH: 3", b"abc")),
    ("length/none-on-post", ACCEPT, _field(b"X-A: 1")),
    *[(f"length/{value.decode('latin-1')!r}", REJECT, _field(b"Content-Length: " + value, b"abc")) for value in (
        b"-1", b"-0", b"+3", b"3.0", b"0x3", b"3_0", b"3 3", b"3,", b",3", b"three", b"", b"3, 4", b"1e1", b"3;", b"'3'", b"\xc2\xb3", b"18446744073709551619",
        b"99999999999999999999999",
    )],
    ("length/list-of-equals", EITHER, _field(b"Content-Length: 3, 3", b"abc")),
    ("length/twice-equal", EITHER, _field(b"Content-Length: 3\r\nContent-Length: 3", b"abc")),
    ("length/twice-different", REJECT, _field(b"Content-Length: 3\r\nContent-Length: 2", b"abc")),
    ("length/unfinished-body", NO_SUCCESS, _field(b"Content-Length: 30", b"abc")),
    ("length/unfinished-looks-like-request", NO_SUCCESS, _field(b"Content-Length: 300", _CARTS + b"\r\n")),
    ("length/http-1.0", ACCEPT, b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"),
]  # fmt: skip

_CODINGS = [
    ("coding/with-length", REJECT, _field(b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    ("coding/before-length", REJECT, _field(b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n")),
    ("coding/identity-with-length", EITHER, _field(b"Transfer-Encoding: identity\r\nContent-Length: 3", b"abc")),
    *[(f"coding/{value.decode('latin-1')!r}", REJECT, _field(b"Transfer-Encoding: " + value, b"3\r\nabc\r\n0\r\n\r\n")) for value in (
        b"chunked, gzip", b"chunked, chunked", b"chunkedx", b"xchunked", b"chunked;q=1", b'"chunked"', b"chunked\x0b", b"", b",", b"pigeons", b"chun\xc4\xb1ked", b"identity",
    )],
    ("coding/any-case", ACCEPT, _field(b"tRANSFER-eNCODING: Chunked", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/blanks-around", EITHER, _field(b"Transfer-Encoding: \t chunked \t ", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/gzip-chunked", EITHER, _field(b"Transfer-Encoding: gzip, chunked", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/gzip-chunked-lines", EITHER, _field(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/chunked-gzip-lines", REJECT, _field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/chunked-twice-lines", REJECT, _field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")),
    ("coding/http-1.0", REJECT, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ("coding/underscore-is-no-coding", ACCEPT, _field(b"Transfer_Encoding: chunked")),
]  # fmt: skip

# RFC 9112 section 7.1: the chunked coding.
_CHUNK_SIZES = [
    ("chunk/one", ACCEPT, _chunks(b"3\r\nabc\r\n0\r\n\r\n")),
    ("chunk/several", ACCEPT, _chunks(b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")),
    ("chunk/none", ACCEPT, _chunks(b"0\r\n\r\n")),
    ("chunk/upper-and-lower-hex", ACCEPT, _chunks(b"A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n")),
    ("chunk/leading-zeros", ACCEPT, _chunks(b"003\r\nabc\r\n000\r\n\r\n")),
    ("chunk/crlf-as-payload", ACCEPT, _chunks(b"4\r\n\r\n\r\n\r\n0\r\n\r\n")),
    ("chunk/get", ACCEPT, _field(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n", b"GET")),
    *[(f"chunk/size-{size.decode('latin-1')!r}", REJECT, _chunks(size + b"\r\nabc\r\n0\r\n\r\n")) for size in (
        b"-3", b"+3", b"0x3", b"3_", b"3 ", b" 3", b"3\t", b"g", b"", b"3 3", b"3,", b"3.", b"\xd9\xa3", b"ffffffffffffffffff", b"3\0", b"3 abc",
    )],
    ("chunk/size-lf", REJECT, _chunks(b"3\nabc\r\n0\r\n\r\n")),
    ("chunk/size-cr", REJECT, _chunks(b"3\rabc\r\n0\r\n\r\n")),
    ("chunk/size-cr-cr-lf", REJECT, _chunks(b"3\r\r\nabc\r\n0\r\n\r\n")),
    ("chunk/too-long", REJECT, _chunks(b"3\r\nabcd\r\n0\r\n\r\n")),
    ("chunk/too-short", REJECT, _chunks(b"3\r\nab\r\n0\r\n\r\n")),
    ("chunk/data-lf", REJECT, _chunks(b"3\r\nabc\n0\r\n\r\n")),
    ("chunk/data-without-end", REJECT, _chunks(b"3\r\nabc0\r\n\r\n")),
    ("chunk/underscore-then-request", REJECT, _chunks(b"0_2e\r\n\r\n" + _CARTS + b"\r\n0\r\n\r\n")),
    ("chunk/no-last", NO_SUCCESS, _chunks(b"3\r\nabc\r\n")),
    ("chunk/unfinished-data", NO_SUCCESS, _chunks(b"30\r\nabc")),
    ("chunk/unfinished-end", NO_SUCCESS, _chunks(b"3\r\nabc\r\n0\r\n")),
    ("chunk/end-lf", REJECT, _chunks(b"0\r\n\n")),
]  # fmt: skip

_EXTENSIONS = [
    ("extension/name", ACCEPT, _chunks(b"3;a\r\nabc\r\n0\r\n\r\n")),
    ("extension/value", ACCEPT, _chunks(b"3;a=b\r\nabc\r\n0;c=d\r\n\r\n")),
    ("extension/several-and-blanks", ACCEPT, _chunks(b"3; a; b=c\r\nabc\r\n0\r\n\r\n")),
    ("extension/quoted", ACCEPT, _chunks(b'3;a="b c;d=\\"e"\r\nabc\r\n0\r\n\r\n')),
    ("extension/no-name", REJECT, _chunks(b"3;\r\nabc\r\n0\r\n\r\n")),
    ("extension/no-size", REJECT, _chunks(b";a=b\r\nabc\r\n0\r\n\r\n")),
    ("extension/blank-for-semicolon", REJECT, _chunks(b"3 a=b\r\nabc\r\n0\r\n\r\n")),
    ("extension/unbalanced-quote", REJECT, _chunks(b'3;a="b\r\nabc\r\n0\r\n\r\n')),
    ("extension/bare-lf", REJECT, _chunks(b"2;\nxx\r\n4c\r\n0\r\n\r\n" + _CARTS + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    ("extension/bare-cr", REJECT, _chunks(b"3;a=b\rc\r\nabc\r\n0\r\n\r\n")),
    ("extension/nul", REJECT, _chunks(b"3;a=\0\r\nabc\r\n0\r\n\r\n")),
    ("extension/long", REJECT, _chunks(b"3;" + b"a" * 70000 + b"\r\nabc\r\n0\r\n\r\n")),
]

_TRAILERS = [
    ("trailer/two", ACCEPT, _chunks(b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\nX-Other: 2\r\n\r\n")),
    *[
        (f"trailer/{name.decode()}", REJECT, _chunks(b"3\r\nabc\r\n0\r\n" + name + b": 3\r\n\r\n"))
        for name in (b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization")
    ],
    ("trailer/any-case-host", REJECT, _chunks(b"0\r\nhOsT: other.example\r\n\r\n")),
    ("trailer/no-colon", REJECT, _chunks(b"0\r\nX-Checksum\r\n\r\n")),
    ("trailer/bare-lf", REJECT, _chunks(b"0\r\nX-A: 1\nX-B: 2\r\n\r\n")),
    ("trailer/space-before-colon", REJECT, _chunks(b"0\r\nX-A : 1\r\n\r\n")),
    ("trailer/folded", REJECT, _chunks(b"0\r\nX-A: 1\r\n 2\r\n\r\n")),
    ("trailer/control", REJECT, _chunks(b"0\r\nX-A: \x01\r\n\r\n")),
    ("trailer/unfinished", NO_SUCCESS, _chunks(b"0\r\nX-A: 1\r\n")),
]

# RFC 9112 section 9: persistence and pipelining.
_CONNECTIONS = [
    ("connection/two-pipelined", ACCEPT, _line(b"GET /1 HTTP/1.1") + _line(b"GET /2 HTTP/1.1")),
    ("connection/body-then-next", ACCEPT, _field(b"Content-Length: 3", b"abc") + _line(b"GET /2 HTTP/1.1")),
    ("connection/chunks-then-next", ACCEPT, _chunks(b"3\r\nabc\r\n0\r\n\r\n") + _line(b"GET /2 HTTP/1.1")),
    ("connection/crlf-between", ACCEPT, _field(b"Content-Length: 3", b"abc") + b"\r\n" + _line(b"GET /2 HTTP/1.1")),
    ("connection/next-unfinished", ACCEPT, _line(b"GET /1 HTTP/1.1") + b"GET /2 HT"),
    ("connection/close", ACCEPT, _field(b"Connection: close")),
    ("connection/close-in-list", ACCEPT, _field(b"Connection: keep-alive, CLOSE")),
    ("connection/close-then-request", ACCEPT, _field(b"Connection: close") + _line(b"GET /2 HTTP/1.1")),
    (
        "connection/close-with-body-then-rubbish",
        ACCEPT,
        _field(b"Connection: close\r\nContent-Length: 3", b"abc\r\n\r\nrubbish: \0\r\n\r\n"),
    ),
    ("connection/close-then-rubbish", REJECT, _field(b"Connection: close", b"rubbish\r\n\r\n")),
    ("connection/1.0-then-request", ACCEPT, b"GET /1 HTTP/1.0\r\n\r\n" + _line(b"GET /2 HTTP/1.1")),
    ("connection/1.0-put-with-undeclared-body", REJECT, b"PUT /1 HTTP/1.0\r\n\r\nabc\r\n\r\n"),
    ("connection/request-then-rubbish", REJECT, _field(b"Content-Length: 3", b"abc") + b"GET /2 HTTP/1.1\r\nno colon\r\n\r\n"),
    ("connection/unknown-option", ACCEPT, _field(b"Connection: x-a\r\nX-A: 1")),
    ("connection/names-length", EITHER, _field(b"Connection: content-length\r\nContent-Length: 3", b"abc")),
    ("connection/names-coding", EITHER, _field(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n")),
    ("connection/names-host", EITHER, _field(b"Connection: host")),
]

# RFC 9110 section 7.8.
_UPGRADES = [
    ("upgrade/websocket", EITHER, _field(b"Connection: Upgrade\r\nUpgrade: websocket", b"not for anyone", b"GET")),
    ("upgrade/with-body", EITHER, _field(b"Connection: Upgrade\r\nUpgrade: other\r\nContent-Length: 2", b"{}")),
    (
        "upgrade/with-chunks-and-next",
        EITHER,
        _field(b"Connection: Upgrade\r\nUpgrade: other\r\nTransfer-Encoding: chunked", b"0\r\n\r\n") + _line(b"GET /2 HTTP/1.1"),
    ),
    ("upgrade/not-in-connection", ACCEPT, _field(b"Upgrade: websocket", method=b"GET")),
    ("upgrade/no-protocol", ACCEPT, _field(b"Connection: upgrade", method=b"GET")),
    ("upgrade/obs-text-protocol", EITHER, _field(b"Connection: Upgrade\r\nUpgrade: websoc\xe2\x84\xaaet", method=b"GET")),
]

CASES: Final[list[tuple[str, str, bytes]]] = [
    *_REQUEST_LINES, *_METHODS, *_VERSIONS, *_TARGETS, *_FIELD_NAMES, *_FIELD_VALUES, *_HOSTS, *_SINGLETONS, *_LENGTHS, *_CODINGS, *_CHUNK_SIZES, *_EXTENSIONS,
    *_TRAILERS, *_CONNECTIONS, *_UPGRADES,
]  # fmt: skip
