"""Requests that servers differ about: whether they read or write, and whether they leave a partition.

Each is (method, target, field lines, body); targets and lines are Latin-1 text.
"""

from __future__ import annotations

from typing import Final

Doubtful = tuple[str, str, tuple[str, ...], bytes]

TREATED_AS_READS: Final[tuple[Doubtful, ...]] = (
    ("POST", "/treat/search", (), b"q=1"),
    ("POST", "/treat/search/deep", (), b"q=1"),
    ("POST", "/treat/search/a%20b", (), b"q=1"),
    ("POST", "/treat/ask?action=find", (), b"x=1"),
    ("POST", "/treat/ask?a=b&action=find&action=find", (), b""),
    ("POST", "/treat/graph", (), b'{"query": "query { a }"}'),
    ("GET", "/treat/orders", (), b""),
    ("GET", "/treat/?confirm=0", (), b""),
    ("GET", "/treat/7/payments", (), b""),
    ("SEARCH", "/treat/orders", (), b"q"),
    ("HEAD", "/treat/orders", (), b""),
    ("OPTIONS", "/treat/orders", (), b""),
    ("QUERY", "/treat/orders", (), b"q"),
)
"""By the rules of the route "treat" (tests/kit/tagged.py): these read, at every server."""

TREATED_AS_WRITES: Final[tuple[Doubtful, ...]] = (
    # A rule says so, and so it is in every spelling of the path or the parameter.
    ("GET", "/treat/cancel", (), b""),
    ("GET", "/treat/cancel/7", (), b""),
    ("GET", "/treat/%63ancel", (), b""),
    ("GET", "/treat/%2563ancel", (), b""),
    ("GET", "/treat//cancel", (), b""),
    ("GET", "/treat/./cancel", (), b""),
    ("GET", "/treat/x/../cancel", (), b""),
    ("GET", "/treat/x%2f..%2fcancel", (), b""),
    ("GET", "/treat/cancel;jsessionid=1", (), b""),
    ("GET", "/treat/x\\..\\cancel", (), b""),
    ("GET", "/treat/%5ccancel", (), b""),
    ("GET", "/treat/%EF%BD%83ancel", (), b""),
    ("GET", "/treat/%ff%63ancel", (), b""),
    ("GET", "/treat/?confirm=1", (), b""),
    ("GET", "/treat/?a=b&confirm=1", (), b""),
    ("GET", "/treat/?confirm=0&confirm=1", (), b""),
    ("GET", "/treat/?confirm=%31", (), b""),
    ("GET", "/treat/?%63onfirm=1", (), b""),
    ("GET", "/treat/?a;confirm=1", (), b""),
    ("GET", "/treat/?Confirm=1", (), b""),
    ("GET", "/treat/?confirm[]=1", (), b""),
    ("GET", "/treat/7/pay", (), b""),
    ("GET", "/treat//7/pay", (), b""),
    ("GET", "/treat/7/pay/", (), b""),
    # A rule for reads is not believed where somebody could see something else.
    ("POST", "/treat/searching", (), b"q=1"),
    ("POST", "/treat/search/../orders", (), b"q=1"),
    ("POST", "/treat/search/%2e%2e/orders", (), b"q=1"),
    ("POST", "/treat/search/..;/orders", (), b"q=1"),
    ("POST", "/treat/search/..%2forders", (), b"q=1"),
    ("POST", "/treat/search/x%2f..%2f..%2forders", (), b"q=1"),
    ("POST", "/treat/search/%252e%252e/orders", (), b"q=1"),
    ("POST", "/treat/search/%c0%ae%c0%ae/orders", (), b"q=1"),
    ("POST", "/treat/search/..\\orders", (), b"q=1"),
    ("POST", "/treat/search%2fx", (), b"q=1"),
    ("PUT", "/treat/search", (), b"q=1"),
    ("POST", "/treat/ask", (), b"x=1"),
    ("POST", "/treat/ask?action=find&action=delete", (), b"x=1"),
    ("POST", "/treat/ask?action=delete&action=find", (), b"x=1"),
    ("POST", "/treat/ask?action=find&Action=delete", (), b"x=1"),
    ("POST", "/treat/ask?action=find;action=delete", (), b"x=1"),
    ("POST", "/treat/ask/?action=find", (), b"x=1"),
    ("POST", "/treat/graph", (), b'{"query": "mutation { a }"}'),
    ("POST", "/treat/graph", (), b" " * 65536 + b'{"query": "mutation { a }"}'),
    ("POST", "/treat/graph", ("Content-Encoding: gzip",), b"\x1f\x8b\x08\x00 what is in here"),
    ("POST", "/treat/graph", ("content_encoding: br",), b"what is in here"),
    # A read by its method, or by a rule, that asks to be taken for something else.
    ("GET", "/treat/orders", ("X-HTTP-Method-Override: DELETE",), b""),
    ("GET", "/treat/orders", ("x_http_method_override: DELETE",), b""),
    ("GET", "/treat/orders", ("X-HTTP-Method: PUT",), b""),
    ("GET", "/treat/orders", ("X-Method-Override: PATCH",), b""),
    ("GET", "/treat/orders?_method=DELETE", (), b""),
    ("GET", "/treat/orders?a=b;_method=DELETE", (), b""),
    ("GET", "/treat/orders?%5fmethod=DELETE", (), b""),
    ("POST", "/treat/search", (), b"_method=DELETE&q=1"),
    ("POST", "/treat/search", (), b'{"q": 1, "_method": "DELETE"}'),
    ("POST", "/treat/search", ("X-Original-URL: /treat/orders",), b"q=1"),
    ("GET", "/treat/orders", ("X-Rewrite-URL: /treat/cancel",), b""),
    ("GET", "/treat/orders", ("Connection: Upgrade", "Upgrade: chat"), b""),
    ("POST", "/treat/orders", (), b""),
    ("DELETE", "/treat/orders", (), b""),
    ("PROPPATCH", "/treat/orders", (), b""),
    ("PURGE", "/treat/orders", (), b""),
    ("M-SEARCH", "/treat/orders", (), b""),
)
"""And these write, at some server at least."""

LEAVING_A_PATH: Final[tuple[Doubtful, ...]] = tuple(
    ("POST", target, (), b"a=1")
    for target in (
        "/path/..", "/path/../orders", "/path/x/../../orders", "/path/.", "/path/%2e%2e/orders", "/path/.%2e/orders", "/path/%2E./orders",
        "/path/..%2forders", "/path/x%2f%2e%2e%2forders", "/path/..\\orders", "/path/..%5corders", "/path/%252e%252e/orders", "/path/%25252e%25252e/orders",
        "/path/%2525252525252e./orders", "/path/..;/orders", "/path/..;x=1/orders", "/path/..%3b/orders", "/path/..%00/orders", "/path/.%00./orders",
        "/path/%c0%ae%c0%ae/orders", "/path/%e0%80%ae%e0%80%ae/orders", "/path/%u002e%u002e/orders", "/path/%EF%BC%8E%EF%BC%8E/orders",
        "/path/%E2%80%A5/orders", "/path/..%20/orders", "/path/%20../orders", "/path/.../orders", "/path/%ff/../orders", "/path/..%0a/orders",
        "/path/..%2f..%2f..%2f..%2forders", "/path//../orders",
    )
) + tuple(
    ("POST", "/path/orders", (line,), b"a=1")
    for line in ("X-Original-URL: /orders", "x_original_url: /orders", "X-Rewrite-URL: /orders", "X.Rewrite.Url: /orders")
)  # fmt: skip
"""Out of the partition of the route "path", at some server at least: answered 409."""

STAYING_IN_A_PATH: Final[tuple[Doubtful, ...]] = tuple(
    ("POST", target, (), b"a=1")
    for target in (
        "/path", "/path/orders", "/path//orders", "/path/..orders", "/path/orders..", "/path/.well-known/x", "/path/a.b/c", "/path/%41", "/path/a%2Fb",
        "/path/%C3%A9", "/path/x;y=1/z", "/path/100%25", "/path/a+b", "/path/orders/", "/path/a%20b", "/path/orders?to=../..", "/path/.a/..b/c.",
    )
)  # fmt: skip
"""And these stay in it."""

TELLING_LIVE: Final[tuple[Doubtful, ...]] = (
    *(
        ("POST", target, (), b"a=1")
        for target in (
            "/query/orders?mode=live", "/query/orders?a=1&mode=live", "/query/orders?mode=live&b=2", "/query/orders?a=1;mode=live",
            "/query/orders?mode=live;a=1", "/query/orders?Mode=live", "/query/orders?mod%65=live", "/query/orders?mode[]=live", "/query/orders?mode%5B0%5D=live",
            "/query/orders?+mode=live", "/query/orders?%20mode=live", "/query/orders?mode%00=live", "/query/orders?mode", "/query/orders?mode=test-x&mode=live",
            "/query/orders?&&mode=live&&",
        )
    ),
    *(
        ("POST", "/header/orders", lines, b"a=1")
        for lines in (
            ("X-Tenant: live",), ("x-tenant: live",), ("X_Tenant: live",), ("X.Tenant: live",), ("X-Tenant: live", "x_tenant: live"),
            ("X-Tenant:", "X-TENANT: live"), ("Connection: X-Tenant",), ("Connection: X-Tenant", "X-Tenant: live"),
        )
    ),
    *(
        ("POST", "/host/orders", lines, b"a=1")
        for lines in (
            ("X-Forwarded-Host: shop.example",), ("Forwarded: for=1.2.3.4;host=shop.example",), ("X-Host: shop.example",), ("X_Forwarded_Host: shop.example",),
            ("X-Original-Host: shop.example",), ("X-HTTP-Host-Override: shop.example",), ("X-Forwarded-Server: shop.example",),
        )
    ),
)  # fmt: skip
"""Requests that say themselves that live is meant: they get to the partition, and nothing of that is left."""
