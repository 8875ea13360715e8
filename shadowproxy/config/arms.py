"""Every mirror that a route really has: those of the config, each followed by the arm that calibrates it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shadowproxy.config.declare import Percent
from shadowproxy.config.model import CopyHeaders, Credentials

if TYPE_CHECKING:
    from shadowproxy.config.model import Mirror, Route

CONTROL: Final = ".control"
"""What the name of a control arm ends with, behind its mirror's."""

RESEND: Final = ".resend"
"""What the name of a re-sending arm ends with, behind its mirror's."""

RESENT: Final = ("GET", "HEAD")
"""What live may be sent once more."""


def arms(route: Route) -> tuple[Mirror, ...]:
    """The mirrors of `route` in the order of the config, each followed by its arm if it has one."""
    found: list[Mirror] = []
    for mirror in route.mirror:
        found.append(mirror)
        arm = arm_of(route, mirror)
        if arm is not None:
            found.append(arm)
    return tuple(found)


def arm_of(route: Route, mirror: Mirror) -> Mirror | None:
    """The mirror that gets copies of what `mirror` copies, so that what differs by nature is known; None for none.

    A control arm gets every copy that its mirror does. A re-sending arm gets `resend` percent of the copied GET and
    HEAD requests, with the users' credentials and all else, because it goes where they went.
    """
    if mirror.control is not None:
        return replace(mirror, name=mirror.name + CONTROL, to=mirror.control.to, control=None, resend=Percent(0.0))
    methods = tuple(method for method in mirror.methods if method in RESENT)
    if not mirror.resend or not methods or mirror.to == route.live:
        return None
    return replace(
        mirror,
        name=mirror.name + RESEND,
        to=route.live,
        methods=methods,
        percent=mirror.resend,
        holdout=Percent(0.0),
        credentials=Credentials.KEEP,
        headers=CopyHeaders(),
        host="preserve",
        scrub=False,
        resend=Percent(0.0),
    )
