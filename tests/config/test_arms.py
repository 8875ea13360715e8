"""Arms: what calibrates a mirror is a mirror too."""

from __future__ import annotations

from shadowproxy.config.arms import arm_of, arms
from shadowproxy.config.declare import Percent
from shadowproxy.config.model import ControlArm, CopyHeaders, Credentials, Mirror, Route

PLAIN = Mirror(
    to="shadow", name="next", percent=Percent(25.0), holdout=Percent(10.0), headers=CopyHeaders(remove=("x-a",)), resend=Percent(0.1)
)


def test_a_control_arm_gets_what_its_mirror_gets() -> None:
    """Only name and fleet differ, so that nothing but the build can."""
    mirror = Mirror(to="shadow", name="next", control=ControlArm(to="stable"), credentials=Credentials.REMOVE)
    arm = arm_of(Route(live="live", mirror=(mirror,)), mirror)
    assert arm is not None
    assert (arm.name, arm.to, arm.control, arm.resend, arm.credentials) == ("next.control", "stable", None, 0.0, Credentials.REMOVE)


def test_without_one_live_is_asked_again_now_and_then() -> None:
    """With the client's own fields, safe methods only, and its share is of what was copied."""
    arm = arm_of(Route(live="live", mirror=(PLAIN,)), PLAIN)
    assert arm is not None
    assert (arm.name, arm.to, arm.percent, arm.holdout) == ("next.resend", "live", 0.1, 0.0)
    assert (arm.methods, arm.credentials, arm.headers) == (("GET", "HEAD"), Credentials.KEEP, CopyHeaders())


def test_no_arm() -> None:
    """Where it was not asked for, where nothing is safe to send twice, and where live is its own shadow."""
    for mirror in (
        Mirror(to="shadow", name="a"),
        Mirror(to="shadow", name="a", methods=("POST",), resend=Percent(1.0)),
        Mirror(to="live", name="a", resend=Percent(1.0)),
    ):
        assert arms(Route(live="live", mirror=(mirror,))) == (mirror,)


def test_the_order_is_the_config_s() -> None:
    """Each arm stands behind its mirror."""
    route = Route(live="live", mirror=(PLAIN, Mirror(to="other", name="other", control=ControlArm(to="stable"))))
    assert [mirror.name for mirror in arms(route)] == ["next", "next.resend", "other", "other.control"]
