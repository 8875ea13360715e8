"""`shadowproxy gate-token`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy


def test_the_token_that_is_printed_opens_gates(proxy: SupervisedProxy, command: Run) -> None:
    """And nothing else; the same every time."""
    token = command("gate-token").stdout.strip()
    assert json.loads(command("gate-token", "--output", "json").stdout) == {"token": token}
    assert proxy.api("GET", "/api/v1/gates/argo?route=all", token=token).json()["verdict"] == "UNDECIDED"
    assert proxy.api("GET", "/api/v1/status", token=token).status == 401
    hooked = proxy.api(
        "POST",
        "/api/v1/gates/flagger?hook=rollout",
        {"name": "a", "namespace": "b", "phase": "Progressing", "metadata": {"token": token}},
        token="",
    )
    assert (hooked.status, hooked.body.decode().split(":")[0]) == (200, "go on")
