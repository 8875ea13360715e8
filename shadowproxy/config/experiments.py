"""The part of the config that all experiments and rollouts of an instance obey."""

from __future__ import annotations

from dataclasses import dataclass, field

from shadowproxy.config.declare import Percent, Seconds, Size, doc
from shadowproxy.config.experiment import KEY_FORM, KEY_PATTERN
from shadowproxy.config.tenancy import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockout:
    """When no experiment begins, and those that run are ended. Exactly one of rrule, ical, holidays, freeze_file."""

    name: str = field(default="", metadata=doc("What refusals call it."))
    rrule: str = field(
        default="", metadata=doc("RFC 5545 DTSTART and RRULE lines, such as `DTSTART:20260101T170000\\nRRULE:FREQ=WEEKLY;BYDAY=FR`.")
    )
    length: Seconds = field(default=Seconds(3600.0), metadata=doc("How long each occurrence of `rrule` lasts.", minimum=1.0))
    ical: str = field(default="", metadata=doc("iCalendar file; during its events.", format="file"))
    holidays: str = field(
        default="",
        metadata=doc(
            "Country, or country-subdivision (DE-BY); on its public holidays.",
            pattern=r"([A-Z]{2}(-[A-Z0-9]{1,3})?)?",
            form="a country code",
        ),
    )
    freeze_file: str = field(default="", metadata=doc("As long as this file exists.", format="file"))
    timezone: str = field(default="UTC", metadata=doc("Of times without one.", nonempty=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiments:
    """What all experiments obey."""

    lease: Seconds = field(
        default=Seconds(2.0), metadata=doc("How long a fault outlives a control process that does not renew it.", minimum=0.2, maximum=10.0)
    )
    max_percent: Percent = field(default=Percent(10.0), metadata=doc("Largest slice."))
    max_duration: Seconds = field(default=Seconds(14400.0), metadata=doc("Longest run.", minimum=0.1))
    at_once: int = field(default=4, metadata=doc("Experiments that may run at the same time.", minimum=1, maximum=32))
    deny: tuple[str, ...] = field(default=(), metadata=doc("Units that no experiment or rollout ever hits (VIP tenants)."))
    blockouts: tuple[Blockout, ...] = field(default=(), metadata=doc("When nothing runs."))
    kill_file: str = field(default="", metadata=doc("The kill switch is pulled as soon as this file exists.", format="file"))
    kill_header: str = field(
        default="",
        metadata=doc(
            "Stop-the-world codeword: `NAME: VALUE`; an admin request with this field pulls the kill switch, token or not.",
            pattern=r"([A-Za-z0-9-]+: ?[\x21-\x7e]{8,200})?",
            form="NAME: VALUE with a value of at least 8 characters",
        ),
    )
    recent_requests: int = field(
        default=10000,
        metadata=doc(
            "Requests that a worker remembers, to tell what an experiment would have touched. 2 KiB of memory each, at most.",
            minimum=0,
            maximum=100000,
        ),
    )
    remember: Seconds = field(default=Seconds(2592000.0), metadata=doc("How long it is known which units were affected.", minimum=60.0))
    journal_segment: Size = field(
        default=Size(67108864), metadata=doc("A file of the journal as long as this becomes an older segment.", minimum=65536)
    )
    journal_keep: Seconds = field(
        default=Seconds(7776000.0), metadata=doc("How long older segments are kept after their last entry.", minimum=86400.0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A route's way from its live fleet to another, in steps. It begins with `shadowproxy rollout start`."""

    to: str = field(metadata=doc("The fleet with the new version.", nonempty=True))
    steps: tuple[Percent, ...] = field(
        default=(Percent(1.0), Percent(5.0), Percent(25.0), Percent(50.0), Percent(100.0)),
        metadata=doc("Shares of the units, rising, the last 100.", nonempty=True),
    )
    bake: Seconds = field(default=Seconds(600.0), metadata=doc("Shortest time of a step.", minimum=0.1))
    patience: Seconds = field(
        default=Seconds(86400.0), metadata=doc("A step that is not shown to be safe by then is rolled back.", minimum=0.1)
    )
    key: str = field(
        default="",
        metadata=doc(
            "The unit that sticks to its version, as of mirrors. None: each request by itself.", pattern=KEY_PATTERN, form=KEY_FORM
        ),
    )
    salt: str = field(default="", metadata=doc("Of the hash space; the route's name if empty.", max_bytes=64))
    pinned: tuple[str, ...] = field(default=(), metadata=doc("Units that stay with live until 100 %, whatever their point."))
    first: tuple[str, ...] = field(default=(), metadata=doc("Units of the first ring: they get the new version from the first step on."))
    alpha: float = field(
        default=0.05, metadata=doc("Chance that an equal version is rolled back, over all steps.", minimum=0.000001, maximum=0.5)
    )
    margin: Percent = field(
        default=Percent(0.5), metadata=doc("A step is safe when errors are shown to be worse by less than so many points.")
    )
    slower: Percent = field(default=Percent(20.0), metadata=doc("A p50 or p99 shown to be worse by more than so many percent rolls back."))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLabels:
    """Where an endpoint is."""

    endpoint: str = field(metadata=doc("Its URL, as in `endpoints`.", nonempty=True))
    cell: str = field(default="", metadata=doc("Cell or upgrade domain.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME))
    zone: str = field(default="", metadata=doc("Zone.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME))
    region: str = field(default="", metadata=doc("Region.", pattern=r"[A-Za-z0-9_.-]{0,64}", form=NAME))
