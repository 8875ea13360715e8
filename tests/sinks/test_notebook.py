"""What ready-made sinks keep, as JSON objects."""

from __future__ import annotations

import pytest

from shadowproxy.sinks.call import Refused
from shadowproxy.sinks.notebook import Notebook, fresh_id, now_s
from shadowproxy.sinks.shelf import Shelf
from tests.sinks.kit import call


def test_notes_are_the_tenants() -> None:
    """Kept, found, listed and dropped for one tenant; the absence of something is nothing."""
    shelf = Shelf()
    book, mine, other = Notebook("s", shelf, is_asked=False), call("GET", "/?limit=2"), call("GET", "/", tenant="other")
    for number in range(3):
        book.put(mine, "/x", str(number), {"n": number})
    shelf.put("s", "default", "/x", "hidden", None)
    assert book.get(mine, "/x", "1") == {"n": 1}
    assert book.get(other, "/x", "1") is None
    assert book.get(mine, "/x", "hidden") is None
    assert book.all(mine, "/x") == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert book.listed(mine, "/x", "rows").body == b'{"rows":[{"n":2},{"n":1}],"total":3}'
    assert not book.drop(other, "/x", "1")
    assert book.drop(mine, "/x", "1")


@pytest.mark.parametrize("limit", ["0", "-1", "x", "", "1001", "9" * 50, "\u0663"])
def test_a_limit_is_a_small_number(limit: str) -> None:
    """Anything else is refused."""
    with pytest.raises(Refused, match="limit"):
        Notebook("s", Shelf(), is_asked=False).listed(call("GET", f"/?limit={limit}"), "/x", "rows")


def test_ids_and_times() -> None:
    """An id says that it is a test's, and comes once; times are whole seconds."""
    assert fresh_id("ch").startswith("ch_test_")
    assert fresh_id("ch") != fresh_id("ch")
    assert now_s(lambda: 5.9) == 5
