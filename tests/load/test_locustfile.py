"""The locustfile: the users that Locust sees in it. Locust patches the process it is imported in, so it is run in its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="locust is installed by make load and make test")

LOCUSTFILE = Path(__file__).parent.parent.parent / "load" / "locustfile.py"


def test_locust_finds_the_two_kinds_of_users() -> None:
    """Shoppers and tagged visitors are users, nine to one; what they share is not."""
    shown = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--show-task-ratio-json", "-u", "100", "--host", "http://127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=True,
    )
    ratios = json.loads(shown.stdout)["per_class"]
    assert set(ratios) == {"Shopper", "TaggedVisitor"}
    assert ratios["Shopper"]["ratio"] == pytest.approx(0.9)
    assert set(ratios["TaggedVisitor"]["tasks"]) == {"look_at_the_catalogue", "search", "open_a_product"}
    assert set(ratios["Shopper"]["tasks"]) == {"look_at_the_catalogue", "search", "open_a_product", "fill_the_cart", "pay"}


def test_every_user_names_itself_and_only_test_traffic_is_tagged() -> None:
    """Each user has a unit of its own in every request; the tag is on tagged visitors alone."""
    code = f"""
import importlib.util, json
from locust.env import Environment
spec = importlib.util.spec_from_file_location("locustfile", {str(LOCUSTFILE)!r})
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)
found.Visitor.host = "http://127.0.0.1:1"
users = [kind(Environment(user_classes=[kind])) for kind in (found.Shopper, found.Shopper, found.TaggedVisitor)]
print(json.dumps([user.headers for user in users]))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    headers = json.loads(shown.stdout)
    assert len({sent["X-User-Id"] for sent in headers}) == 3
    assert ["X-Test-Traffic" in sent for sent in headers] == [False, False, True]
