"""Every error that shadowproxy raises on purpose.

::

    ShadowproxyError
    ├── ConfigError            a config file that cannot be used; carries every Problem found
    ├── MessageError           bytes that are not unambiguous HTTP/1
    │   ├── BadRequest         from a client; answered with its status and closed
    │   └── BadResponse        from an upstream; the live leg becomes 502, a mirrored leg `malformed`
    ├── ControlError           the control process cannot do what was asked
    │   ├── ExperimentRefused  an experiment may not begin; carries every reason
    │   ├── StaleConfig        the config has changed since the caller read it
    │   ├── AdminUnreachable   no admin API answers at the address that was given or found
    │   └── AdminRefused       the admin API answered, and said no; carries its status and problem
    ├── StateError             the state store cannot be read or written
    ├── PassportRefused        a tagged request whose signature does not hold; carries the reason, and what the client is told
    ├── AuditFailed            an audit cannot be made, so that it says nothing: neither clean nor leaking
    ├── GuardFailed            a database cannot be guarded, or asked about its guard
    ├── CalendarUnreadable     nobody can say when a blockout holds
    └── Unreadable             captured content in which secrets cannot be looked for; it is not kept

A failure of a mirrored leg is never an exception: it is an outcome (`dataplane.outcome`).
"""

from __future__ import annotations

from dataclasses import dataclass


class ShadowproxyError(Exception):
    """Root of the tree above."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a config, at one place.

    `line` and `column` count from 1; 0 means that the place is not in a file.
    `path` is the dotted place in the config (`routes[0].mirror[1].percent`).
    """

    path: str
    message: str
    line: int = 0
    column: int = 0
    file: str = ""
    suggestion: str = ""
    is_warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        kind = "warning: " if self.is_warning else ""
        return f"{place}{self.path}: {kind}{self.message}{hint}"


class ConfigError(ShadowproxyError):
    """A config that cannot be used. `problems` has all of them, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class MessageError(ShadowproxyError):
    """Bytes that are not unambiguous HTTP/1.

    `status` is what the client is told; `code` is the stable, low-cardinality
    reason that the counter carries; the text says what was read and what was allowed.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class BadRequest(MessageError):
    """A client's bytes that are refused: `status` is 4xx or 5xx and the connection closes."""


class BadResponse(MessageError):
    """An upstream's bytes that are refused: the client is told 502 and the connection is discarded."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(502, code, detail)


class ControlError(ShadowproxyError):
    """The control process cannot do what was asked of it."""


class ExperimentRefused(ControlError):
    """An experiment may not begin. `refusals` has every reason, as the `admission` of a run document shows it."""

    def __init__(self, name: str, refusals: list[dict[str, object]]) -> None:
        super().__init__(f"{name} may not begin: " + "; ".join(str(one["sentence"]) for one in refusals))
        self.refusals = refusals


class StaleConfig(ControlError):
    """The config in force is not the one that the caller means to replace."""


class AdminUnreachable(ControlError):
    """No admin API answers at the address that was given or found."""


class AdminRefused(ControlError):
    """The admin API answered and said no.

    `status` is the HTTP status; `title` and `detail` are those of its problem document.
    """

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else ""))
        self.status = status
        self.title = title
        self.detail = detail


class StateError(ShadowproxyError):
    """The state store cannot be read or written."""


class PassportRefused(ShadowproxyError):
    """A tagged request whose signature does not hold: answered 403.

    `reason` is the stable code that the counter carries (`passports.Reason`); `told` and `detail` are what the
    client may know, and never tell an unknown key from a wrong signature.
    """

    def __init__(self, reason: str, told: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.told = told
        self.detail = detail


class AuditFailed(ShadowproxyError):
    """An audit cannot be made, so that it says nothing. The text never has a password."""


class GuardFailed(ShadowproxyError):
    """A database cannot be guarded, or asked about its guard. The text never has a password."""


class CalendarUnreadable(ShadowproxyError):
    """Nobody can say when a blockout holds: its rule, file or country cannot be read. The text is a sentence for people."""


class Unreadable(ShadowproxyError):
    """Captured content in which secrets cannot be looked for. Never leaves `shadowproxy.redaction`: the content is not kept."""
