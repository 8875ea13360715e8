"""Locust users of the demonstration's shop, for volume.

Each user names itself in `X-User-Id` with every request: that is the unit by which the demo's
mirrors sample (`key: "header:x-user-id"`), so a user is mirrored whole or not at all.
One user in ten is test traffic: it carries `X-Test-Traffic` and only reads, because tagged
writes are refused unless a route says where they go.

    make load                                   against the demo, started for the run
    make load HOST=http://127.0.0.1:8080        against a proxy that runs
    .venv/bin/locust -f load/locustfile.py --host http://127.0.0.1:8080      with Locust's page
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from locust import FastHttpUser, between, tag, task

from shadowproxy.demo.shop import CATEGORIES
from shadowproxy.demo.traffic import BROWSER, Popularity

_NUMBERS = itertools.count(1)
_POPULARITY = Popularity()


class Visitor(FastHttpUser):
    """What every visitor does: look around. Products are drawn by their popularity."""

    abstract = True
    wait_time = between(0.2, 1.0)
    # A proxy that stops answering is a finding, not a reason to hang.
    network_timeout = 10.0
    connection_timeout = 5.0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.chance = random.Random()
        self.headers = {**BROWSER, "X-User-Id": f"{type(self).__name__.lower()}-{next(_NUMBERS)}"}
        # FastHttpUser reads no other encodings than these.
        self.headers["Accept-Encoding"] = "gzip, deflate"

    def on_start(self) -> None:
        """Arrive at the catalogue."""
        self.client.get("/catalogue", headers=self.headers)

    @tag("read")
    @task(2)
    def look_at_the_catalogue(self) -> None:
        """Open the first page."""
        self.client.get("/catalogue", headers=self.headers)

    @tag("read")
    @task(3)
    def search(self) -> None:
        """Search by a word that products are named by."""
        self.client.get(f"/search?q={self.chance.choice(CATEGORIES)[:-1]}", headers=self.headers, name="/search?q=[word]")

    @tag("read")
    @task(6)
    def open_a_product(self) -> None:
        """Open a product's page."""
        self.client.get(f"/products/{_POPULARITY.draw(self.chance)}", headers=self.headers, name="/products/[number]")


class Shopper(Visitor):
    """A customer: looks around, fills a cart, and pays now and then."""

    weight = 9

    @tag("write")
    @task(2)
    def fill_the_cart(self) -> None:
        """Put a product in the cart and look at the cart."""
        self.client.post("/cart", json={"product": _POPULARITY.draw(self.chance)}, headers=self.headers)
        self.client.get("/cart", headers=self.headers)

    @tag("write")
    @task(1)
    def pay(self) -> None:
        """Pay for what is in the cart; an empty one is answered with 409, which is right."""
        with self.client.post("/checkout", headers=self.headers, catch_response=True) as answer:
            if answer.status_code == 409:
                answer.success()


class TaggedVisitor(Visitor):
    """Test traffic: tagged, and only reading."""

    weight = 1

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.headers["X-Test-Traffic"] = "true"
