"""A seeded corpus of body regressions among noise.

Each case is a shop that answers a stream of requests three times: live, the control (the
same build) and the shadow (a new build, with a database of its own that issues its own
ids). Around forty fields are quiet; a third as many differ between any two answers, some
always and some now and then. The new build has a few regressions, half of them in noisy
fields, each on a share of requests that is drawn from 1 % to 60 %.
"""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge.bodies.comparison import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRODUCTS: Final = 150
FLAKY: Final = {f"f{index}": share for index, share in enumerate((0.01, 0.02, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4, 0.5, 0.7))}
SHARES: Final = (0.01, 0.6)

Document = dict[str, Any]
Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Triple:
    """Three answers to one request."""

    live: Answer
    shadow: Answer
    control: Answer


@dataclass(frozen=True, slots=True)
class Regression:
    """A fault of the new build. `places` are the paths (indices left out) at which reporting it is right."""

    name: str
    places: tuple[str, ...]
    spoil: Callable[[Document, Fields, random.Random], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One build against live."""

    seed: int
    regressions: tuple[tuple[Regression, float], ...]
    are_worlds_apart: bool = True

    def triples(self, count: int) -> Iterator[Triple]:
        """The answers to `count` requests."""
        chance = random.Random(self.seed + 1)
        for index in range(count):
            product = chance.randrange(PRODUCTS)
            live, control = _answer(product, index, chance), _answer(product, index, chance)
            document, fields = _answer(product, index, chance, is_other_world=self.are_worlds_apart)
            for regression, share in self.regressions:
                if chance.random() < share:
                    regression.spoil(document, fields, chance)
            yield Triple(_wire(*live), _wire(document, fields), _wire(*control))


def case(seed: int, regressions: int = 8, *, are_worlds_apart: bool = True) -> Case:
    """The case of a seed, with up to that many regressions at different places."""
    chance = random.Random(seed)
    noisy, quiet = list(NOISY), list(QUIET)
    chance.shuffle(noisy)
    chance.shuffle(quiet)
    chosen = _apart(noisy)[: regressions // 2] + _apart(quiet)[: regressions - regressions // 2]
    low, high = SHARES
    return Case(seed, tuple((regression, low * (high / low) ** chance.random()) for regression in chosen), are_worlds_apart)


def _apart(regressions: list[Regression]) -> list[Regression]:
    """Of several at one place the first: what one lost the next cannot change."""
    return list({regression.places: regression for regression in reversed(regressions)}.values())[::-1]


def _answer(product: int, index: int, chance: random.Random, *, is_other_world: bool = False) -> tuple[Document, Fields]:
    stable = random.Random(product)
    now = 1_790_000_000 + index * 0.05 + chance.random() * 0.03
    own = random.Random(product + (10**6 if is_other_world else 10**7)).randrange(10**6)
    items = [_item(stable, line, own + line) for line in range(stable.randrange(1, 6))]
    document: Document = {
        "order": {
            "id": own,
            "uuid": str(uuid.UUID(int=own * 10**24 + 7)),
            "state": stable.choice(["open", "paid", "sent"]),
            "total": round(sum(item["unit_price"] * item["qty"] for item in items), 2),
            "currency": "EUR",
            "is_gift": stable.random() < 0.2,
            "note": stable.choice([None, "", "leave at the door"]),
            "placed_on": f"2026-0{stable.randrange(1, 10)}-1{stable.randrange(10)}",
            "items": items,
        },
        "customer": {
            "name": f"Customer {stable.randrange(10**4)}",
            "email": f"c{stable.randrange(10**4)}@shop.example",
            "address": {
                "street": f"Street {stable.randrange(400)}",
                "city": stable.choice(["Brno", "Lyon", "Turku"]),
                "zip": str(stable.randrange(10**4, 10**5)),
            },
            "level": stable.randrange(5),
            "discount": stable.randrange(30) / 10,
        },
        "page": {
            "title": f"Order {product}",
            "locale": "en",
            "version": 3,
            "links": {"self": f"/orders/{own}", "next": None},
            "rates": [1.5, 2.25, stable.randrange(9)],
        },
        "meta": {
            "served_at": f"2026-11-23T13:{int(now) // 60 % 60:02d}:{now % 60:06.3f}Z",
            "request_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "took_ms": round(chance.lognormvariate(2, 0.6), 2),
            "host": f"pod-{chance.randrange(6)}",
            "sequence": index * 3 + chance.randrange(3),
        },
        "tags": chance.sample(["new", "sale", "eco", "large", "heavy"], 5)
        if chance.random() < 0.5
        else ["new", "sale", "eco", "large", "heavy"],
        "suggestions": [{"sku": f"S{n:03d}", "score": round(chance.random(), 3)} for n in chance.sample(range(40), chance.randrange(2, 5))],
        "flaky": {name: chance.randrange(8) if chance.random() < share else 8 for name, share in FLAKY.items()},
    }
    vary = ["Accept", "Origin", "Accept-Encoding"]
    chance.shuffle(vary)
    fields = [
        ("Content-Type", "application/json"),
        ("Date", "Mon, 23 Nov 2026 13:19:43 GMT"),
        ("Cache-Control", "max-age=60, public"),
        ("Vary", ", ".join(vary)),
        ("X-Request-Id", str(chance.getrandbits(64))),
        ("X-Api-Version", "7"),
        ("X-Pod", str(chance.randrange(6))),
    ]
    return document, fields


def _item(stable: random.Random, line: int, own: int) -> Document:
    return {
        "line_id": own * 10 + line,
        "sku": f"SKU-{stable.randrange(900)}-{line}",
        "qty": stable.randrange(1, 5),
        "unit_price": stable.randrange(100, 9000) / 100,
        "label": stable.choice(["blue", "green", "red"]),
        "stock": {"left": stable.randrange(50), "place": stable.choice("ABC")},
    }


def _wire(document: Document, fields: Fields) -> Answer:
    return Answer("200", tuple(fields), json.dumps(document).encode())


def _at(path: str, change: Callable[[Any, random.Random], Any]) -> Callable[[Document, Fields, random.Random], None]:
    """Change what is at `path` of a document, in each element of the arrays on the way."""

    def spoil(document: Document, fields: Fields, chance: random.Random) -> None:
        *way, last = path.split(".")
        owners: list[Any] = [document]
        for name in way:
            found = [owner[name] for owner in owners if isinstance(owner, dict) and name in owner]
            owners = [element for value in found for element in (value if isinstance(value, list) else [value])]
        for owner in owners:
            if isinstance(owner, dict) and last in owner:
                value = change(owner[last], chance)
                if value is _GONE:
                    del owner[last]
                else:
                    owner[last] = value

    return spoil


def _header(name: str, value: str | None) -> Callable[[Document, Fields, random.Random], None]:
    def spoil(document: Document, fields: Fields, chance: random.Random) -> None:
        fields[:] = [
            (field, value if field == name and value is not None else said) for field, said in fields if field != name or value is not None
        ]

    return spoil


_GONE: Final = object()


def _regression(name: str, path: str, change: Callable[[Any, random.Random], Any], *more: str) -> Regression:
    return Regression(name, (f"body.{path}", *(f"body.{place}" for place in more)), _at(path, change))


QUIET: Final = (
    _regression("cents for euros", "order.total", lambda v, c: v * 100),
    _regression("rounded", "order.items.unit_price", lambda v, c: round(v)),
    _regression("another word", "order.state", lambda v, c: "unknown"),
    _regression("number as text", "order.items.qty", lambda v, c: str(v)),
    _regression("null for text", "customer.name", lambda v, c: None),
    _regression("lost", "customer.address.zip", lambda v, c: _GONE),
    _regression("lost object", "order.items.stock", lambda v, c: _GONE),
    _regression("flag turned", "order.is_gift", lambda v, c: not v),
    _regression("letters garbled", "customer.address.city", lambda v, c: v[:1] + "�" + v[2:]),
    _regression("date shifted", "order.placed_on", lambda v, c: v[:-1] + str((int(v[-1]) + 1) % 10)),
    _regression("off by one", "customer.level", lambda v, c: v + 1),
    _regression("text for nothing", "page.links.next", lambda v, c: "null"),
    _regression("array cut", "page.rates", lambda v, c: v[:-1]),
    _regression("array turned", "page.rates", lambda v, c: v[::-1], "page.rates"),
    _regression("version as text", "page.version", lambda v, c: "3"),
    Regression("not cacheable", ("header.cache-control",), _header("Cache-Control", "no-store")),
    Regression("version not told", ("header.x-api-version",), _header("X-Api-Version", None)),
)

NOISY: Final = (
    _regression("time as number", "meta.served_at", lambda v, c: 1_790_000_000),
    _regression("time an hour off", "meta.served_at", lambda v, c: v[:11] + f"{(int(v[11:13]) + 1) % 24:02d}" + v[13:]),
    _regression("no request id", "meta.request_id", lambda v, c: None),
    _regression("request id a number", "meta.request_id", lambda v, c: c.randrange(10**6)),
    _regression("thousandths for seconds", "meta.took_ms", lambda v, c: str(v)),
    _regression("tag lost", "tags", lambda v, c: v[:-1]),
    _regression("score as text", "suggestions.score", lambda v, c: str(v)),
    _regression("no suggestions", "suggestions", lambda v, c: None),
    _regression("flaky lost", "flaky.f5", lambda v, c: _GONE),
    _regression("flaky text", "flaky.f8", lambda v, c: str(v)),
    *(_regression(f"flakier {name}", f"flaky.{name}", lambda v, c: c.randrange(8)) for name in ("f3", "f4", "f6", "f7")),
    _regression("wrong order", "order.id", lambda v, c: c.randrange(10**6)),
    _regression("sequence lost", "meta.sequence", lambda v, c: 0),
)
