"""curl through the proxy, in many moods: what it gets and what the server got are what they are without us."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients.passage import Passage
from tests.clients.servers import application, shelf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

LARGE = "v" * 30_000


@pytest.fixture(scope="module")
def passage() -> Iterator[Passage]:
    """Two shelves with the proxy before them."""
    with application(shelf) as live, application(shelf) as shadow, Passage(live, shadow) as passage:
        yield passage


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 3 MB that is no text."""
    path = tmp_path_factory.mktemp("curl") / "upload.bin"
    path.write_bytes(bytes(range(256)) * 12_000)
    return path


def curl(passage: Passage, *options: str) -> tuple[int, bytes]:
    """Run curl quietly; its exit code and output. `URL` stands for the front."""
    command = ["curl", "-q", "--silent", "--show-error", "--max-time", "20", *(option.replace("URL", passage.url) for option in options)]
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout


MOODS = {
    "plain": ("URL/text",),
    "two on one connection": ("URL/text", "URL/fields"),
    "query as it is": ("--globoff", "URL/text?a=%2F&b[]=1&&c=;+x%20y&empty="),
    "path as it is": ("--path-as-is", "URL/a/../b//c/./%7e%2F"),
    "HEAD": ("--head", "URL/text"),
    "OPTIONS": ("-X", "OPTIONS", "URL/text"),
    "DELETE": ("-X", "DELETE", "URL/text-not-there"),
    "range": ("-r", "10-99", "URL/text"),
    "last bytes": ("-r", "-50", "URL/text"),
    "resume": ("-C", "100", "URL/text"),
    "compressed": ("--compressed", "URL/text"),
    "raw gzip": ("-H", "Accept-Encoding: gzip", "URL/text"),
    "404": ("URL/nowhere",),
    "redirect": ("--location", "URL/moved"),
    "empty": ("URL/empty",),
    "form": ("--data", "a=1&b=two", "--data-urlencode", "c=ä &", "URL/echo"),
    "JSON": ("--json", '{"a": [1, 2]}', "URL/echo"),
    "multipart": ("--form", "file=@FILE;filename=one.bin", "--form", "x=y", "URL/echo"),
    "upload": ("-T", "FILE", "URL/uploaded"),
    "upload without waiting for 100": ("-T", "FILE", "-H", "Expect:", "URL/uploaded"),
    "upload waiting for 100": ("-T", "FILE", "-H", "Expect: 100-continue", "--expect100-timeout", "10", "URL/uploaded"),
    "binary data": ("--data-binary", "@FILE", "-H", "Content-Type: application/octet-stream", "URL/echo"),
    "chunked upload": ("-T", "FILE", "-H", "Transfer-Encoding: chunked", "URL/uploaded"),
    "chunked echo": ("--data-binary", "@FILE", "-H", "Transfer-Encoding: chunked", "URL/echo"),
    "large header": ("-H", f"X-Mine: {LARGE}", "URL/fields"),
    "odd headers": (
        "-H",
        "X-Mine-Empty;",
        "-H",
        "X-Mine-Twice: 1",
        "-H",
        "x-mine-twice:   2",
        "-H",
        "X-Mine-Bytes: \u00e4\u00f6",
        "URL/fields",
    ),
    "many headers": (*(part for n in range(150) for part in ("-H", f"X-Mine-{n}: {n}")), "URL/fields"),
    "credentials": ("--user", "me:secret", "--cookie", "session=1", "URL/fields"),
    "no agent": ("-A", "", "-H", "Accept:", "URL/fields"),
    "close": ("-H", "Connection: close", "URL/text"),
    "etag": ("-H", 'If-None-Match: "other"', "URL/text"),
    "HTTP/2 wanted": ("--http2", "URL/text"),
    "websocket refused": ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "URL/text"),
}


@pytest.mark.parametrize("mood", list(MOODS))
def test_curl_is_none_the_wiser(passage: Passage, upload: Path, mood: str) -> None:
    """Direct and through the proxy curl prints the same; live and shadow are asked what curl asked, byte for byte."""
    options = [option.replace("FILE", str(upload)) for option in MOODS[mood]]
    if mood == "multipart":
        # curl draws a boundary each time: the comparison of both sides of the proxy is enough.
        passage.go_through()
        passage.forget()
        code, _ = curl(passage, *options)
        assert code == 0
        passage.check()
        return
    passage.go_direct()
    passage.forget()
    direct = curl(passage, *options)
    heard_direct = passage.heard_direct()
    passage.go_through()
    passage.forget()
    through = curl(passage, *options)
    assert through == direct
    assert direct[0] == 0
    heard = passage.check(is_mirrored=mood != "websocket refused")
    assert [answer for answer in heard if answer.fields] == [answer for answer in heard_direct if answer.fields]


@pytest.mark.parametrize("options", [("URL/text",), ("-T", "FILE", "URL/uploaded"), ("URL/nowhere",), ("--head", "URL/text")])
def test_http10(passage: Passage, upload: Path, options: tuple[str, ...]) -> None:
    """In HTTP/1.0: the same body and status; live is spoken to in HTTP/1.1 with our own connection."""
    given = [option.replace("FILE", str(upload)) for option in options]
    passage.go_direct()
    code, body = curl(passage, "--http1.0", *given)
    passage.go_through()
    passage.forget()
    through = curl(passage, "--http1.0", *given)
    if "--head" in options:
        assert through[0] == code == 0
    else:
        assert through == (code, body)
    passage.settle()
    (request, answer), *_ = passage.live.exchanges()
    assert request.version == "1.1"
    assert answer is not None
    (asked, heard), *_ = passage.front.exchanges()
    assert (asked.method, asked.target, asked.body) == (request.method, request.target, request.body)
    assert heard is not None
    assert (heard.status, heard.body) == (answer.status, answer.body)
    assert not heard.has("Transfer-Encoding")


def test_a_chunked_answer_reaches_an_http10_client_whole(passage: Passage, upload: Path) -> None:
    """What live sends in chunks is sent as it is, up to the end of the connection, to those who know no chunks."""
    passage.go_through()
    code, body = curl(passage, "--http1.0", "--data-binary", f"@{upload}", "URL/echo")
    assert code == 0
    assert body == upload.read_bytes()
    passage.settle()


@pytest.mark.parametrize("options", [("http://shelf.example/text?x=1",), ("--data", "a=b", "http://shelf.example/echo")])
def test_as_a_forward_proxy(passage: Passage, options: tuple[str, ...]) -> None:
    """With -x a target in absolute form names the host, and becomes a path for live and shadow."""
    passage.go_through()
    passage.forget()
    code, body = curl(passage, "--proxy", "URL", *options)
    assert code == 0
    assert body
    passage.check(origin_form=True)
    request, _ = passage.live.exchanges()[0]
    assert request.one("Host") == "shelf.example"
    assert request.target.startswith("/")


def test_a_large_file_there_and_back(passage: Passage, upload: Path) -> None:
    """What was uploaded through the proxy comes back the same, from live and from the shadow."""
    passage.go_through()
    passage.forget()
    assert curl(passage, "-T", str(upload), "URL/kept")[0] == 0
    assert curl(passage, "URL/kept") == (0, upload.read_bytes())
    passage.check()
    for relay in (passage.live, passage.shadow):
        answer = next(answer for request, answer in relay.exchanges() if request.method == "GET")
        assert answer is not None
        assert answer.body == upload.read_bytes()


def test_curl_agrees_with_the_count(passage: Passage) -> None:
    """The live and shadow answers are paired and found equal."""
    passage.go_through()
    before = passage.world.proxy.settled()["mirrors"]["all/shadow"]["bodies"].get("equal", 0)
    for _ in range(5):
        assert curl(passage, "URL/text")[0] == 0
    bodies = passage.world.proxy.settled()["mirrors"]["all/shadow"]["bodies"]
    assert bodies.get("equal", 0) == before + 5
