"""What SQL says about whose traffic it is: a setting of the transaction, and comments in the statement.

The setting, `shadowproxy.tenant`, is what `shadowproxy guard postgres` acts on. It is set with every statement of test
traffic, for the transaction that the statement is in: a pooled connection never brings it to its next user, and neither a
savepoint that is rolled back nor a transaction that somebody else began loses it. Other statements are left as they are.

Integrations: sql_asyncpg, sql_psycopg, sql_sqlalchemy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from shadowproxy.propagate.context import current

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARDINGSPHERE_HINT: Final = "/* SHARDINGSPHERE_HINT: SHADOW=true */"

# One statement that begins, ends or marks a transaction, and nothing else. A failed transaction takes no other, and SET TRANSACTION must be its first.
_CONTROL: Final = re.compile(
    r"\s*(?:BEGIN|START\s+TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|SET\s+TRANSACTION|PREPARE\s+TRANSACTION)\b[^;]*;?\s*",
    re.IGNORECASE,
)


class TenancyLost(RuntimeError):
    """A statement of test traffic that would have gone to the database as production's. It was not sent."""


@dataclass(frozen=True, slots=True)
class SqlTenancy:
    """How the statements of test traffic are told from others.

    Attributes:
        setting: set `shadowproxy.tenant` in the transaction, which takes a round trip of its own with each statement.
        shadow_schema: put this schema before the search_path, as mode `divert` of the guard needs it; "" for none.
        comment: append tags of sqlcommenter, tenant and traceparent, to statements without a comment.
        shardingsphere: put the hint before the statement that sends it to ShardingSphere's shadow database.
        mirrored: the tenant of what is done for a mirror's copy of an untagged request: the shadow's writes are no more
            production's than test traffic's are. "" leaves them untagged.

    Raises:
        ValueError: a shadow schema without the setting, or a name that no schema can have.
    """

    setting: bool = True
    shadow_schema: str = ""
    comment: bool = False
    shardingsphere: bool = False
    mirrored: str = "shadow"

    def __post_init__(self) -> None:
        if self.shadow_schema and not self.setting:
            raise ValueError(f"shadow schema {self.shadow_schema!r} without the setting: writes to it would be refused")
        # What a backslash means is a setting of the server.
        if {"\0", "\\"} & {*self.shadow_schema, *self.mirrored}:
            raise ValueError(f"{self.shadow_schema!r} or {self.mirrored!r}: backslash and NUL cannot stand in a name here")

    def tenant(self) -> str:
        """Whose statements those made here are; "" for production's."""
        carried = current()
        return carried.tenant or (self.mirrored if carried.mark else "")

    def statement(self) -> str:
        """SQL that makes the transaction that it is run in the tenant's; "" where there is nothing to say."""
        tenant = self.tenant()
        if not tenant or not self.setting:
            return ""
        said = f"SELECT pg_catalog.set_config('shadowproxy.tenant', {_literal(tenant)}, true)"
        if self.shadow_schema:
            schema = '"' + self.shadow_schema.replace('"', '""') + '"'
            path = "pg_catalog.current_setting('search_path')"
            # Once only, however many statements the transaction has.
            is_there = f"pg_catalog.starts_with({path} || ', ', {_literal(schema + ', ')})"
            longer = f"pg_catalog.concat_ws(', ', {_literal(schema)}, nullif({path}, ''))"
            said += f", pg_catalog.set_config('search_path', CASE WHEN {is_there} THEN {path} ELSE {longer} END, true)"
        return said

    def marked(self, statement: str) -> str:
        """The statement with the comments that it is to have; as it was for production's traffic."""
        tenant = self.tenant()
        if not tenant:
            return statement
        if self.comment:
            statement = commented(statement, {"tenant": tenant, "traceparent": current().traceparent})
        if self.shardingsphere and SHARDINGSPHERE_HINT not in statement:
            statement = f"{SHARDINGSPHERE_HINT} {statement}"
        return statement


def commented(statement: str, tags: Mapping[str, str]) -> str:
    """The statement with a comment of tags behind it, as sqlcommenter writes it: keys in order, both sides percent-encoded.

    Args:
        statement: one that has a comment already, or might have, stays as it is, as the specification asks for.
        tags: any text; what could end the comment or the value is encoded. Empty values are left out.

    Source: https://open-telemetry.github.io/opentelemetry-sqlcommenter/specifications
    """
    pairs = [f"{quote(key, safe='')}='{quote(value, safe='')}'" for key, value in sorted(tags.items()) if value]
    if not pairs or "/*" in statement or "--" in statement:
        return statement
    return f"{statement} /*{','.join(pairs)}*/"


def is_control(statement: str) -> bool:
    """Whether this is one statement of transaction control, and no more than that."""
    return _CONTROL.fullmatch(statement) is not None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
