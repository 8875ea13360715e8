"""Takes secrets out of captured traffic before anything is kept.

`Scrubber(rules, key).scrub(capture)` is all that others need: `rules` say which names
are secret, `key` (from `load_key`) decides the pseudonyms.
"""

from __future__ import annotations

from shadowproxy.redaction.keyfile import load_key
from shadowproxy.redaction.rules import Rules
from shadowproxy.redaction.scrubber import Scrubbed, Scrubber
from shadowproxy.redaction.sendable import Sendable

__all__ = ["Rules", "Scrubbed", "Scrubber", "Sendable", "load_key"]
