"""Bodies end to end: client, proxy, origins, captures, redaction, evidence, verdict, exemplars."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.kit.origin import Answer, Turn

SECRET: Final = "wonderland-9A7f-secret-1234567890"


def shop(change: Callable[[dict[str, Any]], None] = lambda _: None, *, coding: str = "") -> Answer:
    """An answer with a price, a token, a number drawn anew, and what `change` makes of it."""
    drawn = itertools.count()

    def answer(turn: Turn) -> None:
        document: dict[str, Any] = {
            "order": {"price": 1050, "currency": "EUR"},
            "drawn": next(drawn) * id(turn) % 7,
            "token": SECRET,
            "items": [1, 2, 3],
        }
        change(document)
        body = json.dumps(document).encode()
        fields = [("Content-Type", "application/json")]
        if coding:
            body = gzip.compress(body)
            fields.append(("Content-Encoding", coding))
        ok(body, fields=fields)(turn)

    return answer


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """Live, shadow, and a control fleet of live's build."""
    made = {name: Origin(name) for name in ("live", "shadow", "control")}
    for origin in made.values():
        origin.answer = shop()
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin], **mirror: Any) -> dict[str, Any]:
    """Everything mirrored and captured."""
    return {
        "listen": [{"name": "front"}],
        "fleets": {name: {"endpoints": [origin.url]} for name, origin in origins.items()},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow", "capture": {"per_second": 1000}, **mirror}]}],
        "limits": {"drain_timeout": "5s"},
    }


def verdict_of(proxy: SupervisedProxy) -> Any:
    """The document of the one mirror."""
    (found,) = proxy.api("GET", "/api/v1/verdict").json()["verdicts"]
    return found


def fields(proxy: SupervisedProxy) -> dict[str, Any]:
    """What the verdict says of fields, by path."""
    return {one["path"]: one for one in verdict_of(proxy)["fields"]}


def ask(proxy: SupervisedProxy, count: int) -> None:
    """Send requests one after the other, each with a secret."""
    with Client(proxy.address("front")) as client:
        for number in range(count):
            assert client.get(f"/orders/{number}?token={SECRET}", ("Authorization", f"Bearer {SECRET}")).status == 200


def test_a_wrong_field_is_found_among_noise(origins: dict[str, Origin], tmp_path: Path) -> None:
    """With a pair to look at, and no secret in the verdict, the exemplar or anything on disk."""

    def spoil(document: dict[str, Any]) -> None:
        document["order"]["price"] *= 100

    origins["shadow"].answer = shop(spoil, coding="gzip")
    with SupervisedProxy(config(origins, control={"to": "control"}, judge={"bodies": "fail"}), tmp_path) as proxy:
        ask(proxy, 40)
        eventually(lambda: fields(proxy).get("body.order.price", {}).get("is_reported"), "the price is reported", patience_s=60)
        found = fields(proxy)
        assert (found["body.order.price"]["kind"], found["body.order.price"]["noise"]) == ("magnitude", 0)
        assert {path for path, one in found.items() if one["is_reported"]} == {"body.order.price", "header.content-encoding"}
        eventually(lambda: verdict_of(proxy)["verdict"] == "REGRESSION", "bodies make the verdict", patience_s=60)
        verdict = verdict_of(proxy)
        assert verdict["cause"] == "bodies", verdict["summary"]
        exemplar = proxy.api("GET", f"/api/v1/exemplars/{found['body.order.price']['example']}")
        assert exemplar.status == 200
        assert SECRET.encode() not in exemplar.body
        assert SECRET not in json.dumps(verdict)
    assert not [file for file in tmp_path.iterdir() if SECRET.encode() in file.read_bytes()]


def test_the_same_build_differs_in_nothing_that_counts(origins: dict[str, Origin], tmp_path: Path) -> None:
    """A number drawn anew differs in every arm."""
    with SupervisedProxy(config(origins, control={"to": "control"}), tmp_path) as proxy:
        ask(proxy, 60)
        eventually(lambda: fields(proxy).get("body.drawn", {}).get("compared", 0) >= 50, "pairs are compared", patience_s=60)
        assert not [path for path, one in fields(proxy).items() if one["is_reported"]]


def test_a_rule_of_the_config_holds(origins: dict[str, Origin], tmp_path: Path) -> None:
    """The first difference of what must be equal is a finding; what is to be ignored is not even told."""
    origins["shadow"].answer = shop(lambda document: document.update(items=[3, 2, 1]))
    rules = [{"path": "body.drawn", "treat": "ignore"}, {"path": "body.items", "treat": "equal"}]
    with SupervisedProxy(config(origins, judge={"fields": rules}), tmp_path) as proxy:
        ask(proxy, 3)
        eventually(lambda: fields(proxy).get("body.items", {}).get("is_reported"), "the order is reported", patience_s=60)
        assert set(fields(proxy)) == {"body.items"}
