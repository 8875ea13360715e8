"""What SQL says about whose traffic it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.propagate import NOTHING, Carried, carrying, tagged
from shadowproxy.propagate.sql import SHARDINGSPHERE_HINT, SqlTenancy, commented, is_control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.postgres import PostgresServer

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.text("'\\\"/*-+;=,%\0\n a"))


@pytest.fixture(scope="module")
def connection(postgres: PostgresServer) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to ask."""
    with psycopg.connect(postgres.dsn()) as connected:
        yield connected


def test_untagged_statements_are_as_they_were() -> None:
    """Nothing is set, nothing is added, whatever is switched on."""
    tenancy = SqlTenancy(shadow_schema="s", comment=True, shardingsphere=True)
    for carried in (NOTHING, Carried(traceparent=TRACEPARENT, baggage=("a=b",))):
        with carrying(carried):
            assert (tenancy.tenant(), tenancy.statement(), tenancy.marked("SELECT 1")) == ("", "", "SELECT 1")


def test_comments_are_those_of_sqlcommenter() -> None:
    """Tenant and trace, keys in order, values in quotes; the hint stands in front."""
    with carrying(Carried(tenant="canary-7", traceparent=TRACEPARENT)):
        assert SqlTenancy(comment=True).marked("SELECT 1") == f"SELECT 1 /*tenant='canary-7',traceparent='{TRACEPARENT}'*/"
        both = SqlTenancy(comment=True, shardingsphere=True)
        assert both.marked("SELECT 1") == f"{SHARDINGSPHERE_HINT} SELECT 1 /*tenant='canary-7',traceparent='{TRACEPARENT}'*/"
        assert both.marked(both.marked("SELECT 1")) == both.marked("SELECT 1")


@pytest.mark.parametrize("statement", ["SELECT 1 /* mine */", "SELECT 1 -- mine", "SELECT '--'"])
def test_statements_with_comments_stay_as_they_are(statement: str) -> None:
    """As the specification asks for; the hint, without which test traffic would go to production, is there all the same."""
    assert commented(statement, {"tenant": "x"}) == statement
    with tagged("x"):
        assert SqlTenancy(shardingsphere=True).marked(statement) == f"{SHARDINGSPHERE_HINT} {statement}"


@given(tags=st.dictionaries(TEXTS.filter(bool), TEXTS))
def test_tags_cannot_leave_the_comment(connection: psycopg.Connection[tuple[Any, ...]], tags: dict[str, str]) -> None:
    """Whatever keys and values hold, PostgreSQL sees one statement, and a reader gets them back."""
    statement = commented("SELECT 7", tags)
    comment = statement.removeprefix("SELECT 7")
    assert connection.execute(statement.encode()).fetchall() == [(7,)]
    assert comment.count("*/") == comment.count("/*") == (1 if any(tags.values()) else 0)
    pairs = [pair.partition("=") for pair in comment.removeprefix(" /*").removesuffix("*/").split(",") if pair]
    assert {unquote(key): unquote(value.strip("'")) for key, _, value in pairs} == {key: value for key, value in tags.items() if value}
    assert [key for key, _, _ in pairs] == [key for key, _, _ in sorted(pairs)] or any(
        not key.isascii() or not key.isalnum() for key in tags
    )


@given(
    schema=st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), min_size=1, max_size=12),
    path=st.sampled_from(["public", '"$user", public', "''"]),
)
def test_the_shadow_schema_comes_first_and_once(connection: psycopg.Connection[tuple[Any, ...]], schema: str, path: str) -> None:
    """Whatever it is called, whatever was there, and however often it is said."""
    with connection.transaction(force_rollback=True), tagged("canary-7"):
        connection.execute(f"SET LOCAL search_path = {path}".encode())
        before = connection.execute("SHOW search_path").fetchall()[0][0]
        for _ in range(3):
            connection.execute(SqlTenancy(shadow_schema=schema).statement().encode())
            quoted = '"' + schema.replace('"', '""') + '"'
            assert connection.execute("SHOW search_path").fetchall() == [(f"{quoted}, {before}" if before else quoted,)]
        assert connection.execute("SHOW shadowproxy.tenant").fetchall() == [("canary-7",)]


@pytest.mark.parametrize(
    "options", [{"shadow_schema": "s", "setting": False}, {"shadow_schema": "a\\b"}, {"shadow_schema": "a\0b"}, {"mirrored": "\\"}]
)
def test_names_that_would_not_do_are_refused(options: dict[str, Any]) -> None:
    """When the options are made, not at the first statement."""
    with pytest.raises(ValueError):
        SqlTenancy(**options)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("COMMIT", True), (" begin;\n", True), ("ROLLBACK TO SAVEPOINT x", True), ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", True),
        ("set transaction isolation level serializable", True), ("BEGIN; DELETE FROM stock", False), ("COMMIT; DELETE FROM stock; COMMIT", False),
        ("DELETE FROM stock", False), ("SET x = 1", False), ("ENDLESS", False), ("", False),
    ],
)  # fmt: skip
def test_only_control_goes_without_a_tenant(statement: str, expected: bool) -> None:
    """A script that begins with BEGIN is no control: there are writes in it."""
    assert is_control(statement) is expected


def test_mirrored_requests_have_a_tenant_of_their_own() -> None:
    """Tagged ones keep theirs; it can be switched off."""
    with carrying(Carried(mark="m")):
        assert SqlTenancy().tenant() == "shadow"
        assert SqlTenancy(mirrored="").tenant() == ""
    with carrying(Carried(mark="m", tenant="canary-7")):
        assert SqlTenancy().tenant() == "canary-7"
