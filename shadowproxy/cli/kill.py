"""`shadowproxy kill`, `resume` and `reload`: what changes a running instance."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from shadowproxy.cli import client

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `kill`, `resume` and `reload`."""
    for name, summary, function in (
        ("kill", "stop mirroring in every worker, now and after a restart, and end every experiment", kill),
        ("resume", "mirror again after a kill", resume),
        ("reload", "read the config file again", reload),
    ):
        parser = subparsers.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        client.add_arguments(parser)
        parser.set_defaults(run=function)


def kill(arguments: argparse.Namespace) -> int:
    """Stop mirroring; 1 when a worker has not confirmed or the switch could not be made durable."""
    return _switch(arguments, "kill", "mirroring is stopped")


def resume(arguments: argparse.Namespace) -> int:
    """Mirror again; 1 when a worker has not confirmed or the switch could not be made durable."""
    return _switch(arguments, "resume", "mirroring resumes")


def reload(arguments: argparse.Namespace) -> int:
    """Read the config file again.

    Raises:
        AdminRefused: the config cannot be used; the old one stays.
    """
    changed = client.connect(arguments).post("/api/v1/config/reload")
    if arguments.output == "json":
        print(json.dumps(changed, indent=2))
        return 0
    unchanged = " (nothing has changed; TLS files were read again)" if changed["result"] == "unchanged" else ""
    print(f"generation {changed['generation']}, digest {changed['digest'][:12]}{unchanged}")
    if changed["unanswered_workers"]:
        print(f"workers that have not answered yet: {_slots(changed['unanswered_workers'])}", file=sys.stderr)
    return 0


def _switch(arguments: argparse.Namespace, action: str, done: str) -> int:
    switched = client.connect(arguments).post(f"/api/v1/{action}")
    if arguments.output == "json":
        print(json.dumps(switched, indent=2))
    else:
        workers = switched["workers"]
        slowest = max((worker["seconds"] for worker in workers), default=0.0)
        already = "" if switched["is_killed"] != switched["was_killed"] else " (it was so already)"
        print(f"{done}{already}: {sum(w['is_confirmed'] for w in workers)} of {len(workers)} workers confirmed in {slowest * 1000:.1f} ms")
    if switched["unconfirmed_workers"]:
        print(
            f"not confirmed by workers {_slots(switched['unconfirmed_workers'])}; their switch is set, they start no new copy",
            file=sys.stderr,
        )
    if not switched["is_persisted"]:
        print("the state store does not work: the switch is in memory and in the audit log only", file=sys.stderr)
    return 0 if switched["is_complete"] and switched["is_persisted"] else 1


def _slots(slots: list[int]) -> str:
    return ", ".join(map(str, slots))
