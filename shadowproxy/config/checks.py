"""What must hold between the parts of a config: each part is sound by itself when these run.

Nothing here touches the network or a file. A config that has been reported on may still hold
placeholders (an empty string where a name should be); those were complained about already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowproxy.config.model import Config
    from shadowproxy.config.report import Report


def check(config: Config, report: Report) -> None:
    """Report everything about `config` that contradicts itself or is unsafe."""
