"""Requests as values: segments, parameters, bodies, and refusals as problem documents."""

from __future__ import annotations

import json

import pytest

from shadowproxy.sinks.call import FIELDS_LIMIT, Call, Refused, answer_json, problem
from tests.sinks.kit import call


@pytest.mark.parametrize(
    ("target", "segments"),
    [("/", ()), ("/orders/7?x=1", ("orders", "7")), ("/a%2Fb/%C3%A9", ("a/b", "é")), ("/orders/", ("orders", "")), ("//a", ("", "a"))],
)
def test_segments_are_decoded_one_by_one(target: str, segments: tuple[str, ...]) -> None:
    """An encoded slash is part of a segment; an empty segment is one."""
    assert call("GET", target).segments == segments


def test_a_path_that_is_no_text_is_refused() -> None:
    """Bytes that are not UTF-8 name nothing."""
    with pytest.raises(Refused) as refused:
        _ = call("GET", "/%ff").segments
    assert (refused.value.status, refused.value.code) == (400, "bad_path")


def test_the_first_of_a_parameter_counts() -> None:
    """Of a parameter that comes twice; one without a value is empty."""
    one = call("GET", "/?a=1&a=2&b&c=%20x+y")
    assert one.query == {"a": "1", "b": "", "c": " x y"}
    with pytest.raises(Refused, match="more than"):
        _ = call("GET", "/?" + "a&" * (FIELDS_LIMIT + 1)).query


def test_forms_nest_by_brackets() -> None:
    """`card[number]` is a member of `card`; what contradicts that is a member by its whole name."""
    form = {"Content_Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert call("POST", "/", body=b"amount=5&card[number]=42&card[exp]=1", **form).fields() == {
        "amount": "5",
        "card": {"number": "42", "exp": "1"},
    }
    assert call("POST", "/", body=b"card=x&card[number]=42", **form).fields() == {"card": "x", "card[number]": "42"}
    assert call("POST", "/", body=b"\xff=\xff", **form).fields()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "", 400),
        (b"<a/>", "text/xml", 415),
        (b"\xff", "application/vnd.a+json", 400),
    ],
)
def test_bodies_that_have_no_members_are_refused(body: bytes, content_type: str, status: int) -> None:
    """Neither an object nor a form."""
    with pytest.raises(Refused) as refused:
        call("POST", "/", body=body, Content_Type=content_type).fields()
    assert refused.value.status == status


def test_a_refusal_is_a_problem_document() -> None:
    """RFC 9457, with the code that programs read, and at most so many places."""
    refused = Refused(415, "unsupported", "no", problems=tuple((str(n), "is wrong") for n in range(500)), Accept_Patch="x")
    answer = problem(refused)
    document = json.loads(answer.body)
    assert (document["status"], document["title"], document["code"], document["detail"]) == (
        415,
        "Unsupported Media Type",
        "unsupported",
        "no",
    )
    assert len(document["problems"]) == 100
    assert answer.headers == {"Accept-Patch": "x"}
    assert json.loads(problem(Refused(599, "odd", "")).body)["title"] == "Refused"


def test_the_digest_tells_requests_apart() -> None:
    """Method, path and body are part of it; the tenant and the fields are not."""
    digests = {
        call("POST", "/a", body=b"1").digest,
        call("PUT", "/a", body=b"1").digest,
        call("POST", "/b", body=b"1").digest,
        call("POST", "/a").digest,
    }
    assert len(digests) == 4
    assert call("POST", "/a", body=b"1", tenant="x", X_A="1").digest in digests


def test_a_call_and_an_answer_show_themselves() -> None:
    """The repr has no body in it."""
    assert repr(call("POST", "/a?b", tenant="t", body=b"secret")) == "<Call POST /a of t, 6 bytes>"
    assert answer_json(200, {"a": 1}).body == b'{"a":1}'
    assert Call("GET", "/x?y", {}, "t").path == "/x"
