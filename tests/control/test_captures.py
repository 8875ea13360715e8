"""Captured pairs on their way to evidence and exemplars."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

from shadowproxy.config import load_text
from shadowproxy.config.model import FieldOrder, FieldTreatment
from shadowproxy.control import captures
from shadowproxy.control.captures import Captures, Plan, plans_of
from shadowproxy.judge.bodies.fieldcounts import Basis, Standing
from shadowproxy.judge.bodies.rules import Order, Rule, Treatment
from shadowproxy.redaction import Rules, Scrubbed, Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Plain = dict[str, Any]

SCRUBBER = Scrubber(Rules(), b"k" * 32)


def answer(document: Any, *, outcome: str = "200", coding: str = "", cut: bool = False) -> Plain:
    """An answer that is a JSON document."""
    pack: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}
    headers = [["Content-Type", "application/json"], *([["Content-Encoding", coding]] if coding else [])]
    body = base64.b64encode(pack[coding](json.dumps(document).encode())).decode()
    return {"outcome": outcome, "first_ns": 1000, "last_ns": 2000, "headers": headers, "body": body, "cut": cut}


def capture(number: int, live: Plain, shadow: Plain, *, arm: str = "") -> Plain:
    """A capture as a worker sends it."""
    request = {"method": "GET", "target": "/a", "headers": [["Authorization", "Bearer wonderland-1234567890"]], "body": "", "cut": False}
    return {
        "id": f"r{number}",
        "mirror": f"shop/next{arm}",
        "at": 1_790_000_000.0 + number,
        "trace": "",
        "request": request,
        "live": live,
        "shadow": shadow,
    }


class Kept:
    """What was handed on."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Scrubbed, list[Any]]] = []

    def __call__(self, pair: Scrubbed, fields: Sequence[Any], scrubber: Scrubber) -> None:
        """Keep one pair."""
        assert isinstance(scrubber, Scrubber)
        self.pairs.append((pair, list(fields)))


@pytest.fixture
def kept() -> Kept:
    """The exemplars' end."""
    return Kept()


@pytest.fixture
def judged(kept: Kept) -> Iterator[Captures]:
    """Captures without a limit of their own."""
    one = Captures(SCRUBBER, kept, share=1.0)
    yield one
    one.close()


def test_a_field_that_only_the_shadow_changes_is_found(judged: Captures, kept: Kept) -> None:
    """Arms are joined by id, whichever comes first; the pair and what is odd in it is handed on, with the control's answer."""
    judged.follow({"shop/next": Plan(Basis.CONTROL)})
    for number in range(12):
        arms = [capture(number, answer({"a": 1}), answer({"a": 2})), capture(number, answer({"a": 1}), answer({"a": 1}), arm=".control")]
        judged.offer(arms if number % 2 else arms[::-1])
    assert judged.flush()
    (finding,) = judged.snapshot("shop/next").findings
    assert (finding.path, finding.standing, finding.differs, finding.noise) == ("body.a", Standing.REGRESSION, 12, 0)
    assert judged.log_e("shop/next") > 0
    (told,) = judged.fields("shop/next")
    assert (told["path"], told["is_reported"], told["example"]) == ("body.a", True, "r11")
    pair, fields = kept.pairs[-1]
    assert fields == [{"path": "body.a", "kind": "value", "live": "1", "shadow": "2"}]
    assert base64.b64decode(pair["control"]["body"]) == b'{"a": 1}'
    assert judged.counters == {"received": 24, "compared": 12, "dropped": 0}


def test_noise_is_not_handed_on_as_a_difference(judged: Captures, kept: Kept) -> None:
    """The pair is, because its status or its time may be odd."""
    judged.follow({"shop/next": Plan(Basis.CONTROL)})
    judged.offer([capture(1, answer({"a": 1}), answer({"a": 2})), capture(1, answer({"a": 1}), answer({"a": 3}), arm=".control")])
    assert judged.flush()
    assert [fields for _, fields in kept.pairs] == [[]]


def test_nothing_secret_gets_past_the_scrubber(judged: Captures, kept: Kept) -> None:
    """Not to exemplars and not into findings."""
    secret = "wonderland-1234567890"
    judged.follow({"shop/next": Plan()})
    for number in range(20):
        judged.offer([capture(number, answer({"token": secret, "a": secret}, coding="br"), answer({"a": secret + "!"}, coding="zstd"))])
    assert judged.flush()
    findings = json.dumps([finding.to_plain() for finding in judged.snapshot("shop/next").findings])
    assert secret not in findings
    assert "body.token" in findings
    for pair, fields in kept.pairs:
        assert secret not in json.dumps([pair, fields])
        assert all(secret.encode() not in base64.b64decode(pair[arm]["body"]) for arm in ("live", "shadow"))


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_the_same_document_in_another_coding_is_the_same(judged: Captures, coding: str) -> None:
    """Codings are undone before bodies are compared; which one it was is a matter of the header."""
    judged.follow({"shop/next": Plan()})
    judged.offer([capture(1, answer({"a": [1, 2, 3] * 50}, coding=coding), answer({"a": [1, 2, 3] * 50}))])
    assert judged.flush()
    assert [(finding.path, finding.kind.value) for finding in judged.snapshot("shop/next").findings] == [
        ("header.content-encoding", "missing")
    ]


def test_a_body_that_cannot_be_looked_through_is_compared_by_digest(judged: Captures) -> None:
    """Pictures differ or do not."""
    picture = {"outcome": "200", "headers": [["Content-Type", "image/png"]], "cut": False}
    judged.follow({"shop/next": Plan(Basis.CONTROL)})
    for number in range(12):
        live, shadow = (picture | {"body": base64.b64encode(bytes([0, number, side])).decode()} for side in (0, 1))
        judged.offer([capture(number, live, shadow), capture(number, live, live, arm=".control")])
    assert judged.flush()
    (finding,) = judged.snapshot("shop/next").findings
    assert (finding.path, finding.kind.value, finding.differs, finding.noise) == ("body", "digest", 12, 0)


def test_without_an_arm_each_pair_is_judged_at_once(judged: Captures) -> None:
    """By direction."""
    judged.follow({"shop/next": Plan()})
    judged.offer([capture(number, answer({"a": 1}), answer({})) for number in range(20)])
    assert judged.flush()
    assert judged.snapshot("shop/next").findings[0].is_reported


def test_what_waits_in_vain_is_let_go(kept: Kept) -> None:
    """With a control arm it counts nothing, where live is asked again now and then it is judged alone."""
    now = [0.0]
    judged = Captures(SCRUBBER, kept, share=1.0, monotonic=lambda: now[0])
    try:
        judged.follow({"shop/next": Plan(Basis.CONTROL), "shop/other": Plan(Basis.RESEND)})
        alone = capture(1, answer({"a": 1}), answer({"a": 2}))
        judged.offer([alone, alone | {"mirror": "shop/other"}])
        assert judged.flush()
        assert judged.snapshot("shop/other").compared == 0
        now[0] += captures.WAITING_S
        assert judged.flush()
        assert judged.snapshot("shop/other").compared == 1 or judged.flush()
        assert judged.counters["unpaired"] == 1
        assert judged.counters["compared"] == 1
    finally:
        judged.close()


def test_memory_for_what_waits_is_bounded(judged: Captures, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest gives way."""
    monkeypatch.setattr(captures, "WAITING_LIMIT", 10)
    judged.follow({"shop/next": Plan(Basis.CONTROL)})
    judged.offer([capture(number, answer({"a": 1}), answer({"a": 2})) for number in range(100)])
    assert judged.flush()
    assert judged.counters["unpaired"] == 90
    assert len(judged._waiting) == 10


def test_the_queue_is_bounded_and_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop never waits for the thread; what has no room is counted."""
    is_free = threading.Event()

    class Slow(Scrubber):
        """Waits before it works."""

        def scrub(self, capture: Plain) -> Scrubbed:
            """Scrub when it may."""
            is_free.wait(20)
            return super().scrub(capture)

    monkeypatch.setattr(captures, "QUEUE_LIMIT", 5)
    judged = Captures(Slow(Rules(), b"k" * 32), share=1.0)
    try:
        judged.follow({"shop/next": Plan()})
        dropped = judged.offer([capture(number, answer(1), answer(1)) for number in range(20)])
        assert 14 <= dropped < 20
        is_free.set()
        assert judged.flush()
        assert judged.counters["dropped"] == dropped
        assert judged.counters["compared"] == 20 - dropped
    finally:
        is_free.set()
        judged.close()


def test_what_is_dropped_is_dropped_in_all_its_arms() -> None:
    """A request of which one arm was dropped would be of no use."""
    names = [f"{number:x}" for number in range(400)]
    half, quarter = ({name for name in names if captures._is_chosen(name, fill)} for fill in (0.6, 0.8))
    assert all(captures._is_chosen(name, 0.4) for name in names)
    assert quarter < half
    assert 150 < len(half) < 250
    assert 70 < len(quarter) < 130


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"mirror": "shop/next"},
        {"mirror": "shop/unknown", "id": "1"},
        {"mirror": "shop/next", "id": "1", "live": None, "shadow": {"outcome": "200", "body": "!!"}},
        {"mirror": "shop/next", "live": {"headers": 7}, "shadow": {"headers": [[1]]}},
        {"mirror": "shop/next", "live": {"headers": [["Content-Encoding", "gzip"]], "body": "eA"}, "shadow": {}},
    ],
)
def test_a_broken_capture_costs_nothing_else(judged: Captures, broken: Plain) -> None:
    """It is counted, and the next one is judged."""
    judged.follow({"shop/next": Plan()})
    judged.offer([broken, capture(1, answer({"a": 1}), answer({"a": 2}))])
    assert judged.flush()
    assert judged.snapshot("shop/next").compared == 1


def test_another_plan_and_another_build_begin_anew(judged: Captures) -> None:
    """The same plan does not; a mirror that is gone is forgotten."""
    plan = Plan(Basis.DIRECTION, (Rule(path="body.b", treat=Treatment.IGNORE),))
    judged.follow({"shop/next": plan})
    pair = capture(1, answer({"a": 1, "b": 1}), answer({"a": 2, "b": 2}))
    judged.offer([pair])
    judged.follow({"shop/next": plan})
    assert judged.flush()
    assert [finding.path for finding in judged.snapshot("shop/next").findings] == ["body.a"]
    judged.restart("shop/next")
    assert judged.snapshot("shop/next").findings == ()  # at once, whatever the thread has still to do
    assert judged.flush()
    assert judged.snapshot("shop/next").compared == 0
    judged.offer([pair])
    judged.follow({"shop/next": Plan()})
    assert judged.flush()
    assert judged.snapshot("shop/next").compared == 0
    judged.follow({})
    assert judged.flush()
    assert judged.snapshots == {}
    assert judged.snapshot("shop/next") == captures.Snapshot()


def test_what_becomes_a_secret_is_shown_no_longer(judged: Captures, kept: Kept) -> None:
    """Under other rules everything begins anew, what waited for its other arm included."""
    judged.follow({"shop/next": Plan(Basis.CONTROL)})
    pair, beside = (capture(1, answer({"pet": "rex-the-dog"}), answer({"pet": "tom"}), arm=arm) for arm in ("", ".control"))
    judged.offer([pair, beside | {"shadow": pair["live"]}, pair | {"id": "r2"}])
    assert judged.flush()
    assert "rex-the-dog" in json.dumps(judged.fields("shop/next"))
    judged.use(SCRUBBER.under(Rules(fields=("pet",))))
    assert judged.fields("shop/next") == []
    judged.offer([beside | {"id": "r2"}])
    judged.offer([pair, beside | {"shadow": pair["live"]}])
    assert judged.flush()
    assert judged.snapshot("shop/next").compared == 1
    assert "rex-the-dog" not in json.dumps(judged.fields("shop/next"))
    assert len(kept.pairs) == 2


def test_the_thread_keeps_to_its_share() -> None:
    """CPU used beyond what was saved up is slept off, so control has the rest of the core."""
    judged = Captures(SCRUBBER, share=0.04)
    try:
        judged.follow({"shop/next": Plan()})
        large = {"rows": [{"id": number, "v": number} for number in range(300)]}
        cpu, wall = time.process_time(), time.monotonic()
        judged.offer([capture(number, answer(large), answer({"rows": [row | {"v": -1} for row in large["rows"]]})) for number in range(60)])
        judged.flush(3.0)
        elapsed = time.monotonic() - wall
        assert time.process_time() - cpu <= captures.BURST_S + 0.04 * elapsed + 0.5
    finally:
        judged.close()


def test_the_config_and_the_judge_speak_of_the_same() -> None:
    """The judge knows nothing of the config: its words are its own, and must be the same."""
    assert [one.value for one in Treatment] == [one.value for one in FieldTreatment]
    assert [one.value for one in Order] == [one.value for one in FieldOrder]


def test_plans_follow_the_config() -> None:
    """A control arm comes first, then live asked again, then direction; rules are those of the config."""
    loaded = load_text("""
listen: ["127.0.0.1:0"]
fleets: {live: {endpoints: ["http://10.0.0.1:80"]}, next: {endpoints: ["http://10.0.0.2:80"]}, same: {endpoints: ["http://10.0.0.3:80"]}}
routes:
  - name: shop
    live: live
    mirror:
      - {to: next, name: a, percent: 100, control: {to: same}, judge: {alpha: 0.01, fields: [{path: body.x, order: keyed, key: k, absolute: 2}]}}
      - {to: next, name: b, percent: 100, resend: 1}
      - {to: next, name: c, percent: 100, resend: 0}
""")
    rule = Rule(path="body.x", order=Order.KEYED, key="k", absolute=2.0)
    assert plans_of(loaded.config) == {
        "shop/a": Plan(Basis.CONTROL, (rule,), 0.01),
        "shop/b": Plan(Basis.RESEND),
        "shop/c": Plan(Basis.DIRECTION),
    }


def test_the_name_of_a_build_is_no_finding() -> None:
    """Two builds name themselves differently, always; a rule of the config that says otherwise comes first."""
    text = """
listen: ["127.0.0.1:1"]
fleets:
  live: {endpoints: ["http://10.0.0.1"], revision: "header:X-Version"}
  shadow: {endpoints: ["http://10.0.0.2"], revision: "header:x-build"}
routes: [{name: shop, live: live, mirror: [{to: shadow, name: a, percent: 1, judge: {fields: [{path: header.x-build, treat: equal}]}}]}]
"""
    rules = plans_of(load_text(text).config)["shop/a"].rules
    assert [(rule.path, rule.treat) for rule in rules] == [
        ("header.x-build", Treatment.EQUAL), ("header.x-version", Treatment.IGNORE), ("header.x-build", Treatment.IGNORE),
    ]  # fmt: skip
