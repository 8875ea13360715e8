"""Finds routes that no request can reach, because an earlier route takes everything that they match.

Regular expressions are only compared for equality, so a route that is reported is truly
unreachable, while one that is not reported may still be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.config.report import item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.config.model import Match, Route
    from shadowproxy.config.report import Report

MOST_COMPARED: Final = 500
"""Earlier routes that each route is compared with: 125,000 comparisons take a tenth of a second."""


def check_reachability(routes: Sequence[Route], report: Report) -> None:
    """Warn of every route that an earlier one covers."""
    earlier: list[tuple[int, Route]] = []
    for index, route in enumerate(routes):
        covering = next(((number, other) for number, other in earlier if covers(other.match, route.match)), None)
        if covering is not None:
            report.warning(
                item("routes", index), f"never reached: routes[{covering[0]}] ({covering[1].name}) takes everything that this route matches"
            )
        elif len(earlier) < MOST_COMPARED:
            earlier.append((index, route))


def covers(first: Match, second: Match) -> bool:
    """Return whether every request that `second` matches is matched by `first`; False where that is hard to tell."""
    return (
        first.listener in ("", second.listener)
        and _covers_host(first.host.lower(), second.host.lower())
        and _covers_path(first, second)
        and (not first.methods or (bool(second.methods) and set(second.methods) <= set(first.methods)))
        and _covers_headers(first.headers, second.headers)
    )


def _covers_host(first: str, second: str) -> bool:
    if not first or first == second:
        return True
    return first.startswith("*.") and second.removeprefix("*").endswith(first[1:])


def _covers_path(first: Match, second: Match) -> bool:
    prefix = first.path.rstrip("/")
    if first.exact:
        return first.exact == second.exact
    if first.regex:
        return first.regex == second.regex
    if not prefix:
        return True
    other = second.exact or second.path.rstrip("/")
    return other == prefix or other.startswith(prefix + "/")


def _covers_headers(first: dict[str, str], second: dict[str, str]) -> bool:
    others = {name.lower(): value for name, value in second.items()}
    return all(name.lower() in others and value in ("*", others[name.lower()]) for name, value in first.items())
