"""The guide to test tenancy shows the shop as it is."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from shadowproxy.audit.probefile import read_file
from shadowproxy.config import load_file
from tests.shop.running import CONFIG, PROBES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = (ROOT / "docs" / "guide-test-tenancy.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    """The guide's code in a language."""
    yield from re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", list(blocks("yaml")), ids=lambda block: block.strip().partition("\n")[0])
def test_pieces_of_config_are_the_shops_own(block: str) -> None:
    """Each stands in the config or in the probes, to the letter; a list may go on in the file where it ends on the page."""
    files = [file.read_text(encoding="utf-8") for file in (CONFIG, PROBES)]
    assert any(block in text or block.removeprefix("listen:\n") in text for text in files), block


def test_both_files_are_in_order() -> None:
    """Nothing is wrong with them, and nothing is worth a warning; each probe is for a route that is there."""
    loaded = load_file(CONFIG)
    assert not loaded.warnings
    assert {route.name for route in loaded.config.routes} >= set(read_file(PROBES))


def test_code_is_code() -> None:
    """Python that can be read."""
    for block in blocks("python"):
        compile(block, "guide", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
