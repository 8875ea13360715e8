"""What config and experiments say about who is affected, as shares without a unit in clear."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from shadowproxy.experiments.affected import Kind, Share
from shadowproxy.hashspace import digest, salt_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.config.experiment import Experiment, Fault
    from shadowproxy.config.experiments import Rollout
    from shadowproxy.config.model import Mirror, Route

SLOWS: Final = ("delay", "first_byte", "dribble", "upload", "download")
BREAKS: Final = ("reset", "half_close", "hang", "black_hole")
DAMAGES: Final = ("corrupt", "headers")


def share_of_run(run: str, experiment: Experiment, deny: tuple[str, ...] = ()) -> Share:
    """The slices of a run, as `policy.slices.compile_slice` makes them; `deny` are the config's own denied units."""
    part = experiment.slice
    salt = salt_of(part.salt or experiment.name)
    return Share(
        kind=Kind.EXPERIMENT,
        id=run,
        name=experiment.name,
        key=part.key,
        salt=salt,
        steps=(),
        offset=part.offset,
        span=part.percent,
        listed=_digests(part.pinned, salt),
        apart=_digests((*part.deny, *deny), salt),
        tenants=_digests(part.tenants, salt),
        effect=effect_of(experiment.inject.faults),
        conditions=_conditions(experiment),
    )


def share_of_rollout(rollout: str, route: str, plan: Rollout, deny: tuple[str, ...] = ()) -> Share:
    """The halves of a rollout, as `policy.splits` makes them."""
    salt = salt_of(plan.salt or route)
    return Share(
        kind=Kind.ROLLOUT,
        id=rollout,
        name=route,
        key=plan.key,
        salt=salt,
        steps=(),
        listed=_digests(plan.first, salt),
        apart=_digests(deny, salt),
        later=_digests(plan.pinned, salt),
        to=plan.to,
    )


def share_of_mirror(route: Route, mirror: Mirror) -> Share:
    """What a mirror copies, as `policy.compile` makes it. One that samples otherwise has another id."""
    name = f"{route.name}/{mirror.name or mirror.to}"
    salt = salt_of(mirror.salt or route.name)
    ways = hashlib.blake2b(repr((mirror.key, salt, mirror.holdout, mirror.to)).encode(), digest_size=4).hexdigest()
    return Share(
        kind=Kind.MIRROR,
        id=f"{name}@{ways}",
        name=name,
        key=mirror.key,
        salt=salt,
        steps=(),
        holdout=mirror.holdout,
        to=mirror.to,
        conditions=(f"methods {', '.join(mirror.methods)}",),
    )


def effect_of(faults: Iterable[Fault]) -> str:
    """What faults do to an answer, as a participle; `disturbed` where they do several things, or requests say what."""
    found = set()
    for fault in faults:
        if any(getattr(fault, name) for name in SLOWS):
            found.add("slowed")
        if fault.abort is not None:
            found.add("failed" if fault.abort.grpc > 0 or fault.abort.status >= 400 else "replaced")
        if fault.throttle is not None:
            found.add("failed")
        if fault.truncate >= 0 or any(getattr(fault, name) for name in BREAKS):
            found.add("broken off")
        if any(getattr(fault, name) for name in DAMAGES):
            found.add("damaged")
    return found.pop() if len(found) == 1 else "disturbed"


def _digests(units: Iterable[str], salt: bytes) -> frozenset[int]:
    return frozenset(digest(unit.encode(), salt) for unit in units)


def _conditions(experiment: Experiment) -> tuple[str, ...]:
    """What must hold of a request beside its unit. Values of header fields are left out: they may be secret."""
    inject, part = experiment.inject, experiment.slice
    said = [
        f"routes {', '.join(inject.routes)}",
        f"fleet {inject.fleet}" if inject.fleet else "",
        f"endpoint {inject.endpoint}" if inject.endpoint else "",
        f"methods {', '.join(inject.methods)}" if inject.methods else "",
        f"paths below {inject.path}" if inject.path else "",
        "test traffic only" if part.tagged else "",
        f"requests with {', '.join(sorted(part.headers))}" if part.headers else "",
        f"{len(part.tenants)} test tenant{'s' * (len(part.tenants) != 1)}" if part.tenants else "",
    ]
    return tuple(one for one in said if one)
