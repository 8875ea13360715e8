"""The part of the model that is about sinks: mocks that answer tagged writes in a service's place."""

from __future__ import annotations

from dataclasses import dataclass, field

from shadowproxy.config.declare import Json, doc


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkAnswer:
    """A fixed answer."""

    status: int = field(default=200, metadata=doc("Status code.", minimum=200, maximum=599))
    headers: dict[str, str] = field(
        default_factory=dict, metadata=doc("Fields of the answer.", key_format="header-name", format="header-value")
    )
    json: Json = field(default=None, metadata=doc("Body, as JSON."))  # type: ignore[assignment]  # nothing is JSON too
    text: str = field(default="", metadata=doc("Body, as text, where `json` is not given."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A mock that answers tagged requests and changes nothing."""

    name: str = field(metadata=doc("The key of the sink in the file."))
    respond: SinkAnswer = field(default_factory=SinkAnswer, metadata=doc("The answer to whatever nothing else takes."))
