"""Whatever a capture holds: known secrets do not leave, scrubbing never raises, and it is a function."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.redaction.captures import ECHOES, PLACES, answer, body_of, capture, everything, leaks, scrubber

_ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=10, max_size=40).filter(lambda text: len(set(text)) > 4)
_WORDY = st.text("abcdefABCDEF0123456789-_", min_size=10, max_size=40).filter(lambda text: len(set(text)) > 4 and text.strip("-_") != "")
_ANY = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), min_size=10, max_size=20).filter(
    lambda text: len(set(text)) > 4 and text.strip() == text and sum(character.isalnum() for character in text) > 5
)
SECRETS = _WORDY | _ASCII | _ANY


@given(SECRETS, st.sampled_from(sorted(PLACES)), st.sampled_from(sorted(ECHOES)), st.sampled_from(["live", "shadow"]))
def test_a_secret_leaves_in_no_spelling(secret: str, place: str, echo: str, arm: str) -> None:
    """Wherever it stood and wherever it is repeated."""
    given_capture = PLACES[place](secret)
    if given_capture[arm] == answer():
        given_capture[arm] = ECHOES[echo](secret)
    kept = everything(scrubber().scrub(given_capture))
    if place == "basic user":
        secret = secret.replace(":", "")
    if place == "json in json":
        secret = secret.replace("\\", "")
    assert not leaks(secret, kept), kept


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "token", "password", "x y", "émail", "card", "n"]) | st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_json_keeps_its_types(value: Any) -> None:
    """Same structure, same names, a string for a string and a number for a number."""
    scrubbed = scrubber().scrub(capture(("Content-Type", "application/json"), body=json.dumps(value).encode()))
    assert "dropped" not in scrubbed["request"], scrubbed["request"]
    assert _types(json.loads(body_of(scrubbed["request"]) or b"null")) == _types(value)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {"names": sorted(map(type, value.values()), key=str), "count": len(value), "inner": [_types(one) for one in value.values()]}
    if isinstance(value, list):
        return [_types(one) for one in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


_BYTES = st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.sampled_from(
    [b"{" * 5000, b'{"token":' * 500, b'"' + b"\\" * 999, b"a=" * 3000, b"--x\r\n" * 50, b"<" * 5000, b"%" * 5000, b"&#" * 3000, b"eyJ" * 2000, b"@" * 3000, b"4" * 3000, b"://" * 2000]
)  # fmt: skip
_LATIN = st.text(st.characters(max_codepoint=0xFF), max_size=60)
_NAMES = (
    st.sampled_from(
        ["Authorization", "Cookie", "Set-Cookie", "Content-Type", "Content-Encoding", "Forwarded", "X-Forwarded-For", "Location", "X"]
    )
    | _LATIN
)
_TYPES = st.sampled_from(
    [
        "application/json",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; charset=utf-16",
        "image/png",
        "",
    ]
)
_ANYTHING = (
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Any]:
    """Captures of the documented shape with anything in them."""
    kind, coding = draw(_TYPES), draw(st.sampled_from(["", "gzip", "deflate", "br", "zstd", "gzip, gzip"]))
    answered = answer(draw(_BYTES), ("Content-Encoding", coding), ("Content-Type", kind), cut=draw(st.booleans()))
    headers = draw(st.lists(st.tuples(_NAMES, _LATIN), max_size=4))
    return capture(("Content-Type", kind), *headers, target=draw(_LATIN), body=draw(_BYTES), live=answered)


@given(pairs())
def test_nothing_raises_and_everything_is_a_function(pair: dict[str, Any]) -> None:
    """Bytes of any kind; the same capture is scrubbed to the same; what is left is JSON."""
    before = json.dumps(pair)
    first = scrubber().scrub(pair)
    assert json.dumps(pair) == before
    assert scrubber().scrub(pair) == first
    assert json.loads(json.dumps(first)) == first
    assert first["request"]["method"] == "POST"


@given(st.dictionaries(st.sampled_from(["id", "mirror", "at", "trace", "request", "live", "shadow", "other"]), _ANYTHING | st.dictionaries(
    st.sampled_from(["method", "target", "headers", "body", "cut", "outcome", "first_ns", "last_ns"]), _ANYTHING), max_size=8))  # fmt: skip
def test_what_is_no_capture_is_no_failure(value: dict[str, Any]) -> None:
    """Any shape at all, and nothing that is not documented passes."""
    scrubbed = scrubber().scrub(value)
    assert set(scrubbed) <= {"id", "mirror", "at", "trace", "request", "live", "shadow"}
    json.dumps(scrubbed)


@given(st.binary(min_size=1, max_size=120))
def test_what_cannot_be_read_is_not_kept(body: bytes) -> None:
    """Either the body is text, or only its length and digest stay."""
    kept = scrubber().scrub(capture(("Content-Type", "application/octet-stream"), body=body))["request"]
    try:
        is_text = not any((byte < 0x20 and byte not in b"\t\n\r\x0c\x1b") or byte == 0x7F for byte in body) and bool(body.decode("utf-8"))
    except UnicodeDecodeError:
        is_text = False
    if "dropped" in kept:
        assert kept["body"] == ""
        assert kept["dropped"]["bytes"] == len(body)
    else:
        assert is_text
        assert base64.b64decode(kept["body"])
