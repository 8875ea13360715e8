"""The ledger's part of the description says what the code does."""

from __future__ import annotations

from shadowproxy.control.admin.ledger import LedgerViews
from shadowproxy.control.admin.ledger_api import ENDPOINTS, ROW
from shadowproxy.control.admin.openapi import ENDPOINTS as ALL
from shadowproxy.sinks.ledger_query import COLUMNS, FATES


def test_a_row_is_described_whole() -> None:
    """Each column, in its order."""
    assert tuple(ROW["properties"]) == COLUMNS


def test_every_operation_is_offered_and_handled() -> None:
    """What stands in the table is in the API, and has a handler."""
    assert all(endpoint in ALL for endpoint in ENDPOINTS)
    assert all(hasattr(LedgerViews, endpoint.name) for endpoint in ENDPOINTS)


def test_fates_are_those_of_rows() -> None:
    """A filter offers all of them."""
    fates = {tuple(schema["enum"]) for endpoint in ENDPOINTS for name, _, schema in endpoint.query if name == "fate"}
    assert fates == {FATES}
