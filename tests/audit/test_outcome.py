"""When an audit is clean, and what it says of itself."""

from __future__ import annotations

import json

from tests.audit.samples import LEFT_OUT, clean, leaking, outcome, row


def test_clean_is_everything_asked_and_nothing_leaked() -> None:
    """One leak spoils it; nothing asked is nothing known; strict counts what was not asked."""
    assert outcome(clean()).is_clean
    assert not outcome(clean(), leaking()).is_clean
    assert not outcome().is_clean
    assert outcome(clean(), skipped=(LEFT_OUT,)).is_clean
    assert not outcome(clean(), skipped=(LEFT_OUT,), is_strict=True).is_clean
    assert outcome(clean(), is_strict=True).is_clean


def test_the_document() -> None:
    """Counts, who dropped tags, each probe, and what was left out."""
    plain = json.loads(
        json.dumps(outcome(clean(), leaking(), skipped=(LEFT_OUT,), searched=("PostgreSQL shop",), orphans=(row(3),)).as_plain())
    )
    assert plain["fates"] == {"leaked": 1, "sunk": 1}
    assert plain["dropped_by"] == ["cart"]
    assert [one["is_ok"] for one in plain["probes"]] == [True, False]
    assert plain["skipped"] == [{"route": "legacy", "listener": "front", "method": "POST", "reason": "its rule sends writes to live"}]
    assert [(one["route"], one["fate"]) for one in plain["orphans"]] == [("orders", "sunk")]
    assert (plain["is_clean"], plain["run"], plain["searched"], plain["seconds"]) == (False, "0123456789", ["PostgreSQL shop"], 1.5)
