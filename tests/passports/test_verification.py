"""Passports: right ones hold; each cause of a refusal has a reason of its own, and nothing but PassportRefused comes out."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadowproxy.errors import PassportRefused
from shadowproxy.passports import Reason, Request, Terms, begin, content_digest, foreign, verify
from shadowproxy.passports.verification import COMPONENTS_LIMIT
from tests.passports.signing import (
    BODY,
    KEY,
    NAMES,
    NOW,
    PLAIN,
    TAG,
    TERMS,
    changed_field,
    judged,
    member,
    minted,
    reason,
    signed_as,
    with_fields,
)

WITHOUT_BODY = NAMES[:-1]


def test_a_right_passport_holds() -> None:
    """What it says of itself comes back: key, nonce, times and what it covers."""
    passport = judged(minted())
    assert (passport.keyid, passport.nonce, passport.created, passport.expires) == ("k1", "n-0001", NOW, NOW + 60)
    assert passport.components == NAMES


def test_a_request_without_a_body_needs_no_digest() -> None:
    """A tagged GET is signed without Content-Digest."""
    request = minted(replace(PLAIN, method=b"GET"), b"")
    assert judged(request, b"").components == WITHOUT_BODY


# -- what was changed on the way


@pytest.mark.parametrize(
    "changed",
    [
        replace(minted(), method=b"PUT"),
        replace(minted(), method=b"post"),
        replace(minted(), authority=b"other.example"),
        replace(minted(), authority=b"shop.example:8080"),
        replace(minted(), authority=b"shop.example."),
        replace(minted(), target=b"/orders/1?x=1"),
        replace(minted(), target=b"/orders?x=2"),
        replace(minted(), target=b"/orders"),
        replace(minted(), target=b"/Orders?x=1"),
        replace(minted(), target=b"/%6frders?x=1"),
        replace(minted(), target=b"/orders?x=1&x=1"),
        replace(minted(), target=b"http://other.example/orders?x=1"),
        changed_field(minted(), "x-test-traffic", "true", "canary-7"),
        with_fields(minted(), ("x-test-traffic", "canary-7")),
        changed_field(minted(), "signature-input", "n-0001", "n-0002"),
        changed_field(minted(), "signature-input", str(NOW + 60), str(NOW + 61)),
        changed_field(minted(), "content-digest", content_digest(BODY), content_digest(b"")),
    ],
)
def test_what_is_covered_cannot_be_changed(changed: Request) -> None:
    """Method, authority, path, query, tag, digest and the signature's own parameters: any change is a bad signature."""
    assert reason(changed) is Reason.BAD_SIGNATURE


def test_another_body_is_refused() -> None:
    """The head is right, and the body is not the one that was signed."""
    for body in (BODY + b" ", BODY[:-1], BODY.replace(b"7", b"8"), b"\0" * len(BODY)):
        assert reason(minted(), body) is Reason.DIGEST_MISMATCH


def test_a_body_that_did_not_come_is_another_body() -> None:
    """A passport for a body does not hold for a request without one."""
    assert reason(minted(), b"") is Reason.DIGEST_MISMATCH


def test_a_new_digest_for_a_new_body_is_refused() -> None:
    """Who changes the body and its digest has changed what is covered."""
    changed = changed_field(minted(), "content-digest", content_digest(BODY), content_digest(b"other"))
    assert reason(changed, b"other") is Reason.BAD_SIGNATURE


def test_the_authority_s_case_and_default_port_mean_nothing() -> None:
    """RFC 9421 section 2.2.3; the port of another scheme is no default."""
    for authority in (b"Shop.Example", b"shop.example:80", b"shop.example:"):
        assert judged(replace(minted(), authority=authority))
    assert reason(replace(minted(), authority=b"shop.example:443")) is Reason.BAD_SIGNATURE
    assert judged(replace(minted(), scheme=b"https", authority=b"shop.example:443"))


def test_absolute_form_counts_as_the_same_target() -> None:
    """Through a forward proxy the target is absolute, and its authority counts, not Host."""
    assert judged(replace(minted(), target=b"http://shop.example/orders?x=1", authority=b"ignored.example"))


# -- times


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW - 5, None),
        (NOW - 5.001, Reason.NOT_YET_VALID),
        (NOW - 3600, Reason.NOT_YET_VALID),
        (NOW + 65, None),
        (NOW + 65.001, Reason.EXPIRED),
        (NOW + 1e9, Reason.EXPIRED),
    ],
)
def test_clocks_may_differ_by_the_skew_and_no_more(now: float, expected: Reason | None) -> None:
    """Both ends of a passport's life are stretched by the skew, to the instant."""
    if expected is None:
        assert judged(minted(), now=now)
    else:
        assert reason(minted(), now=now) is expected


def test_lifetimes_are_limited() -> None:
    """A passport that is valid for longer than the config allows is refused from its first second."""
    assert judged(minted(expires=NOW + 300))
    assert reason(minted(expires=NOW + 301)) is Reason.LIFETIME_TOO_LONG
    assert reason(minted(created=NOW - 1000, expires=NOW + 1)) is Reason.LIFETIME_TOO_LONG


def test_a_passport_that_ends_before_it_begins_is_refused() -> None:
    """Signed as it is: it cannot make the lifetime negative and so pass for short."""
    assert reason(signed_as(member(expires=str(NOW - 1)))) is Reason.EXPIRES_BEFORE_CREATED


def test_passports_from_before_the_start_are_refused() -> None:
    """Nobody knows whether they were used."""
    assert reason(minted(), terms=replace(TERMS, since=NOW + 1)) is Reason.CREATED_BEFORE_START
    assert judged(minted(), terms=replace(TERMS, since=NOW))


# -- keys


def test_two_keys_live_side_by_side_and_a_removed_one_is_dead_at_once() -> None:
    """Rotation: add the new one, let clients change over, remove the old one."""
    new = b"the next secret, also of enough bytes"
    both = replace(TERMS, keys={"k1": KEY, "k2": new})
    assert judged(minted(), terms=both)
    assert judged(minted(keyid="k2", key=new), terms=both)
    assert reason(minted(), terms=replace(TERMS, keys={"k2": new})) is Reason.UNKNOWN_KEY
    assert reason(minted(keyid="k2", key=KEY), terms=both) is Reason.BAD_SIGNATURE
    assert reason(minted(keyid="k1", key=new), terms=both) is Reason.BAD_SIGNATURE


def test_nobody_s_key_opens_nothing() -> None:
    """The key that unknown ids are compared with is no key: a signature made with it is refused."""
    assert reason(minted(keyid="nobody", key=bytes(32))) is Reason.UNKNOWN_KEY


def test_a_client_cannot_tell_an_unknown_key_from_a_wrong_signature() -> None:
    """What is told is the same, word for word; what is counted is not."""
    refusals = []
    for request in (minted(keyid="k9"), minted(key=b"wrong" * 8)):
        with pytest.raises(PassportRefused) as caught:
            judged(request)
        refusals.append(caught.value)
    assert [refusal.reason for refusal in refusals] == ["unknown_key", "bad_signature"]
    assert refusals[0].told == refusals[1].told == "bad_signature"
    assert refusals[0].detail == refusals[1].detail
    assert "k9" not in refusals[0].detail


def test_terms_do_not_show_their_secrets() -> None:
    """Neither do the errors of a refused request."""
    assert KEY.decode() not in repr(TERMS)
    assert KEY.decode() not in repr(begin(minted(), tagged_by=(TAG,), has_body=True, terms=TERMS, now=NOW))


# -- coverage: the signature is right, and says too little


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), Reason.METHOD_NOT_COVERED),
        (tuple(name for name in NAMES if name != "@method"), Reason.METHOD_NOT_COVERED),
        (tuple(name for name in NAMES if name != "@authority"), Reason.AUTHORITY_NOT_COVERED),
        (tuple(name for name in NAMES if name != "@path"), Reason.TARGET_NOT_COVERED),
        (tuple(name for name in NAMES if name != "@query"), Reason.TARGET_NOT_COVERED),
        (tuple(name for name in NAMES if name != "x-test-traffic"), Reason.TAG_NOT_COVERED),
        (tuple(name for name in NAMES if name != "content-digest"), Reason.DIGEST_NOT_COVERED),
    ],
)
def test_all_that_decides_is_covered(names: tuple[str, ...], expected: Reason) -> None:
    """A signature over less is refused, each part with its own reason."""
    assert reason(signed_as(member(names), names)) is expected


def test_a_body_without_a_digest_is_refused() -> None:
    """Also when there is nothing to cover."""
    request = signed_as(member(WITHOUT_BODY), WITHOUT_BODY, body=b"")
    assert judged(request, b"")
    assert reason(request, BODY) is Reason.DIGEST_MISSING


def test_target_uri_does_for_path_and_query() -> None:
    """Either way all of the target is covered."""
    names = ("@target-uri", "x-test-traffic", "@authority", "@method", "content-digest")
    request = signed_as(member(names), names)
    assert judged(request)
    assert reason(replace(request, target=b"/orders?x=2")) is Reason.BAD_SIGNATURE
    assert reason(replace(request, scheme=b"https")) is Reason.BAD_SIGNATURE


def test_every_field_that_tags_the_request_is_covered() -> None:
    """An alias that is added on the way would name another tenant; so would baggage."""
    assert reason(minted(), tagged_by=(TAG, b"x_test_traffic")) is Reason.TAG_NOT_COVERED
    assert reason(minted(), tagged_by=(b"baggage",)) is Reason.TAG_NOT_COVERED
    assert reason(minted(), tagged_by=()) is Reason.TAG_NOT_COVERED
    assert reason(minted(), tagged_by=(b"signature-input",)) is Reason.TAG_NOT_COVERED
    assert judged(minted(), tagged_by=(TAG, b"signature-input"))
    assert reason(minted(), tagged_by=(TAG, b"x\xfftag")) is Reason.TAG_NOT_COVERED
    tagged = with_fields(PLAIN, ("baggage", "synthetic_request=true"))
    assert judged(minted(tagged, also=("baggage",)), tagged_by=(TAG, b"baggage"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((*NAMES, "@method"), Reason.DUPLICATE_COMPONENT),
        ((*NAMES, "content-type", "content-type"), Reason.DUPLICATE_COMPONENT),
        ((*NAMES, "x-absent"), Reason.COMPONENT_ABSENT),
        ((*NAMES, "@request-target"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "@query-param"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "@status"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "@signature-params"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "@METHOD"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "Content-Type"), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, ""), Reason.UNKNOWN_COMPONENT),
        ((*NAMES, "x y"), Reason.UNKNOWN_COMPONENT),
        (tuple(f"x-{number}" for number in range(COMPONENTS_LIMIT + 1)), Reason.TOO_LARGE),
    ],
)
def test_components_that_cannot_be_covered_are_refused(names: tuple[str, ...], expected: Reason) -> None:
    """What two verifiers could read differently, or one could not find, is never skipped."""
    assert reason(_claiming(member(names))) is expected


@pytest.mark.parametrize("value", [b"caf\xe9", b"a\nb", b"a\r\nb", b"a\0b", b"a\x7fb"])
def test_values_that_could_forge_the_base_are_refused(value: bytes) -> None:
    """RFC 9421 section 2.5: a line end in a value would say what other components are; the base is ASCII."""
    request = with_fields(_claiming(member((*NAMES, "x-odd"))), ("x-odd", value))
    assert reason(request) is Reason.COMPONENT_UNUSABLE


# -- form: one spelling, one signature


def _claiming(text: str, *, label: str = "test", signature: str = f":{base64.b64encode(bytes(32)).decode()}:") -> Request:
    """A request with a member of Signature-Input as given, and some signature."""
    tagged = with_fields(PLAIN, ("X-Test-Traffic", "true"), ("Content-Digest", content_digest(BODY)))
    return with_fields(tagged, ("Signature-Input", f"{label}={text}"), ("Signature", f"{label}={signature}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (member(created=None), Reason.NO_CREATED),
        (member(expires=None), Reason.NO_EXPIRES),
        (member(nonce=None), Reason.NO_NONCE),
        (member(keyid=None), Reason.NO_KEYID),
        (member(tag=None), Reason.MISSING),
        (member(tag='"other"'), Reason.MISSING),
        (member(tag='"Shadowproxy"'), Reason.MISSING),
        (member(tag='"shadowproxy "'), Reason.MISSING),
        (member(tag="shadowproxy"), Reason.MISSING),
        (member(tag=":c2hhZG93cHJveHk=:"), Reason.MISSING),
        (member(nonce='";tag=\\"shadowproxy\\""', tag=None), Reason.MISSING),
        (member(alg='"hmac-sha512"'), Reason.WRONG_ALGORITHM),
        (member(alg='"ed25519"'), Reason.WRONG_ALGORITHM),
        (member(alg='"none"'), Reason.WRONG_ALGORITHM),
        (member(alg='""'), Reason.WRONG_ALGORITHM),
        (member(alg='"HMAC-SHA256"'), Reason.WRONG_ALGORITHM),
        (member(alg="hmac-sha256"), Reason.WRONG_ALGORITHM),
        (member() + ";alg", Reason.DUPLICATE_PARAMETER),
        (member(alg=None) + ";alg", Reason.WRONG_ALGORITHM),
        (member() + ';keyid="k1"', Reason.DUPLICATE_PARAMETER),
        (member() + f";created={NOW}", Reason.DUPLICATE_PARAMETER),
        (member() + ';tag="shadowproxy"', Reason.DUPLICATE_PARAMETER),
        (member() + ';tag="other"', Reason.DUPLICATE_PARAMETER),
        (member() + ";x=1", Reason.UNKNOWN_PARAMETER),
        (member() + ";x", Reason.UNKNOWN_PARAMETER),
        (member(created=f'"{NOW}"'), Reason.MALFORMED),
        (member(created=f"{NOW}.0"), Reason.MALFORMED),
        (member(created=f"0{NOW}"), Reason.MALFORMED),
        (member(created=f"@{NOW}"), Reason.MALFORMED),
        (member(created="-1"), Reason.MALFORMED),
        (member(expires="9999999999999999"), Reason.MALFORMED),
        (member(nonce='""'), Reason.MALFORMED),
        (member(nonce='"n 1"'), Reason.MALFORMED),
        (member(nonce="n1"), Reason.MALFORMED),
        (member(nonce='"' + "n" * 129 + '"'), Reason.MALFORMED),
        (member(nonce='"n\\\\1"'), Reason.MALFORMED),
        (member(keyid='""'), Reason.MALFORMED),
        (member(keyid='"k 1"'), Reason.MALFORMED),
        (member(keyid='"../k1"'), Reason.MALFORMED),
        (member(keyid="k1"), Reason.MALFORMED),
        (member(keyid='"' + "k" * 65 + '"'), Reason.MALFORMED),
        (member().replace('" "', '"  "', 1), Reason.MALFORMED),
        (member().replace('("', '( "'), Reason.MALFORMED),
        (member().replace('")', '" )'), Reason.MALFORMED),
        (member().replace(";created", "; created"), Reason.MALFORMED),
        (member().replace(";created", " ;created"), Reason.MALFORMED),
        (member().replace(";created=", ";created ="), Reason.MALFORMED),
        (member().replace(";created", ";Created"), Reason.MALFORMED),
        (member().replace('"@method"', "@method"), Reason.MALFORMED),
        (member().replace('"@method"', "method"), Reason.MALFORMED),
        (member().replace('"@method"', "'@method'"), Reason.MALFORMED),
        (member().replace('"@method"', '"@m\\ethod"'), Reason.MALFORMED),
        (member().replace('"@method"', '"@method";req'), Reason.UNKNOWN_COMPONENT),
        (member().replace('"content-digest"', '"content-digest";key="sha-256"'), Reason.UNKNOWN_COMPONENT),
        (member().replace('"x-test-traffic"', '"x-test-traffic";sf'), Reason.UNKNOWN_COMPONENT),
        (member().replace('"x-test-traffic"', '"x-test-traffic";tr'), Reason.UNKNOWN_COMPONENT),
        (member().replace('"x-test-traffic"', '"x-test-traffic";bs'), Reason.UNKNOWN_COMPONENT),
        (member().replace("(", "").replace(")", ""), Reason.MALFORMED),
        (member()[:-1], Reason.MALFORMED),
        (member()[: len(member()) // 2], Reason.MISSING),
        (member().replace("n-0001", "n-0001\xe9"), Reason.MALFORMED),
        (member().replace("n-0001", "n-0001\t"), Reason.MALFORMED),
        ('"x";tag="shadowproxy"', Reason.NO_CREATED),
        ('?1;tag="shadowproxy"', Reason.NO_CREATED),
        ("(" + '"a" ' * 3000 + ")", Reason.TOO_LARGE),
    ],
)
def test_every_other_spelling_is_refused(text: str, expected: Reason) -> None:
    """Whitespace, case, quoting, types, order of magnitude, truncation: there is one way to write a passport."""
    assert reason(_claiming(text)) is expected


def test_parameters_may_come_in_any_order() -> None:
    """Their order is signed: any order that the signer chose holds, and no other."""
    reordered = member(alg=None, created=None) + f';alg="hmac-sha256";created={NOW}'
    assert judged(signed_as(reordered))
    assert reason(_moved(minted(), reordered)) is Reason.BAD_SIGNATURE
    shuffled = ("content-digest", "@query", "@path", "x-test-traffic", "@authority", "@method")
    assert judged(signed_as(member(shuffled), shuffled))
    assert reason(_moved(minted(), member(shuffled))) is Reason.BAD_SIGNATURE


def _moved(request: Request, text: str) -> Request:
    fields = tuple((name, f"test={text}".encode() if name == b"signature-input" else value) for name, value in request.fields)
    return replace(request, fields=fields)


def test_alg_may_be_left_out() -> None:
    """The key says which algorithm it is for: there is one."""
    assert judged(signed_as(member(alg=None)))


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("::", Reason.BAD_SIGNATURE),
        (":AAAA:", Reason.BAD_SIGNATURE),
        (":" + base64.b64encode(bytes(64)).decode() + ":", Reason.BAD_SIGNATURE),
        (":A:", Reason.MALFORMED),
        (":AA:", Reason.MALFORMED),
        (":AAA:", Reason.MALFORMED),
        (":AA=A:", Reason.MALFORMED),
        (":AB==:", Reason.MALFORMED),  # bits that mean nothing, and are not zero
        (":AAAA====:", Reason.MALFORMED),
        (":AAAA AAAA:", Reason.MALFORMED),
        (":AA-_:", Reason.MALFORMED),
        ('"AAAA"', Reason.MALFORMED),
        ("AAAA", Reason.MALFORMED),
        (":AAAA", Reason.MALFORMED),
        (":AAAA:;x=1", Reason.MALFORMED),
        ("(:AAAA:)", Reason.MALFORMED),
        ("?1", Reason.MALFORMED),
    ],
)
def test_signatures_have_one_spelling(signature: str, expected: Reason) -> None:
    """Base64 is padded and exact: no second text stands for the same signature."""
    assert reason(_claiming(member(), signature=signature)) is expected


def test_a_truncated_signature_is_refused() -> None:
    """Also one that is right as far as it goes."""
    right = dict(minted().fields)[b"signature"].decode()
    digest = base64.b64decode(right[6:-1])
    for length in range(32):
        cut = base64.b64encode(digest[:length]).decode()
        assert reason(changed_field(minted(), "signature", right, f"test=:{cut}:")) is Reason.BAD_SIGNATURE
    doubled = base64.b64encode(digest * 2).decode()
    assert reason(changed_field(minted(), "signature", right, f"test=:{doubled}:")) is Reason.BAD_SIGNATURE


def test_a_signature_by_another_hash_is_refused() -> None:
    """The algorithm is not the client's to choose."""
    right = dict(minted().fields)[b"signature"].decode()
    other = base64.b64encode(hmac.digest(KEY, b"", "sha512")).decode()
    assert reason(changed_field(minted(), "signature", right, f"test=:{other}:")) is Reason.BAD_SIGNATURE


# -- labels, and the signatures of others


def test_two_of_ours_are_refused() -> None:
    """Whichever of them holds: two readers could take different ones."""
    right = minted()
    values = dict(right.fields)
    second = values[b"signature-input"].replace(b"test=", b"other=", 1)
    again = with_fields(right, ("signature-input", second), ("signature", values[b"signature"].replace(b"test=", b"other=", 1)))
    assert reason(again) is Reason.TWO_SIGNATURES
    assert reason(with_fields(right, ("signature-input", second))) is Reason.TWO_SIGNATURES


def test_a_label_counts_once() -> None:
    """A second member of one label, in either field and on either line, is refused before anything is compared."""
    right = minted()
    values = dict(right.fields)
    for name in (b"signature-input", b"signature"):
        assert reason(with_fields(right, (name, values[name]))) is Reason.DUPLICATE_LABEL
        assert reason(with_fields(right, (name, b"test"))) is Reason.DUPLICATE_LABEL
        assert reason(with_fields(right, (name, b'test=("a");tag="other"'))) is Reason.DUPLICATE_LABEL


def test_signature_and_input_have_one_label() -> None:
    """A signature under another label is not ours, however right it is."""
    right = minted()
    assert reason(changed_field(right, "signature", "test=", "tes=")) is Reason.NO_SIGNATURE
    assert reason(changed_field(right, "signature", "test=", "Test=")) is Reason.MALFORMED
    without = replace(right, fields=tuple(pair for pair in right.fields if pair[0] != b"signature"))
    assert reason(without) is Reason.NO_SIGNATURE
    bare = replace(right, fields=tuple(pair for pair in right.fields if pair[0] != b"signature-input"))
    assert reason(bare) is Reason.MISSING
    assert reason(PLAIN) is Reason.MISSING


@pytest.mark.parametrize("label", ["a", "*", "x-1", "sig_1.2*"])
def test_any_label_will_do(label: str) -> None:
    """Ours is found by its tag, not by its label."""
    request = minted()
    for name in ("signature", "signature-input"):
        request = changed_field(request, name, "test=", f"{label}=")
    assert judged(request)


def test_the_signatures_of_others_are_ignored_and_passed_on() -> None:
    """Whatever they cover, on a line of their own or on ours; without ours the rest is as it came."""
    theirs = ('sig1=( "a";sf "b" );  created=1;x=:AA==:;y=?0;z=tok/en;d=@5;w=1.5', "sig1=:AAA=:;p, sig2")
    separate = with_fields(minted(), ("signature-input", theirs[0]), ("signature", theirs[1]))
    assert judged(separate)
    assert foreign(separate.fields) == (theirs[0].encode(), theirs[1].encode())
    joined = minted()
    for name, value in zip(("signature-input", "signature"), theirs, strict=True):
        joined = changed_field(joined, name, "test=", f"{value}\t ,  test=")
    assert judged(joined)
    assert foreign(joined.fields) == (theirs[0].encode(), theirs[1].encode())
    assert foreign(minted().fields) == foreign(PLAIN.fields) == (b"", b"")


def test_a_field_that_cannot_be_read_is_refused_even_if_ours_can() -> None:
    """RFC 9651 section 4.2: a field parses whole, or not at all."""
    for value in (
        "=",
        "sig1=(",
        "sig1=1,",
        ",",
        "sig1=1 sig2=2",
        "sig1=:A",
        'sig1="',
        "Sig1=1",
        "sig1=1;;a",
        "sig1=1,,sig2=2",
        "sig1=((1))",
    ):
        assert reason(with_fields(minted(), ("signature-input", value))) is Reason.MALFORMED
        assert reason(with_fields(minted(), ("signature", value))) is Reason.MALFORMED
    assert reason(with_fields(minted(), ("signature", "a=" + "1" * 9000))) is Reason.TOO_LARGE


# -- laws

TOKENS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
requests = st.builds(
    Request,
    method=st.text(TOKENS, min_size=1, max_size=8).map(str.encode),
    scheme=st.sampled_from([b"http", b"https"]),
    authority=st.from_regex(r"[A-Za-z0-9.-]{1,20}(:[0-9]{1,5})?", fullmatch=True).map(str.encode),
    target=st.text(visible, max_size=30).map(lambda text: b"/" + text.replace("#", "").encode()),
    fields=st.just(()),
)


@given(requests, st.binary(max_size=50), st.from_regex(r"[A-Za-z_.-]{2}[A-Za-z0-9_.-]{0,20}", fullmatch=True), st.integers(0, 300))
@example(Request(b"GET", b"http", b"h", b"/?", ()), b"", "a-b", 0)
def test_what_is_minted_verifies(request: Request, body: bytes, tenant: str, lifetime: int) -> None:
    """For every request, body, tenant and lifetime in range."""
    right = minted(request, body, tenant=tenant, expires=NOW + lifetime)
    assert judged(right, body).expires == NOW + lifetime


SIGNED_PARTS = ("method", "authority", "target", "x-test-traffic", "content-digest", "signature-input", "signature", "body")


@given(st.sampled_from(SIGNED_PARTS), st.integers(0, 400), st.integers(1, 255))
def test_no_byte_of_what_is_signed_can_change(part: str, place: int, change: int) -> None:
    """One byte, anywhere in what is covered or in the signature itself, to anything else: refused."""
    right = minted()
    body = BODY

    def damaged(value: bytes) -> bytes:
        at = place % len(value)
        return value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]

    if part == "body":
        body = damaged(body)
    elif part in {"method", "authority", "target"}:
        wrong = damaged(getattr(right, part))
        if part == "authority" and wrong.lower() == right.authority:
            return  # a host's case means nothing
        right = replace(right, **{part: wrong})  # type: ignore[arg-type] # only those three parts
    else:
        fields = tuple((name, damaged(value) if name == part.encode() else value) for name, value in right.fields)
        if dict(fields)[part.encode()].strip(b" \t") == dict(right.fields)[part.encode()]:
            return
        right = replace(right, fields=fields)
    with pytest.raises(PassportRefused):
        judged(right, body)


pieces = st.sampled_from(
    [
        b"test", b"=", b"(", b")", b'"', b";", b",", b" ", b"\t", b":", b"\\", b"@method", b"tag=", b'"shadowproxy"', b';tag="shadowproxy"', b"AAAA", b"?1", b"1", b"-", b".",
        b"%", b"@", b"\n", b"\xff", b"\0", b'("@method" "@authority" "@target-uri" "x-test-traffic")', b";created=1800000000;expires=1800000001", b';nonce="n";keyid="k1"',
    ]
)  # fmt: skip
garbage = st.one_of(st.binary(max_size=80), st.lists(pieces, max_size=12).map(b"".join))


@given(
    st.lists(st.tuples(st.sampled_from([b"signature", b"signature-input", b"content-digest", TAG]), garbage), max_size=6),
    st.builds(Request, garbage, garbage, garbage, garbage, st.just(())),
    st.binary(max_size=5),
    st.lists(garbage, max_size=2),
)
def test_garbage_is_refused_and_nothing_else_happens(
    fields: list[tuple[bytes, bytes]], request: Request, body: bytes, tagged_by: list[bytes]
) -> None:
    """Whatever comes in any part, the one thing that comes out is PassportRefused with a known reason."""
    request = replace(request, fields=fields)
    with pytest.raises(PassportRefused) as caught:
        verify(request, body, tagged_by=tagged_by, terms=Terms({}, 300.0, 5.0), now=NOW)
    assert Reason(caught.value.reason)
    try:
        foreign(fields)
    except PassportRefused as error:
        assert Reason(error.reason)  # noqa: PT017  it may also succeed
