"""Requests that are sent on without their secrets: as they were otherwise, whole, and only when all of it could be looked through."""

from __future__ import annotations

import gzip
import json

import brotli  # type: ignore[import-untyped]  # the wheel has no stubs
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import Unreadable
from shadowproxy.redaction import Rules, Scrubber, Sendable

SECRET = "hunter22-Xyzzy"
MAIL = "alice.liddell@wonderland.org"
SCRUBBER = Scrubber(Rules((), (), ()), bytes(range(32)))
JSON = ("Content-Type", "application/json")


def sent(target: str = "/", *fields: tuple[str, str], body: bytes = b"") -> Sendable:
    """What is sent of a request."""
    return SCRUBBER.sendable(Sendable(target, fields, body))


def field(request: Sendable, name: str) -> list[str]:
    """The values of a field."""
    return [value for key, value in request.fields if key == name]


def test_a_request_without_secrets_is_sent_as_it_came() -> None:
    """Compressed bodies too, with their codings and digests; the order of the fields stays."""
    body = gzip.compress(b'{"sku": "hat-10"}')
    fields = (("Host", "shop.example"), JSON, ("Content-Encoding", "gzip"), ("Digest", "sha-256=xyz"), ("X-Odd", "  v"))
    request = sent("/a?b=1", *fields, body=body)
    assert (request.target, request.fields[:-1], request.body) == ("/a?b=1", fields, body)
    assert request.fields[-1] == ("Content-Length", str(len(body)))


def test_a_secret_has_one_pseudonym_everywhere() -> None:
    """In the target, fields and body of one request, and in every other request: what could be joined still can."""
    body = json.dumps({"email": MAIL, "note": f"to {MAIL}", "password": SECRET, "echo": [SECRET]}).encode()
    request = sent(f"/q?email={MAIL}", ("X-Note", f"by {MAIL}, {SECRET}"), JSON, body=body)
    document = json.loads(request.body)
    assert document["note"] == f"to {document['email']}"
    assert document["echo"] == [document["password"]]
    assert request.target == f"/q?email={document['email']}"
    assert field(request, "X-Note") == [f"by {document['email']}, {document['password']}"]
    assert json.loads(sent("/", JSON, body=json.dumps({"email": MAIL}).encode()).body)["email"] == document["email"]


@pytest.mark.parametrize(
    ("coding", "coded"),
    [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstandard.ZstdCompressor().compress), ("gzip, br", lambda body: brotli.compress(gzip.compress(body)))],
)  # fmt: skip
def test_a_changed_body_is_sent_plain(coding: str, coded: object) -> None:
    """Without the codings and digests that were true of the other, and with its length."""
    assert callable(coded)
    body = coded(json.dumps({"password": SECRET}).encode())
    stale = (("Content-MD5", "x"), ("Digest", "x"), ("Content-Digest", "x"), ("Repr-Digest", "x"), ("Content-Length", str(len(body))))
    request = sent("/", JSON, ("Content-Encoding", coding), *stale, body=body)
    assert [name for name, _ in request.fields] == ["Content-Type", "Content-Length"]
    assert field(request, "Content-Length") == [str(len(request.body))]
    assert json.loads(request.body)["password"] != SECRET


def test_no_body_has_no_length_unless_it_had_one() -> None:
    """A GET stays one; an empty POST says that it is empty."""
    assert not field(sent("/"), "Content-Length")
    assert field(sent("/", ("Content-Length", "0")), "Content-Length") == ["0"]


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((), b"\x00\x01"),
        ((("Content-Encoding", "rot13"),), b"x"),
        ((("Content-Encoding", "gzip"),), b"not gzip"),
        ((("Content-Encoding", "gzip"),), gzip.compress(bytes(2_000_000))),
        ((("Content-Encoding", "gzip, gzip, gzip, gzip"),), b"x"),
        ((("Content-Type", "text/plain; charset=utf-16"),), b"x\x20"),
        ((JSON,), b'{"password" - drink'),
        ((("Content-Type", "multipart/form-data"),), b"--B\r\n\r\nx\r\n--B--"),
        ((("Content-Type", "multipart/form-data; boundary=B"),), b'--B\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n\x89PNG\x00\r\n--B--\r\n'),
        ((("Content-Type", "multipart/form-data; boundary=B"),), b'--B\r\nContent-Disposition: form-data; name="i"\r\nContent-Transfer-Encoding: base64\r\n\r\nc2VjcmV0\r\n--B--\r\n'),
        ((JSON,), json.dumps([{"password": f"secret-number-{number}"} for number in range(2500)]).encode()),
        (((f"X-{SECRET}", "1"), ("X-Api-Key", SECRET)), b""),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_through_is_not_sent(fields: tuple[tuple[str, str], ...], body: bytes) -> None:
    """One documented error, and nothing of the request in it."""
    with pytest.raises(Unreadable) as refused:
        sent("/", *fields, body=body)
    assert SECRET not in str(refused.value)


def test_the_limit_is_of_the_body() -> None:
    """Both numbers are in the refusal."""
    small = Scrubber(Rules((), (), ()), bytes(32), body_limit=10)
    with pytest.raises(Unreadable, match="a body of 11 bytes, at most 10"):
        small.sendable(Sendable("/", (), b"x" * 11))


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=40)


@given(
    target=st.from_regex(r"/[\x21-\x7e]{0,40}", fullmatch=True),
    fields=st.lists(st.tuples(st.sampled_from(["Cookie", "X-Note", "Authorization", "X-Forwarded-For", "Host"]), TEXT), max_size=5),
    kind=st.sampled_from(["", "application/json", "text/html", "application/x-www-form-urlencoded"]),
    body=st.binary(max_size=60) | TEXT.map(str.encode),
    where=st.integers(0, 3),
)
def test_whatever_it_is_it_leaves_clean_or_not_at_all(
    target: str, fields: list[tuple[str, str]], kind: str, body: bytes, where: int
) -> None:
    """A request that is one message, without the secret, with the right length; or one documented error."""
    placed = [*fields, ("Content-Type", kind), ("X-Api-Key", SECRET)]
    if where == 1:
        target += f"?x={SECRET}"
    elif where == 2:
        placed.append(("X-Note", f"said {SECRET} twice"))
    elif where == 3:
        body += b" " + SECRET.encode()
    try:
        request = SCRUBBER.sendable(Sendable(target, tuple(placed), body))
    except Unreadable:
        return
    whole = "\n".join([request.target, *(f"{name}: {value}" for name, value in request.fields), request.body.decode("latin-1")])
    assert SECRET.lower() not in whole.lower()
    assert not any(set(value) & set("\r\n\0") for _, value in request.fields)
    assert field(request, "Content-Length") == ([str(len(request.body))] if body else [])
