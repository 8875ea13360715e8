"""Stateful resources: what a tenant creates, changes and deletes is there for it, and for nobody else.

    POST   /orders         201, Location; the id is new, and none of production's
    GET    /orders         the tenant's items, laid over live's own list
    GET    /orders/7       200, or 421 when nothing is known: the proxy then asks live
    PUT, PATCH, DELETE     change what the tenant sees: what only live holds is copied before it is patched, and hidden when deleted

Live is only ever read. ETags are strong; If-Match and If-None-Match hold as RFC 9110 section 13 says.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from shadowproxy.config.sinks import NUMBER_ABOVE_ALL, IdForm
from shadowproxy.sinks import strict
from shadowproxy.sinks.call import JSON, Answer, Refused, answer_json
from shadowproxy.sinks.overlay import Listing, merge_patch, selected
from shadowproxy.sinks.patterns import compile_pattern

if TYPE_CHECKING:
    from shadowproxy.config.sinks import Collection
    from shadowproxy.config.sinks import Resources as ResourcesConfig
    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.live import Live
    from shadowproxy.sinks.patterns import Pattern
    from shadowproxy.sinks.shelf import Item, Shelf

ID_LIMIT: Final = 200
"""Characters of an id."""

MERGE_PATCH: Final = "application/merge-patch+json"
MARK: Final = 0x7E577E577E57
"""The first 48 bits of UUIDs that sinks issue: version 8 (RFC 9562 section 5.8), which no generator of version 4 or 7 hits."""

_COLLECTION_METHODS: Final = "GET, HEAD, POST"
_ITEM_METHODS: Final = "GET, HEAD, PUT, PATCH, DELETE"


@dataclass(frozen=True, slots=True)
class Kind:
    """A collection, compiled."""

    config: Collection
    pattern: Pattern
    listing: Listing


@dataclass(frozen=True, slots=True)
class Spot:
    """What a path names: a collection of this call's tenant by its key, or with an id one of its items."""

    kind: Kind
    key: str
    id: str
    ancestors: tuple[tuple[str, str], ...]


class Resources:
    """The resources of one sink.

    Args:
        name: of the sink.
        config: its collections.
        shelf: where items are kept.
        live: what they are laid over; None for nothing.
        is_asked: whether the proxy asks live where the answer is 421.
    """

    def __init__(self, name: str, config: ResourcesConfig, shelf: Shelf, live: Live | None, *, is_asked: bool) -> None:
        self._name = name
        self._shelf = shelf
        self._live = live
        self._is_asked = is_asked
        self._kinds = [
            Kind(one, compile_pattern(one.path), Listing(one.id, one.items, one.path.rpartition("/")[2])) for one in config.collections
        ]

    async def answer(self, call: Call) -> Answer | None:
        """What `call` is told; None when its path belongs to no collection. Raises as `sink.Responder`."""
        spot = self._locate(call.segments)
        if spot is None:
            return None
        for key, parent in spot.ancestors:
            held = self._shelf.get(self._name, call.tenant, key, parent)
            if held is not None and held.body is None:
                raise Refused(404, "not_found", "what it belongs to has been deleted")
        if spot.id:
            return await self._of_item(call, spot)
        return await self._of_collection(call, spot)

    def _locate(self, segments: tuple[str, ...]) -> Spot | None:
        if segments and not segments[-1]:
            segments = segments[:-1]  # /orders/ is /orders
        for kind in self._kinds:
            depth = len(kind.pattern.segments)
            if depth <= len(segments) <= depth + 1 and kind.pattern.match(segments[:depth]) is not None:
                ancestors = tuple((key_of(segments[:index]), segments[index]) for index, _ in kind.pattern.names)
                return Spot(kind, key_of(segments[:depth]), segments[depth] if len(segments) > depth else "", ancestors)
        return None

    # -- collections

    async def _of_collection(self, call: Call, spot: Spot) -> Answer:
        if call.method == "POST":
            return self._create(call, spot)
        if call.method in ("GET", "HEAD"):
            return await self._list(call, spot)
        raise Refused(405, "method_not_allowed", f"{call.method} is not for a collection", Allow=_COLLECTION_METHODS)

    def _create(self, call: Call, spot: Spot) -> Answer:
        value = dict(_object(call))
        field = spot.kind.config.id
        given = value.get(field)
        is_fresh = given is None
        if is_fresh:
            given = self._new_id(call, spot)
        elif not _is_id(given):
            raise Refused(400, "bad_id", f"{field} must be a text of 1 to {ID_LIMIT} visible characters, or a whole number")
        elif (held := self._shelf.get(self._name, call.tenant, spot.key, str(given))) is not None and held.body is not None:
            raise Refused(409, "exists", f"there is one with this {field} already")
        # An id that the client chose may be one that live holds: deleting it must hide that one too.
        over_live = not is_fresh and self._live is not None
        item = self._keep(call, spot, str(given), value | {field: given}, over_live=over_live, is_fresh=is_fresh)
        path = call.target.partition("?")[0].rstrip("/")
        return _shown(item, 201, Location=f"{path}/{quote(str(given), safe='')}")

    def _new_id(self, call: Call, spot: Spot) -> str | int:
        match spot.kind.config.ids:
            case IdForm.INTEGER:
                while True:  # the counter may have been forgotten, and items not
                    number = self._shelf.count(self._name, call.tenant, f"ids.{spot.key}", NUMBER_ABOVE_ALL)
                    if self._shelf.get(self._name, call.tenant, spot.key, str(number)) is None:
                        return number
            case IdForm.PREFIXED:
                return spot.kind.config.prefix + secrets.token_hex(10)
        return str(uuid.UUID(int=MARK << 80 | 8 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)))

    async def _list(self, call: Call, spot: Spot) -> Answer:
        own = self._shelf.of_collection(self._name, call.tenant, spot.key)
        parents = [self._shelf.get(self._name, call.tenant, key, parent) for key, parent in spot.ancestors]
        is_ours = any(parent is not None and not parent.over_live for parent in parents)  # live knows nothing below it
        if is_ours or (self._live is None and (own or not self._is_asked)):
            return answer_json(200, selected(own, call.query))
        if not own and self._is_asked:
            return Answer(421)
        if self._live is None:
            return answer_json(200, [])
        answer = await self._live.get(call)
        if not own:
            return answer
        if answer.status in (404, 410):
            return answer_json(200, selected(own, call.query))
        if answer.status != 200:
            return answer
        try:
            return answer_json(200, spot.kind.listing.overlay(strict.loads(answer.body), own, call.query))
        except ValueError as error:
            raise Refused(502, "live_no_list", str(error)) from None

    # -- items

    async def _of_item(self, call: Call, spot: Spot) -> Answer:
        if len(spot.id) > ID_LIMIT:
            raise Refused(404, "not_found", f"ids have at most {ID_LIMIT} characters")
        held = self._shelf.get(self._name, call.tenant, spot.key, spot.id)
        match call.method:
            case "GET" | "HEAD":
                return await self._read(call, held)
            case "PUT":
                return await self._replace(call, spot, held)
            case "PATCH":
                return await self._patch(call, spot, held)
            case "DELETE":
                return await self._delete(call, spot, held)
        raise Refused(405, "method_not_allowed", f"{call.method} is not for an item", Allow=_ITEM_METHODS)

    async def _read(self, call: Call, held: Item | None) -> Answer:
        if held is None:
            if self._is_asked:
                return Answer(421)
            if self._live is None:
                raise _not_found()
            return await self._live.get(call)
        if held.body is None:
            raise _not_found()
        if _matches(call.headers.get("if-none-match"), etag_of(held)):
            return Answer(304, headers={"ETag": etag_of(held)})
        return _shown(held, 200)

    async def _replace(self, call: Call, spot: Spot, held: Item | None) -> Answer:
        value = self._with_id(spot, dict(_object(call)), None)
        answer = await self._ask_live(call, held)
        held = held or self._shelf.get(self._name, call.tenant, spot.key, spot.id)
        is_there = held.body is not None if held is not None else answer is not None and answer.status not in (404, 410)
        self._check_conditions(call, held, answer, is_there=is_there)
        over_live = held.over_live if held is not None else is_there
        item = self._keep(call, spot, spot.id, value, over_live=over_live)
        return _shown(item, 200 if is_there else 201)

    async def _patch(self, call: Call, spot: Spot, held: Item | None) -> Answer:
        if call.content_type not in ("", JSON, MERGE_PATCH):
            raise Refused(415, "unsupported_media_type", f"send {MERGE_PATCH} (RFC 7396)", Accept_Patch=MERGE_PATCH)
        patch = call.json
        answer = await self._ask_live(call, held)
        # Another request may have come first while live was asked: what it kept is patched, so that neither is lost.
        held = held or self._shelf.get(self._name, call.tenant, spot.key, spot.id)
        if held is None and (answer is None or answer.status in (404, 410)):
            raise _not_found()
        if held is not None and held.body is None:
            raise _not_found()
        self._check_conditions(call, held, answer, is_there=True)
        before = strict.loads(held.body.encode()) if held is not None and held.body is not None else _read_live(answer)
        merged = merge_patch(before, patch)
        if not isinstance(patch, dict) or not isinstance(merged, dict):
            raise Refused(400, "not_an_object", "the patch must be a JSON object")
        value = self._with_id(spot, merged, before.get(spot.kind.config.id))
        return _shown(self._keep(call, spot, spot.id, value, over_live=held is None or held.over_live), 200)

    async def _delete(self, call: Call, spot: Spot, held: Item | None) -> Answer:
        answer = await self._ask_live(call, held)
        held = held or self._shelf.get(self._name, call.tenant, spot.key, spot.id)
        if held is None and (answer is None or answer.status in (404, 410)):
            raise _not_found()
        if held is not None and held.body is None:
            raise _not_found()
        self._check_conditions(call, held, answer, is_there=True)
        if held is None or held.over_live:
            self._shelf.put(self._name, call.tenant, spot.key, spot.id, None, over_live=True)
        else:
            self._shelf.drop(self._name, call.tenant, spot.key, spot.id)
        self._shelf.drop_below(self._name, call.tenant, f"{spot.key}/{_escaped(spot.id)}")
        return Answer(204)

    async def _ask_live(self, call: Call, held: Item | None) -> Answer | None:
        """What live says about an item that is not held; None when it need not, or cannot, be asked.

        Raises:
            Refused: live cannot be reached, or says that this caller may not see it.
        """
        if held is not None or self._live is None:
            return None
        answer = await self._live.get(call, call.target.partition("?")[0])
        if answer.status in (404, 405, 410) or 200 <= answer.status < 300:
            return answer
        if answer.status in (401, 403):
            raise Refused(answer.status, "live_refuses", "live does not let this caller see it")
        raise Refused(502, "live_unavailable", f"live answered {answer.status}")

    def _with_id(self, spot: Spot, value: dict[str, Any], known: Any) -> dict[str, Any]:
        """`value` with the id that the path says, of the type it had."""
        field = spot.kind.config.id
        given = value.get(field, known)
        if given is None:
            given = int(spot.id) if spot.kind.config.ids is IdForm.INTEGER and spot.id.isascii() and spot.id.isdigit() else spot.id
        elif not _is_id(given) or str(given) != spot.id:
            raise Refused(409, "id_mismatch", f"{field} is not that of the path")
        return value | {field: given}

    def _keep(self, call: Call, spot: Spot, key: str, value: dict[str, Any], *, over_live: bool, is_fresh: bool = False) -> Item:
        return self._shelf.put(self._name, call.tenant, spot.key, key, strict.dumps(value), over_live=over_live, is_fresh=is_fresh)

    def _check_conditions(self, call: Call, held: Item | None, answer: Answer | None, *, is_there: bool) -> None:
        """Refuse a change whose condition does not hold (RFC 9110 sections 13.1.1 and 13.1.2).

        Raises:
            Refused: 412.
        """
        tag = etag_of(held) if held is not None and held.body is not None else ""
        if held is None and answer is not None:
            tag = next((value for name, value in answer.headers.items() if name.lower() == "etag"), "")
        wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
        if wanted is not None and not (is_there and _matches(wanted, tag)):
            raise Refused(412, "changed", "If-Match does not hold")
        if unwanted is not None and is_there and _matches(unwanted, tag):
            raise Refused(412, "exists", "If-None-Match does not hold")


def key_of(segments: tuple[str, ...]) -> str:
    """The key of a collection: its path with escaped segments."""
    return "/" + "/".join(_escaped(segment) for segment in segments)


def etag_of(item: Item) -> str:
    """A strong entity tag: versions restart when an item is created anew, times do not."""
    return f'"{item.version}-{int(item.at * 1e6):x}"'


def _escaped(segment: str) -> str:
    return segment.replace("%", "%25").replace("/", "%2F")


def _object(call: Call) -> dict[str, Any]:
    if not call.is_json:
        raise Refused(415, "unsupported_media_type", f"send {JSON}", Accept=JSON)
    if not isinstance(call.json, dict):
        raise Refused(400, "not_an_object", "the body must be a JSON object")
    return call.json


def _is_id(value: Any) -> bool:
    return (isinstance(value, str) and 0 < len(value) <= ID_LIMIT and value.isprintable()) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    )


def _read_live(answer: Answer | None) -> dict[str, Any]:
    try:
        value = strict.loads(answer.body) if answer is not None else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(502, "live_no_object", "what live holds is no JSON object: it cannot be patched")
    return value


def _matches(field: str | None, tag: str) -> bool:
    if field is None:
        return False
    return field.strip() == "*" or (bool(tag) and tag in (one.strip() for one in field.split(",")))


def _not_found() -> Refused:
    return Refused(404, "not_found", "there is no such item")


def _shown(item: Item, status: int, **headers: str) -> Answer:
    assert item.body is not None
    return Answer(status, item.body.encode(), JSON, {"ETag": etag_of(item), **headers})
