"""The scrub list: one entry a write, and a suggestion that is true to what is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.ledger_undo import CHECK, COLUMNS, DELETE, FIND, RESTORE, entry
from tests.sinks.ledgering import row


@pytest.mark.parametrize(
    ("known", "undo", "target", "advice"),
    [
        ({"method": "POST", "status": 201, "location": "/orders/7"}, DELETE, "/orders/7", "it created /orders/7: delete that"),
        ({"method": "POST", "status": 303, "location": "http://shop/o/7"}, DELETE, "http://shop/o/7", "delete that"),
        ({"method": "POST", "status": 201}, FIND, "", "find what it created by trace"),
        ({"method": "POST", "status": 201, "location": "mailto:a@b"}, FIND, "", "find what it created"),
        ({"method": "POST", "status": 201, "location": "http://[oops"}, FIND, "", "find what it created"),
        ({"method": "POST", "status": 0}, FIND, "", "no answer is known"),
        ({"method": "POST", "status": 502, "location": ""}, FIND, "", "if it was carried out: the answer was 502"),
        ({"method": "POST", "status": 409, "location": "/orders/7"}, CHECK, "", "refused it with 409"),
        ({"method": "PUT", "status": 201, "target": "/o/1"}, DELETE, "/o/1", "it created /o/1"),
        ({"method": "PUT", "status": 204, "target": "/o/1"}, RESTORE, "/o/1", "to what it was before"),
        ({"method": "PUT", "status": 0, "target": "/o/1"}, RESTORE, "/o/1", "no answer is known"),
        ({"method": "PATCH", "status": 200, "target": "/o/1"}, RESTORE, "/o/1", "to what it was before"),
        ({"method": "DELETE", "status": 204, "target": "/o/1"}, RESTORE, "/o/1", "create /o/1 again"),
        ({"method": "DELETE", "status": 404, "target": "/o/1"}, CHECK, "", "refused it with 404"),
        ({"method": "GET", "status": 200, "target": "/cancel"}, FIND, "", "find what it changed"),
        ({"method": "MKCOL", "status": 201}, FIND, "", "find what it changed"),
        ({"method": "POST", "status": 201, "trace": ""}, FIND, "", "find what it created by tenant default"),
    ],
)
def test_what_is_suggested(known: dict[str, object], undo: str, target: str, advice: str) -> None:
    """What created something with a place is deleted, what changed something is restored, and doubt is said."""
    said = entry({"seq": 1, "location": "", "scrubbed": 0.0, **row(fate="partitioned", to="test"), **known})
    assert (said["undo"], said["undo_target"]) == (undo, target)
    assert advice in said["advice"]
    assert said["undo_method"] == ("DELETE" if undo == DELETE else "")
    assert tuple(said) == COLUMNS


@given(
    st.text(min_size=1, max_size=8), st.integers(0, 599), st.text(max_size=30), st.text(max_size=30), st.text("0123456789abcdef", max_size=32)
)  # fmt: skip
def test_there_is_an_entry_for_any_write(method: str, status: int, target: str, location: str, trace: str) -> None:
    """Whatever a client or a service has said."""
    said = entry({"seq": 1, "location": location, "scrubbed": 0.0, **row(method=method, target=target, trace=trace), "status": status})
    assert said["advice"]
    assert (said["method"], said["target"], said["trace"]) == (method, target, trace)
