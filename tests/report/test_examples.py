"""The pairs that were kept."""

from __future__ import annotations

import base64

import pytest

from shadowproxy.report import examples
from shadowproxy.report.document import Subject
from tests.report import samples
from tests.report.test_markup import Read


def shown(**changed: object) -> str:
    """What a reader sees of one example."""
    return Read(examples.cases(Subject(samples.verdict(), {}, (samples.exemplar(**changed),)))).text


def test_an_example_is_request_and_both_answers() -> None:
    """With timings, trace, and why it was kept."""
    seen = shown()
    for words in ("GET /orders/17?expand=items", "authorization: Bearer pseudonym", '{"id": 17}', "504 after 5.00", "4bf92f35", "transition 200 -> 504",
                  "latency slower (+1,150", "(cut)"):  # fmt: skip
        assert words in seen


@pytest.mark.parametrize(
    ("body", "words"),
    [(None, "x: y"), ({"a": 1}, '"a": 1'), (base64.b64encode(b"\xff\xfe").decode(), "2 bytes that are no text"), ("not base64!", "not base64!"),
     (base64.b64encode(b"a" * 9000).decode(), "(cut)")],
)  # fmt: skip
def test_bodies_of_all_kinds(body: object, words: str) -> None:
    """Text is shown, bytes are counted, long ones are cut."""
    assert words in shown(live={"outcome": "200", "headers": [["x", "y"]], "body": body})


def test_a_body_that_was_dropped_says_so() -> None:
    """And why."""
    assert "body left out: too large to keep" in shown(
        live={"outcome": "200", "body": "", "dropped": {"reason": "too large to keep", "bytes": 9}}
    )


def test_no_examples() -> None:
    """A sentence; and an example of which nothing is known breaks nothing."""
    assert examples.cases(Subject(samples.verdict())).startswith("<p>")
    assert examples.cases(Subject(samples.verdict(), {}, ({},)))


def test_there_is_a_limit() -> None:
    """So that the page stays one that opens."""
    made = examples.cases(Subject(samples.verdict(), {}, (samples.exemplar(),) * 50))
    assert made.count("<details") == examples.CASES
