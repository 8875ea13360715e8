"""What a tenant has changed, laid over what live holds: JSON merge patch (RFC 7396), and lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.sinks import strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.sinks.shelf import Item

LISTS: Final = ("items", "data", "results")
"""Members that hold the items of a list, as most APIs call them; the collection's own name comes first."""

TOTALS: Final = ("total", "count", "total_count", "totalCount", "size")
PAGES: Final[Mapping[str, frozenset[str]]] = {
    "page": frozenset({"", "0", "1"}),
    **dict.fromkeys(
        ("offset", "skip", "cursor", "after", "starting_after", "page_token", "pageToken", "continuation"), frozenset({"", "0"})
    ),
}
"""Query parameters that ask for a page, and their values for the first."""


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396 section 2) to a copy of `target`."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@dataclass(frozen=True, slots=True)
class Listing:
    """How a collection is listed: the member that holds ids, that which holds items ("" to look), and the collection's name."""

    id: str
    items: str
    name: str

    def overlay(self, document: Any, own: Sequence[Item], query: Mapping[str, str]) -> Any:
        """Live's list as the tenant sees it.

        Items that the tenant changed are replaced, those it deleted left out, and those it created appended: to the first page only, and
        only those that agree with query parameters that are called like one of their members. Totals move with what was added and left out.

        Args:
            document: what live answered: an array, or an object with one.
            own: the tenant's items of the collection, in order.
            query: parameters that live was asked with.

        Raises:
            ValueError: `document` is no list.
        """
        member = self._member(document)
        listed = document if member is None else document[member]
        known = {item.id: item for item in own}
        merged = []
        for element in listed:
            item = known.pop(str(element.get(self.id)), None) if isinstance(element, dict) else None
            if item is None:
                merged.append(element)
            elif item.body is not None:
                merged.append(strict.loads(item.body.encode()))
        if all(query.get(name, "") in first for name, first in PAGES.items()):
            merged += selected((item for item in known.values() if not item.over_live), query)
        if member is None:
            return merged
        return {name: _moved(name, value, len(merged) - len(listed)) for name, value in document.items()} | {member: merged}

    def _member(self, document: Any) -> str | None:
        """Which member of live's answer holds the items; None for an answer that is the array itself."""
        if isinstance(document, list):
            return None
        if isinstance(document, dict):
            wanted = (self.items,) if self.items else (self.name, *LISTS)
            for name in wanted:
                if isinstance(document.get(name), list):
                    return name
        raise ValueError("live's answer is no list")


def selected(own: Any, query: Mapping[str, str]) -> list[Any]:
    """The values of items that agree with query parameters called like one of their members."""
    values = [strict.loads(item.body.encode()) for item in own if item.body is not None]
    return [value for value in values if all(_text(value[name]) == wanted for name, wanted in query.items() if _is_plain(value.get(name)))]


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict | list)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else strict.dumps(value)


def _moved(name: str, value: Any, by: int) -> Any:
    is_total = name in TOTALS and isinstance(value, int) and not isinstance(value, bool)
    return max(0, value + by) if is_total else value
