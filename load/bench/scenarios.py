"""What is sent: the requests, the sizes and the rates of each comparison."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SMALL = 200
LARGE = 100 * 1024
UPLOAD = 64 * 1024

HEADERS: tuple[tuple[str, str], ...] = (
    ("Host", "shop.example"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://shop.example/catalogue?page=3"),
    ("Cookie", "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=1"),
    ("Cache-Control", "no-cache"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
    ("X-User-Id", "user-31415"),
)
"""What a browser sends with a page request; thirteen fields, about 600 bytes."""


class Shadow(StrEnum):
    """What the mirror does in a scenario."""

    OFF = "off"
    ANSWERS = "answers"
    HANGS = "hangs"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison: a request, an answer and a mirror.

    Args:
        name: what `--only` selects.
        title: heading of its table.
        path: request target.
        answer: bytes of the answer's body.
        upload: bytes of the request's body; 0 sends GET, more sends POST.
        shadow: what the mirror does.
        rate: requests a second of the open-loop part, below any proxy's saturation.
        is_varied: whether every request has a target and fields of its own (see `varied`), and every answer too.
    """

    name: str
    title: str
    path: str
    answer: int
    upload: int
    shadow: Shadow
    rate: int
    is_varied: bool = False

    @property
    def method(self) -> str:
        """GET, or POST when there is a body to send."""
        return "POST" if self.upload else "GET"


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("small", "200 B answers", "/orders/31415?expand=items", SMALL, 0, Shadow.OFF, 2000),
    Scenario("small-mirror", "200 B answers, mirrored", "/orders/31415?expand=items", SMALL, 0, Shadow.ANSWERS, 2000),
    Scenario(
        "small-hanging",
        "200 B answers, mirrored to a shadow that never answers",
        "/orders/31415?expand=items",
        SMALL,
        0,
        Shadow.HANGS,
        1000,
    ),
    Scenario(
        "varied-mirror",
        "200 B answers, mirrored, every request with a target and fields of its own, every answer with fields of its own",
        "/varied?expand=items",
        SMALL,
        0,
        Shadow.ANSWERS,
        2000,
        is_varied=True,
    ),
    Scenario("large", "100 KiB answers", "/large", LARGE, 0, Shadow.OFF, 400),
    Scenario("large-mirror", "100 KiB answers, mirrored", "/large", LARGE, 0, Shadow.ANSWERS, 400),
    Scenario("upload", "64 KiB uploads", "/upload", SMALL, UPLOAD, Shadow.OFF, 400),
    Scenario("upload-mirror", "64 KiB uploads, mirrored", "/upload", SMALL, UPLOAD, Shadow.ANSWERS, 400),
)


USERS = 5000
"""Users of a varied scenario: each has a cookie and an id of its own, more than any reader of heads keeps."""


def varied_path(scenario: Scenario, number: int) -> str:
    """Target of request `number` of a varied scenario."""
    return f"{scenario.path}&order={number:08x}"


def varied(number: int) -> tuple[tuple[str, str], ...]:
    """HEADERS as request `number` of a varied scenario has them: its user's cookie and id, a trace and a request id of its own."""
    user = number % USERS
    own = {"Cookie": f"session={user:032x}; theme=dark; consent=1", "X-User-Id": f"user-{user:05d}"}
    fields = tuple((name, own.get(name, value)) for name, value in HEADERS)
    return (*fields, ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"), ("X-Request-Id", f"{number:032x}"))


def choose(names: str) -> list[Scenario]:
    """Scenarios of a comma-separated list, in the order of SCENARIOS; an empty list means all.

    Raises:
        ValueError: a name is none of theirs.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    known = {scenario.name for scenario in SCENARIOS}
    if unknown := sorted(wanted - known):
        raise ValueError(f"no scenario {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [scenario for scenario in SCENARIOS if not wanted or scenario.name in wanted]
