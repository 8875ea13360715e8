"""Pages that show what production got are searched whole, or the audit fails."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.audit import pages
from shadowproxy.audit.finds import Find
from shadowproxy.audit.pages import search, shown
from shadowproxy.errors import AuditFailed
from tests.audit.samples import HONEY
from tests.kit import Origin, answers
from tests.kit.network import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = ssl.create_default_context()


@pytest.fixture
def page() -> Iterator[Origin]:
    """A page."""
    running = Origin("page")
    yield running
    running.stop()


def test_tokens_on_a_page_are_leaks(page: Origin) -> None:
    """Wherever they stand in it, chunked or not; the query is asked for and not printed."""
    body = f"<li>{HONEY.token(3, 'b')}</li>\xff".encode("latin-1")
    page.answer = answers.chunked([body[:9], body[9:]])
    assert search(f"{page.url}/inbox?key=secret", HONEY, CONTEXT, 5) == [Find(3, "b", f"{page.url}/inbox", True)]
    seen = page.wait_for("/inbox")
    assert (seen.method, seen.target) == ("GET", "/inbox?key=secret")
    page.answer = answers.ok(b"nothing")
    assert search(page.url, HONEY, CONTEXT, 5) == []


@pytest.mark.parametrize("answer", [answers.ok(b"", status=404), answers.reset(), answers.raw_then_close(b"x\r\n\r\n"), answers.hang()])
def test_a_page_that_cannot_be_read_fails_the_audit(page: Origin, answer: Any) -> None:
    """What was not searched is not clean; the reason is told, the secret in the URL is not."""
    page.answer = answer
    with pytest.raises(AuditFailed) as caught:
        search(page.url.replace("http://", "http://user:hunter2@") + "/x?key=hunter2", HONEY, CONTEXT, 0.3)
    assert "hunter2" not in str(caught.value)
    assert "/x" in str(caught.value)


def test_a_page_is_bounded(page: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in time."""
    page.answer = answers.endless()
    monkeypatch.setattr(pages, "LARGEST", 1000)
    with pytest.raises(AuditFailed, match="more than 1000 bytes"):
        search(page.url, HONEY, CONTEXT, 5)
    monkeypatch.setattr(pages, "LARGEST", 1 << 40)
    with pytest.raises(AuditFailed, match="too long"):
        search(page.url, HONEY, CONTEXT, 0.2)


def test_nobody_there() -> None:
    """Told with the address."""
    url = f"http://127.0.0.1:{free_port()}/x"
    with pytest.raises(AuditFailed, match=url):
        search(url, HONEY, CONTEXT, 1)
    assert shown("https://u:p@h:1/a?b#c") == "https://h:1/a"
