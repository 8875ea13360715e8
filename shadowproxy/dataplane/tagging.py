"""Heads that differ from what the client sent: for one request only, as heads are shared by all that sent the same bytes."""

from __future__ import annotations

from shadowproxy.dataplane.request_lines import RequestHead
from shadowproxy.policy.rewrite import RewritePolicy
from shadowproxy.policy.tags import BAGGAGE, TAG, baggage_line, plain, tag_line


def with_lines(head: RequestHead, lines: list[bytes]) -> RequestHead:
    """What `head` says, with other lines to forward: for one request, as heads are shared."""
    other = RequestHead(lines, is_http10=head.is_http10)
    other.is_keep_alive = head.is_keep_alive
    other.length = head.length
    other.authority = head.authority
    other.mark = head.mark
    other.traceparent = head.traceparent
    other.upgrade = head.upgrade
    other.max_forwards = head.max_forwards
    other.expects_continue = head.expects_continue
    other.tenant = head.tenant
    other.received = head.received
    other.tagged_by = head.tagged_by
    other.te_trailers = head.te_trailers
    other.forwarded = head.forwarded
    other.via = head.via
    other.connection_tokens = head.connection_tokens
    other.fields = head.fields
    other.common = b"\r\n".join([*lines, b""])
    other.touched = [(name, line) for name, line in head.touched if line in lines]
    for line in lines:
        if line[:5].lower() == b"host:":
            other.authority = line[5:].strip(b" \t")
            if (b"host", line) not in other.touched and any(name == b"host" for name, _ in head.touched):
                other.touched.append((b"host", line))
    return other


def rewritten(head: RequestHead, rewrite: RewritePolicy, tenant: bytes, endpoint: bytes) -> RequestHead:
    """What `head` says after the changes of a rule; `endpoint` is the authority of the fleet that gets it."""
    other = with_lines(head, rewrite.lines(head.lines, tenant, endpoint))
    other.forwarded = rewrite.forwarded(head.forwarded)
    return other


def with_tag(head: RequestHead, tenant: bytes) -> RequestHead:
    """What `head` says, as a test of `tenant`'s."""
    baggage = [line for line in head.lines if plain(line.partition(b":")[0]) in (BAGGAGE, TAG)]
    lines = [line for line in head.lines if line not in baggage]
    said = [line.partition(b":")[2] for line in baggage if plain(line.partition(b":")[0]) == BAGGAGE]
    other = with_lines(head, [*lines, tag_line(tenant), baggage_line(tenant, said)])
    other.tenant = tenant
    return other
