"""Whole captures: what passes, what is replaced, what is dropped, and that nothing fails."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import time
from typing import Any

import pytest

from shadowproxy.redaction import Rules, Scrubber, Sendable
from shadowproxy.redaction import scrubber as module
from tests.redaction.captures import ECHOES, PLACES, answer, body_of, capture, everything, leaks, scrubber

SECRET = "S3cr-et_Value=99/aZ"


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_replaced_where_it_is_known_to_be_one(place: str) -> None:
    """Every place, alone."""
    assert "gzip" in place or "deflate" in place or leaks("S3cretValue99aZ", everything(PLACES[place]("S3cretValue99aZ")))
    assert not leaks(SECRET, everything(scrubber().scrub(PLACES[place](SECRET))))


@pytest.mark.parametrize("echo", ECHOES)
def test_a_secret_is_replaced_where_it_is_repeated(echo: str) -> None:
    """In either answer, however it is spelt there."""
    pair = capture(("Authorization", f"Bearer {SECRET}"), live=ECHOES[echo](SECRET), shadow=ECHOES[echo](SECRET))
    assert not leaks(SECRET, everything(scrubber().scrub(pair)))


def test_what_an_answer_sets_is_replaced_in_the_request() -> None:
    """A secret that only the answer shows to be one."""
    pair = capture(("X-Note", f"saw {SECRET}"), target=f"/p/{SECRET}", live=answer(b"", ("Set-Cookie", f"sid={SECRET}")))
    assert not leaks(SECRET, everything(scrubber().scrub(pair)))


def test_joins_still_work() -> None:
    """The same secret has the same pseudonym in all places and captures, under one key; under another key another."""
    one = scrubber().scrub(capture(("Cookie", "sid=abc12345"), body=json.dumps({"session_id": "abc12345"}).encode()))
    other = scrubber().scrub(capture(target="/?sid=abc12345"))
    cookie = one["request"]["headers"][0][1].removeprefix("sid=")
    assert json.loads(body_of(one["request"]))["session_id"] == cookie
    assert other["request"]["target"] == f"/?sid={cookie}"
    assert cookie not in json.dumps(scrubber(key=b"x" * 32).scrub(capture(("Cookie", "sid=abc12345"))))


def test_a_capture_without_secrets_passes_unchanged() -> None:
    """Byte for byte, timings and all; the argument is not touched."""
    pair = capture(
        ("Host", "h"),
        ("Accept", "*/*"),
        target="/a?b=c",
        body=b'{"a": [1, 2.50]}',
        live=answer(b"<p>\r\nhi</p>", ("ETag", '"x"')),
        shadow=answer(outcome="timeout", first_ns=None),
    )
    before = copy.deepcopy(pair)
    assert scrubber().scrub(pair) == pair == before


def test_coded_bodies_are_kept_decoded() -> None:
    """And say which codings were undone; the header field still says how they came."""
    live = answer(gzip.compress(b"hello"), ("Content-Encoding", "gzip"))
    kept = scrubber().scrub(capture(live=live))["live"]
    assert (body_of(kept), kept["decoded"], kept["headers"]) == (b"hello", ["gzip"], [["Content-Encoding", "gzip"]])


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"\x00\x01", [], "control characters: not text"),
        (b"\xff\xfe", [], "not UTF-8"),
        (b"no gzip", [("Content-Encoding", "gzip")], "not gzip"),
        (b"x", [("Content-Encoding", "compress")], "content coding 'compress' is not known"),
        (gzip.compress(bytes(5_000_000)), [("Content-Encoding", "gzip")], "more than 1048576 bytes when decoded"),
        (b'{"token" <x>', [("Content-Type", "application/json")], "a JSON name without a value at byte 9; and 'token' may name a secret"),
    ],
)
def test_what_cannot_be_looked_through_is_not_kept(body: bytes, headers: list[tuple[str, str]], reason: str) -> None:
    """Its length, a keyed digest and the reason stand for it."""
    kept = scrubber().scrub(capture(live=answer(body, *headers)))["live"]
    assert kept["body"] == ""
    assert kept["dropped"] == {"reason": reason, "bytes": len(body), "digest": kept["dropped"]["digest"]}
    assert len(kept["dropped"]["digest"]) == 32
    again = scrubber().scrub(capture(shadow=answer(body, *headers)))["shadow"]
    assert again["dropped"] == kept["dropped"]
    assert scrubber(key=b"x" * 32).scrub(capture(live=answer(body, *headers)))["live"]["dropped"]["digest"] != kept["dropped"]["digest"]


def test_only_the_documented_shape_passes() -> None:
    """What somebody adds to a capture is not kept until it is looked through."""
    pair = capture(shadow=answer(b"", ("A", "b"), note="x"))
    pair["peer"] = "203.0.113.9"
    pair["request"]["tls"] = {"sni": "h"}
    pair["control"] = answer(b"token=hunter22", ("Set-Cookie", "a=hunter22"))
    kept = scrubber().scrub(pair)
    assert set(kept) == {"id", "mirror", "at", "trace", "request", "live", "shadow", "control"}
    assert "tls" not in kept["request"]
    assert "note" not in kept["shadow"]
    assert "hunter22" not in json.dumps(kept)
    assert b"hunter22" not in body_of(kept["control"])


def test_values_of_a_wrong_kind_do_not_pass() -> None:
    """Odd ids, methods, outcomes and names are not repeated."""
    pair = capture(("Odd name: x", "v"), ("X-Big", "\u20ac"), method="GET / HTTP/1.1\r\n")
    pair |= {"id": "<script>", "trace": "not hex", "mirror": 7, "at": "now"}
    pair["live"] |= {"outcome": "200 OK", "first_ns": "1"}
    kept = scrubber().scrub(pair)
    assert (kept["id"], kept["trace"], kept["request"]["method"], kept["live"]["outcome"]) == ("[redacted]",) * 4
    assert "mirror" not in kept
    assert "at" not in kept
    assert kept["live"]["first_ns"] is None
    assert kept["request"]["headers"] == [["[redacted]", "[redacted]"], ["X-Big", "[redacted]"]]


def test_a_secret_in_a_name_is_dropped_with_its_field() -> None:
    """A name has no pseudonym."""
    pair = capture(("X-Api-Key", "hunter22-aZ"), ("X-hunter22-aZ", "1"))
    assert scrubber().scrub(pair)["request"]["headers"][1] == ["[redacted]", "[redacted]"]


def test_a_failure_costs_the_part_where_it_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in one pass does not let the part through, nor end anything."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("bug")

    pair = capture(("Authorization", "Bearer hunter22-aZ"), target="/hunter22-aZ", body=b"hunter22-aZ", live=answer(b"hunter22-aZ"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "scrub_body", broken)
        kept = scrubber().scrub(pair)
        assert kept["live"]["dropped"]["reason"] == "redaction failed"
        assert kept["request"]["headers"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "scrub_field", broken)
        assert scrubber().scrub(pair)["request"]["headers"] == [["Authorization", "[redacted]"]]
    for name in ("scrub_echoes", "is_clean"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            assert "hunter22" not in everything(scrubber().scrub(pair)).decode()
    for name in ("needles", "present"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            kept = scrubber().scrub(pair)
            assert kept["live"] == {
                "first_ns": 1,
                "last_ns": 2,
                "outcome": "200",
                "cut": False,
                "headers": [],
                "body": "",
                "dropped": kept["live"]["dropped"],
            }
            assert kept["request"]["target"] == "[redacted]"
            assert "hunter22" not in json.dumps(kept)


def test_too_many_secrets_cost_the_parts_that_have_them() -> None:
    """Not the process, and not the rest of the capture."""
    body = json.dumps([{"token": f"secret{number:05}"} for number in range(5000)]).encode()
    kept = scrubber().scrub(capture(live=answer(body), shadow=answer(b"fine")))
    assert "secrets in one capture" in kept["live"]["dropped"]["reason"]
    assert body_of(kept["shadow"]) == b"fine"


@pytest.mark.parametrize(
    "body",
    [
        b"a" * 66_666, b"=" * 66_666, b"&" * 66_666, b"%41" * 20_000, b"<" * 66_666, b"<a " * 20_000, b'{"token":' * 6_666, b'"' * 66_666, b"\\" * 66_666, b"eyJ." * 16_666,
        b"a@" * 30_000, b"a.b@c." * 10_000, b"1 " * 30_000, b"-----BEGIN PRIVATE KEY-----" * 2_333, b"https://a" * 6_666, b"?a=" * 20_000, b"a: " * 20_000, b"password " * 6_666,
        b"token=" + b"x" * 66_666, b"bearer " * 10_000, b'"token"' * 10_000, b'[{"token":"abcdefgh"},' * 3_000, b"token=abcdefgh&" * 4_333,
    ],
    ids=lambda body: body[:12].decode(),
)  # fmt: skip
def test_no_text_takes_much_longer_than_others(body: bytes) -> None:
    """Every expression is linear in what it reads: a quadratic one would take minutes here."""
    for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded", "text/html"):
        before = time.process_time()
        scrubber().scrub(capture(("Cookie", "a=abcdefgh"), target="/x", live=answer(body, ("Content-Type", kind))))
        assert time.process_time() - before < 20


def test_config_adds_and_takes_away() -> None:
    """Names of the config, in every kind of place."""
    pair = capture(
        ("X-Acme", "hunter22-aZ"),
        ("Cookie", "theme=dark-blue-9"),
        target="/?loyalty=hunter33-aZ",
        body=json.dumps({"loyalty": "hunter44-aZ", "email": "a@b.example"}).encode(),
    )
    kept = everything(scrubber(headers=("x-acme",), fields=("loyalty",), keep=("email", "email_shape", "theme")).scrub(pair)).decode()
    for gone in ("hunter22", "hunter33", "hunter44"):
        assert gone not in kept
    assert "a@b.example" in kept
    assert "dark-blue-9" in kept


def test_other_rules_keep_the_key() -> None:
    """A reload changes what is secret and not what stands for it."""
    one = Scrubber(Rules(), b"k" * 32)
    other = one.under(Rules(fields=("loyalty",)))
    assert other.target("/?token=abc123&loyalty=xyz") != one.target("/?token=abc123&loyalty=xyz")
    assert other.target("/?token=abc123") == one.target("/?token=abc123")
    assert one.rules == Rules()
    assert one.header("Authorization", "Bearer abc123").startswith("Bearer ")


def test_bytes_of_any_kind_come_back_as_latin_1() -> None:
    """A header value with bytes above ASCII is not changed on the way."""
    pair = capture(("X-Name", "gr\u00fc\u00df"), body="gr\u00fc\u00df".encode())
    kept = scrubber().scrub(pair)
    assert kept["request"]["headers"] == [["X-Name", "gr\u00fc\u00df"]]
    assert base64.b64decode(kept["request"]["body"]) == "gr\u00fc\u00df".encode()


def test_what_was_sent_as_a_pseudonym_comes_back_as_one() -> None:
    """A shadow that was sent pseudonyms and answers with them says the same as live: in a secret field, in a text, in a header."""
    mail, token, card = "alice.liddell@wonderland.org", "tok-9f8e7d6c5b4a", "4012888888881881"
    sent = scrubber().sendable(Sendable(f"/?email={mail}", (("X-Api-Key", token),), json.dumps({"card": card}).encode()))
    other = {"email": sent.target.partition("=")[2], "token": dict(sent.fields)["X-Api-Key"], "card": json.loads(sent.body)["card"]}
    answers = []
    for said in ({"email": mail, "token": token, "card": card}, other):
        body = json.dumps({"password": said["token"], "note": f"to {said['email']} with {said['card']}"})
        answers.append(answer(body.encode(), ("Content-Type", "application/json"), ("Set-Cookie", f"t={said['token']}; Path=/")))
    scrubbed = scrubber().scrub(
        capture(
            ("X-Api-Key", token), target=f"/?email={mail}", body=json.dumps({"card": card}).encode(), live=answers[0], shadow=answers[1]
        )
    )
    assert body_of(scrubbed["shadow"]) == body_of(scrubbed["live"])
    assert scrubbed["shadow"]["headers"] == scrubbed["live"]["headers"]
    for secret in (mail, token, card):
        assert secret not in json.dumps(scrubbed)


def test_a_short_pseudonym_may_be_a_secret_of_its_own() -> None:
    """What four digits stand for can be somebody's PIN: it is replaced like one."""
    first = scrubber().scrub(capture(target="/?pin=4711", live=answer()))
    stands = first["request"]["target"].partition("=")[2]
    second = scrubber().scrub(capture(target="/?pin=4711", live=answer(), shadow=answer(json.dumps({"pin": stands}).encode())))
    assert stands not in body_of(second["shadow"]).decode()
