"""The blast radius of an experiment is what was asked for: nobody outside the slice is ever hit, whoever is in it always is, through a whole ramp.

Requests go through all of a worker's data plane but its sockets. DEEP=1 sends a million of them.
"""

from __future__ import annotations

import os
import random
from typing import Final

from scipy.stats import binom

from shadowproxy.hashspace import point
from tests.dataplane.room import ANSWER, MIRRORED
from tests.dataplane.test_experiments import Lab, armed

REQUESTS: Final = 1_000_000 if os.environ.get("DEEP") == "1" else 120_000
USERS: Final = REQUESTS // 6
STEPS: Final = (0.5, 1.0, 2.0, 4.0)
BATCH: Final = 8
ROUTE: Final = MIRRORED | {"mirror": []}
FAULT: Final = b"X-Shadowproxy-Fault: one;abort"


def test_nobody_outside_the_slice_is_hit_and_whoever_is_in_it_always_is() -> None:
    """Each answer of each step of a ramp is live's own or made up, as the user's point says; shares are exact; nobody is in both slices."""
    chance = random.Random(20_26)
    room = Lab(ROUTE)
    # What is worked out anywhere, from the documented formula.
    points = {number: point(b"u%d" % number, b"one") for number in range(USERS)}
    hit: set[int] = set()
    control: set[int] = set()
    for step in STEPS:
        room.arm(armed(percent=step, dry=False, experiment={"slice": {"percent": STEPS[-1], "key": "header:x-user-id"}}))
        room.lease()
        client, live = room.client(), room.upstream("live")
        expected = {"fault": 0, "control": 0, "outside": 0}
        for _ in range(REQUESTS // len(STEPS) // BATCH):
            room.lease()
            users = [chance.randrange(USERS) for _ in range(BATCH)]
            for user in users:
                client.says(b"GET /%d HTTP/1.1\r\nHost: a\r\nX-User-Id: u%d\r\n\r\n" % (user, user))
                is_hit = points[user] < step / 100
                if live.heard:
                    assert not is_hit, user
                    live.says(ANSWER)
                heard = client.heard
                assert heard.startswith(b"HTTP/1.1 503" if is_hit else b"HTTP/1.1 200"), (user, heard)
                assert (FAULT in heard) == is_hit
                is_control = STEPS[-1] / 100 <= points[user] < (STEPS[-1] + step) / 100
                expected["fault" if is_hit else "control" if is_control else "outside"] += 1
                if is_hit:
                    hit.add(user)
                elif is_control:
                    control.add(user)
        told = room.told()
        # At most one decision a request: as many as there were requests, each in one arm.
        assert told["seen"] == told["hit"] == told["faults"]["abort"] == expected["fault"]
        assert (sum(told["control"].values()), told["outside"]) == (expected["control"], expected["outside"])
        assert set(told["units"].values()) <= set(range(1, REQUESTS))
        low, high = binom.interval(0.999, USERS, step / 100)
        assert low <= sum(place < step / 100 for place in points.values()) <= high
    assert not hit & control
