"""`shadowproxy gate-token`: the token for manifests of roll-out controllers."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from shadowproxy.cli import client
from shadowproxy.control.places import gate_token

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `gate-token`."""
    parser = subparsers.add_parser(
        "gate-token",
        help="the token that opens gates and nothing else",
        description="Print the token for Argo Rollouts' and Flagger's manifests. It is made from the token of the admin API, and changes with it.",
    )
    client.add_arguments(parser)
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> int:
    """Print it.

    Raises:
        AdminUnreachable: no instance and no token file is found.
    """
    token = gate_token(hashlib.sha256(client.connect(arguments).token.encode()).digest())
    print(json.dumps({"token": token}) if arguments.output == "json" else token)
    return 0
