"""Templates as they are read: places and text, or a sentence that says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.templates import Place, is_template, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{{tenant}}", (Place("tenant"),)),
        ("a {{ request.json.lines[0].sku }} b", ("a ", Place("request.json", ("lines", 0, "sku")), " b")),
        ("{{request.json}}", (Place("request.json"),)),
        ("{{request.headers.x-user}}", (Place("request.headers", ("x-user",)),)),
        ("{{path.id}}{{path.1}}", (Place("path", ("id",)), Place("path", ("1",)))),
        ("{{now}} {{now.unix}}", (Place("now"), " ", Place("now.unix"))),
        ("{{counter}}{{counter.orders}}", (Place("counter"), Place("counter", ("orders",)))),
        ('{{request.json.currency | "EUR"}}', (Place("request.json", ("currency",), "EUR", has_default=True),)),
        ("{{request.json.tags | []}}", (Place("request.json", ("tags",), [], has_default=True),)),
        ("{{request.json.tags | null}}", (Place("request.json", ("tags",), None, has_default=True),)),
        (r"\{{tenant}}", ("{{tenant}}",)),
        ("{ {tenant} }", ("{ {tenant} }",)),
    ],
)
def test_a_template_is_text_and_places(text: str, parts: tuple[str | Place, ...]) -> None:
    """Each expression of the grammar, alone and within text; escaped braces are text."""
    assert parse(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "{{", "{{}}", "{{tenant", "{{ tenant }", "{{nobody}}", "{{tenant.name}}", "{{uuid[0]}}", "{{request}}", "{{request.cookies.a}}", "{{path}}", "{{path.a.b}}",
        "{{path[0]}}", "{{request.query}}", "{{counter.a.b}}", "{{request.json.a | EUR}}", "{{request.json.a |}}", "{{request.json..a}}", "{{request.json[-1]}}",
        "{{request.json" + ".a" * 17 + "}}", "{{tenant\n}}", "{{__class__}}", "{{tenant()}}", "{{request.json.a | NaN}}}}{{",
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Names that are not there, missing ends, calls and steps that lead nowhere: none is taken for text."""
    with pytest.raises(Unfit):
        parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text breaks the reader, and what has no double braces is itself."""
    try:
        parts = parse(text)
    except Unfit:
        assert is_template(text)
        return
    if not is_template(text):
        assert parts == ((text,) if text else ())
