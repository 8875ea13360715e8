"""The page: static, without inline script, and everything shown as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Api


async def test_the_page_has_no_inline_script_or_style(api: Api) -> None:
    """Its own policy would refuse them, and so would a reviewer."""
    status, headers, html = await api("GET", "/", token="")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|javascript:", html)
    for name in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (await api("GET", name, token=""))[0] == 200


async def test_the_script_sets_text_only_and_keeps_the_token_in_memory(api: Api) -> None:
    """Nothing that a stranger sent can become markup, and no storage or cookie holds the token."""
    script = "".join([(await api("GET", f"/page/{name}.js", token=""))[2] for name in ("app", "runs", "tenancy", "text", "verdict")])
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "localStorage",
        "sessionStorage",
        "cookie =",
    ):
        assert forbidden not in script
    assert "textContent" in script


@pytest.mark.parametrize("name", ["index.htm", "..%2fapp.py", "%2e%2e/page.py", "app.js%00", "__init__.py"])
async def test_nothing_but_the_page_is_served(api: Api, name: str) -> None:
    """Six files, from memory."""
    assert (await api("GET", f"/page/{name}", token=""))[0] == 404
