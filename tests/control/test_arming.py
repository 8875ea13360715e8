"""What workers are told of experiments: whole, at each change, and the same to those that come later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.control.arming import Arming

if TYPE_CHECKING:
    from shadowproxy.dataplane.messages import Message


def test_each_change_is_sent_whole() -> None:
    """Whoever contributes, workers get all of it, so that no part can be forgotten or come late."""
    sent: list[Message] = []
    arming = Arming(sent.append)
    arming.arm({"id": "a-1", "epoch": 1, "percent": 1.0})
    arming.split([{"route": "all", "percent": 5.0}])
    arming.evacuate([{"fleet": "live", "label": "zone", "value": "z1"}])
    arming.arm({"id": "a-1", "epoch": 1, "percent": 2.0})
    assert sent[-1] == {"type": "experiments", **arming.state()}
    assert arming.state() == {
        "armed": [{"id": "a-1", "epoch": 1, "percent": 2.0}],
        "splits": [{"route": "all", "percent": 5.0}],
        "evacuated": [{"fleet": "live", "label": "zone", "value": "z1"}],
    }
    assert len(sent) == 4


def test_what_is_disarmed_is_gone() -> None:
    """A run that ended is in no later message; ending it twice says nothing twice."""
    sent: list[dict[str, Any]] = []
    arming = Arming(sent.append)
    arming.arm({"id": "a-1"})
    arming.disarm("a-1")
    arming.disarm("a-1")
    assert [message["armed"] for message in sent] == [[{"id": "a-1"}], []]
    assert "armed=[]" in repr(arming)
