"""Text as SQL literals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.guard.literals import literal, text_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.guard.shop import Connection
    from tests.kit.postgres import PostgresServer

TEXTS = st.one_of(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.text("'\\\"$%;:-/*E \n"))


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[Connection]:
    """A connection to ask."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connected:
        yield connected


@given(text=TEXTS, conforming=st.sampled_from(["on", "off"]))
def test_a_literal_is_the_text_and_nothing_else(connection: Connection, text: str, conforming: str) -> None:
    """PostgreSQL reads back what was quoted, whatever it holds and however backslashes are set to be read."""
    connection.execute(f"SET standard_conforming_strings = {conforming}; SET escape_string_warning = off".encode())
    assert connection.execute(f"SELECT {literal(text)}".encode()).fetchone() == (text,)


@given(texts=st.none() | st.lists(TEXTS))
def test_an_array_is_its_texts(connection: Connection, texts: list[str] | None) -> None:
    """Empty arrays and NULL have a type of their own."""
    assert connection.execute(f"SELECT {text_array(texts)}".encode()).fetchone() == (texts,)


def test_null_is_a_keyword() -> None:
    """None is no text."""
    assert literal(None) == "NULL"


@pytest.mark.parametrize("text", ["a\0b", "\udfff"])
def test_what_no_text_can_hold_is_refused(text: str) -> None:
    """Rather than sent, cut or replaced."""
    with pytest.raises(ValueError, match="cannot stand in SQL"):
        literal(text)
