"""How commands find an instance, and what they say when there is none."""

from __future__ import annotations

import argparse
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from shadowproxy.cli import client
from shadowproxy.control import places
from shadowproxy.errors import AdminRefused, AdminUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.kit import SupervisedProxy

Serve = "Callable[[bytes], str]"


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Answer one connection with fixed bytes, at the URL returned."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def once(raw: bytes) -> str:
            def answer() -> None:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(raw)

            threads.append(threading.Thread(target=answer))
            threads[-1].start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield once
        for thread in threads:
            thread.join(20)


def response(status: str, body: bytes) -> bytes:
    """A whole HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize("name", ["status", "compare", "kill", "resume", "reload"])
def test_no_instance_is_exit_4_and_one_line(command: Run, name: str) -> None:
    """Nothing found: what to do about it, in one line."""
    ended = command(name)
    assert ended.returncode == 4
    assert ended.stderr == "shadowproxy: no running instance found; name its address with --admin or SHADOWPROXY_ADMIN\n"
    assert ended.stdout == ""


def test_an_address_where_nothing_listens_is_exit_4(command: Run, tmp_path: Path) -> None:
    """The address and the system's reason."""
    (tmp_path / "token").write_text("x" * 30)
    ended = command("status", "--admin", "http://127.0.0.1:1", "--token-file", "token")
    assert (ended.returncode, ended.stderr) == (4, "shadowproxy: no admin API at http://127.0.0.1:1: connection refused\n")


def test_an_instance_is_found_from_its_directory_and_from_any(proxy: SupervisedProxy, command: Run, tmp_path: Path) -> None:
    """By the run file here; by address with its announced token; by environment."""
    assert command("status").returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    host, port = proxy.admin
    assert command("status", directory=elsewhere).returncode == 4
    assert (
        command(
            "status", directory=elsewhere, SHADOWPROXY_ADMIN=f"{host}:{port}", SHADOWPROXY_TOKEN_FILE=str(tmp_path / "token")
        ).returncode
        == 0
    )
    found = command("status", "--output", "json", "--admin", f"http://{host}:{port}/")
    assert json.loads(found.stdout)["pid"] == proxy.pid


def test_a_wrong_token_is_refused_in_one_line(proxy: SupervisedProxy, command: Run, tmp_path: Path) -> None:
    """An answer that says no is exit 1."""
    (tmp_path / "wrong").write_text("w" * 30)
    ended = command("status", "--token-file", "wrong")
    assert (ended.returncode, ended.stderr) == (1, "shadowproxy: 401 Unauthorized\n")


@pytest.mark.parametrize("content", [None, "", "two words\n\nlines", "\u00e9"])
def test_a_token_file_without_a_token_is_one_line(command: Run, tmp_path: Path, content: str | None) -> None:
    """Missing, empty or unfit."""
    if content is not None:
        (tmp_path / "token").write_text(content)
    ended = command("status", "--admin", "127.0.0.1:1", "--token-file", "token")
    assert ended.returncode == 4
    assert ended.stderr.startswith("shadowproxy: token file token: ")
    assert ended.stderr.count("\n") == 1


def test_a_refusal_carries_its_problem(serve: Callable[[bytes], str]) -> None:
    """Title, detail and listed problems reach the person who asked."""
    url = serve(response("422 Unprocessable", b'{"title": "Unprocessable", "problems": [{"path": "a.b", "message": "wrong"}]}'))
    with pytest.raises(AdminRefused, match=r"422 Unprocessable: a\.b: wrong"):
        client.AdminClient(url, "t").get("/api/v1/status")


@pytest.mark.parametrize("raw", [response("200 OK", b"<html>"), response("404 Not Found", b"nope"), b"SSH-2.0-OpenSSH\r\n", b""])
def test_something_else_is_no_admin_api(serve: Callable[[bytes], str], raw: bytes) -> None:
    """What is not our API is unreachable, whatever it answers."""
    with pytest.raises(AdminUnreachable):
        client.AdminClient(serve(raw), "t").get("/api/v1/status")


def chunked(*chunks: bytes, is_whole: bool) -> bytes:
    """A streamed response, perhaps one that breaks off."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" * is_whole


def test_lines_come_as_they_are_sent(serve: Callable[[bytes], str]) -> None:
    """Whole lines, however they were cut into chunks."""
    url = serve(chunked(b'{"a"', b": 1}\n{}", b"\n", is_whole=True))
    assert list(client.AdminClient(url, "t").lines("/")) == [b'{"a": 1}', b"{}"]


def test_a_stream_that_breaks_off_is_not_the_whole(serve: Callable[[bytes], str]) -> None:
    """What came is given, then the reason why it is not all."""
    found = client.AdminClient(serve(chunked(b"one\n", is_whole=False)), "t").lines("/")
    assert next(found) == b"one"
    with pytest.raises(AdminUnreachable, match="breaks off"):
        next(found)


def test_a_stream_may_be_refused(serve: Callable[[bytes], str]) -> None:
    """As everything else."""
    with pytest.raises(AdminRefused, match="503 Gone: why"):
        list(client.AdminClient(serve(response("503 Gone", b'{"title": "Gone", "detail": "why"}')), "t").lines("/"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:notaport", "http://"])
def test_a_bad_url_is_unreachable(url: str) -> None:
    """Not a traceback."""
    with pytest.raises(AdminUnreachable):
        client.AdminClient(url, "t").get("/")


def test_two_instances_ask_for_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are named with their addresses."""
    found = [{"admin": f"http://127.0.0.1:{port}", "pid": port, "token_file": "t", "path": "/x/y.run.json"} for port in (1, 2)]
    monkeypatch.setattr(places, "running", lambda: iter(found))
    monkeypatch.delenv("SHADOWPROXY_ADMIN", raising=False)
    with pytest.raises(AdminUnreachable, match=r"2 instances run.*http://127.0.0.1:1 \(pid 1\), http://127.0.0.1:2"):
        client.connect(argparse.Namespace(admin=None, token_file=None))
